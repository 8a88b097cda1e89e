//! The appliance's configuration from environment variables: raw text to a valid value.
//!
//! Pure: the variables arrive as an argument. Every mistake is reported at once. Invariant: a `Config`
//! holds only values that the registry allows.

pub mod accounts;
pub mod external;
pub mod paths;
pub mod pbx;
pub mod ports;
pub mod registry;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::units::value;
use external::{External, Server};
use pbx::Pbx;
use ports::Ports;
use registry::Form;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where and how much of the log is kept in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    pub directory: String,
    /// The most bytes of one file.
    pub size: u64,
    /// How many old files are kept.
    pub count: u64,
}

/// Where the certificate comes from, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// `auto` or the name of a source.
    pub source: String,
    /// More names that are wanted.
    pub names: String,
    pub acme_file: String,
    /// It was named, and is not only looked for at the usual place.
    pub acme_file_given: bool,
    pub file: Option<String>,
    pub key_file: Option<String>,
    /// Of a self-signed RSA key.
    pub key_bits: usize,
    /// Run after a certificate has been taken into use.
    pub post_hook: Option<String>,
}

/// How the exchange is reached from outside, and where its calls sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// `None`: nothing is said of an address outside.
    pub external: Option<External>,
    pub stun_servers: Vec<Server>,
    /// Between two looks at an address that may change.
    pub interval: Duration,
    pub rtp_ports: Ports,
    /// The range was named, and is not only the default.
    pub rtp_ports_given: bool,
}

/// The valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// 0 to 8: severities below this number are shown (`registry`).
    pub log_level: u8,
    pub fold_repeats: bool,
    pub log_format: LogFormat,
    /// Text lines bear time and host (no `-S`).
    pub log_stamps: bool,
    /// The time that a speaker put in front is stripped (`-t`).
    pub strip_client_times: bool,
    pub log_files: Option<LogFiles>,
    pub host_name: Option<String>,
    pub certificate_days: u32,
    pub certificates: Certificates,
    pub reach: Reach,
    /// Where WebSMS listens; `None` is nowhere.
    pub websms_port: Option<u16>,
    /// Where it listens with TLS.
    pub websms_tls_port: Option<u16>,
    /// What `MIGRATE_CONFIG` says.
    pub migrate: Option<String>,
    pub entry_dir: String,
    pub exit_dir: String,
    /// Where runit service directories are.
    pub service_dir: String,
    pub drain_timeout: Duration,
    pub hook_timeout: Duration,
    pub pbx: Pbx,
}

/// One mistake in the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    #[error("{name}={value} is not valid: {problem}\nhint: {hint}")]
    Value {
        name: String,
        value: String,
        problem: String,
        hint: String,
    },
    #[error("{name} is not a variable of this appliance\nhint: {hint}")]
    Unknown { name: String, hint: String },
}

const PREFIX: &str = "SWITCHHOOK_";

