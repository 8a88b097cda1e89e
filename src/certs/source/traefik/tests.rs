use super::*;
use crate::certs::names::{Name, wanted};
use crate::certs::testing::{Authority, Issued, NOW, entry, rsa, store};

struct World {
    directory: tempfile::TempDir,
    source: Traefik,
    wanted: Vec<Name>,
    now: i64,
}

fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    World {
        source: Traefik::new(directory.path().join("acme.json"), true),
        directory,
        wanted: wanted("pbx.example.com", "").0,
        now: NOW,
    }
}

impl World {
    fn write(&self, bytes: &[u8]) {
        std::fs::write(self.directory.path().join("acme.json"), bytes).unwrap();
    }

    fn look(&mut self) -> Have {
        let request = Request {
            wanted: &self.wanted,
            now: self.now,
        };
        self.source.look(&request)
    }

    fn fingerprint(&mut self) -> String {
        match self.look() {
            Have::Pairs(pairs) => pairs[0].facts.fingerprint.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn lacks(&mut self) -> String {
        match self.look() {
            Have::Nothing(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn issue(names: &[&str]) -> Issued {
    Authority::new("Test").issue(names, -1, 89)
}

#[test]
fn t05_a_file_that_appears_later_is_found() {
    let mut world = world();
    assert!(world.lacks().contains("there is no `"));
    world.write(&store(&[entry(
        "pbx.example.com",
        &[],
        &issue(&["pbx.example.com"]),
    )]));
    world.fingerprint();
    // At the usual place, where nobody has asked for it, it is no trouble that there is none.
    let mut unasked = Traefik::new(world.directory.path().join("other.json"), false);
    let request = Request {
        wanted: &world.wanted,
        now: NOW,
    };
    assert_eq!(unasked.look(&request), Have::NotSetUp);
}

#[test]
fn t03_and_t04_what_is_cut_off_keeps_the_old_for_a_minute_without_a_word_and_then_says_so() {
    let mut world = world();
    let whole = store(&[entry("pbx.example.com", &[], &issue(&["pbx.example.com"]))]);
    world.write(&whole);
    let old = world.fingerprint();
    world.write(&whole[..whole.len() / 2]);
    assert_eq!(world.fingerprint(), old);
    assert!(world.source.is_waiting());
    world.now += PATIENCE - 1;
    assert_eq!(world.fingerprint(), old);
    world.now += 1;
    assert!(world.lacks().ends_with("it ends in the middle"));
    let renewed = store(&[entry("pbx.example.com", &[], &issue(&["pbx.example.com"]))]);
    world.write(&renewed);
    assert_ne!(world.fingerprint(), old);
    assert!(!world.source.is_waiting());
}

#[test]
fn t06_a_directory_in_its_place_is_named() {
    let mut world = world();
    std::fs::create_dir(world.directory.path().join("acme.json")).unwrap();
    assert!(world.lacks().contains("is a directory: Docker makes one"));
}

#[test]
fn t07_a_file_that_is_not_for_us_is_named_with_what_to_do() {
    let world = world();
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let Have::Nothing(why) = world.source.unreadable(&denied) else {
        panic!("it counts as not set up")
    };
    assert!(
        why.contains("cannot be read") && why.contains("DAC_READ_SEARCH"),
        "{why}"
    );
}

#[test]
fn t13_t14_t16_and_t17_the_certificates_own_names_count() {
    for names in [
        &["example.net", "pbx.example.com"][..],
        &["*.example.com"],
        &["example.com", "*.example.com"],
        &["PBX.EXAMPLE.com"],
    ] {
        let mut world = world();
        world.write(&store(&[entry("whatever", &[], &issue(names))]));
        world.fingerprint();
    }
}

#[test]
fn t18_no_match_says_what_there_is_and_when_traefik_asks_for_more() {
    let mut world = world();
    world.write(&store(&[entry("x", &[], &issue(&["shop.example.org"]))]));
    let why = world.lacks();
    assert!(
        why.contains("for pbx.example.com, example.com, but for shop.example.org"),
        "{why}"
    );
}

#[test]
fn t19_a_mismatched_pair_is_passed_over_for_a_sound_one_and_alone_is_refused() {
    let mut world = world();
    let (good, other) = (issue(&["pbx.example.com"]), issue(&["pbx.example.com"]));
    let mut mixed = good.clone();
    mixed.key = other.key;
    world.write(&store(&[entry("pbx.example.com", &[], &mixed)]));
    let why = world.lacks();
    assert!(
        why.contains("the private key belongs to another certificate"),
        "{why}"
    );
    world.write(&store(&[
        entry("pbx.example.com", &[], &mixed),
        entry("pbx.example.com", &[], &good),
    ]));
    world.fingerprint();
    assert!(world.source.notes()[0].contains("belongs to another"));
}

#[test]
fn t24_and_t25_an_unrelated_change_and_a_rewrite_give_the_same_pair() {
    let mut world = world();
    let ours = entry("pbx.example.com", &[], &issue(&["pbx.example.com"]));
    let shop = || entry("shop.example.org", &[], &issue(&["shop.example.org"]));
    world.write(&store(&[ours.clone(), shop()]));
    let first = world.look();
    world.write(&store(&[shop(), ours.clone(), shop()]));
    assert_eq!(world.look(), first);
    world.write(
        &serde_json::to_vec(
            &serde_json::json!({ "le": { "Account": null, "Certificates": [ours] } }),
        )
        .unwrap(),
    );
    assert_eq!(world.look(), first);
}

#[test]
fn t26_and_t27_a_new_certificate_with_the_same_key_or_with_another() {
    let mut world = world();
    let (authority, key) = (Authority::new("Test"), rsa());
    let mut seen = Vec::new();
    let renewals = [
        authority.issue_with(&key, &["pbx.example.com"], -60, 30),
        authority.issue_with(&key, &["pbx.example.com"], -1, 89),
        authority.issue(&["pbx.example.com"], 0, 90),
    ];
    for renewed in renewals {
        world.write(&store(&[entry("pbx.example.com", &[], &renewed)]));
        let now = world.fingerprint();
        assert!(!seen.contains(&now));
        seen.push(now);
    }
}

#[test]
fn t28_a_file_that_is_renamed_over_it_is_read() {
    let mut world = world();
    world.write(&store(&[entry(
        "pbx.example.com",
        &[],
        &issue(&["pbx.example.com"]),
    )]));
    let old = world.fingerprint();
    let new = world.directory.path().join("new");
    std::fs::write(
        &new,
        store(&[entry("pbx.example.com", &[], &issue(&["pbx.example.com"]))]),
    )
    .unwrap();
    std::fs::rename(&new, world.directory.path().join("acme.json")).unwrap();
    assert_ne!(world.fingerprint(), old);
}

#[test]
fn t29_a_file_without_a_name_is_a_stale_mount() {
    let mut world = world();
    let path = world.directory.path().join("acme.json");
    world.write(&store(&[entry(
        "pbx.example.com",
        &[],
        &issue(&["pbx.example.com"]),
    )]));
    let held = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // As a mount of the single file: it can still be opened, and has no name left on its file system.
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&held);
    world.source.path = format!("/proc/self/fd/{descriptor}").into();
    world.fingerprint();
    assert!(
        world.source.notes()[0].contains("is stale"),
        "{:?}",
        world.source.notes()
    );
}

#[test]
fn t31_nothing_but_the_store_itself_is_ever_there() {
    let mut world = world();
    let evil = entry(
        "../../../evil",
        &["/tmp/evil"],
        &issue(&["pbx.example.com"]),
    );
    world.write(&store(&[evil]));
    world.fingerprint();
    let entries = std::fs::read_dir(world.directory.path()).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn t33_a_large_store_is_read_once_and_then_known_by_its_sum() {
    let mut world = world();
    let good = issue(&["pbx.example.com"]);
    let mut entries: Vec<_> = (0..600)
        .map(|n| entry(&format!("h{n}.example.net"), &[], &good))
        .collect();
    entries.push(entry("pbx.example.com", &[], &good));
    world.write(&store(&entries));
    let first = world.look();
    assert_eq!(world.look(), first);
}
