//! Secrets of a volume: placeholders in seed files become random text, the same for the same name.
//!
//! Pure but for the source of randomness, which is an argument. A secret shows as `***`.

use std::collections::BTreeMap;

/// Secrets by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.0.keys().map(|name| (name, "***")))
            .finish()
    }
}

/// Letters and digits that survive every configuration syntax; 62 of them, 24 make 142 bits.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
pub const LENGTH: usize = 24;

/// A secret of 24 letters from random bytes; `None` when too few of them can be used.
///
/// Bytes of 248 and above are thrown away: 248 is the largest multiple of 62, so that every letter is
/// equally likely.
pub fn text_from(bytes: &[u8]) -> Option<String> {
    let letters = bytes.iter().filter(|byte| **byte < 248);
    let letters = letters.filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
    let text: String = letters
        .map(|letter| char::from(*letter))
        .take(LENGTH)
        .collect();
    (text.len() == LENGTH).then_some(text)
}

const OPEN: &str = "@secret:";

impl Secrets {
    /// Replaces every `@secret:NAME@`; `random` fills a buffer with random bytes.
    pub fn fill<E>(
        &mut self,
        text: &str,
        random: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<String, E> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OPEN) {
            out.push_str(before);
            match after.split_once('@').filter(|(name, _)| is_name(name)) {
                Some((name, tail)) => {
                    out.push_str(&self.get_or_make(name, random)?);
                    rest = tail;
                }
                None => {
                    out.push_str(OPEN);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn get_or_make<E>(
        &mut self,
        name: &str,
        random: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<String, E> {
        if let Some(known) = self.0.get(name) {
            return Ok(known.clone());
        }
        let secret = loop {
            let mut bytes = [0u8; 64];
            random(&mut bytes)?;
            // 64 bytes fall short of 24 letters less than once in 10^40 times.
            if let Some(secret) = text_from(&bytes) {
                break secret;
            }
        };
        self.0.insert(name.to_owned(), secret.clone());
        Ok(secret)
    }

    /// `NAME=value` lines, as kept while a seeding runs.
    pub fn to_text(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect()
    }

    pub fn from_text(text: &str) -> Secrets {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Secrets(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(secrets: &mut Secrets, text: &str) -> String {
        let random = &mut |bytes: &mut [u8]| getrandom::getrandom(bytes);
        secrets.fill(text, random).unwrap()
    }

    #[test]
    fn one_name_is_one_secret() {
        let mut secrets = Secrets::default();
        let out = fill(
            &mut secrets,
            "a=@secret:ami@ b=@secret:ami@ c=@secret:other@",
        );
        let words: Vec<&str> = out.split(' ').map(|w| &w[2..]).collect();
        assert_eq!(words[0].len(), LENGTH);
        assert_eq!(words[0], words[1]);
        assert_ne!(words[0], words[2]);
        assert_eq!(
            fill(
                &mut Secrets::from_text(&secrets.to_text()),
                "a=@secret:ami@"
            )[2..],
            *words[0]
        );
    }

    #[test]
    fn what_is_no_placeholder_stays() {
        let text = "mail @secret: x@y @secret:UPPER@ @secret:";
        assert_eq!(fill(&mut Secrets::default(), text), text);
    }

    #[test]
    fn secrets_never_print() {
        let mut secrets = Secrets::default();
        fill(&mut secrets, "@secret:ami@");
        assert_eq!(format!("{secrets:?}"), "{\"ami\": \"***\"}");
    }
}
