//! Digests, tags and their notations.
//!
//! Pure. It refuses a notation that could be written in another way: base64 with stray bits or a wrong end.
//!
//! Invariant: comparisons take a time that hangs on lengths at most.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::asterisk::ami::md5;
use crate::websms::profile::{Algorithm, Encoding};

/// Whether both are the same. Tags of them are compared, in constant time; so their lengths do not tell anything either.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"switchhook websms comparison");
    hmac::verify(&key, one, hmac::sign(&key, other).as_ref()).is_ok()
}

/// Whether one of the tags is right by one of the secrets.
#[must_use]
pub fn any_hmac(algorithm: Algorithm, secrets: &[&str], text: &[u8], tags: &[Vec<u8>]) -> bool {
    secrets.iter().any(|secret| {
        tags.iter()
            .any(|tag| hmac(algorithm, secret.as_bytes(), text, tag))
    })
}

/// Whether a tag is right.
#[must_use]
pub fn hmac(algorithm: Algorithm, secret: &[u8], text: &[u8], tag: &[u8]) -> bool {
    let algorithm = match algorithm {
        Algorithm::Md5 => return same(&hmac_md5(secret, text), tag),
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::verify(&hmac::Key::new(algorithm, secret), text, tag).is_ok()
}

/// The tag of a text.
#[must_use]
pub fn tag(algorithm: Algorithm, secret: &[u8], text: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        Algorithm::Md5 => return hmac_md5(secret, text),
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
    };
    let key = hmac::Key::new(algorithm, secret);
    hmac::sign(&key, text).as_ref().to_vec()
}

/// A tag in the notation of its carrier.
#[must_use]
pub fn encoded(encoding: Encoding, tag: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex(tag),
        Encoding::Base64 => STANDARD.encode(tag),
        Encoding::Base64Hex => STANDARD.encode(hex(tag)),
    }
}

/// In small hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// RFC 2104 over MD5, which ring does not have and some carriers do.
fn hmac_md5(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut key = match secret.len() > 64 {
        true => digest_md5(secret),
        false => secret.to_vec(),
    };
    key.resize(64, 0);
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = digest_md5(&[padded(0x36).as_slice(), text].concat());
    digest_md5(&[padded(0x5c), inner].concat())
}

#[must_use]
pub fn digest_md5(text: &[u8]) -> Vec<u8> {
    unhex(&md5::hex(text)).unwrap_or_default()
}

/// The SHA-256 digest in small hexadecimal digits.
#[must_use]
pub fn sha256_hex(text: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, text).as_ref())
}

/// A tag as its carrier writes it.
#[must_use]
pub fn decoded(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => unhex(text),
        Encoding::Base64 => unbase64(text),
        Encoding::Base64Hex => unhex(std::str::from_utf8(&unbase64(text)?).ok()?),
    }
}

#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Base64 with its padding (RFC 4648, 4).
#[must_use]
pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bare = match text.as_bytes() {
        [bare @ .., b'=', b'='] | [bare @ .., b'='] => bare,
        whole => whole,
    };
    text.len()
        .is_multiple_of(4)
        .then(|| sextets(bare, b'+', b'/'))
        .flatten()
}

/// Base64 for addresses, without padding (RFC 4648, 5).
#[must_use]
pub fn unbase64_url(text: &str) -> Option<Vec<u8>> {
    sextets(text.as_bytes(), b'-', b'_')
}

fn sextets(text: &[u8], plus: u8, slash: u8) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            let value = match *byte {
                upper @ b'A'..=b'Z' => upper - b'A',
                lower @ b'a'..=b'z' => lower - b'a' + 26,
                digit @ b'0'..=b'9' => digit - b'0' + 52,
                sign if sign == plus => 62,
                sign if sign == slash => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        // What is left of the last byte must be zero, or one text could be written in several ways.
        let (count, stray) = match group.len() {
            4 => (3, 0),
            3 => (2, 2),
            2 => (1, 4),
            _ => return None,
        };
        if bits & ((1 << stray) - 1) != 0 {
            return None;
        }
        let whole = (bits >> stray) << (8 * (3 - count));
        let [_, group @ ..] = whole.to_be_bytes();
        bytes.extend(group.iter().take(count));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_one_way_only() {
        // RFC 4648, 10.
        for (text, meant) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(unbase64(text).as_deref(), Some(meant.as_bytes()), "{text}");
            let bare = text.trim_end_matches('=');
            assert_eq!(
                unbase64_url(bare).as_deref(),
                Some(meant.as_bytes()),
                "{text}"
            );
        }
        for text in [
            "Zh==", "Zm9=", "Zg=", "Zg", "Z", "Zg==Zg==", "Zg= =", "====", "Zm9_",
        ] {
            assert_eq!(unbase64(text), None, "{text}");
        }
        assert_eq!(unbase64_url("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(unbase64_url("Zg=="), None);
    }

    #[test]
    fn tags_are_those_of_the_standards() {
        // RFC 2202, cases 1, 2 and 6 of both.
        let what = b"what do ya want for nothing?".as_slice();
        let large = b"Test Using Larger Than Block-Size Key - Hash Key First".as_slice();
        for (algorithm, key, text, tag) in [
            (
                Algorithm::Md5,
                [0x0b; 16].as_slice(),
                b"Hi There".as_slice(),
                "9294727a3638bb1c13f48ef8158bfc9d",
            ),
            (
                Algorithm::Md5,
                b"Jefe",
                what,
                "750c783e6ab0b503eaa86e310a5db738",
            ),
            (
                Algorithm::Md5,
                &[0xaa; 80],
                large,
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
            (
                Algorithm::Sha1,
                b"Jefe",
                what,
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
        ] {
            let tag = unhex(tag).unwrap();
            assert!(hmac(algorithm, key, text, &tag), "{algorithm:?}");
            assert!(!hmac(algorithm, key, text, &tag[1..]), "{algorithm:?}");
            assert!(!hmac(algorithm, key, b"", &tag), "{algorithm:?}");
        }
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("012"), None);
    }

    #[test]
    fn what_differs_is_not_the_same() {
        assert!(same(b"", b""));
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secret", b"secrets"));
        assert!(!same(b"secret", b"secreT"));
    }
}
