//! Names of machines as certificates and people write them, brought to one form and compared by the rules.
//!
//! Pure. It refuses to guess: what is no name matches nothing. Invariant: a wildcard stands for exactly one label
//! (RFC 9525, 6.3), so never for the bare domain and never for two levels.

use std::fmt;
use std::net::IpAddr;

/// A name in small letters and ASCII form (RFC 5890), without a dot at its end; or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Reads what a person or a certificate wrote: capitals, a final dot and letters of all the world are taken.
    pub fn read(text: &str) -> Option<Name> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Name(address.to_string()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let (star, rest) = match text.strip_prefix("*.") {
            Some(rest) => ("*.", rest),
            None => ("", text),
        };
        let ascii = idna::domain_to_ascii(rest).ok()?;
        let is_label = |label: &str| {
            let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            (1..=63).contains(&label.len()) && label.chars().all(sound)
        };
        let name = format!("{star}{ascii}");
        (name.len() <= 253 && ascii.split('.').all(is_label)).then_some(Name(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether a certificate with this name serves whoever asks for `wanted`.
    pub fn covers(&self, wanted: &Name) -> bool {
        if self == wanted {
            return true;
        }
        let Some(domain) = self.0.strip_prefix("*.") else {
            return false;
        };
        if wanted.address().is_some() {
            return false;
        }
        match wanted.0.split_once('.') {
            Some((label, rest)) => label != "*" && rest == domain,
            None => false,
        }
    }

    /// The name without its first label; itself where it has only one, as the predecessor counts it.
    pub fn domain(&self) -> Name {
        match (self.address(), self.0.split_once('.')) {
            (None, Some((_, domain))) if !domain.is_empty() => Name(domain.to_owned()),
            _ => self.clone(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names that are looked for, the most wanted first: the host's, then those of SWITCHHOOK_CERT_NAMES, then the
/// host's domain. Also returns the words that are no names.
pub fn wanted(host: &str, more: &str) -> (Vec<Name>, Vec<String>) {
    let (mut names, bad) = given(host, more);
    let domain = Name::read(host).map(|host| host.domain());
    if let Some(domain) = domain.filter(|domain| !names.contains(domain)) {
        names.push(domain);
    }
    (names, bad)
}

/// The same without the host's domain, which often is another machine's: what an authority is asked for.
pub fn given(host: &str, more: &str) -> (Vec<Name>, Vec<String>) {
    let mut names: Vec<Name> = Vec::new();
    let mut bad = Vec::new();
    let given = more
        .split([',', ' ', '\t', '\n'])
        .filter(|word| !word.is_empty());
    for word in std::iter::once(host).chain(given) {
        match Name::read(word) {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => bad.push(word.to_owned()),
        }
    }
    (names, bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::read(text).unwrap()
    }

    fn covers(has: &str, wanted: &str) -> bool {
        name(has).covers(&name(wanted))
    }

    #[test]
    fn t15_a_wildcard_matches_neither_the_bare_domain_nor_two_levels() {
        assert!(covers("*.example.com", "pbx.example.com"));
        assert!(!covers("*.example.com", "example.com"));
        assert!(!covers("*.example.com", "a.pbx.example.com"));
        assert!(!covers("*.example.com", "pbx.example.org"));
        assert!(!covers("*.example.com", "*.sub.example.com"));
        assert!(covers("*.example.com", "*.example.com"));
        assert!(!covers("pbx.example.com", "*.example.com"));
    }

    #[test]
    fn t17_capitals_a_final_dot_and_letters_of_all_the_world() {
        assert!(covers("PBX.Example.COM.", "pbx.example.com"));
        assert_eq!(name("Büro.example").as_str(), "xn--bro-hoa.example");
        assert!(covers("*.BÜRO.example", "pbx.xn--bro-hoa.example"));
    }

    #[test]
    fn what_is_no_name_is_none() {
        let long = "a".repeat(64);
        for bad in [
            "",
            ".",
            "..",
            "*",
            "*.",
            "a..b",
            "../../evil",
            "a b",
            "*.*.x",
            "x.*.y",
            &long,
        ] {
            assert_eq!(Name::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_match_only_themselves() {
        assert!(covers("192.0.2.1", "192.0.2.1"));
        assert!(covers("2001:DB8::0:1", "2001:db8::1"));
        assert!(!covers("*.0.2.1", "192.0.2.1"));
        assert_eq!(name("192.0.2.1").domain(), name("192.0.2.1"));
    }

    #[test]
    fn the_host_comes_first_and_its_domain_last() {
        let (names, bad) = wanted("pbx.example.com", "sip.example.com, ,b@d 192.0.2.1");
        let names: Vec<&str> = names.iter().map(Name::as_str).collect();
        assert_eq!(
            names,
            [
                "pbx.example.com",
                "sip.example.com",
                "192.0.2.1",
                "example.com"
            ]
        );
        assert_eq!(bad, ["b@d"]);
        assert_eq!(wanted("tele", "").0, [name("tele")]);
    }

    proptest! {
        #[test]
        fn reading_twice_changes_nothing(text in "[a-zA-Z0-9.*_ü-]{0,40}") {
            if let Some(once) = Name::read(&text) {
                prop_assert_eq!(Name::read(once.as_str()), Some(once));
            }
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,80}") {
            let _ = Name::read(&text).map(|name| name.domain());
        }
    }
}
