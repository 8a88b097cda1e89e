//! The address of a web server as configurations have it.
//!
//! Pure. It may hold a password (`https://user:password@host/`) or a token in its path or query. Invariant: neither `Display`
//! nor `Debug` shows more than scheme, host and port.

use std::fmt;

/// An `http://` or `https://` address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    text: String,
    /// Where the host begins and where it ends, with its port.
    host: (usize, usize),
}

impl Address {
    /// `None`: it is no such address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Address> {
        let scheme = ["https://", "http://"]
            .iter()
            .find(|scheme| text.starts_with(**scheme))?
            .len();
        let rest = text.get(scheme..)?;
        let length = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let authority = rest.get(..length)?;
        let user = authority.rfind('@').map_or(0, |at| at + 1);
        let host = authority.get(user..)?;
        let is_plain = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
        (is_plain && is_host(host)).then(|| Address {
            text: text.to_owned(),
            host: (scheme + user, scheme + length),
        })
    }

    /// All of it, with what is secret.
    #[must_use]
    pub fn exposed(&self) -> &str {
        &self.text
    }

    /// With its path, and without user, password and query: for addresses whose path is no secret.
    #[must_use]
    pub fn with_path(&self) -> String {
        let after = self.text.get(self.host.1..).unwrap_or_default();
        let end = after.find(['?', '#']).unwrap_or(after.len());
        format!("{self}{}", after.get(..end).unwrap_or_default())
    }
}

/// A name, an IPv4 address or an IPv6 address in brackets; then a port, if any.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    !host.is_empty() && port.is_none_or(is_port)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.text.starts_with("https:") {
            true => "https://",
            false => "http://",
        };
        let host = self.text.get(self.host.0..self.host.1);
        write!(f, "{scheme}{}", host.unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        for text in [
            "https://user:hunter2@example.org:8443/lists/a.txt?key=hunter2#hunter2",
            "https://us@er:hunter2@example.org:8443/lists/a.txt?hunter2",
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), "https://example.org:8443");
            assert_eq!(address.with_path(), "https://example.org:8443/lists/a.txt");
            assert!(!format!("{address:?}").contains("hunter2"));
            assert_eq!(address.exposed(), text);
        }
        let v6 = Address::parse("http://[2001:db8::1]:80").unwrap();
        assert_eq!(v6.with_path(), "http://[2001:db8::1]:80");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "https://",
            "https:///x",
            "ftp://example.org/",
            "https://user:pass@/x",
            "https://user:pa/ss@example.org/",
            "https://example.org:port/",
            "https://example.org:99999/",
            "https://[::1/",
            "https://exa mple.org/",
            "https://example.org/\n",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
