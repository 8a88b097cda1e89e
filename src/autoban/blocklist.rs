//! Block lists of others: one address or network a line, as published lists have them.
//!
//! Pure. `#` and `;` begin a comment, and what follows an address on its line is passed over. It refuses what would cut off
//! more than an attacker: very wide networks, and addresses that are not the internet's. Invariant: any bytes give a list or
//! say why not, and no list holds more than `MOST` entries.

pub mod loading;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::cidr::Cidr;
use super::ruleset::Key;

/// The most entries of a list.
pub const MOST: usize = 500_000;
/// The longest list that is read, in bytes.
pub const LONGEST: usize = 16 << 20;
/// No longer text is an address.
const LONGEST_WORD: usize = 64;

/// Networks as the kernel has them: for each family and length the masked addresses, in order and once each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockList {
    v4: BTreeMap<u8, Vec<u32>>,
    v6: BTreeMap<u8, Vec<u128>>,
}

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// From 1.
    pub line: usize,
    pub word: String,
    pub why: &'static str,
}

/// What a list's text holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    pub list: Arc<BlockList>,
    /// Lines that are no address, and the first of them.
    pub misread: usize,
    pub first_misread: Option<LeftOut>,
    /// Networks that are not blocked, and the first of them.
    pub refused: usize,
    pub first_refused: Option<LeftOut>,
}

/// Why a text is no list at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    #[error("it has more than {MOST} entries")]
    TooMany,
    #[error("it has no address; line {} is `{}`", .0.line, .0.word)]
    NoAddress(LeftOut),
}

/// Reads a list. Networks that hold one of `own`, this host's addresses, are refused only if they are not wider: within a
/// wider one the white list spares it.
pub fn parse(text: &[u8], own: &[IpAddr]) -> Result<Parsed, NoList> {
    let mut parsed = Parsed::default();
    let mut list = BlockList::default();
    let never = never();
    let mut count = 0;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'#' | b';' | b',');
        let line = line.trim_ascii();
        let Some(word) = line.split(is_end).next().filter(|word| !word.is_empty()) else {
            continue;
        };
        let left_out = |why| LeftOut {
            line: index + 1,
            word: shown(word),
            why,
        };
        let Some(cidr) = read(word) else {
            parsed.misread += 1;
            let first = &mut parsed.first_misread;
            first.get_or_insert_with(|| left_out("it is no address"));
            continue;
        };
        if let Some(why) = refusal(&cidr, &never, own) {
            parsed.refused += 1;
            let first = &mut parsed.first_refused;
            first.get_or_insert_with(|| left_out(why));
            continue;
        }
        count += 1;
        if count > MOST {
            return Err(NoList::TooMany);
        }
        list.push(cidr);
    }
    match parsed.first_misread.take() {
        // A page that says so instead of the list is no empty list.
        Some(first) if count + parsed.refused == 0 => return Err(NoList::NoAddress(first)),
        first => parsed.first_misread = first,
    }
    list.finish();
    parsed.list = Arc::new(list);
    Ok(parsed)
}

fn read(word: &[u8]) -> Option<Cidr> {
    let word = std::str::from_utf8(word.get(..LONGEST_WORD).unwrap_or(word)).ok()?;
    word.parse().ok()
}

/// So much of a word that nobody can fill the log with it, and nothing that a terminal obeys.
fn shown(word: &[u8]) -> String {
    let some = word.get(..LONGEST_WORD).unwrap_or(word);
    let show = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    some.iter().map(show).collect()
}

/// Networks that are not the internet's (IANA's special-purpose registries), or that send nothing.
const NEVER: [(&str, &str); 12] = [
    ("0.0.0.0/8", "it holds no sender"),
    ("10.0.0.0/8", "it holds private addresses"),
    ("100.64.0.0/10", "it holds private addresses"),
    ("127.0.0.0/8", "it holds the loopback"),
    ("169.254.0.0/16", "it holds addresses of a link"),
    ("172.16.0.0/12", "it holds private addresses"),
    ("192.168.0.0/16", "it holds private addresses"),
    ("224.0.0.0/3", "it holds no sender"),
    ("::/8", "it holds the loopback, or no sender"),
    ("fc00::/7", "it holds private addresses"),
    ("fe80::/10", "it holds addresses of a link"),
    ("ff00::/8", "it holds no sender"),
];

