//! The kernel's tables, `inet autoban` and that of the block lists: what stands in them, in which order, as data and as the text that nft(8) reads.
//!
//! Pure. All that grows is a hash set with a size cap and a timeout for each element. Networks are looked up by the masked
//! address, so that a ban of a /24, /48 or /64 costs what one of an address costs: an interval set would have to be rebuilt
//! for each. Only the two fixed lists, white and black, are intervals.
//!
//! Invariant: the white list is asked first, so that it wins over everything below it.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::cidr::{Cidr, merged};
use super::key::{Network, Set, Source};

/// The name of the bans' table, of family `inet`.
pub const TABLE: &str = "autoban";
/// The tables of imported block lists, of which one stands: the other is filled unseen, and then takes its place at once.
pub const LIST_TABLES: [&str; 2] = ["autoban_lists_1", "autoban_lists_2"];
/// The one chain of each, before connection tracking: established connections are dropped too, and a drop costs least here.
pub const CHAIN: &str = "prerouting";
/// nft(8), "raw".
pub const PRIORITY: i32 = -300;
/// The set of the ports on which a weak ban closes UDP.
pub const SIP_PORTS: &str = "sip_ports";

/// What the administrator decides about the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The UDP ports of SIP, for weak bans.
    pub sip_ports: BTreeSet<u16>,
    pub caps: Caps,
    /// Never dropped, whatever else is banned.
    pub white: Vec<Cidr>,
    /// Always dropped.
    pub black: Vec<Cidr>,
}

/// How many elements a set may hold, for each family. An element costs the kernel about 87 bytes for IPv4, 121 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    pub jail: u32,
    pub weak: u32,
    pub networks: u32,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            jail: 131_072,
            weak: 65_536,
            networks: 65_536,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sip_ports: BTreeSet::from([5060]),
            caps: Caps::default(),
            white: Vec::new(),
            black: Vec::new(),
        }
    }
}

/// What a set's elements are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    V4,
    V6,
    Port,
}

impl Key {
    /// Bytes of an element.
    pub fn length(self) -> u32 {
        match self {
            Key::V4 => 4,
            Key::V6 => 16,
            Key::Port => 2,
        }
    }

    /// An element as the kernel has it, in network order.
    pub fn bytes(self, value: u128) -> Vec<u8> {
        let all = value.to_be_bytes();
        let skipped = all.len() - self.length() as usize;
        all.into_iter().skip(skipped).collect()
    }

    /// The greatest element.
    pub fn greatest(self) -> u128 {
        u128::MAX >> (128 - 8 * self.length())
    }

    fn name(self) -> &'static str {
        match self {
            Key::V4 => "ipv4_addr",
            Key::V6 => "ipv6_addr",
            Key::Port => "inet_service",
        }
    }

    fn show(self, value: u128) -> String {
        match self {
            Key::V4 => Ipv4Addr::from_bits(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
            Key::V6 => Ipv6Addr::from_bits(value).to_string(),
            Key::Port => value.to_string(),
        }
    }
}

/// How a set holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Each with its timeout, at most this many.
    Timed { size: u32 },
    /// Ranges, first and last, in order and apart from each other.
    Intervals(Vec<(u128, u128)>),
    /// Single ones.
    Fixed(Vec<u128>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSpec {
    pub name: &'static str,
    pub key: Key,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
}

/// One rule: a source that is in `set` is counted and gets the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub set: &'static str,
    /// What counts it, for its set alone or for several.
    pub counter: &'static str,
    pub key: Key,
    /// Bits of the source address that are looked up.
    pub prefix: u8,
    /// Only UDP to the ports of `sip_ports`.
    pub only_sip: bool,
    pub verdict: Verdict,
}

/// A whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    pub table: &'static str,
    pub sets: Vec<SetSpec>,
    pub rules: Vec<Rule>,
}

/// The set that holds a source.
pub fn set_of(set: Set, source: Source) -> &'static str {
    match (set, source) {
        (Set::Jail, Source::V4(_)) => "jail4",
        (Set::Jail, Source::V6(_)) => "jail6",
        (Set::Weak, Source::V4(_)) => "weak4",
        (Set::Weak, Source::V6(_)) => "weak6",
    }
}

/// The set that holds a network.
pub fn set_of_network(network: Network) -> &'static str {
    match network {
        Network::V4(_) => "net4",
        Network::V6(_) => "net6",
    }
}

/// The set of block lists that holds the networks of a family and length: `list4_24`.
pub fn list_set(key: Key, length: u8) -> &'static str {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let v4 = (0..=32).map(|length| format!("list4_{length}"));
        let v6 = (0..=128).map(|length| format!("list6_{length}"));
        v4.chain(v6).collect()
    });
    let index = match key {
        Key::V4 => usize::from(length.min(32)),
        _ => 33 + usize::from(length.min(128)),
    };
    NAMES.get(index).map_or("", String::as_str)
}

