//! Who may use the API: clients, known by digests of their tokens, with the numbers that are theirs.
//!
//! Pure. A number can be written in several ways; those of a client are looked for in all of them. Invariant: a token is
//! compared with all clients', in a time that does not tell how much of it is right.

use std::fmt;

use ring::digest;

use crate::websms::verify::secret;

/// The SHA-256 digest of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(Vec<u8>);

impl Digest {
    #[must_use]
    pub fn of(token: &str) -> Digest {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Digest(digest.as_ref().to_vec())
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn read(text: &str) -> Option<Digest> {
        let bytes = secret::unhex(text).filter(|bytes| bytes.len() == 32)?;
        Some(Digest(bytes))
    }
}

/// Whoever knows it can look for the token.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    pub send: bool,
    pub read: bool,
}

impl Default for Rights {
    fn default() -> Rights {
        Rights {
            send: true,
            read: true,
        }
    }
}

/// Some numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    spellings: Vec<String>,
}

impl Scope {
    #[must_use]
    pub fn new(numbers: &[String]) -> Scope {
        let spellings = numbers.iter().flat_map(|number| spellings(number));
        Scope {
            spellings: spellings.collect(),
        }
    }

    /// All ways in which its numbers are written.
    #[must_use]
    pub fn spellings(&self) -> &[String] {
        &self.spellings
    }

    #[must_use]
    pub fn has(&self, number: &str) -> bool {
        self.spellings.iter().any(|known| known == number)
    }

    /// Whether a message from and to these numbers is its business.
    #[must_use]
    pub fn sees(&self, from: &str, to: &str) -> bool {
        self.has(from) || self.has(to)
    }
}

/// The ways in which an international number is written; anything else is written as it is.
#[must_use]
pub fn spellings(number: &str) -> Vec<String> {
    let number = number.trim();
    let digits = number
        .strip_prefix('+')
        .or_else(|| number.strip_prefix("00"));
    match digits {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() > 6 => {
            vec![
                format!("+{digits}"),
                digits.to_owned(),
                format!("00{digits}"),
            ]
        }
        _ => vec![number.to_owned()],
    }
}

/// The ways in which a number is written that somebody looks for: without a plus it may have its country, too.
#[must_use]
pub fn sought(number: &str) -> Vec<String> {
    let number = number.trim();
    let is_whole = number.len() > 6 && !number.starts_with('0');
    match is_whole && number.bytes().all(|b| b.is_ascii_digit()) {
        true => spellings(&format!("+{number}")),
        false => spellings(number),
    }
}

/// Who may use the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub name: String,
    pub token: Digest,
    pub rights: Rights,
    /// None: all.
    pub scope: Option<Scope>,
}

/// Whose token that is.
#[must_use]
pub fn find<'a>(clients: &'a [Client], token: &str) -> Option<&'a Client> {
    let given = Digest::of(token);
    let mut found = None;
    for client in clients {
        if secret::same(&client.token.0, &given.0) {
            found = Some(client);
        }
    }
    found
}

/// The token in the value of a header Authorization (RFC 6750).
#[must_use]
pub fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, token: &str) -> Client {
        Client {
            name: name.to_owned(),
            token: Digest::of(token),
            rights: Rights::default(),
            scope: None,
        }
    }

    #[test]
    fn a_client_is_known_by_its_whole_token() {
        let clients = [
            client("a", "0123456789abcdef"),
            client("b", "fedcba9876543210"),
        ];
        let name = |token| find(&clients, token).map(|client| client.name.as_str());
        assert_eq!(name("fedcba9876543210"), Some("b"));
        for token in [
            "",
            "fedcba987654321",
            "fedcba98765432100",
            "Fedcba9876543210",
        ] {
            assert_eq!(name(token), None, "{token}");
        }
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::read(abc), Some(Digest::of("abc")));
        assert_eq!(Digest::read(&abc[1..]), None);
        assert!(!format!("{clients:?}").contains("0123"));
    }

    #[test]
    fn the_header_of_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for value in ["abc", "Bearer", "Bearer ", "Basic abc", ""] {
            assert_eq!(bearer(value), None, "{value}");
        }
    }

    #[test]
    fn a_number_is_found_however_it_is_written() {
        let scope = Scope::new(&[
            "+46701234567".to_owned(),
            "101".to_owned(),
            "Shop".to_owned(),
        ]);
        for number in [
            "+46701234567",
            "46701234567",
            "0046701234567",
            "101",
            "Shop",
        ] {
            assert!(scope.has(number), "{number}");
        }
        for number in ["", "+101", "1011", "4670123456", "+467012345678", "shop"] {
            assert!(!scope.has(number), "{number}");
        }
        assert_eq!(sought("46701234567"), sought("0046701234567"));
        assert_eq!(sought("0701234567"), ["0701234567"]);
        assert_eq!(sought("101"), ["101"]);
        assert!(scope.sees("+1", "101") && scope.sees("101", "+1") && !scope.sees("+1", "+2"));
    }
}
