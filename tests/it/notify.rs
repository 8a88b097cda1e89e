//! What services say and what PID 1 does for them: watchdog, status, stored descriptors, conditions.

use crate::appliance::{Root, wait_for};

/// A shell line that sends words to the notify socket, from a child of the shell. The child stays: whom a process belongs
/// to can only be seen while it lives.
fn say(words: &str) -> String {
    format!(
        "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type=>SOCK_DGRAM(),Peer=>$ENV{{NOTIFY_SOCKET}})->send(\"{words}\"); sleep 1000' &"
    )
}

#[test]
fn a_service_that_gives_no_sign_of_life_is_ended_and_started_again() {
    let root = Root::new();
    let ready = say("READY=1");
    root.service(
        "a",
        "[Service]\nType=notify\nNotifyAccess=all\nRestart=always\nWatchdogSec=300ms",
        &format!("{ready}\necho watchdog $WATCHDOG_USEC\nexec sleep 1000"),
    );
    let mut it = root.start();
    it.hears("info a: watchdog 300000");
    it.hears("a: gives no sign of life; ending it");
    it.hears("a: ended with signal 6");
    it.hears("a: ready after");
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_service_tells_how_it_does() {
    let root = Root::new();
    let words = say("READY=1\\nSTATUS=two calls");
    root.service(
        "a",
        "[Service]\nType=notify\nNotifyAccess=all",
        &format!("{words}\nexec sleep 1000"),
    );
    let mut it = root.start();
    it.is_ready();
    assert_eq!(root.service_status("a")["status"], "two calls");
    assert_eq!(it.stops(), 0);
}

#[test]
fn stored_descriptors_come_back_after_a_restart() {
    let root = Root::new();
    // Sends its end of a pair with FDSTORE=1 by SCM_RIGHTS; python is not Essential, so by perl's syscall.
    let program = r#"exec perl -MSocket -e '
        if ($ENV{LISTEN_FDS}) { print "got $ENV{LISTEN_FDS} $ENV{LISTEN_FDNAMES}\n"; close STDOUT; sleep 1000; exit }
        open(my $f, "<", "/etc/hostname") || open($f, "<", "/dev/null");
        socket(my $s, AF_UNIX, SOCK_DGRAM, 0);
        connect($s, pack_sockaddr_un($ENV{NOTIFY_SOCKET}));
        my $text = "READY=1\nFDSTORE=1\nFDNAME=calls";
        my $iov = pack("P L!", $text, length $text);
        my $control = pack("L! i i i x4", 20, 1, 1, fileno $f);
        my $msg = pack("P L x4 P L! P L! i x4", "\0", 0, $iov, 1, $control, length $control, 0);
        syscall(SENDMSG, fileno $s, $msg, 0) > 0 or die "sendmsg: $!";
        print "stored\n"; close STDOUT; sleep 1000'"#
        .replace("SENDMSG", &nix::libc::SYS_sendmsg.to_string());
    root.service(
        "a",
        "[Service]\nType=notify\nFileDescriptorStoreMax=2\nRestart=always\nTimeoutStartSec=2",
        &program,
    );
    let mut it = root.start();
    it.hears("info a: stored");
    it.is_ready();
    root.ask(&["kill", "a", "--no-wait"]);
    it.hears("info a: got 1 calls");
    it.stops();
}

#[test]
fn conditions_environment_files_and_the_stop_signal_are_obeyed() {
    let root = Root::new();
    root.file("srv/vars", "COLOUR=\"sky blue\"\n");
    root.service(
        "a",
        "[Unit]\nConditionPathExists=/srv/vars\n[Service]\nEnvironmentFile=/srv/vars\nEnvironmentFile=-/srv/none\nKillSignal=SIGUSR2\nUnsetEnvironment=SYSLOG_LEVEL",
        "trap 'echo stopped by usr2; exit 0' USR2; echo \"$COLOUR${SYSLOG_LEVEL}\"; while :; do sleep 0.05; done",
    );
    root.service(
        "b",
        "[Unit]\nConditionPathExists=!/srv/vars",
        "echo must not run; exec sleep 1000",
    );
    let mut it = root.start();
    it.hears("info a: sky blue");
    it.hears("b: not started: `/srv/vars` must not exist");
    it.is_ready();
    assert_eq!(root.service_status("b")["state"], "done");
    assert_eq!(it.stops(), 0);
    assert!(it.has_said("info a: stopped by usr2"), "{:?}", it.heard);
    assert!(!it.has_said("must not run") && !it.has_said("sky blue8"));
}

#[test]
fn a_crash_loop_can_end_the_container() {
    let root = Root::new();
    root.service(
        "a",
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=60\n[Service]\nRestart=always\nRestartSec=1ms\nX-CrashLoop=exit",
        "exit 7",
    );
    let mut it = root.start();
    assert_eq!(it.ends(), 2);
    it.said_in_order(&["a: fails again and again", "a: is not started again"]);
}

#[test]
fn a_notify_flood_does_not_keep_the_exchange_from_answering() {
    let root = Root::new();
    let flood = "exec perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Type=>SOCK_DGRAM(),Peer=>$ENV{NOTIFY_SOCKET}); \
                 $s->send(\"READY=1\"); print \"flooding\\n\"; close STDOUT; $s->send(\"STATUS=$_\") for 1..200000; sleep 1000'";
    root.service("a", "[Service]\nType=notify", flood);
    let mut it = root.start();
    it.hears("info a: flooding");
    let status = wait_for(
        || {
            root.service_status("a")["status"]
                .as_str()
                .map(str::to_owned)
        },
        "no status",
    );
    assert!(status.parse::<u32>().is_ok(), "{status}");
    it.stops();
}
