//! Every environment variable that the appliance reads, declared once: name, default, meaning, check.
//!
//! `--help`, the reference page and the parser all come from this table. Invariant: names are unique.

/// The form that a value must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A whole number within the bounds.
    Number { least: u64, most: u64 },
    /// A time such as `30s`, `500ms` or `2min`; a bare number is seconds.
    Time,
    /// One of the words.
    Word(&'static [&'static str]),
    /// Option letters, with or without a leading dash.
    Letters(&'static str),
    /// An absolute path; empty where that is the default.
    Path,
    /// Bytes, with K, M or G for the powers of 1024.
    Size { least: u64, most: u64 },
    /// `auto`, addresses, or a name.
    External,
    /// STUN servers, with commas between.
    Servers,
    /// A range of UDP ports.
    Ports,
}

/// One variable.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    pub name: &'static str,
    pub default: &'static str,
    pub form: Form,
    pub meaning: &'static str,
}

const fn variable(
    name: &'static str,
    default: &'static str,
    form: Form,
    meaning: &'static str,
) -> Variable {
    Variable {
        name,
        default,
        form,
        meaning,
    }
}

/// The variables, in the order in which the reference page lists them.
pub const VARIABLES: &[Variable] = &[
    variable(
        "SYSLOG_LEVEL",
        "4",
        Form::Number { least: 0, most: 8 },
        "What the log shows: 0 nothing, 1 emergencies, 2 alerts, 3 critical, 4 errors, 5 warnings, 6 notices, 7 information, 8 debug. The exchange's own notices are always shown.",
    ),
    variable(
        "SYSLOG_OPTIONS",
        "-SDt",
        Form::Letters("SDt"),
        "D folds repeated lines into one with their number; S leaves out time and host, which `docker logs -t` knows; t strips the time that a speaker itself put in front. Each holds only when it is given.",
    ),
    variable(
        "HOSTNAME",
        "",
        Form::Text,
        "The name under which phones reach the exchange; goes into the self-signed certificate and phone settings.",
    ),
    variable(
        "SWITCHHOOK_EXTERNAL_ADDRESS",
        "",
        Form::External,
        "Our address as phones and carriers outside see it: `auto` asks STUN servers, an address (one of IPv4, one of IPv6, or both) holds as it is, a name is looked up. `auto` and a name are followed while calls go on. Not set: nothing is said of it.",
    ),
    variable(
        "SWITCHHOOK_EXTERNAL_INTERVAL",
        "60s",
        Form::Time,
        "How often an address that may change is looked at.",
    ),
    variable(
        "SWITCHHOOK_STUN_SERVERS",
        "stun.cloudflare.com,stun.l.google.com:19302,stun.sipgate.net",
        Form::Servers,
        "Whom `auto` asks, and `switchhook doctor` too: the first that answers, and all when the address seems to have changed.",
    ),
    variable(
        "SWITCHHOOK_RTP_PORTS",
        "10000-10099",
        Form::Ports,
        "The UDP ports of sound and pictures, four for a call; the demo publishes the same. At most 1000 in a container behind Docker's bridge, where each port costs a process of the host.",
    ),
    variable(
        "TLS_CERTDAYS",
        "30",
        Form::Number {
            least: 1,
            most: 36_500,
        },
        "Days for which a self-signed certificate is valid.",
    ),
    variable(
        "TLS_KEYBITS",
        "2048",
        Form::Number {
            least: 512,
            most: 16_384,
        },
        "The size of the RSA key of certificates that are ordered or self-signed: 2048, 3072 or 4096; another is rounded up, beyond 4096 down. Beside it there is one with ECDSA on P-256.",
    ),
    variable(
        "ACME_FILE",
        "/acme/acme.json",
        Form::Path,
        "Traefik's certificate store, of which the exchange takes its own certificate and no other. Mount the directory, not the file.",
    ),
    variable(
        "ACME_POSTHOOK",
        "",
        Form::Text,
        "A shell command to be run after a new certificate has been taken into use and every listener has shown it. Not set: none, for the PBX serves it already and no call was dropped.",
    ),
    variable(
        "SWITCHHOOK_CERT_SOURCE",
        "auto",
        Form::Word(&["auto", "files", "traefik", "acme", "self-signed"]),
        "Where the certificate comes from; `auto` takes the first that has one, in this order.",
    ),
    variable(
        "SWITCHHOOK_CERT_NAMES",
        "",
        Form::Text,
        "More names that the certificate should have, besides HOSTNAME and its domain, with commas between.",
    ),
    variable(
        "SWITCHHOOK_CERT_FILE",
        "",
        Form::Path,
        "A certificate of your own with its chain, in PEM; not set: `cert.pem` in `/srv/etc/ssl/asterisk`, if you have put one there.",
    ),
    variable(
        "SWITCHHOOK_CERT_KEY_FILE",
        "",
        Form::Path,
        "The private key of SWITCHHOOK_CERT_FILE; not set: it is in the same file.",
    ),
    variable(
        "PULSE_SERVER",
        "",
        Form::Text,
        "The sound server of the console channel, such as `unix:/run/pulse/socket`; Asterisk's libraries read it. Not set: the console has no sound.",
    ),
    variable(
        "PULSE_COOKIE",
        "",
        Form::Text,
        "The file with the cookie by which that server knows us.",
    ),
    variable(
        "WEBSMSD_PORT",
        "",
        Form::Text,
        "The TCP port on which WebSMS takes the carriers' webhooks; the images set 80. Not set, or no number: none.",
    ),
    variable(
        "WEBSMSD_TLS_PORT",
        "",
        Form::Number {
            least: 1,
            most: 65_535,
        },
        "The TCP port on which WebSMS takes them with TLS, by the certificate of the exchange; not set: none.",
    ),
    variable(
        "SWITCHHOOK_MAIL_PASSWORD",
        "",
        Form::Text,
        "The password of voicemail's mail server, where `minivm-send` is given none; secret.",
    ),
    variable(
        "SWITCHHOOK_MAIL_PASSWORD_FILE",
        "",
        Form::Path,
        "The file that holds this password; the user `mail` must be able to read it.",
    ),
    variable(
        "DOCKER_ENTRY_DIR",
        "/usr/lib/switchhook/entry.d",
        Form::Path,
        "Hooks run before the services, in name order.",
    ),
    variable(
        "DOCKER_EXIT_DIR",
        "/usr/lib/switchhook/exit.d",
        Form::Path,
        "Hooks run at the end, in name order.",
    ),
    variable(
        "SVDIR",
        "/etc/service",
        Form::Path,
        "Where runit service directories are looked for, besides the unit files.",
    ),
    variable(
        "MIGRATE_CONFIG",
        "auto",
        Form::Text,
        "`auto`: a volume of the predecessor moves in at its first start, once. `no`: only owners and modes are changed then. Any other word: files that Asterisk misses are added at each start.",
    ),
    variable(
        "SWITCHHOOK_DRAIN_TIMEOUT",
        "5s",
        Form::Time,
        "How long running calls may go on after a stop was ordered. Docker's own patience must be longer (`stop_grace_period`).",
    ),
    variable(
        "SWITCHHOOK_HOOK_TIMEOUT",
        "60s",
        Form::Time,
        "How long one hook may run before it is killed.",
    ),
    variable(
        super::pbx::VARIABLE,
        "asterisk",
        Form::Word(super::pbx::Pbx::WORDS),
        "Which PBX runs: its unit, program, configuration directory, console and account have this name.",
    ),
    variable(
        "SWITCHHOOK_LOG_FORMAT",
        "text",
        Form::Word(&["text", "json"]),
        "`text`: level, service and message; `json`: one object a line with time, service, level and message.",
    ),
    variable(
        "SWITCHHOOK_LOG_DIR",
        "",
        Form::Path,
        "Where the log is written to a file as well, `switchhook.log`, for example `/srv/var/log/switchhook`; not set: nowhere.",
    ),
    variable(
        "SWITCHHOOK_LOG_FILE_SIZE",
        "10M",
        Form::Size {
            least: 64 << 10,
            most: 1 << 40,
        },
        "No log file grows beyond this; it is renamed to `switchhook.log.1`, and a new one is begun.",
    ),
    variable(
        "SWITCHHOOK_LOG_FILES",
        "5",
        Form::Number {
            least: 1,
            most: 1000,
        },
        "How many renamed log files are kept; the oldest is removed.",
    ),
    variable(
        "SWITCHHOOK_ACME_ACCEPT_TOS",
        "no",
        Form::Word(&["yes", "no"]),
        "`yes`: the authority's terms of service are accepted, and certificates are ordered from it. Without it none is.",
    ),
    variable(
        "SWITCHHOOK_ACME_DIRECTORY",
        "letsencrypt",
        Form::Text,
        "The authority: `letsencrypt`, `letsencrypt-staging`, `zerossl`, or the address of its ACME directory.",
    ),
    variable(
        "SWITCHHOOK_ACME_EMAIL",
        "",
        Form::Text,
        "Where the authority may write to.",
    ),
    variable(
        "SWITCHHOOK_ACME_EAB_KID",
        "",
        Form::Text,
        "The id of an account made elsewhere (external account binding), where the authority wants one.",
    ),
    variable(
        "SWITCHHOOK_ACME_EAB_KEY",
        "",
        Form::Text,
        "The key that belongs to it, in base64url; secret.",
    ),
    variable(
        "SWITCHHOOK_ACME_EAB_KEY_FILE",
        "",
        Form::Path,
        "The file that holds this key.",
    ),
    variable(
        "SWITCHHOOK_ACME_PROFILE",
        "",
        Form::Text,
        "The kind of certificate, where the authority offers several; not set: `shortlived` when an address is among the names, else `classic`, else the authority's first.",
    ),
    variable(
        "SWITCHHOOK_ACME_CHALLENGE",
        "http-01",
        Form::Word(&["http-01", "tls-alpn-01", "dns-01"]),
        "How the authority sees that the names are ours.",
    ),
    variable(
        "SWITCHHOOK_ACME_HTTP_PORT",
        "80",
        Form::Number {
            least: 1,
            most: 65_535,
        },
        "Where http-01 is answered, while an order runs. If it is `WEBSMSD_PORT`, WebSMS answers.",
    ),
    variable(
        "SWITCHHOOK_ACME_TLS_PORT",
        "443",
        Form::Number {
            least: 1,
            most: 65_535,
        },
        "Where tls-alpn-01 is answered, while an order runs.",
    ),
    variable(
        "SWITCHHOOK_ACME_DNS_HOOK",
        "",
        Form::Path,
        "The program that sets and removes the record of dns-01.",
    ),
    variable(
        "SWITCHHOOK_ACME_DNS_WAIT",
        "30s",
        Form::Time,
        "How long a record that was set needs until all of the domain's DNS servers have it; an hour at most.",
    ),
    variable(
        "SWITCHHOOK_ACME_CA_FILE",
        "",
        Form::Path,
        "Certificates in PEM by which the directory's own HTTPS is trusted beside the system's: for an authority within a company.",
    ),
];

