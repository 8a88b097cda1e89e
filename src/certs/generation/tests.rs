use super::*;
use std::os::unix::fs::MetadataExt;

fn content(text: &str) -> Content {
    let half = |what: &str| Text {
        chain: format!("{what} chain of {text}\n"),
        key: PrivateKey::new(format!("{what} key of {text}\n")),
    };
    Content {
        source: Source::Traefik,
        first: half("first"),
        second: Some(half("second")),
    }
}

fn place() -> (tempfile::TempDir, Place) {
    let directory = tempfile::tempdir().unwrap();
    let gid = nix::unistd::getegid().as_raw();
    let place = Place::new(directory.path().join("ssl"), gid);
    (directory, place)
}

fn read(place: &Place, name: &str) -> String {
    fs::read_to_string(place.root().join(name)).unwrap()
}

#[test]
fn a_generation_is_staged_switched_to_and_read_back() {
    let (_directory, place) = place();
    let one = place.stage(&content("one"), 7).unwrap();
    assert_eq!(place.live(), None, "staged is not in use");
    place.switch(&one).unwrap();
    place.link_names().unwrap();
    assert_eq!(read(&place, "cert.pem"), "first chain of one\n");
    assert_eq!(read(&place, "asterisk_rsa.key"), "first key of one\n");
    assert_eq!(
        read(&place, "asterisk_ecc.pem"),
        "second chain of one\nsecond key of one\n"
    );
    let (found, made_at) = place.read(&place.live().unwrap()).unwrap();
    assert_eq!((found.source, made_at), (Source::Traefik, 7));
    assert_eq!(found.first, content("one").first);
    let two = place.stage(&content("two"), 8).unwrap();
    assert_eq!(read(&place, "cert.pem"), "first chain of one\n");
    place.switch(&two).unwrap();
    assert_eq!(read(&place, "cert.pem"), "first chain of two\n");
    assert_eq!(read(&place, "priv_key.pem"), "first key of two\n");
}

#[test]
fn keys_are_for_owner_and_group_alone_also_under_a_wide_umask() {
    let (_directory, place) = place();
    let name = place.stage(&content("one"), 7).unwrap();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(place.root()), 0o750);
    let generation = place.generation(&name);
    assert_eq!(mode(&generation), 0o750);
    for entry in fs::read_dir(&generation).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o640, "{}", path.display());
    }
}

#[test]
fn so_many_are_kept_and_the_one_in_use_always() {
    let (_directory, place) = place();
    let first = place.stage(&content("first"), 1).unwrap();
    place.switch(&first).unwrap();
    for n in 2..9 {
        place.stage(&content("more"), n).unwrap();
    }
    place.sweep();
    let names = place.names();
    assert_eq!(names.len(), KEPT + 1, "{names:?}");
    assert!(names.contains(&first) && names.contains(&"gen-000008".to_owned()));
}

#[test]
fn what_an_interrupted_one_has_left_is_swept_and_its_number_used() {
    let (_directory, place) = place();
    place.furnish().unwrap();
    let left = place.root().join("generations/.gen-000001.tmp");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("priv_key.pem"), "half a k").unwrap();
    assert_eq!(place.stage(&content("one"), 1).unwrap(), "gen-000001");
    assert!(!left.exists());
}

#[test]
fn a_generation_that_is_not_there_is_not_switched_to() {
    let (_directory, place) = place();
    let one = place.stage(&content("one"), 1).unwrap();
    place.switch(&one).unwrap();
    assert!(place.switch("gen-000009").is_err());
    assert_eq!(place.live(), Some(one));
}

#[test]
fn t36_a_place_that_cannot_be_written_is_told_and_what_is_in_use_stays() {
    let (directory, place) = place();
    let one = place.stage(&content("one"), 1).unwrap();
    place.switch(&one).unwrap();
    // As a disk that is full: the second generation's directory cannot be made.
    let other = Place::new(directory.path().join("nowhere/\0"), 0);
    assert!(other.stage(&content("two"), 2).is_err());
    let blocked = place.root().join("generations/.gen-000002.tmp");
    fs::write(&blocked, "in the way").unwrap();
    let error = place.stage(&content("two"), 2).unwrap_err();
    assert!(
        error.text().starts_with("cannot make `"),
        "{}",
        error.text()
    );
    assert_eq!(place.live(), Some(one));
}

#[test]
fn a_pair_of_somebody_else_is_set_aside_and_not_lost() {
    let (_directory, place) = place();
    place.furnish().unwrap();
    fs::write(place.root().join("cert.pem"), "theirs").unwrap();
    fs::write(place.root().join("priv_key.pem"), "their key").unwrap();
    assert_eq!(place.owner_of_names(), Names::Placed);
    let one = place.stage(&content("one"), 1).unwrap();
    place.switch(&one).unwrap();
    place.link_names().unwrap();
    assert_eq!(read(&place, "cert.pem"), "theirs");
    assert_eq!(read(&place, "asterisk_rsa.pem"), "first chain of one\n");
    place.set_aside().unwrap();
    place.link_names().unwrap();
    assert_eq!(read(&place, "cert.pem"), "first chain of one\n");
    assert_eq!(read(&place, "cert.pem.before"), "theirs");
    assert_eq!(read(&place, "priv_key.pem.before"), "their key");
}
