//! `minivm-send`: takes a mail on standard input, as sendmail(8) does, and ends when it is on disk.
//!
//! The predecessor's options. MiniVM runs it in the background, does not read its exit code and removes its own copy behind
//! it: so what can be kept is kept, even when the command line is wrong or the mail has no recipient. Such a mail lies aside
//! in the queue with its reason. Invariant: 0 is only said when every letter is on disk and can be tried.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

use crate::cli::output::{Exit, Output};
use crate::mail::letter::{Letter, SCHEMA, State};
use crate::mail::message::{self, Given};
use crate::mail::queue::{PLACE, Queue, QueueError};
use crate::mail::route::{Password, Protocol, Route, Secret, Server};
use crate::sys::{clock, environment};

/// The largest mail, in bytes: an hour of voice as WAV, encoded, is 160 MB; a mail server takes less.
const LARGEST: u64 = 256 * 1024 * 1024;
/// The facility MAIL (RFC 5424, 6.2.1), where the predecessor spoke.
const FACILITY: u8 = 2 * 8;
const ERROR: u8 = 3;
const INFO: u8 = 6;

const EXAMPLES: &str = "\
Examples:
  minivm-send -H mx.example.com:587 -P starttls -u username --password-file /run/secrets/mail < mail
  minivm-send -H mail -f voicemail@example.com < mail        a server of your own network, without TLS";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SendArgs {
    /// The mail server; without a port: 25, for starttls 587, for smtps and tls 465
    #[arg(short = 'H', value_name = "HOST[:PORT]")]
    server: Server,
    /// How it is spoken to: smtp, smtps, tls, starttls
    #[arg(
        short = 'P',
        value_name = "PROTOCOL",
        default_value = "smtp",
        hide_default_value = true
    )]
    protocol: Protocol,
    /// Log in there as this user
    #[arg(short = 'u', value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// The password; whoever sees processes sees it, so a file is better
    #[arg(
        short = 'p',
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "password_file"
    )]
    password: Option<String>,
    /// The file that holds the password; not set: SWITCHHOOK_MAIL_PASSWORD, or SWITCHHOOK_MAIL_PASSWORD_FILE
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The sender of the envelope; not set: the mail's From
    #[arg(short = 'f', value_name = "ADDRESS")]
    from: Option<String>,
    /// Tell on stdout, too, what goes into the log
    #[arg(short = 'e')]
    echo: bool,
    /// Recipients are read from the header; always so, as for sendmail
    #[arg(short = 't')]
    _header: bool,
    /// Authorities by which the server's certificate may be known, in PEM, beside the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Look for everything below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// As a program of its own: `-h` is its help, as it was the predecessor's.
#[derive(Debug, Parser)]
#[command(name = "minivm-send", version, max_term_width = 100)]
pub struct Alone {
    #[command(flatten)]
    pub args: SendArgs,
}

impl SendArgs {
    /// The way to the server that these words describe.
    pub fn route(&self) -> Route {
        let user = self.user.clone().filter(|user| !user.is_empty());
        let given = self
            .password
            .clone()
            .map(|text| Password::Given(Secret::new(text)));
        let file = self.password_file.clone().map(Password::File);
        Route {
            host: self.server.host.clone(),
            port: self.server.port.unwrap_or(self.protocol.port()),
            protocol: self.protocol,
            password: user
                .is_some()
                .then(|| given.or(file).unwrap_or(Password::Environment)),
            user,
            ca_file: self.ca_file.clone(),
        }
    }
}

/// Why a mail was not taken as it should be.
#[derive(Debug, thiserror::Error)]
enum TakeError {
    #[error("standard input cannot be read: {0}")]
    Input(io::Error),
    #[error("the mail is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
    #[error("there is no mail on standard input")]
    Empty,
    #[error("no name can be made for it: {0}")]
    Name(getrandom::Error),
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// It is on disk.
    #[error("the mail lies aside as {id}: {reason}")]
    Aside { id: String, reason: String },
}

/// Runs as `minivm-send`.
pub fn run_alone(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    match Alone::try_parse_from(&words) {
        Ok(alone) => run(&alone.args),
        Err(error) => {
            let is_usage = error.use_stderr();
            // What was not understood may be a password, and what the PBX's programs say goes into the log.
            if is_usage && !io::stderr().is_terminal() {
                let text = format!("the command line is not understood: {}", error.kind());
                Output::new(false).problem(&text, Some("`minivm-send --help` lists the options"));
            } else {
                let _ = error.print();
            }
            if is_usage {
                keep(&error, &words);
            }
            ExitCode::from(if is_usage { 64 } else { 0 })
        }
    }
}

pub fn run(args: &SendArgs) -> ExitCode {
    let out = Output::new(false);
    let queue = Queue::at(args.root.join(PLACE));
    let taken = read_input().and_then(|raw| {
        take(
            &queue,
            Some(&args.route()),
            args.from.as_deref(),
            &raw,
            None,
        )
    });
    let (severity, text, exit) = match &taken {
        Ok(ids) => {
            let ids = ids.join(", ");
            (
                INFO,
                format!("the mail is taken for {} as {ids}", args.route()),
                Exit::Ok,
            )
        }
        Err(error) => {
            let hint = match error {
                TakeError::Queue(error) => error.hint().map(ToOwned::to_owned),
                TakeError::Aside { id, .. } => {
                    Some(format!("`switchhook mail show {id}` shows it"))
                }
                _ => None,
            };
            out.problem(&error.to_string(), hint.as_deref());
            let exit = match error {
                TakeError::Aside { .. } => Exit::No,
                _ => Exit::Failed,
            };
            (ERROR, error.to_string(), exit)
        }
    };
    if args.echo {
        out.text(&text);
    }
    log(severity, &text);
    out.finish(exit)
}