/// Variables that the appliance itself gives to hooks and services; accepted and overwritten when given.
pub const OURS: &[&str] = &["SWITCHHOOK_HOOK_ENV", "SWITCHHOOK_SERVICE"];

/// The row of `name`.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// The reference table in Markdown.
pub fn markdown() -> String {
    let mut out =
        String::from("| Variable | Default | Form | Meaning |\n| --- | --- | --- | --- |\n");
    for v in VARIABLES {
        let default = if v.default.is_empty() {
            "-".to_owned()
        } else {
            format!("`{}`", v.default)
        };
        out.push_str(&format!(
            "| `{}` | {default} | {} | {} |\n",
            v.name,
            form_text(v.form),
            v.meaning
        ));
    }
    out
}

/// A form in words.
pub fn form_text(form: Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Number { least, most } => format!("{least} to {most}"),
        Form::Time => "time, `30s`".to_owned(),
        Form::Word(words) => words.join(" or "),
        Form::Letters(letters) => format!("letters of `{letters}`"),
        Form::Path => "absolute path".to_owned(),
        Form::Size { .. } => "size, `10M`".to_owned(),
        Form::External => "`auto`, addresses or a name".to_owned(),
        Form::Servers => "servers, `host:port`".to_owned(),
        Form::Ports => "ports, `10000-10099`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, v) in VARIABLES.iter().enumerate() {
            assert!(
                VARIABLES[i + 1..].iter().all(|other| other.name != v.name),
                "{}",
                v.name
            );
        }
    }
}
