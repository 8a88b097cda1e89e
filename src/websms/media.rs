//! Pictures and the like that come with a message: which are fetched, from where, and how they are handed on.
//!
//! Pure. A carrier tells an address of the web; what is there is fetched, kept and offered under an address that nobody can
//! guess. It refuses what could run in a browser, what is not what it says, and, unless the admin allows it, every address
//! that is not one of the public Internet: a webhook is not to have us ask the machines of the house.
//!
//! Invariant: a text goes out with a link for each of its media, ours or the carrier's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::delivery::Moment;

/// Of one message; further ones keep the carrier's link.
pub const MOST: usize = 10;
/// The largest one, in bytes.
pub const LARGEST: usize = 5 * 1024 * 1024;
/// All of one message together.
pub const LARGEST_ALL: u64 = 20 * 1024 * 1024;
/// Redirections that are followed.
pub const HOPS: usize = 3;
/// Tries until the text goes out with the carrier's link.
pub const TRIES: u32 = 4;
/// Where they are offered.
pub const PATH: &str = "/media/";
/// The length of a token: 24 random bytes in hexadecimal digits.
const TOKEN: usize = 48;

/// What is taken, and the ending of a file's name. Nothing of it runs in a browser.
const KINDS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("audio/3gpp", "3gp"),
    ("audio/aac", "aac"),
    ("audio/amr", "amr"),
    ("audio/mp4", "m4a"),
    ("audio/mpeg", "mp3"),
    ("audio/ogg", "ogg"),
    ("audio/wav", "wav"),
    ("image/bmp", "bmp"),
    ("image/gif", "gif"),
    ("image/heic", "heic"),
    ("image/jpeg", "jpg"),
    ("image/png", "png"),
    ("image/webp", "webp"),
    ("text/calendar", "ics"),
    ("text/plain", "txt"),
    ("text/vcard", "vcf"),
    ("text/x-vcard", "vcf"),
    ("video/3gpp", "3gp"),
    ("video/mp4", "mp4"),
    ("video/mpeg", "mpg"),
    ("video/quicktime", "mov"),
    ("video/webm", "webm"),
];

/// How the contents of some kinds begin.
const MARKS: &[(&str, &[&[u8]])] = &[
    ("application/pdf", &[b"%PDF-"]),
    ("image/bmp", &[b"BM"]),
    ("image/gif", &[b"GIF87a", b"GIF89a"]),
    ("image/jpeg", &[b"\xff\xd8\xff"]),
    ("image/png", &[b"\x89PNG\r\n\x1a\n"]),
    ("image/webp", &[b"RIFF"]),
    ("video/webm", &[b"\x1aE\xdf\xa3"]),
];

/// Why it is not kept. Another try would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("its type is not among those that are kept: {0}")]
    Kind(String),
    #[error("it is not what it says to be: {0}")]
    Mark(&'static str),
    #[error("it is empty")]
    Empty,
}

/// The kind of contents that come with this Content-Type, and the ending of their name.
///
/// # Errors
/// If it is none that is kept.
pub fn kind(content_type: &str, bytes: &[u8]) -> Result<(&'static str, &'static str), Refusal> {
    let named = content_type.split(';').next().unwrap_or_default();
    let named = named.trim().to_ascii_lowercase();
    let named = match named.as_str() {
        "image/jpg" => "image/jpeg",
        "audio/mp3" => "audio/mpeg",
        "audio/x-wav" => "audio/wav",
        other => other,
    };
    let known = KINDS.iter().find(|(kind, _)| *kind == named);
    let Some((kind, ending)) = known else {
        let shown = named.chars().filter(|c| c.is_ascii_graphic());
        return Err(Refusal::Kind(shown.take(64).collect()));
    };
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    let marks = MARKS.iter().find(|(of, _)| of == kind);
    let is_marked = marks.is_none_or(|(_, marks)| marks.iter().any(|m| bytes.starts_with(m)));
    match is_marked {
        true => Ok((kind, ending)),
        false => Err(Refusal::Mark(kind)),
    }
}

/// The ending of the name of a kind.
#[must_use]
pub fn ending(kind: &str) -> &'static str {
    let known = KINDS.iter().find(|(of, _)| *of == kind);
    known.map_or("bin", |(_, ending)| ending)
}

/// What an interface allows beyond the public Internet by TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allow {
    /// Without TLS.
    pub http: bool,
    /// At addresses of the house.
    pub private: bool,
}

/// Whether an address is one of the public Internet (IANA's special-purpose registries, RFC 6890).
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=255, _, _)
    );
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, high, low] = address.segments();
    let inner = |high: u16, low: u16| {
        let bits = u32::from(high) << 16 | u32::from(low);
        is_public_v4(Ipv4Addr::from(bits))
    };
    match (a, b) {
        // An IPv4 address behind a translator (RFC 6052) or a tunnel (RFC 3056).
        (0x64, 0xff9b) => address.segments().get(2..6) == Some(&[0; 4]) && inner(high, low),
        (0x2002, high) => inner(high, c),
        // Teredo, ORCHID, documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        (first, _) => first & 0xe000 == 0x2000,
    }
}

/// Whether an address may be asked by its scheme.
#[must_use]
pub fn may_be_asked(url: &str, allow: Allow) -> bool {
    let is = |scheme: &str| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    is("https://") || (allow.http && is("http://"))
}

