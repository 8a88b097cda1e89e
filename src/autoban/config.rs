//! autoban.conf: the predecessor's file as it is, and our keys in the same style.
//!
//! Pure. The predecessor read it as a PHP ini file: `key = value`, values bare or in quotation marks, comments after `;`.
//! Invariant: whatever the text is there is a configuration; each mistake is told with its line, and the default holds.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::cidr::Cidr;
use super::policy::{LONGEST, LONGEST_WEAK, Policy};

/// How the manager is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Manager {
    pub server: String,
    pub port: u16,
    pub username: String,
    /// None: that of manager.conf ([`secret_of`]).
    pub secret: Option<String>,
}

/// Shows no secret.
impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("server", &self.server)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("secret", &self.secret.as_ref().map(|_| "***"))
            .finish()
    }
}

/// A block list that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// An `https://` address or a path.
    pub from: String,
    /// How long an entry holds after it was last seen.
    pub time: Duration,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub enabled: bool,
    pub policy: Policy,
    pub whitelist: Vec<Cidr>,
    pub blacklist: Vec<Cidr>,
    /// Where a ban is told, an `https://` or `http://` address.
    pub webhook: Option<String>,
    pub imports: Vec<Import>,
    /// The UDP ports that a weak ban closes.
    pub sipports: Vec<u16>,
    pub manager: Manager,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            enabled: true,
            policy: Policy::default(),
            whitelist: Vec::new(),
            blacklist: Vec::new(),
            webhook: None,
            imports: Vec::new(),
            sipports: vec![5060],
            manager: Manager {
                server: "127.0.0.1".to_owned(),
                port: 5038,
                username: "autoban".to_owned(),
                secret: None,
            },
        }
    }
}

/// One mistake; what is said holds instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}\nhint: {hint}")]
pub struct Mistake {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub problem: String,
    pub hint: String,
}

/// The keys of `[autoban]`: name, form, what it is. The order is that of the reference.
pub const KEYS: &[(&str, &str, &str)] = &[
    ("enabled", "yes or no", "whether AutoBan watches at all"),
    (
        "maxcount",
        "1 to 1000",
        "this many events within `watchtime` are enough",
    ),
    (
        "watchtime",
        "time",
        "how long an event counts, and how long parole lasts after jail",
    ),
    ("jailtime", "time", "the first sentence"),
    (
        "repeatmult",
        "1 to 1000",
        "how many times longer each further sentence is",
    ),
    (
        "weaktime",
        "time, at most 5m",
        "how long forgeable evidence closes SIP over UDP",
    ),
    (
        "trusttime",
        "time",
        "how long a login makes its source trusted",
    ),
    (
        "aggregatecount",
        "2 to 256",
        "this many sentences ban the /24 or /48 around them",
    ),
    ("aggregatetime", "time", "the time within which they count"),
    (
        "maxwatch",
        "1000 to 4194304",
        "the most sources that are watched",
    ),
    (
        "maxjail",
        "100 to 1048576",
        "the most sources of each family in jail or on parole",
    ),
    ("whitelist", "networks", "never banned"),
    ("blacklist", "networks", "always dropped"),
    (
        "webhook",
        "address",
        "where a ban is told; read, and not carried out yet",
    ),
    (
        "import",
        "address or path, time",
        "a block list and how long its entries hold; can be repeated; read, and not carried out yet",
    ),
    ("sipports", "ports", "the UDP ports of SIP"),
];

const MANAGER_KEYS: &[&str] = &["server", "port", "username", "secret"];

/// Sections of the predecessor that say nothing here.
const IGNORED: &[&str] = &["nftables"];

/// Reads autoban.conf. `file` is its name for the mistakes.
#[must_use]
pub fn read(file: &str, text: &str) -> (Config, Vec<Mistake>) {
    let mut reader = Reader {
        file,
        line: 0,
        config: Config::default(),
        mistakes: Vec::new(),
        seen: HashMap::new(),
    };
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        reader.line = index + 1;
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with(';') || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            match rest.split_once(']') {
                Some((name, _)) => {
                    section = name.trim().to_ascii_lowercase();
                    reader.section(&section);
                }
                None => reader.tell("the section's name does not end", "write it as [autoban]"),
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            reader.tell(
                format!("`{}` is no `key = value`", line.escape_debug()),
                "write for example `maxcount = 10`, comments after `;`",
            );
            continue;
        };
        let (key, value) = (key.trim(), bare(value));
        match section.as_str() {
            "autoban" => reader.autoban(key, &value),
            "asmanager" => reader.manager(key, &value),
            "" => reader.tell(
                format!("`{}` stands before any section", key.escape_debug()),
                "put it below [autoban]",
            ),
            _ => {}
        }
    }
    (reader.config, reader.mistakes)
}

/// The value without comment and quotation marks.
fn bare(value: &str) -> String {
    let value = value.trim_start_matches('>').trim();
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote))
        {
            return inner.to_owned();
        }
    }
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