/// Checks the variables; an empty value counts as not set.
pub fn read(environment: &BTreeMap<String, String>) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for name in environment.keys().filter(|name| name.starts_with(PREFIX)) {
        if registry::find(name).is_none() && !registry::OURS.contains(&name.as_str()) {
            mistakes.push(Mistake::Unknown {
                name: name.clone(),
                hint: nearest_hint(name),
            });
        }
    }
    let mut values = BTreeMap::new();
    for variable in registry::VARIABLES {
        let given = environment
            .get(variable.name)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty());
        let text = given.unwrap_or(variable.default);
        // An empty default means that there is none; it needs no form.
        let checked = match given {
            None if text.is_empty() => Ok(()),
            _ => check(variable.form, text),
        };
        match checked {
            Ok(()) => {
                values.insert(variable.name, text);
            }
            Err(problem) => mistakes.push(Mistake::Value {
                name: variable.name.to_owned(),
                value: text.to_owned(),
                problem,
                hint: hint(variable),
            }),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let text = |name: &str| values.get(name).copied().unwrap_or_default();
    let given = |name: &str| Some(text(name).to_owned()).filter(|text| !text.is_empty());
    let time = |name: &str| {
        value::time_span(text(name))
            .ok()
            .flatten()
            .unwrap_or(Duration::MAX)
    };
    Ok(Config {
        log_level: text("SYSLOG_LEVEL").parse().unwrap_or(4),
        fold_repeats: text("SYSLOG_OPTIONS").contains('D'),
        log_format: if text("SWITCHHOOK_LOG_FORMAT") == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        log_stamps: !text("SYSLOG_OPTIONS").contains('S'),
        strip_client_times: text("SYSLOG_OPTIONS").contains('t'),
        log_files: Some(text("SWITCHHOOK_LOG_DIR"))
            .filter(|directory| !directory.is_empty())
            .map(|directory| LogFiles {
                directory: directory.to_owned(),
                size: value::size(text("SWITCHHOOK_LOG_FILE_SIZE"))
                    .ok()
                    .flatten()
                    .unwrap_or(10 << 20),
                count: text("SWITCHHOOK_LOG_FILES").parse().unwrap_or(5),
            }),
        host_name: Some(text("HOSTNAME").to_owned()).filter(|name| !name.is_empty()),
        certificate_days: text("TLS_CERTDAYS").parse().unwrap_or(30),
        certificates: Certificates {
            source: text("SWITCHHOOK_CERT_SOURCE").to_owned(),
            names: text("SWITCHHOOK_CERT_NAMES").to_owned(),
            acme_file: text("ACME_FILE").to_owned(),
            acme_file_given: environment
                .get("ACME_FILE")
                .is_some_and(|path| !path.trim().is_empty()),
            file: given("SWITCHHOOK_CERT_FILE"),
            key_file: given("SWITCHHOOK_CERT_KEY_FILE"),
            key_bits: text("TLS_KEYBITS").parse().unwrap_or(2048),
            post_hook: given("ACME_POSTHOOK"),
        },
        reach: Reach {
            external: given("SWITCHHOOK_EXTERNAL_ADDRESS")
                .and_then(|text| external::external(&text).ok()),
            stun_servers: external::servers(text("SWITCHHOOK_STUN_SERVERS")).unwrap_or_default(),
            interval: time("SWITCHHOOK_EXTERNAL_INTERVAL").max(Duration::from_secs(1)),
            rtp_ports: ports::ports(text("SWITCHHOOK_RTP_PORTS")).unwrap_or(Ports::DEFAULT),
            rtp_ports_given: environment
                .get("SWITCHHOOK_RTP_PORTS")
                .is_some_and(|ports| !ports.trim().is_empty()),
        },
        websms_port: text("WEBSMSD_PORT").parse().ok().filter(|port| *port != 0),
        websms_tls_port: text("WEBSMSD_TLS_PORT").parse().ok(),
        migrate: given("MIGRATE_CONFIG"),
        entry_dir: text("DOCKER_ENTRY_DIR").to_owned(),
        exit_dir: text("DOCKER_EXIT_DIR").to_owned(),
        service_dir: text("SVDIR").to_owned(),
        drain_timeout: time("SWITCHHOOK_DRAIN_TIMEOUT"),
        hook_timeout: time("SWITCHHOOK_HOOK_TIMEOUT"),
        pbx: Pbx::chosen(environment),
    })
}

fn check(form: Form, text: &str) -> Result<(), String> {
    match form {
        Form::Text => Ok(()),
        Form::Number { least, most } => match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!("it must be a whole number from {least} to {most}")),
        },
        Form::Time => value::time_span(text).map(|_| ()),
        Form::Word(words) if words.contains(&text) => Ok(()),
        Form::Word(words) => Err(format!("it must be one of {}", words.join(", "))),
        Form::Letters(letters) => {
            let given = text.strip_prefix('-').unwrap_or(text);
            match given
                .chars()
                .find(|c| !letters.contains(*c) && !c.is_whitespace() && *c != '-')
            {
                Some(letter) => Err(format!("there is no option `{letter}`")),
                None => Ok(()),
            }
        }
        Form::Path if text.starts_with('/') => Ok(()),
        Form::Path => Err("it must be an absolute path".to_owned()),
        Form::External => external::external(text).map(|_| ()),
        Form::Servers => external::servers(text).map(|_| ()),
        Form::Ports => ports::ports(text).map(|_| ()),
        Form::Size { least, most } => match value::size(text)? {
            Some(size) if (least..=most).contains(&size) => Ok(()),
            _ => Err(format!(
                "it must be from {}K to {}G",
                least >> 10,
                most >> 30
            )),
        },
    }
}

fn hint(variable: &registry::Variable) -> String {
    match variable.form {
        Form::Time => format!("for example {}={}", variable.name, variable.default),
        Form::External => format!(
            "for example {}=auto, 203.0.113.7 or pbx.example.com",
            variable.name
        ),
        _ if variable.default.is_empty() => "see `switchhook init --help`".to_owned(),
        _ => format!("leave it out for the default, {}", variable.default),
    }
}

