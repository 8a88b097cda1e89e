//! The volume: seeding, persistence, and what must never be touched.

use crate::appliance::Root;

fn seeded_root() -> Root {
    let root = Root::new();
    root.seed("etc/asterisk/a.conf", "secret = @secret:ami@\n");
    root.seed(
        "etc/asterisk/b.conf",
        "again = @secret:ami@\nother = @secret:phone@\n",
    );
    root
}

fn run_once(root: &Root) -> i32 {
    let mut it = root.start();
    it.is_ready();
    it.stops()
}

#[test]
fn a_new_volume_gets_configuration_with_its_own_secrets() {
    let (one, two) = (seeded_root(), seeded_root());
    assert_eq!((run_once(&one), run_once(&two)), (0, 0));
    let secret =
        |root: &Root, file: &str| root.read(file).split(" = ").nth(1).unwrap()[..24].to_owned();
    assert_eq!(
        secret(&one, "srv/etc/asterisk/a.conf"),
        secret(&one, "srv/etc/asterisk/b.conf")
    );
    assert_ne!(
        secret(&one, "srv/etc/asterisk/a.conf"),
        secret(&two, "srv/etc/asterisk/a.conf")
    );
    assert_eq!(one.read("srv/var/lib/switchhook/schema"), "1\n");
    assert!(!one.path("srv/var/lib/switchhook/seeding").exists());
    assert!(one.path("srv/etc/ssl/asterisk/cert.pem").exists());
}

#[test]
fn an_existing_configuration_is_never_touched() {
    let root = seeded_root();
    root.file("srv/etc/asterisk/mine.conf", "years of work\n");
    assert_eq!(run_once(&root), 0);
    assert_eq!(root.read("srv/etc/asterisk/mine.conf"), "years of work\n");
    assert!(!root.path("srv/etc/asterisk/a.conf").exists());
}

#[test]
fn a_second_start_changes_nothing() {
    let root = seeded_root();
    assert_eq!(run_once(&root), 0);
    let before = root.read("srv/etc/asterisk/a.conf");
    let certificate = root.read("srv/etc/ssl/asterisk/cert.pem");
    assert_eq!(run_once(&root), 0);
    assert_eq!(root.read("srv/etc/asterisk/a.conf"), before);
    assert_eq!(root.read("srv/etc/ssl/asterisk/cert.pem"), certificate);
}

#[test]
fn an_interrupted_seeding_is_finished_with_the_same_secrets() {
    let root = seeded_root();
    root.file(
        "srv/var/lib/switchhook/seeding",
        "ami=AAAAAAAAAAAAAAAAAAAAAAAA\n",
    );
    root.file(
        "srv/etc/asterisk/a.conf",
        "secret = AAAAAAAAAAAAAAAAAAAAAAAA\n",
    );
    assert_eq!(run_once(&root), 0);
    assert!(
        root.read("srv/etc/asterisk/b.conf")
            .starts_with("again = AAAAAAAAAAAAAAAAAAAAAAAA\n")
    );
}

#[test]
fn a_seed_file_that_a_power_cut_left_empty_is_written_again() {
    let root = seeded_root();
    root.file("srv/var/lib/switchhook/seeding", "");
    root.file("srv/etc/asterisk/a.conf", "");
    assert_eq!(run_once(&root), 0);
    assert!(
        root.read("srv/etc/asterisk/a.conf")
            .starts_with("secret = ")
    );
}

#[test]
fn a_volume_from_a_newer_version_is_refused_untouched() {
    let root = seeded_root();
    root.file("srv/var/lib/switchhook/schema", "999\n");
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    it.said_in_order(&["the volume has schema 999", "hint:"]);
    assert!(!root.path("srv/etc").exists());
}

#[test]
fn a_broken_schema_file_is_refused() {
    let root = seeded_root();
    root.file("srv/var/lib/switchhook/schema", "many\n");
    let mut it = root.start();
    assert_eq!(it.ends(), 78);
    assert!(it.has_said("`many` is no number"), "{:?}", it.heard);
}

#[test]
fn a_volume_that_does_not_last_is_warned_of() {
    let root = seeded_root();
    let mut it = root.start();
    it.hears("warning switchhook: /srv is the container's own layer");
    it.hears("hint: mount a named volume");
    it.is_ready();
    assert_eq!(it.stops(), 0);
}