struct Reader<'a> {
    file: &'a str,
    line: usize,
    config: Config,
    mistakes: Vec<Mistake>,
    /// The line of each key that can stand once.
    seen: HashMap<String, usize>,
}

impl Reader<'_> {
    fn tell(&mut self, problem: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            line: self.line,
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    fn section(&mut self, name: &str) {
        let known = ["autoban", "asmanager"];
        if !known.contains(&name) && !IGNORED.contains(&name) {
            let hint = nearest(name, known.into_iter()).map_or(
                "the sections are [autoban] and [asmanager]".to_owned(),
                |known| format!("did you mean [{known}]?"),
            );
            self.tell(
                format!("[{}] is no section of AutoBan", name.escape_debug()),
                hint,
            );
        }
    }

    fn unknown(&mut self, key: &str, known: &[&str]) {
        let hint = nearest(key, known.iter().copied()).map_or_else(
            || format!("the keys are {}", known.join(", ")),
            |known| format!("did you mean {known}?"),
        );
        self.tell(
            format!("`{}` is no key of this section", key.escape_debug()),
            hint,
        );
    }

    /// Says so if a key stands a second time; the last one holds.
    fn repeated(&mut self, key: &str) {
        if let Some(first) = self.seen.insert(key.to_owned(), self.line) {
            self.tell(
                format!("`{key}` was already given in line {first}"),
                "remove one of them; this one holds",
            );
        }
    }

    fn autoban(&mut self, key: &str, value: &str) {
        let key = key.to_ascii_lowercase();
        if !KEYS.iter().any(|(name, ..)| *name == key) {
            let known: Vec<&str> = KEYS.iter().map(|(name, ..)| *name).collect();
            return self.unknown(&key, &known);
        }
        if !matches!(key.as_str(), "import" | "whitelist" | "blacklist") {
            self.repeated(&key);
        }
        let mut config = self.config.clone();
        let policy = &mut config.policy;
        let longest = LONGEST.as_secs();
        let result = match key.as_str() {
            "enabled" => boolean(value).map(|on| config.enabled = on),
            "maxcount" => number(value, 1, 1000).map(|n| policy.maxcount = n),
            "watchtime" => time(value, 1, longest / 2).map(|t| policy.watchtime = t),
            "jailtime" => time(value, 1, longest / 2).map(|t| policy.jailtime = t),
            "repeatmult" => thousandths(value).map(|n| policy.repeatmult = n),
            "weaktime" => time(value, 1, LONGEST_WEAK.as_secs()).map(|t| policy.weaktime = t),
            "trusttime" => time(value, 0, longest).map(|t| policy.trusttime = t),
            "aggregatecount" => number(value, 2, 256).map(|n| policy.aggregatecount = n),
            "aggregatetime" => time(value, 1, 86_400 * 7).map(|t| policy.aggregatetime = t),
            "maxwatch" => number(value, 1000, 4_194_304).map(|n| policy.maxwatch = n),
            "maxjail" => number(value, 100, 1_048_576).map(|n| policy.maxjail = n),
            "whitelist" => networks(value).map(|list| config.whitelist.extend(list)),
            "blacklist" => networks(value).map(|list| config.blacklist.extend(list)),
            "webhook" => address(value).map(|to| config.webhook = to),
            "import" => import(value).map(|import| config.imports.push(import)),
            _ => ports(value).map(|ports| config.sipports = ports),
        };
        match result {
            Ok(()) => self.config = config,
            Err(bad) => {
                let keeps = match key.as_str() {
                    "whitelist" | "blacklist" | "import" => "the line is left out".to_owned(),
                    _ => "the default holds".to_owned(),
                };
                self.tell(
                    format!("{key} = {}: {}; {keeps}", value.escape_debug(), bad.problem),
                    bad.hint,
                );
            }
        }
    }

    /// No value is repeated here: one of them is the secret.
    fn manager(&mut self, key: &str, value: &str) {
        let key = key.to_ascii_lowercase();
        if !MANAGER_KEYS.contains(&key.as_str()) {
            return self.unknown(&key, MANAGER_KEYS);
        }
        self.repeated(&format!("asmanager {key}"));
        if value.chars().any(char::is_control) {
            return self.tell(format!("{key} holds a control character"), "write it anew");
        }
        let manager = &mut self.config.manager;
        match key.as_str() {
            "server" if !value.is_empty() => value.clone_into(&mut manager.server),
            "username" if !value.is_empty() => value.clone_into(&mut manager.username),
            "secret" if !value.is_empty() => manager.secret = Some(value.to_owned()),
            "port" => match value.parse().ok().filter(|port| *port != 0) {
                Some(port) => manager.port = port,
                None => self.tell(
                    format!("port = {} is no port; 5038 holds", value.escape_debug()),
                    "write the `port` of manager.conf, for example 5038",
                ),
            },
            _ => self.tell(
                format!("{key} is empty; the default holds"),
                "write a value or remove the line",
            ),
        }
    }
}