/// Suggests the variable that looks most alike.
fn nearest_hint(name: &str) -> String {
    let best = registry::VARIABLES
        .iter()
        .map(|variable| (distance(name, variable.name), variable.name))
        .min()
        // What all names have in common is no likeness.
        .filter(|(distance, known)| *distance <= known.trim_start_matches(PREFIX).len() / 3);
    match best {
        Some((_, known)) => format!("did you mean {known}?"),
        None => "`switchhook init --help` lists the variables".to_owned(),
    }
}

/// Edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (j, y) in b.chars().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let cost = diagonal + usize::from(x != y);
            left = cost.min(left + 1).min(above.saturating_add(1));
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_port_of_websms_that_is_no_number_switches_it_off() {
        let port = |text| read(&env(&[("WEBSMSD_PORT", text)])).unwrap().websms_port;
        assert_eq!(port("8080"), Some(8080));
        assert_eq!([port(""), port("no"), port("70000")], [None; 3]);
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        let config = read(&env(&[])).unwrap();
        assert_eq!(config.log_level, 4);
        assert_eq!(config.drain_timeout, Duration::from_secs(5));
        assert!(config.fold_repeats);
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_a_hint() {
        let mistakes = read(&env(&[
            ("SWITCHHOOK_DRAIN_TIMOUT", "30"),
            ("SYSLOG_LEVEL", "9"),
            ("SWITCHHOOK_LOG_FORMAT", "xml"),
            ("SYSLOG_OPTIONS", "-X"),
            ("SWITCHHOOK_WOBBLE", "1"),
            ("DOCKER_ENTRY_DIR", "hooks"),
        ]))
        .unwrap_err();
        let text: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        SWITCHHOOK_DRAIN_TIMOUT is not a variable of this appliance
        hint: did you mean SWITCHHOOK_DRAIN_TIMEOUT?
        SWITCHHOOK_WOBBLE is not a variable of this appliance
        hint: `switchhook init --help` lists the variables
        SYSLOG_LEVEL=9 is not valid: it must be a whole number from 0 to 8
        hint: leave it out for the default, 4
        SYSLOG_OPTIONS=-X is not valid: there is no option `X`
        hint: leave it out for the default, -SDt
        DOCKER_ENTRY_DIR=hooks is not valid: it must be an absolute path
        hint: leave it out for the default, /usr/lib/switchhook/entry.d
        SWITCHHOOK_LOG_FORMAT=xml is not valid: it must be one of text, json
        hint: leave it out for the default, text
        ");
    }

    #[test]
    fn an_empty_value_counts_as_not_set() {
        assert_eq!(read(&env(&[("SYSLOG_LEVEL", "")])).unwrap().log_level, 4);
    }

    #[test]
    fn log_files_have_a_bound_and_options_stand_for_themselves() {
        let config = read(&env(&[
            ("SWITCHHOOK_LOG_DIR", "/srv/var/log/switchhook"),
            ("SWITCHHOOK_LOG_FILE_SIZE", "1M"),
            ("SYSLOG_OPTIONS", "-D"),
        ]))
        .unwrap();
        let files = config.log_files.unwrap();
        assert_eq!((files.size, files.count), (1 << 20, 5));
        assert!(config.log_stamps && !config.strip_client_times && config.fold_repeats);
        for bad in ["1", "63K", "infinity", "ten"] {
            assert!(
                read(&env(&[("SWITCHHOOK_LOG_FILE_SIZE", bad)])).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_address_outside_and_a_range_of_ports_are_read() {
        let plain = read(&env(&[])).unwrap().reach;
        assert_eq!((plain.external, plain.rtp_ports_given), (None, false));
        assert!(!plain.stun_servers.is_empty());
        let reach = read(&env(&[
            ("SWITCHHOOK_EXTERNAL_ADDRESS", "auto"),
            ("SWITCHHOOK_RTP_PORTS", "20000-20199"),
            ("SWITCHHOOK_EXTERNAL_INTERVAL", "0"),
        ]))
        .unwrap()
        .reach;
        assert_eq!(reach.external, Some(External::Auto));
        assert_eq!(
            (reach.rtp_ports.count(), reach.interval),
            (200, Duration::from_secs(1))
        );
        let mistakes = read(&env(&[("SWITCHHOOK_RTP_PORTS", "20001-20100")])).unwrap_err();
        let text = mistakes.first().map(ToString::to_string).unwrap();
        assert!(
            text.contains("even port") && text.contains("hint: "),
            "{text}"
        );
    }

    #[test]
    fn distances_are_symmetric_and_zero_only_for_equals() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
