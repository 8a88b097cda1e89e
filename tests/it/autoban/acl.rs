//! Bans by Asterisk's Named ACL, where the daemon may not write the kernel's firewall.

use super::{Guard, SECRET};
use crate::appliance::wait_for;
use crate::autoban::pbx::{Pbx, Session};
use crate::firewall::wire::{in_namespace, run};

const PJSIP: &str = "[acl-autoban]\ntype = acl\nacl = autoban\n";

impl Guard {
    fn path(&self, below: &str) -> String {
        self.root.path().join(below).display().to_string()
    }

    /// As the image's own configuration has it.
    fn with_lists(self) -> Guard {
        let line = format!(
            "[autoban]\n#tryinclude {}\n",
            self.path("run/autoban/acl.conf")
        );
        self.file("srv/etc/asterisk/acl.conf", &line);
        self.file("srv/etc/asterisk/pjsip.conf", PJSIP);
        self
    }

    fn rules(&self) -> String {
        std::fs::read_to_string(self.path("run/autoban/acl.conf")).unwrap_or_default()
    }

    fn denies(&self, what: &str) -> bool {
        self.rules().contains(&format!("deny = {what}\n"))
    }

    fn problems(&self) -> String {
        self.ask(r#"{"command":"status"}"#)["problems"].to_string()
    }

    fn word(&self) -> String {
        let word = &self.ask(r#"{"command":"status"}"#)["enforcement"];
        word.as_str().unwrap().to_owned()
    }
}

fn started(conf: &str) -> (Guard, Pbx, Session) {
    let pbx = Pbx::with_secret(SECRET);
    let mut guard = Guard::volume(&pbx, conf).with_lists();
    guard.start_without_capability();
    guard.hears("the capability NET_ADMIN is missing");
    let session = pbx.accept().expect("a login");
    guard.hears("listening to security events");
    session.is_reloaded();
    (guard, pbx, session)
}

#[test]
fn without_net_admin_asterisk_denies() {
    in_namespace("autoban::acl::without_net_admin_asterisk_denies", || {
        let (mut guard, _pbx, mut session) =
            started("maxcount = 2\nwhitelist = 2001:db8:1:2::99\nblacklist = 198.51.100.0/24");
        assert_eq!(guard.word(), "acl");
        let problems = guard.problems();
        assert!(
            problems.contains("SIP alone") && problems.contains("cap_add: [NET_ADMIN]"),
            "{problems}"
        );
        for address in ["192.0.2.7", "2001:db8:1:2::7", "2001:db8:1:2::99"] {
            session.unknown("TCP", address);
            session.unknown("TLS", address);
        }
        session.unknown("UDP", "192.0.2.8");
        session.unknown("UDP", "192.0.2.8");
        guard.hears("closed SIP over UDP to 192.0.2.8");
        session.is_reloaded();
        wait_for(
            || (guard.denies("192.0.2.7") && guard.denies("2001:db8:1:2::/64")).then_some(()),
            "the file never had both",
        );
        let rules = guard.rules();
        assert!(
            rules.starts_with(';') && rules.contains("\n[autoban](+)\n"),
            "{rules}"
        );
        assert!(rules.ends_with("permit = 2001:db8:1:2::99\n"), "{rules}");
        assert!(
            guard.denies("198.51.100.0/24") && !guard.denies("192.0.2.8"),
            "{rules}"
        );
        assert_eq!(run("nft", &["list", "tables"]), "");
    });
}

#[test]
fn who_is_freed_or_has_done_his_time_is_denied_no_longer() {
    in_namespace(
        "autoban::acl::who_is_freed_or_has_done_his_time_is_denied_no_longer",
        || {
            let (guard, _pbx, mut session) =
                started("maxcount = 1\njailtime = 2\nrepeatmult = 1000");
            session.unknown("TCP", "192.0.2.7");
            session.is_reloaded();
            assert!(guard.denies("192.0.2.7"));
            // Nothing happens but time.
            session.is_reloaded();
            assert_eq!(guard.rules(), "");
            session.unknown("TCP", "192.0.2.7");
            session.is_reloaded();
            assert!(guard.denies("192.0.2.7"));
            guard.ask(r#"{"command":"manual","order":{"delete":{"from":["jail","parole"],"what":[{"cidr":"192.0.2.7"}]}}}"#);
            session.is_reloaded();
            assert_eq!(guard.rules(), "");
        },
    );
}

#[test]
fn many_bans_are_few_reloads() {
    in_namespace("autoban::acl::many_bans_are_few_reloads", || {
        let (guard, _pbx, mut session) = started("maxcount = 1\naggregatecount = 40");
        let began = std::time::Instant::now();
        // Each of them a wake-up of its own.
        for n in 1..=40 {
            session.unknown("TCP", &format!("192.0.2.{n}"));
            guard.counts("jailed", n);
        }
        // The network stands for its addresses.
        wait_for(
            || guard.denies("192.0.2.0/24").then_some(()),
            "never denied the network",
        );
        assert_eq!(guard.rules().matches("deny = ").count(), 1);
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
        let reloads = session.reloads();
        assert!(reloads <= seconds + 2, "{reloads} reloads in {seconds} s");
    });
}

#[test]
fn a_reload_that_is_refused_is_told_with_its_line() {
    in_namespace(
        "autoban::acl::a_reload_that_is_refused_is_told_with_its_line",
        || {
            let mut pbx = Pbx::with_secret(SECRET);
            pbx.may_reload = false;
            let mut guard = Guard::volume(&pbx, "maxcount = 1").with_lists();
            guard.start_without_capability();
            let session = pbx.accept().expect("a login");
            let told = guard.hears("cannot have the list of bans read: Permission denied");
            assert!(
                told.contains("nobody is banned") && told.contains("manager.conf:4"),
                "{told}"
            );
            let hint = guard.hears("hint: ");
            assert!(hint.contains("`write = system`"), "{hint}");
            assert_eq!(guard.word(), "none");
            assert!(guard.problems().contains("manager.conf:4"));
            // Mended. A login keeps its rights, so there is another one.
            pbx.may_reload = true;
            guard.reload();
            drop(session);
            let mut session = pbx.accept().expect("a login");
            session.is_reloaded();
            session.unknown("TCP", "192.0.2.7");
            session.is_reloaded();
            assert_eq!(guard.word(), "acl");
            assert!(guard.denies("192.0.2.7"));
        },
    );
}

#[test]
fn what_an_older_volume_lacks_is_told_one_after_the_other() {
    in_namespace(
        "autoban::acl::what_an_older_volume_lacks_is_told_one_after_the_other",
        || {
            let pbx = Pbx::with_secret(SECRET);
            let mut guard = Guard::volume(&pbx, "maxcount = 1");
            guard.file("srv/etc/asterisk/acl.conf", "; mine\n");
            guard.file("srv/etc/asterisk/pjsip.conf", "; mine, too\n");
            guard.start_without_capability();
            guard.hears("acl.conf` has no section [autoban]");
            let hint = guard.hears("hint: ");
            assert!(
                hint.contains("#tryinclude") && hint.contains("afterwards"),
                "{hint}"
            );
            let session = pbx.accept().expect("a login");
            guard.hears("listening to security events");
            assert_eq!(guard.word(), "none");
            let line = format!(
                "; mine\n[autoban]\n#tryinclude {}\n",
                guard.path("run/autoban/acl.conf")
            );
            guard.file("srv/etc/asterisk/acl.conf", &line);
            guard.reload();
            guard.hears("pjsip.conf` uses the list [autoban]");
            // The list is there before PJSIP asks it.
            session.is_reloaded();
            guard.file("srv/etc/asterisk/pjsip.conf", PJSIP);
            guard.reload();
            guard.hears("have what bans need");
            session.is_reloaded();
            assert_eq!(guard.word(), "acl");
            guard.file("srv/etc/asterisk/acl.conf", "; mine\n");
            guard.reload();
            guard.hears("Asterisk denies everybody");
        },
    );
}

#[test]
fn nobody_stays_denied_when_it_ends_goes_off_or_has_the_kernel() {
    in_namespace(
        "autoban::acl::nobody_stays_denied_when_it_ends_goes_off_or_has_the_kernel",
        || {
            let (mut guard, pbx, mut session) = started("maxcount = 1");
            let banned = |guard: &Guard, session: &Session| {
                session.is_reloaded();
                wait_for(|| guard.denies("192.0.2.7").then_some(()), "never denied");
            };
            session.unknown("TCP", "192.0.2.7");
            banned(&guard, &session);
            guard.configure(&pbx, "enabled = no");
            guard.reload();
            session.is_reloaded();
            assert_eq!(guard.rules(), "");
            guard.hears("autoban.conf was read again");
            guard.configure(&pbx, "maxcount = 1");
            guard.reload();
            // Off it needs no manager.
            let session = pbx.accept().expect("a login");
            banned(&guard, &session);
            assert!(guard.stops());
            session.is_reloaded();
            assert_eq!(guard.rules(), "");
            // The next process has the ban from the journal, until it is killed.
            guard.start_without_capability();
            let session = pbx.accept().expect("a login");
            banned(&guard, &session);
            guard.is_killed();
            assert!(guard.denies("192.0.2.7"));
            guard.start(&[]);
            let session = pbx.accept().expect("a login");
            session.is_reloaded();
            assert_eq!(
                (guard.rules(), guard.word()),
                (String::new(), "kernel".to_owned())
            );
        },
    );
}