/// What is wrong with a value.
struct Bad {
    problem: String,
    hint: String,
}

fn bad<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Bad> {
    Err(Bad {
        problem: problem.into(),
        hint: hint.into(),
    })
}

/// PHP's booleans too.
fn boolean(text: &str) -> Result<bool, Bad> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" | "none" | "null" | "" => Ok(false),
        _ => bad("that is neither yes nor no", "write yes or no"),
    }
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, Bad> {
    match text.parse::<u32>() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        Ok(_) => bad("that is out of bounds", format!("write {least} to {most}")),
        Err(_) => bad(
            "that is no whole number",
            format!("write {least} to {most} in digits"),
        ),
    }
}

/// A factor with up to three decimals, in thousandths.
fn thousandths(text: &str) -> Result<u32, Bad> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 3 || !digits(whole) || !digits(decimals) {
        return bad("that is no number", "write 1 to 1000, for example 6 or 1.5");
    }
    let value: Option<u32> = format!("{whole}{decimals:0<3}").parse().ok();
    match value {
        Some(n) if (1000..=1_000_000).contains(&n) => Ok(n),
        _ => bad(
            "that is out of bounds",
            "write 1 to 1000, for example 6 or 1.5",
        ),
    }
}

/// `1d2h3m4s`, or seconds.
fn time(text: &str, least: u64, most: u64) -> Result<Duration, Bad> {
    let Some(seconds) = seconds(text) else {
        return bad(
            "that is no time",
            "write seconds or for example 20m, 1d2h3m4s",
        );
    };
    match (least..=most).contains(&seconds) {
        true => Ok(Duration::from_secs(seconds)),
        false => bad(
            "that is out of bounds",
            format!("write {least}s to {most}s"),
        ),
    }
}

/// `1d2h3m4s`, each unit once and from large to small, or a number of seconds.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let text: String = text.split_whitespace().collect();
    if text.is_empty() {
        return None;
    }
    let mut total = 0u64;
    let mut rest = text.as_str();
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at(digits);
        let unit = match after.bytes().next() {
            Some(b'w') => 604_800,
            Some(b'd') => 86_400,
            Some(b'h') => 3600,
            Some(b'm') => 60,
            Some(b's') => 1,
            None if last == u64::MAX => 1,
            _ => return None,
        };
        // Each unit once, from large to small.
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(count.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after.get(1..).unwrap_or_default();
    }
    Some(total)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ', '\t']).filter(|word| !word.is_empty())
}

fn networks(text: &str) -> Result<Vec<Cidr>, Bad> {
    let list: Result<Vec<Cidr>, _> = words(text).map(str::parse).collect();
    list.or_else(|e: super::cidr::NoCidr| {
        bad(
            e.to_string(),
            "write addresses and networks with commas between them",
        )
    })
}

fn address(text: &str) -> Result<Option<String>, Bad> {
    let is_address = ["https://", "http://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    });
    match text {
        "" => Ok(None),
        _ if is_address => Ok(Some(text.to_owned())),
        _ => bad("that is no address", "write https://..."),
    }
}

fn import(text: &str) -> Result<Import, Bad> {
    const HINT: &str = "write for example `import = https://example.org/list.txt, 1d`";
    let (from, after) = text.rsplit_once(',').unwrap_or((text, "1d"));
    let from = from.trim().to_owned();
    if !from.starts_with('/') && !matches!(address(&from), Ok(Some(_))) {
        return bad("that is neither an address nor an absolute path", HINT);
    }
    match seconds(after) {
        Some(seconds) if (60..=LONGEST.as_secs()).contains(&seconds) => Ok(Import {
            from,
            time: Duration::from_secs(seconds),
        }),
        _ => bad("its time is no time of a minute or more", HINT),
    }
}

fn ports(text: &str) -> Result<Vec<u16>, Bad> {
    let ports: Option<Vec<u16>> = words(text)
        .map(|word| word.parse().ok().filter(|port| *port != 0))
        .collect();
    match ports {
        Some(ports) if !ports.is_empty() && ports.len() <= 16 => Ok(ports),
        _ => bad(
            "those are no ports",
            "write up to 16 ports, for example 5060, 5062",
        ),
    }
}

/// The known name that looks most alike.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, best) = known.map(|known| (distance(name, known), known)).min()?;
    (distance <= best.len().div_ceil(3)).then_some(best)
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.chars().enumerate() {
            let at = |j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let left = next.last().copied().unwrap_or(0);
            let replaced = at(j) + usize::from(x != y);
            next.push(replaced.min(left + 1).min(at(j + 1).saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// The secret that manager.conf has for a user.
#[must_use]
pub fn secret_of(manager_conf: &str, user: &str) -> Option<String> {
    let document = crate::asterisk::conf::Document::parse(manager_conf);
    document
        .effective(user, "secret")
        .filter(|secret| !secret.is_empty())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