/// A mail whose command line was not understood: MiniVM has no other copy.
fn keep(error: &clap::Error, words: &[OsString]) {
    if io::stdin().is_terminal() {
        return;
    }
    // The root is the tests' affair; it may stand among the words that were not understood.
    let root = words
        .iter()
        .skip_while(|word| *word != "--root")
        .nth(1)
        .map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let queue = Queue::at(root.join(PLACE));
    // The first line says what; what was given for an option stays out of it, it may be a secret.
    let reason = format!("its command line was not understood ({})", error.kind());
    let kept = read_input().and_then(|raw| take(&queue, None, None, &raw, Some(&reason)));
    if let Err(error) = kept
        && !matches!(error, TakeError::Empty)
    {
        Output::new(false).problem(&error.to_string(), None);
        log(ERROR, &error.to_string());
    }
}

fn read_input() -> Result<Vec<u8>, TakeError> {
    let mut raw = Vec::new();
    let mut input = io::stdin().lock().take(LARGEST + 1);
    input.read_to_end(&mut raw).map_err(TakeError::Input)?;
    if raw.len() as u64 > LARGEST {
        return Err(TakeError::TooLarge);
    }
    match raw.trim_ascii().is_empty() {
        true => Err(TakeError::Empty),
        false => Ok(raw),
    }
}

/// Brings a letter for each recipient to disk; the value is their ids.
fn take(
    queue: &Queue,
    route: Option<&Route>,
    from: Option<&str>,
    raw: &[u8],
    reason: Option<&str>,
) -> Result<Vec<String>, TakeError> {
    let new_id = || Queue::new_id().map_err(TakeError::Name);
    let id = format!("{}@{}", new_id()?, environment::host_name());
    let date = rfc5322(clock::wall_now());
    let mail = message::read(
        raw,
        Given {
            id: &id,
            date: &date,
        },
    );
    let from = from.filter(|from| !from.is_empty()).map(ToOwned::to_owned);
    let mut letter = Letter {
        schema: SCHEMA,
        id: String::new(),
        taken: clock::unix_now(),
        from: from.or(mail.from).unwrap_or_default(),
        to: String::new(),
        subject: mail.subject,
        route: route.cloned(),
    };
    let mut reason = reason.map(ToOwned::to_owned);
    if reason.is_none() && mail.to.is_empty() {
        reason = Some("its header names no recipient".to_owned());
    }
    let state = reason.as_ref().map(State::aside);
    // A letter that lies aside may be without a recipient.
    let recipients = match mail.to.is_empty() {
        true => vec![String::new()],
        false => mail.to,
    };
    let mut ids = Vec::new();
    for to in recipients {
        letter.id = new_id()?;
        letter.to = to;
        queue.put(&letter, &mail.bytes, state.as_ref())?;
        ids.push(letter.id.clone());
    }
    match reason {
        Some(reason) => Err(TakeError::Aside {
            id: ids.join(", "),
            reason,
        }),
        None => Ok(ids),
    }
}

/// As in `Sun, 29 Nov 2026 12:00:00 +0000` (RFC 5322, 3.3).
fn rfc5322(moment: time::OffsetDateTime) -> String {
    let (date, clock) = (moment.date(), moment.time());
    let three = |name: String| name.chars().take(3).collect::<String>();
    format!(
        "{}, {} {} {} {:02}:{:02}:{:02} +0000",
        three(date.weekday().to_string()),
        date.day(),
        three(date.month().to_string()),
        date.year(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// In the log of the exchange: nobody reads what MiniVM's program says.
fn log(severity: u8, text: &str) {
    let shown: String = text.chars().flat_map(char::escape_debug).collect();
    let line = format!(
        "<{}>minivm-send[{}]: {shown}",
        FACILITY + severity,
        std::process::id()
    );
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        // Where there is no log, stderr has said it.
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(words: &str) -> Route {
        let words = words.split(' ');
        let alone = Alone::try_parse_from(["minivm-send"].into_iter().chain(words));
        alone.unwrap_or_else(|error| panic!("{error}")).args.route()
    }

    #[test]
    fn the_predecessors_options_are_known() {
        let full =
            route("-H mx.example.com:587 -P starttls -u username -p -pass -f v@example.com -e");
        assert_eq!(full.to_string(), "mx.example.com:587");
        assert_eq!(full.protocol, Protocol::Starttls);
        assert_eq!(full.user.as_deref(), Some("username"));
        assert_eq!(full.password, Some(Password::Given(Secret::new("-pass"))));
        let plain = route("-Hmail");
        assert_eq!(
            (plain.to_string().as_str(), plain.password),
            ("mail:25", None)
        );
        assert_eq!(route("-H mail -P tls").port, 465);
        assert_eq!(route("-H mail -u u").password, Some(Password::Environment));
    }

    #[test]
    fn a_date_is_that_of_a_mail() {
        let moment = time::macros::datetime!(2026-11-09 01:02:03 UTC);
        assert_eq!(rfc5322(moment), "Mon, 9 Nov 2026 01:02:03 +0000");
    }
}
