//! The certificate before the first start of the PBX: there is always one, so that TLS works at once.
//!
//! A pair that the user has put in place stays as it is. Where no keeper runs (the image mini), a self-signed certificate
//! is also made anew in time. Invariant: what came from elsewhere is never overwritten.

use std::fs;
use std::path::PathBuf;

use super::generation::{CERTIFICATE, Content, GenerationError, Names, PRIVATE_KEY, Place, Text};
use super::private_key::PrivateKey;
use super::self_signed::{self, Request};
use super::source::Source;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum FirstError {
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Place(#[from] GenerationError),
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Kept,
    Made,
    Renewed,
    /// The pair of an earlier version of ours has moved in.
    MovedIn,
}

/// What is needed.
#[derive(Debug)]
pub struct Wish<'a> {
    pub place: &'a Place,
    /// Where an earlier version remembered which certificates are its own.
    pub record: PathBuf,
    pub names: &'a [String],
    pub days: u32,
    /// Nobody else looks after a self-signed one.
    pub renews: bool,
}

/// Sees to it that there is a pair; `now` in seconds since 1970.
pub fn ensure(wish: &Wish<'_>, now: i64) -> Result<Outcome, FirstError> {
    let place = wish.place;
    place.furnish()?;
    let outcome = if place.live().is_some() {
        match wish.renews && is_due(wish, now) {
            true => make(wish, now, Outcome::Renewed)?,
            false => Outcome::Kept,
        }
    } else if let Some(ours) = of_earlier_version(wish) {
        let name = place.stage(&ours, now)?;
        place.switch(&name)?;
        for name in [CERTIFICATE, PRIVATE_KEY] {
            // They are in the generation now; links come in their place.
            let _ = fs::remove_file(place.root().join(name));
        }
        Outcome::MovedIn
    } else if place.owner_of_names() == Names::Placed {
        Outcome::Kept
    } else {
        make(wish, now, Outcome::Made)?
    };
    place.link_names()?;
    if place.live().is_some() {
        let _ = fs::remove_file(&wish.record);
    }
    Ok(outcome)
}

fn make(wish: &Wish<'_>, now: i64, outcome: Outcome) -> Result<Outcome, FirstError> {
    let request = Request {
        names: wish.names,
        now,
        days: wish.days,
    };
    let content = Content {
        source: Source::SelfSigned,
        first: self_signed::with_new_key(&request)?,
        second: None,
    };
    let name = wish.place.stage(&content, now)?;
    wish.place.switch(&name)?;
    Ok(outcome)
}

/// A self-signed one that has less than a third of its time left.
fn is_due(wish: &Wish<'_>, now: i64) -> bool {
    let live = wish.place.live();
    let read = live.and_then(|name| wish.place.read(&name).ok());
    read.is_some_and(|(content, made_at)| {
        let lifetime = i64::from(wish.days) * 86_400;
        content.source == Source::SelfSigned && now >= made_at + lifetime * 2 / 3
    })
}