/// Whether the carrier's own credentials may go along: over TLS, to the hosts that the profile names.
#[must_use]
pub fn may_have_credentials(url: &str, hosts: &[String]) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    hosts
        .iter()
        .any(|host| host.eq_ignore_ascii_case(authority))
}

/// Where a redirection leads.
#[must_use]
pub fn target(from: &str, location: &str) -> Option<String> {
    let (scheme, rest) = from.split_once("://")?;
    if location.contains("://") {
        return Some(location.to_owned());
    }
    if let Some(other) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{other}"));
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_absolute = location.starts_with('/');
    is_absolute.then(|| format!("{scheme}://{authority}{location}"))
}

/// The pause after so many tries, in milliseconds.
#[must_use]
pub fn pause(tries: u32) -> Moment {
    match tries {
        0 | 1 => 1_000,
        2 => 5_000,
        _ => 15_000,
    }
}

/// The token of a path under which something is offered.
#[must_use]
pub fn token_of(path: &str) -> Option<&str> {
    let token = path.strip_prefix(PATH)?;
    let fits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (token.len() == TOKEN && token.bytes().all(fits)).then_some(token)
}

/// The address of what is kept under a token.
#[must_use]
pub fn link(media_url: &str, token: &str) -> String {
    format!("{}{PATH}{token}", media_url.trim_end_matches('/'))
}

/// A text with the links of its media, each on a line of its own.
#[must_use]
pub fn with_links(body: &str, links: &[String]) -> String {
    let lines = std::iter::once(body).chain(links.iter().map(String::as_str));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_house_are_not_public() {
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "::7f00:1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "8.8.8.8",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_could_run_or_lies_is_not_kept() {
        let jpeg = b"\xff\xd8\xff\xe0rest".as_slice();
        assert_eq!(kind("image/jpeg", jpeg), Ok(("image/jpeg", "jpg")));
        assert_eq!(kind("IMAGE/JPG; x=y", jpeg), Ok(("image/jpeg", "jpg")));
        assert_eq!(kind("audio/amr", b"#!AMR"), Ok(("audio/amr", "amr")));
        assert_eq!(
            kind("image/jpeg", b"<html>"),
            Err(Refusal::Mark("image/jpeg"))
        );
        assert_eq!(kind("image/png", jpeg), Err(Refusal::Mark("image/png")));
        assert_eq!(kind("image/jpeg", b""), Err(Refusal::Empty));
        for other in [
            "text/html",
            "image/svg+xml",
            "application/octet-stream",
            "",
            "text/xml",
        ] {
            assert!(
                matches!(kind(other, jpeg), Err(Refusal::Kind(_))),
                "{other}"
            );
        }
        for (of, _) in MARKS {
            assert_ne!(ending(of), "bin");
        }
    }

    #[test]
    fn credentials_go_to_the_carriers_hosts_by_tls_alone() {
        let hosts = [
            "api.carrier.example".to_owned(),
            "localhost:8443".to_owned(),
        ];
        let may = |url: &str| may_have_credentials(url, &hosts);
        assert!(may("https://api.carrier.example/m/1"));
        assert!(may("https://localhost:8443/x"));
        for url in [
            "http://api.carrier.example/m/1",
            "https://api.carrier.example.evil.example/",
            "https://evil.example/api.carrier.example",
            "https://api.carrier.example@evil.example/",
            "https://user:x@api.carrier.example/",
            "https://api.carrier.example:444/",
            "https://evil.example\\@api.carrier.example/",
        ] {
            assert!(!may(url), "{url}");
        }
        let all = Allow {
            http: true,
            private: false,
        };
        assert!(may_be_asked("HTTPS://x/", Allow::default()));
        assert!(!may_be_asked("http://x/", Allow::default()));
        assert!(may_be_asked("http://x/", all));
        assert!(!may_be_asked("ftp://x/", all) && !may_be_asked("file:///etc/passwd", all));
    }

    #[test]
    fn redirections_lead_somewhere() {
        let to = |location: &str| target("https://a.example/b?c", location);
        assert_eq!(to("/d").as_deref(), Some("https://a.example/d"));
        assert_eq!(to("//e.example/d").as_deref(), Some("https://e.example/d"));
        assert_eq!(
            to("http://f.example/").as_deref(),
            Some("http://f.example/")
        );
        assert_eq!(to("d"), None);
    }

    #[test]
    fn links_stand_below_the_text() {
        let token = "0123456789abcdef".repeat(3);
        assert_eq!(token_of(&format!("/media/{token}")), Some(token.as_str()));
        for path in [
            "/media/",
            "/media/0123",
            "/hook",
            &format!("/media/{token}/x"),
            &format!("/media/{}", token.to_uppercase()),
        ] {
            assert_eq!(token_of(path), None, "{path}");
        }
        let ours = link("https://pbx.example.org/", &token);
        assert_eq!(ours, format!("https://pbx.example.org/media/{token}"));
        assert_eq!(
            with_links("Hej", std::slice::from_ref(&ours)),
            format!("Hej\n{ours}")
        );
        assert_eq!(with_links("", &["a".to_owned(), "b".to_owned()]), "a\nb");
        assert_eq!(with_links("Hej", &[]), "Hej");
    }
}