fn never() -> Vec<(Cidr, &'static str)> {
    let read = |(network, why): (&str, &'static str)| Some((network.parse().ok()?, why));
    NEVER.into_iter().filter_map(read).collect()
}

fn refusal(cidr: &Cidr, never: &[(Cidr, &'static str)], own: &[IpAddr]) -> Option<&'static str> {
    let widest = if cidr.is_ipv4() { 8 } else { 19 };
    if cidr.length() < widest {
        return Some(match cidr.is_ipv4() {
            true => "it is wider than a /8",
            false => "it is wider than a /19",
        });
    }
    if let Some((_, why)) = never.iter().find(|(network, _)| network.overlaps(cidr)) {
        return Some(why);
    }
    own.iter()
        .any(|own| *cidr == Cidr::host(*own))
        .then_some("it is an address of this host")
}

impl BlockList {
    fn push(&mut self, cidr: Cidr) {
        let (first, _) = cidr.range();
        match (cidr.is_ipv4(), u32::try_from(first)) {
            (true, Ok(bits)) => self.v4.entry(cidr.length()).or_default().push(bits),
            (true, Err(_)) => {}
            (false, _) => self.v6.entry(cidr.length()).or_default().push(first),
        }
    }

    fn finish(&mut self) {
        for bits in self.v4.values_mut() {
            bits.sort_unstable();
            bits.dedup();
            bits.shrink_to_fit();
        }
        for bits in self.v6.values_mut() {
            bits.sort_unstable();
            bits.dedup();
            bits.shrink_to_fit();
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths().map(|(_, _, count)| count).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The families and lengths in use, and how many entries each has.
    pub fn lengths(&self) -> impl Iterator<Item = (Key, u8, usize)> + '_ {
        let v4 = self
            .v4
            .iter()
            .map(|(length, all)| (Key::V4, *length, all.len()));
        let v6 = self
            .v6
            .iter()
            .map(|(length, all)| (Key::V6, *length, all.len()));
        v4.chain(v6)
    }

    /// Some of the entries of a family and length, from this index on.
    #[must_use]
    pub fn piece(&self, key: Key, length: u8, from: usize, count: usize) -> Vec<u128> {
        let to = from.saturating_add(count);
        match key {
            Key::V4 => {
                let all = self.v4.get(&length).map_or(&[][..], Vec::as_slice);
                let some = all.get(from..to.min(all.len())).unwrap_or_default();
                some.iter().map(|bits| u128::from(*bits)).collect()
            }
            _ => {
                let all = self.v6.get(&length).map_or(&[][..], Vec::as_slice);
                let some = all.get(from..to.min(all.len())).unwrap_or_default();
                some.to_vec()
            }
        }
    }

    /// Whether just this entry is on it.
    #[must_use]
    pub fn has(&self, key: Key, length: u8, value: u128) -> bool {
        match (key, u32::try_from(value)) {
            (Key::V4, Ok(bits)) => {
                let all = self.v4.get(&length);
                all.is_some_and(|all| all.binary_search(&bits).is_ok())
            }
            (Key::V4, Err(_)) => false,
            _ => {
                let all = self.v6.get(&length);
                all.is_some_and(|all| all.binary_search(&value).is_ok())
            }
        }
    }

    /// The widest entry that holds the address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<Cidr> {
        let is_v4 = Cidr::host(address).is_ipv4();
        let key = if is_v4 { Key::V4 } else { Key::V6 };
        let lengths: Vec<u8> = match is_v4 {
            true => self.v4.keys().copied().collect(),
            false => self.v6.keys().copied().collect(),
        };
        lengths.into_iter().find_map(|length| {
            let address = Cidr::host(address).address();
            let cidr = Cidr::new(address, length)?;
            self.has(key, length, cidr.range().0).then_some(cidr)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(list: &BlockList) -> Vec<String> {
        let mut all = Vec::new();
        for (key, length, count) in list.lengths() {
            for value in list.piece(key, length, 0, count) {
                let address = match key {
                    Key::V4 => IpAddr::from((value as u32).to_be_bytes()),
                    _ => IpAddr::from(value.to_be_bytes()),
                };
                all.push(Cidr::new(address, length).unwrap().to_string());
            }
        }
        all
    }

    #[test]
    fn the_forms_of_published_lists_are_read() {
        let text = b"\xef\xbb\xbf; Spam list\r\n1.10.16.0/20 ; SBL256894\r\n# comment\n\n  192.0.2.7\n192.0.2.7 again\n198.51.100.9,2026-01-01,scanner\n2001:db8:1::/48;x\n2001:db8::7\t12\n203.0.113.99/24#host bits\n::ffff:192.0.2.8\n";
        let parsed = parse(text, &[]).unwrap();
        assert_eq!((parsed.misread, parsed.refused), (0, 0), "{parsed:?}");
        assert_eq!(
            entries(&parsed.list),
            [
                "1.10.16.0/20",
                "203.0.113.0/24",
                "192.0.2.7",
                "192.0.2.8",
                "198.51.100.9",
                "2001:db8:1::/48",
                "2001:db8::7"
            ]
        );
        assert_eq!(parsed.list.len(), 7);
    }

    #[test]
    fn what_is_no_address_is_counted_and_the_first_is_named() {
        let parsed = parse(
            b"192.0.2.1\nhost.example.org\n192.0.2.0/33\n\x1b[2J\n192.0.2.2",
            &[],
        )
        .unwrap();
        assert_eq!((parsed.list.len(), parsed.misread), (2, 3));
        let first = parsed.first_misread.unwrap();
        assert_eq!((first.line, first.word.as_str()), (2, "host.example.org"));
    }

    #[test]
    fn a_page_of_something_else_is_no_list() {
        let long = "<html>".repeat(100);
        let Err(NoList::NoAddress(first)) = parse(long.as_bytes(), &[]) else {
            panic!("taken");
        };
        assert_eq!((first.line, first.word.len()), (1, LONGEST_WORD));
        assert_eq!(parse(b"# nobody today\n", &[]), Ok(Parsed::default()));
        let line = b"1.0.0.1\n".repeat(MOST);
        assert_eq!(parse(&line, &[]).unwrap().list.len(), 1);
        assert_eq!(
            parse(&[line, b"1.0.0.2".to_vec()].concat(), &[]),
            Err(NoList::TooMany)
        );
    }

    #[test]
    fn what_would_cut_off_too_much_is_refused() {
        let own = ["203.0.113.1".parse().unwrap()];
        for word in [
            "0.0.0.0/0",
            "8.0.0.0/7",
            "2000::/3",
            "::/0",
            "127.0.0.1",
            "10.1.2.3",
            "172.17.0.0/16",
            "192.168.1.0/24",
            "169.254.1.1",
            "100.64.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "0.0.0.0",
            "::1",
            "::",
            "fd00::/8",
            "fe80::1",
            "ff02::1",
            "203.0.113.1",
            "::ffff:10.0.0.1",
            "172.0.0.0/8",
        ] {
            let parsed = parse(format!("# x\n{word}").as_bytes(), &own).unwrap();
            let first = parsed.first_refused.unwrap_or_else(|| panic!("{word}"));
            assert_eq!((parsed.list.len(), parsed.refused), (0, 1), "{word}");
            assert_eq!((first.line, first.word.as_str()), (2, word));
        }
        let parsed = parse(b"203.0.113.0/24\n8.0.0.0/8\n2000::/19\n172.32.0.0/16", &own).unwrap();
        assert_eq!((parsed.list.len(), parsed.refused), (4, 0));
    }

    #[test]
    fn an_address_is_found_in_its_network() {
        let parsed = parse(
            b"192.0.2.0/24\n192.0.2.7\n2001:db8::/32\n198.51.100.0/31",
            &[],
        )
        .unwrap();
        let find = |text: &str| {
            parsed
                .list
                .find(text.parse().unwrap())
                .map(|c| c.to_string())
        };
        assert_eq!(find("192.0.2.7").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(find("::ffff:192.0.2.9").as_deref(), Some("192.0.2.0/24"));
        assert_eq!(find("2001:db8:ffff::1").as_deref(), Some("2001:db8::/32"));
        assert_eq!(find("198.51.100.2"), None);
        assert!(parsed.list.has(Key::V4, 32, 0xc000_0207));
        assert_eq!(parsed.list.piece(Key::V4, 24, 0, 9), [0xc000_0200]);
        assert_eq!(parsed.list.piece(Key::V4, 24, 1, 9), []);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_list_or_say_why_not(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&text, &[]);
        }

        #[test]
        fn what_is_listed_is_found(
            words in proptest::collection::vec(("[0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-f]{1,4}:[0-9a-f]{1,4}::", "(/[0-9]{1,3})?"), 0..20)
        ) {
            let text: String = words.iter().map(|(a, l)| format!("{a}{l}\n")).collect();
            if let Ok(parsed) = parse(text.as_bytes(), &[]) {
                for entry in entries(&parsed.list) {
                    let entry: Cidr = entry.parse().unwrap();
                    let found = parsed.list.find(entry.address()).unwrap();
                    prop_assert!(found.overlaps(&entry) && found.length() <= entry.length());
                }
            }
        }
    }
}