/// The pair that an earlier version made, in the places that are links now. It wrote down which one that was.
fn of_earlier_version(wish: &Wish<'_>) -> Option<Content> {
    let read = |name: &str| fs::read_to_string(wish.place.root().join(name)).ok();
    let chain = read(CERTIFICATE).filter(|chain| !chain.is_empty())?;
    let record = fs::read_to_string(&wish.record).ok()?;
    let key = read(PRIVATE_KEY).filter(|key| !key.is_empty())?;
    // The newest stands first; another one may be half replaced.
    let (_, ours) = record.split_once('\n')?;
    ours.starts_with(&chain).then(|| Content {
        source: Source::SelfSigned,
        first: Text {
            chain,
            key: PrivateKey::new(key),
        },
        second: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const NOW: i64 = 1_793_491_200;
    const DAY: i64 = 86_400;

    struct World {
        directory: tempfile::TempDir,
        place: Place,
        names: [String; 1],
        renews: bool,
    }

    impl World {
        fn new() -> World {
            let directory = tempfile::tempdir().unwrap();
            let gid = nix::unistd::getegid().as_raw();
            World {
                place: Place::new(directory.path().join("ssl"), gid),
                directory,
                names: ["pbx.example.org".to_owned()],
                renews: true,
            }
        }

        fn ensure(&self, now: i64) -> Outcome {
            let wish = Wish {
                place: &self.place,
                record: self.directory.path().join("record"),
                names: &self.names,
                days: 30,
                renews: self.renews,
            };
            ensure(&wish, now).unwrap()
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.place.root().join(name)).unwrap_or_default()
        }

        fn put(&self, name: &str, text: &str) {
            fs::create_dir_all(self.place.root()).unwrap();
            fs::write(self.place.root().join(name), text).unwrap();
        }
    }

    #[test]
    fn a_pair_is_made_once_and_renewed_in_time_where_nobody_else_does() {
        let mut world = World::new();
        assert_eq!(world.ensure(NOW), Outcome::Made);
        let first = world.read("cert.pem");
        assert!(first.contains("BEGIN CERTIFICATE"));
        assert!(world.read("priv_key.pem").contains("PRIVATE KEY"));
        assert_eq!(world.read("asterisk_rsa.pem"), first);
        assert_eq!(world.ensure(NOW + 19 * DAY), Outcome::Kept);
        world.renews = false;
        assert_eq!(world.ensure(NOW + 21 * DAY), Outcome::Kept);
        world.renews = true;
        assert_eq!(world.ensure(NOW + 21 * DAY), Outcome::Renewed);
        assert_ne!(world.read("cert.pem"), first);
    }

    #[test]
    fn a_pair_that_the_user_has_put_there_stays_and_has_the_other_names_too() {
        let world = World::new();
        world.put("cert.pem", "bought elsewhere");
        world.put("priv_key.pem", "somebody's");
        assert_eq!(world.ensure(NOW), Outcome::Kept);
        assert_eq!(world.read("cert.pem"), "bought elsewhere");
        assert_eq!(world.read("asterisk_rsa.pem"), "bought elsewhere");
        assert_eq!(world.read("asterisk_rsa.key"), "somebody's");
        assert_eq!(world.place.live(), None);
    }

    #[test]
    fn a_key_alone_or_a_certificate_alone_stays_too() {
        for name in ["cert.pem", "priv_key.pem"] {
            let world = World::new();
            world.put(name, "somebody's");
            assert_eq!(world.ensure(NOW), Outcome::Kept);
            assert_eq!(world.read(name), "somebody's");
        }
    }

    #[test]
    fn links_of_the_predecessor_that_lead_nowhere_are_replaced_and_others_stay() {
        let world = World::new();
        fs::create_dir_all(world.place.root()).unwrap();
        for (name, target) in [
            ("cert.pem", "/etc/ssl/acme/certs/pbx.example.org.crt"),
            ("priv_key.pem", "/etc/ssl/acme/private/pbx.example.org.key"),
        ] {
            symlink(target, world.place.root().join(name)).unwrap();
        }
        assert_eq!(world.ensure(NOW), Outcome::Made);
        assert!(world.read("cert.pem").contains("BEGIN CERTIFICATE"));
        let world = World::new();
        fs::create_dir_all(world.place.root()).unwrap();
        let real = world.directory.path().join("fullchain.pem");
        fs::write(&real, "certbot's").unwrap();
        symlink(&real, world.place.root().join("cert.pem")).unwrap();
        assert_eq!(world.ensure(NOW), Outcome::Kept);
        assert_eq!(world.read("cert.pem"), "certbot's");
    }

    #[test]
    fn the_pair_of_an_earlier_version_moves_in() {
        let world = World::new();
        world.put("cert.pem", "the certificate\n");
        world.put("priv_key.pem", "the key\n");
        let record = world.directory.path().join("record");
        fs::write(&record, "1795000000\nthe certificate\nthe one before\n").unwrap();
        assert_eq!(world.ensure(NOW), Outcome::MovedIn);
        assert_eq!(world.read("cert.pem"), "the certificate\n");
        assert_eq!(world.read("priv_key.pem"), "the key\n");
        assert!(fs::read_link(world.place.root().join("cert.pem")).is_ok());
        assert!(!record.exists());
        assert_eq!(world.ensure(NOW), Outcome::Kept);
    }

    #[test]
    fn what_was_interrupted_anywhere_is_finished() {
        let world = World::new();
        world.ensure(NOW);
        let cert = world.read("cert.pem");
        for missing in ["cert.pem", "priv_key.pem", "asterisk_rsa.key"] {
            fs::remove_file(world.place.root().join(missing)).unwrap();
            assert_eq!(world.ensure(NOW), Outcome::Kept);
            assert_eq!(world.read("cert.pem"), cert);
        }
        fs::remove_file(world.place.root().join("live")).unwrap();
        assert_eq!(world.ensure(NOW), Outcome::Made);
        assert!(world.read("priv_key.pem").contains("PRIVATE KEY"));
    }
}
