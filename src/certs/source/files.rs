//! The user's own pair: the files that SWITCHHOOK_CERT_FILE and SWITCHHOOK_CERT_KEY_FILE name, or what he has put in the
//! place of `cert.pem` and `priv_key.pem`.
//!
//! It takes what it is given: names that nobody asked for are noted, not refused. Invariant: the files are only read.

use std::path::PathBuf;

use super::survey::{Have, Origin, Request};
use crate::certs::generation::{CERTIFICATE, Names, PRIVATE_KEY, Place};
use crate::certs::pair::{PrivateKey, Source};
use crate::certs::validate::{examine, in_time};
use crate::sys::file::read_text;

/// The user's files.
#[derive(Debug)]
pub struct Files {
    /// Certificate and key; without a name for the key both are in one file.
    named: Option<(PathBuf, PathBuf)>,
    place: Place,
    notes: Vec<String>,
}

impl Files {
    pub fn new(named: Option<(PathBuf, PathBuf)>, place: Place) -> Files {
        Files {
            named,
            place,
            notes: Vec::new(),
        }
    }

    fn pair(&self) -> Option<(PathBuf, PathBuf)> {
        if let Some(named) = &self.named {
            return Some(named.clone());
        }
        let root = self.place.root();
        let is_placed = self.place.owner_of_names() == Names::Placed;
        is_placed.then(|| (root.join(CERTIFICATE), root.join(PRIVATE_KEY)))
    }
}

impl Origin for Files {
    fn source(&self) -> Source {
        Source::Files
    }

    fn look(&mut self, request: &Request<'_>) -> Have {
        self.notes.clear();
        let Some((certificate, key)) = self.pair() else {
            return Have::NotSetUp;
        };
        let texts = read_text(&certificate).and_then(|chain| Ok((chain, read_text(&key)?)));
        let (chain, key) = match texts {
            Ok((chain, key)) => (chain, PrivateKey::new(key)),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                return Have::Nothing(format!("{error}{}", cause.unwrap_or_default()));
            }
        };
        let name = certificate.display();
        let pair = match examine(&chain, &key) {
            Ok(pair) => pair,
            Err(refusal) => return Have::Nothing(format!("`{name}`: {refusal}")),
        };
        if let Err(refusal) = in_time(&pair.facts, request.now) {
            return Have::Nothing(format!("`{name}`: {refusal}"));
        }
        if !request.wanted.iter().any(|name| pair.facts.covers(name)) {
            self.notes.push(format!(
                "`{name}` is for {} and for none of the names that are wanted",
                pair.facts.names.join(", ")
            ));
        }
        Have::Pairs(vec![pair])
    }

    fn watched(&self) -> Vec<PathBuf> {
        match &self.named {
            Some((certificate, key)) => vec![certificate.clone(), key.clone()],
            None => [CERTIFICATE, PRIVATE_KEY]
                .map(|name| self.place.root().join(name))
                .to_vec(),
        }
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::names::wanted;
    use crate::certs::testing::{Authority, NOW};

    struct World {
        directory: tempfile::TempDir,
        files: Files,
    }

    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path().join("ssl"), 0);
        std::fs::create_dir(place.root()).unwrap();
        let named = ["own.pem", "own.key"].map(|name| directory.path().join(name));
        let [certificate, key] = named;
        World {
            files: Files::new(Some((certificate, key)), place),
            directory,
        }
    }

    impl World {
        fn put(&self, name: &str, text: &str) {
            std::fs::write(self.directory.path().join(name), text).unwrap();
        }

        fn look(&mut self) -> Have {
            let (wanted, _) = wanted("pbx.example.com", "");
            let request = Request {
                wanted: &wanted,
                now: NOW,
            };
            self.files.look(&request)
        }

        fn lacks(&mut self) -> String {
            match self.look() {
                Have::Nothing(why) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn files_that_are_named_are_taken_when_they_are_sound_and_named_when_not() {
        let mut world = world();
        assert!(world.lacks().contains("own.pem"));
        let good = Authority::new("Test").issue(&["pbx.example.com"], -1, 89);
        world.put("own.pem", &good.chain);
        assert!(world.lacks().contains("own.key"));
        world.put("own.key", "-----BEGIN PRIV");
        assert!(world.lacks().contains("own.pem"));
        world.put("own.key", &good.key);
        assert!(matches!(world.look(), Have::Pairs(pairs) if pairs.len() == 1));
        assert_eq!(world.files.notes(), Vec::<String>::new());
    }

    #[test]
    fn other_names_are_noted_and_an_expired_one_is_refused() {
        let mut world = world();
        let other = Authority::new("Test").issue(&["shop.example.org"], -1, 89);
        world.put("own.pem", &other.chain);
        world.put("own.key", &other.key);
        assert!(matches!(world.look(), Have::Pairs(_)));
        assert!(world.files.notes()[0].contains("shop.example.org"));
        let old = Authority::new("Test").issue(&["pbx.example.com"], -90, -1);
        world.put("own.pem", &old.chain);
        world.put("own.key", &old.key);
        assert!(world.lacks().ends_with("it has expired"));
    }

    #[test]
    fn a_pair_in_the_place_of_ours_is_the_users_and_links_of_ours_are_not() {
        let mut world = world();
        world.files.named = None;
        assert_eq!(world.look(), Have::NotSetUp);
        let good = Authority::new("Test").issue(&["pbx.example.com"], -1, 89);
        world.put("ssl/cert.pem", &good.chain);
        world.put("ssl/priv_key.pem", &good.key);
        assert!(matches!(world.look(), Have::Pairs(_)));
    }
}
