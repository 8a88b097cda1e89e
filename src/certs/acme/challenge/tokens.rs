//! The answers of HTTP-01 as files, so that whoever holds the port can give them: our own listener, or WebSMS.
//!
//! A file has the token's name and holds the answer; both are public, and anybody may read them. Invariant: a request names
//! no other file than a token's, whatever it asks for.

use std::io::Read;
use std::path::PathBuf;

use crate::certs::acme::local;
use crate::certs::acme::trouble::{AcmeError, Kind};
use crate::sys::file::{Owner, make_directory, write_atomic};

/// What the path of a request begins with (RFC 8555, 8.3).
pub const PREFIX: &str = "/.well-known/acme-challenge/";
/// A token has 22 signs at least, an answer has the token and 44 more.
const LONGEST_TOKEN: usize = 200;
const LONGEST_ANSWER: u64 = 512;

/// The directory of the files.
#[derive(Debug, Clone)]
pub struct Tokens(PathBuf);

impl Tokens {
    pub fn at(directory: impl Into<PathBuf>) -> Tokens {
        Tokens(directory.into())
    }

    /// The answer to a request for this path, without its query. `None`: there is none.
    #[must_use]
    pub fn answer(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PREFIX).filter(|token| is_token(token))?;
        let file = std::fs::File::open(self.0.join(token)).ok()?;
        let mut answer = String::new();
        file.take(LONGEST_ANSWER).read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Puts an answer there.
    ///
    /// # Errors
    /// If it cannot be written, or the authority's token is none.
    pub fn put(&self, token: &str, answer: &str) -> Result<(), AcmeError> {
        if !is_token(token) {
            return Err(AcmeError::new(
                Kind::Rejected,
                "the authority's token has signs that no token may have",
            ));
        }
        let owner = Owner::Keep {
            new_file_mode: 0o644,
        };
        let written = make_directory(&self.0, 0o755)
            .and_then(|()| write_atomic(&self.0.join(token), answer.as_bytes(), owner));
        written.map_err(|e| local(&e))
    }

    /// Takes an answer away. One that stays does no harm: it is true only for one order.
    pub fn remove(&self, token: &str) {
        if is_token(token) {
            let _ = std::fs::remove_file(self.0.join(token));
        }
    }
}

/// base64url, and nothing else (RFC 8555, 8).
fn is_token(text: &str) -> bool {
    let is_sign = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.len() <= LONGEST_TOKEN && text.bytes().all(is_sign)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_answer_is_given_for_its_token_alone_and_anybody_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "x").unwrap();
        let tokens = Tokens::at(directory.path().join("acme"));
        tokens.put("a-B_9", "a-B_9.thumb").unwrap();
        assert_eq!(
            tokens.answer("/.well-known/acme-challenge/a-B_9").unwrap(),
            "a-B_9.thumb"
        );
        let mode = |path: &str| {
            std::fs::metadata(directory.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode("acme"), mode("acme/a-B_9")), (0o755, 0o644));
        for path in [
            "/a-B_9",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/a-B_8",
            "/.well-known/acme-challenge/../secret",
            "/.well-known/acme-challenge/.",
            "/.well-known/acme-challenge/a-B_9/",
            "/.well-known/acme-challenge/%61-B_9",
        ] {
            assert_eq!(tokens.answer(path), None, "{path}");
        }
        tokens.remove("a-B_9");
        tokens.remove("../secret");
        assert_eq!(tokens.answer("/.well-known/acme-challenge/a-B_9"), None);
        assert!(directory.path().join("secret").exists());
        assert!(tokens.put("../secret", "x").is_err());
    }
}
