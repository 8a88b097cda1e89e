//! Where a certificate comes from.
//!
//! Here are the words; `survey` asks the sources in their order, and each of the others is one. Invariant: a source hands
//! out nothing but pairs that were found sound.

#[cfg(feature = "services")]
pub mod files;
#[cfg(feature = "services")]
pub mod ordered;
#[cfg(feature = "services")]
pub mod own;
#[cfg(feature = "services")]
pub mod survey;
#[cfg(feature = "services")]
pub mod traefik;

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The user's own files.
    Files,
    /// Traefik's store.
    Traefik,
    /// Ordered by ourselves.
    Acme,
    SelfSigned,
}

impl Source {
    /// The words of SWITCHHOOK_CERT_SOURCE.
    pub const WORDS: &'static [&'static str] = &["auto", "files", "traefik", "acme", "self-signed"];

    pub const ALL: [Source; 4] = [
        Source::Files,
        Source::Traefik,
        Source::Acme,
        Source::SelfSigned,
    ];

    /// `None` is `auto`: the first one that has something.
    pub fn chosen(word: &str) -> Option<Source> {
        match word {
            "files" => Some(Source::Files),
            "traefik" => Some(Source::Traefik),
            "acme" => Some(Source::Acme),
            "self-signed" => Some(Source::SelfSigned),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Source::Files => "files",
            Source::Traefik => "traefik",
            Source::Acme => "acme",
            Source::SelfSigned => "self-signed",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::registry::{Form, find};

    #[test]
    fn the_words_are_those_of_the_variable() {
        let form = find("SWITCHHOOK_CERT_SOURCE").unwrap().form;
        assert_eq!(form, Form::Word(Source::WORDS));
        for word in Source::WORDS.iter().filter(|word| **word != "auto") {
            assert_eq!(Source::chosen(word).unwrap().name(), *word);
        }
        assert_eq!(Source::chosen("auto"), None);
    }
}
