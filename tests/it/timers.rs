//! Services that start by a timer, or only by an order.

use crate::appliance::Root;

#[test]
fn a_timer_starts_its_service_again_and_again() {
    let root = Root::new();
    root.service("job", "[Service]\nType=oneshot", "echo at work");
    root.unit(
        "job.timer",
        "[Timer]\nOnBootSec=200ms\nOnUnitInactiveSec=100ms\n",
    );
    let mut it = root.start();
    it.is_ready();
    assert_eq!(
        root.ask(&["health"]).0,
        0,
        "a service that waits for its timer is no trouble"
    );
    for _ in 0..3 {
        it.hears("job: started by timer job");
        it.hears("info job: at work");
    }
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_missed_moment_is_made_up_for_when_the_timer_is_persistent() {
    let root = Root::new();
    root.service("job", "[Service]\nType=oneshot", "echo at work");
    root.unit(
        "job.timer",
        "[Timer]\nOnCalendar=*-*-01 00:00:00\nPersistent=yes\n",
    );
    // Last run on the second day of 1970.
    root.file("srv/var/lib/switchhook/timer-job", "86400\n");
    let mut it = root.start();
    it.hears("info job: at work");
    assert_eq!(it.stops(), 0);
    let remembered: i64 = root
        .read("srv/var/lib/switchhook/timer-job")
        .trim()
        .parse()
        .unwrap();
    assert!(remembered > 1_000_000_000);
    let mut it = root.start();
    it.is_ready();
    assert_eq!(root.service_status("job")["state"], "stopped");
    assert_eq!(it.stops(), 0);
    assert!(!it.has_said("at work"));
}

#[test]
fn a_runit_service_with_a_down_file_waits_for_an_order() {
    let root = Root::new();
    root.script("etc/service/a/run", "echo running; exec sleep 1000");
    root.file("etc/service/a/down", "");
    let mut it = root.start();
    it.is_ready();
    let (code, out, _) = root.ask(&["health"]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(root.service_status("a")["pid"].as_i64(), None);
    assert_eq!(root.ask(&["start", "a"]).0, 0);
    it.hears("info a: running");
    assert_eq!(it.stops(), 0);
}
