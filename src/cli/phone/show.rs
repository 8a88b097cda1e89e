//! What `phone list` and `phone show` say.
//!
//! `list` prints no password; `show` exists to print one, on stdout only.

use clap::Args;
use serde::Serialize;

use super::{PhoneError, QrContent, host};
use crate::cli::output::{Exit, Output};
use crate::phone::qr::{self, Account, Content, Style};
use crate::phone::{Host, Phone};

/// Arguments of `switchhook phone show`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ShowArgs {
    /// The phone to show
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    name: Option<String>,
    /// Show all phones
    #[arg(long)]
    all: bool,
    /// Print a QR code to scan, by default one for Grandstream Wave
    #[arg(long, value_name = "CONTENT", num_args = 0..=1, require_equals = true, default_missing_value = "grandstream")]
    qr: Option<QrContent>,
    /// The name or address at which phones find the exchange (default: $HOSTNAME)
    #[arg(long, value_name = "HOST")]
    domain: Option<Host>,
}

#[derive(Serialize)]
struct List<'a> {
    command: &'static str,
    phones: Vec<Public<'a>>,
}

#[derive(Serialize)]
struct Public<'a> {
    name: &'a str,
    number: Option<&'a str>,
    display: Option<&'a str>,
    username: Option<&'a str>,
    templates: &'a [String],
    line: usize,
}

#[derive(Serialize)]
struct Shown<'a> {
    command: &'static str,
    phones: Vec<Private<'a>>,
}

#[derive(Serialize)]
struct Private<'a> {
    #[serde(flatten)]
    public: Public<'a>,
    password: Option<&'a str>,
    server: Option<&'a str>,
    qr_content: Option<String>,
}

impl<'a> From<&'a Phone> for Public<'a> {
    fn from(phone: &'a Phone) -> Self {
        Self {
            name: &phone.name,
            number: phone.number.as_deref(),
            display: phone.display.as_deref(),
            username: phone.username.as_deref(),
            templates: &phone.templates,
            line: phone.line,
        }
    }
}

/// What the seed configuration listens on.
const PORTS: &str = "5060 (UDP or TCP), 5061 (TLS)";

pub(super) fn list(phones: &[Phone], output: &Output) {
    if output.is_json() {
        output.json(&List {
            command: "list",
            phones: phones.iter().map(Public::from).collect(),
        });
    } else if phones.is_empty() {
        output.text("no phones; `switchhook phone add NAME --number N` adds one");
    } else {
        output.text(&table(phones));
    }
}

fn table(phones: &[Phone]) -> String {
    let head = ["NAME", "NUMBER", "DISPLAY"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(phones.iter().map(|phone| {
        let [number, display] = [&phone.number, &phone.display]
            .map(|field| field.clone().unwrap_or_else(|| "-".into()));
        [phone.name.clone(), number, display]
    }));
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let (name_width, number_width) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
    let line = |[name, number, display]: &[String; 3]| {
        format!("{name:name_width$}  {number:number_width$}  {display}\n")
    };
    rows.iter().map(line).collect()
}

pub(super) fn show(args: &ShowArgs, phones: &[Phone], output: &Output) -> Result<Exit, PhoneError> {
    let wanted: Vec<&Phone> = match &args.name {
        Some(name) => {
            let found: Vec<&Phone> = phones
                .iter()
                .filter(|phone| phone.name.eq_ignore_ascii_case(name))
                .take(1)
                .collect();
            if found.is_empty() {
                return Err(PhoneError::NoSuchPhone(name.clone()));
            }
            found
        }
        None => phones.iter().collect(),
    };
    let server = host(args.domain.as_ref());
    let content = args.qr.map(Content::from);
    let texts: Vec<Option<String>> = match content {
        Some(content) => {
            let server = server.as_ref().ok_or(PhoneError::NoHost)?;
            wanted
                .iter()
                .map(|phone| qr_text(phone, server, content).map(Some))
                .collect::<Result<_, _>>()?
        }
        None => wanted.iter().map(|_| None).collect(),
    };
    let server = server.as_ref().map(Host::as_str);
    if output.is_json() {
        let shown = wanted
            .iter()
            .zip(texts)
            .map(|(phone, text)| private(phone, server, text))
            .collect();
        output.json(&Shown {
            command: "show",
            phones: shown,
        });
        return Ok(Exit::Ok);
    }
    if wanted.is_empty() {
        output.text("no phones; `switchhook phone add NAME --number N` adds one");
    }
    let is_local =
        server.is_none_or(|server| server == "localhost" || server.ends_with(".localhost"));
    for (phone, text) in wanted.iter().zip(texts) {
        output.text(&settings(phone, server));
        if let Some(text) = text {
            output.picture(&qr::draw(
                &text,
                Style {
                    unicode: output.unicode(),
                    colour: output.colour(),
                },
            )?);
        }
    }
    if is_local && !wanted.is_empty() {
        output.text("On other machines the server is the name or address of the machine that runs the exchange.");
    }
    Ok(Exit::Ok)
}

fn private<'a>(
    phone: &'a Phone,
    server: Option<&'a str>,
    qr_content: Option<String>,
) -> Private<'a> {
    Private {
        public: Public::from(phone),
        password: phone.password.as_ref().map(|password| password.reveal()),
        server,
        qr_content,
    }
}

/// The settings in the words that softphones use.
fn settings(phone: &Phone, server: Option<&str>) -> String {
    let password = phone.password.as_ref().map(|password| password.reveal());
    let fields = [
        ("number", phone.number.as_deref()),
        ("display", phone.display.as_deref()),
        ("server", server),
        ("port", Some(PORTS)),
        ("username", phone.username.as_deref()),
        ("password", password),
    ];
    let lines = fields.map(|(label, value)| format!("  {label:9} {}\n", value.unwrap_or("-")));
    format!("{}\n{}", phone.name, lines.concat())
}

fn qr_text(phone: &Phone, server: &Host, content: Content) -> Result<String, PhoneError> {
    let missing = |what| PhoneError::Incomplete {
        name: phone.name.clone(),
        what,
    };
    let account = Account {
        username: phone
            .username
            .as_deref()
            .ok_or_else(|| missing("user name"))?,
        password: phone.password.as_ref().ok_or_else(|| missing("password"))?,
        host: server,
        title: phone.number.as_deref().unwrap_or(&phone.name),
        display: phone.display.as_deref().unwrap_or(&phone.name),
    };
    Ok(account.text(content))
}