/// What counts the packets that block lists drop.
pub fn list_counter(key: Key) -> &'static str {
    match key {
        Key::V4 => "list4",
        _ => "list6",
    }
}

/// A source as an element of its set.
pub fn element(source: Source) -> (Key, u128) {
    match source {
        Source::V4(bits) => (Key::V4, bits.into()),
        Source::V6(bits) => (Key::V6, u128::from(bits) << 64),
    }
}

/// A network as an element of its set.
pub fn element_of_network(network: Network) -> (Key, u128) {
    match network {
        Network::V4(bits) => (Key::V4, bits.into()),
        Network::V6(bits) => (Key::V6, u128::from(bits) << 64),
    }
}

impl Ruleset {
    pub fn new(settings: &Settings) -> Ruleset {
        let caps = settings.caps;
        let ports = settings.sip_ports.iter().map(|port| u128::from(*port));
        let mut ruleset = Ruleset {
            table: TABLE,
            sets: vec![SetSpec {
                name: SIP_PORTS,
                key: Key::Port,
                kind: Kind::Fixed(ports.collect()),
            }],
            rules: Vec::new(),
        };
        let drop = Verdict::Drop;
        // Name, family, what it holds, bits that are looked up.
        ruleset.list("white4", Key::V4, &settings.white, Verdict::Accept);
        ruleset.list("white6", Key::V6, &settings.white, Verdict::Accept);
        ruleset.list("black4", Key::V4, &settings.black, drop);
        ruleset.list("black6", Key::V6, &settings.black, drop);
        ruleset.timed("jail4", Key::V4, caps.jail, 32, false);
        ruleset.timed("jail6", Key::V6, caps.jail, 64, false);
        ruleset.timed("net4", Key::V4, caps.networks, 24, false);
        ruleset.timed("net6", Key::V6, caps.networks, 48, false);
        ruleset.timed("weak4", Key::V4, caps.weak, 32, true);
        ruleset.timed("weak6", Key::V6, caps.weak, 64, true);
        ruleset
    }

    /// A table of block lists: for each family and length the entries there are. The white list wins here, too.
    pub fn of_lists(table: &'static str, white: &[Cidr], lengths: &[(Key, u8, usize)]) -> Ruleset {
        let mut ruleset = Ruleset {
            table,
            sets: Vec::new(),
            rules: Vec::new(),
        };
        ruleset.list("white4", Key::V4, white, Verdict::Accept);
        ruleset.list("white6", Key::V6, white, Verdict::Accept);
        for (key, length, count) in lengths {
            let size = u32::try_from(*count).unwrap_or(u32::MAX).max(1);
            let set = SetSpec {
                name: list_set(*key, *length),
                key: *key,
                kind: Kind::Timed { size },
            };
            let counter = list_counter(*key);
            ruleset.add(set, counter, *length, false, Verdict::Drop);
        }
        ruleset
    }

    fn list(&mut self, name: &'static str, key: Key, networks: &[Cidr], verdict: Verdict) {
        let of_family = networks
            .iter()
            .copied()
            .filter(|network| network.is_ipv4() == (key == Key::V4));
        let kind = Kind::Intervals(merged(of_family));
        let prefix = if key == Key::V4 { 32 } else { 128 };
        self.add(SetSpec { name, key, kind }, name, prefix, false, verdict);
    }

    fn timed(&mut self, name: &'static str, key: Key, size: u32, prefix: u8, only_sip: bool) {
        let kind = Kind::Timed { size };
        self.add(
            SetSpec { name, key, kind },
            name,
            prefix,
            only_sip,
            Verdict::Drop,
        );
    }

    fn add(
        &mut self,
        set: SetSpec,
        counter: &'static str,
        prefix: u8,
        only_sip: bool,
        verdict: Verdict,
    ) {
        self.rules.push(Rule {
            set: set.name,
            counter,
            key: set.key,
            prefix,
            only_sip,
            verdict,
        });
        self.sets.push(set);
    }

    /// The counters' names, once each, in the order of the rules.
    pub fn counters(&self) -> Vec<&'static str> {
        let mut all: Vec<&str> = self.rules.iter().map(|rule| rule.counter).collect();
        // Those that share a counter stand together.
        all.dedup();
        all
    }

    /// How many elements this set may hold; 0 for one that has no elements of ours.
    pub fn cap(&self, set: &str) -> u32 {
        let found = self.sets.iter().find(|spec| spec.name == set);
        match found.map(|spec| &spec.kind) {
            Some(Kind::Timed { size }) => *size,
            _ => 0,
        }
    }
}

impl Display for Ruleset {
    /// As nft(8) reads it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.table)?;
        for counter in self.counters() {
            writeln!(f, "\tcounter {counter} {{\n\t}}\n")?;
        }
        for set in &self.sets {
            writeln!(f, "{set}")?;
        }
        writeln!(f, "\tchain {CHAIN} {{")?;
        writeln!(
            f,
            "\t\ttype filter hook prerouting priority raw; policy accept;"
        )?;
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        writeln!(f, "\t}}\n}}")
    }
}

impl Display for SetSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tset {} {{\n\t\ttype {}", self.name, self.key.name())?;
        let elements: Vec<String> = match &self.kind {
            Kind::Timed { size } => {
                writeln!(f, "\t\tsize {size}\n\t\tflags timeout")?;
                Vec::new()
            }
            Kind::Intervals(ranges) => {
                writeln!(f, "\t\tflags interval")?;
                let show = |(first, last): &(u128, u128)| match first == last {
                    true => self.key.show(*first),
                    false => format!("{}-{}", self.key.show(*first), self.key.show(*last)),
                };
                ranges.iter().map(show).collect()
            }
            Kind::Fixed(values) => values.iter().map(|value| self.key.show(*value)).collect(),
        };
        if !elements.is_empty() {
            writeln!(f, "\t\telements = {{ {} }}", elements.join(", "))?;
        }
        writeln!(f, "\t}}")
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.key == Key::V4 {
            "ip saddr"
        } else {
            "ip6 saddr"
        })?;
        if u32::from(self.prefix) < 8 * self.key.length() {
            write!(f, " & {}", self.key.show(self.mask()))?;
        }
        write!(f, " @{}", self.set)?;
        if self.only_sip {
            write!(f, " udp dport @{SIP_PORTS}")?;
        }
        let verdict = match self.verdict {
            Verdict::Accept => "accept",
            Verdict::Drop => "drop",
        };
        write!(f, " counter name \"{}\" {verdict}", self.counter)
    }
}

impl Rule {
    /// The bits of the source that are looked up.
    pub fn mask(&self) -> u128 {
        let greatest = self.key.greatest();
        let host_bits = (8 * self.key.length()).saturating_sub(self.prefix.into());
        greatest & u128::MAX.checked_shl(host_bits).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_table() {
        let settings = Settings {
            sip_ports: BTreeSet::from([5060, 5160]),
            white: ["127.0.0.0/8", "192.0.2.77", "::1"]
                .map(|b| b.parse().unwrap())
                .to_vec(),
            black: vec!["2001:db8:bad::/48".parse().unwrap()],
            ..Settings::default()
        };
        insta::assert_snapshot!(Ruleset::new(&settings));
    }

    #[test]
    fn the_text_of_a_table_of_lists() {
        let white: Vec<Cidr> = ["192.0.2.77", "::1"].map(|b| b.parse().unwrap()).to_vec();
        let lengths = [(Key::V4, 20, 3), (Key::V4, 32, 500_000), (Key::V6, 48, 1)];
        insta::assert_snapshot!(Ruleset::of_lists(LIST_TABLES[0], &white, &lengths));
    }

    #[test]
    fn each_set_of_a_change_stands_in_the_table() {
        let ruleset = Ruleset::new(&Settings::default());
        for set in [Set::Jail, Set::Weak] {
            for source in [Source::V4(1), Source::V6(1)] {
                let name = set_of(set, source);
                let spec = ruleset
                    .sets
                    .iter()
                    .find(|spec| spec.name == name)
                    .expect(name);
                assert_eq!(spec.key, element(source).0);
                assert!(ruleset.cap(name) > 0);
            }
        }
        for network in [Network::V4(1), Network::V6(1)] {
            assert!(ruleset.cap(set_of_network(network)) > 0);
        }
        assert_eq!(ruleset.cap("white4"), 0);
    }

    #[test]
    fn an_element_is_what_its_rule_looks_up() {
        // A /64 is found by each of its addresses: masked, they are the element.
        let ruleset = Ruleset::new(&Settings::default());
        let rule = |name| ruleset.rules.iter().find(|rule| rule.set == name).unwrap();
        let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        let source = Source::of(address.into());
        assert_eq!(address.to_bits() & rule("jail6").mask(), element(source).1);
        let network = element_of_network(source.network()).1;
        assert_eq!(address.to_bits() & rule("net6").mask(), network);
        let address: Ipv4Addr = "192.0.2.7".parse().unwrap();
        let network = element_of_network(Source::of(address.into()).network()).1;
        assert_eq!(u128::from(address.to_bits()) & rule("net4").mask(), network);
        assert_eq!(Key::V4.bytes(network), [192, 0, 2, 0]);
    }
}
