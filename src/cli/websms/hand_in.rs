//! `websms TO FROM BODY [INDEX]`: hands a message in, and ends when it is on disk.
//!
//! The predecessor's arguments and exit codes: 0, and 1 when the message was not taken. Asterisk runs it once for each text
//! and waits for it, so it does nothing that is not needed: no parser of options, one line over the socket, one line back. As
//! an AGI program it leaves unread what Asterisk writes to it. Invariant: with its key a message that is handed in twice, for
//! the answer was lost, is stored once; its text stands in no line that we write.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::sys::clock::{self, Stopwatch};
use crate::websms::control::{HandedIn, LONGEST, Reply, Request, SOCKET};

/// So long the daemon may be away, as at its restart.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries to reach it.
const PAUSE: Duration = Duration::from_millis(20);
/// So long it may take for its answer: the disk may be slow.
const ANSWER: Duration = Duration::from_secs(10);
/// The facility LOCAL0, where the predecessor spoke, and the severity of an error (RFC 5424, 6.2.1).
const PRIORITY: u8 = 16 * 8 + 3;

/// What is handed in.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SendArgs {
    /// The number it is for
    to: String,
    /// The number it is from
    from: String,
    /// The text; `-`: standard input
    #[arg(allow_hyphen_values = true)]
    body: String,
    /// The interface of websms.conf; without it the sender's number decides
    index: Option<String>,
    /// Look for everything below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Whether that is what the words of the command line ask for: `websms TO FROM BODY [INDEX]`, or `send` before it. Words that
/// this does not know are the other parser's.
pub fn asked(words: impl Iterator<Item = OsString>) -> Option<SendArgs> {
    let words: Vec<OsString> = words.take(10).collect();
    let mut words = words.iter().map(OsString::as_os_str).peekable();
    let called = Path::new(words.next()?).file_name();
    let is_alone = called == Some(OsStr::new("websms"));
    if !is_alone && words.next() != Some(OsStr::new("websms")) {
        return None;
    }
    let mut is_send = words.next_if_eq(&OsStr::new("send")).is_some();
    let mut root = PathBuf::from("/");
    if words.next_if_eq(&OsStr::new("--root")).is_some() {
        root = PathBuf::from(words.next()?);
    }
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // No verb begins so.
    let is_number = |to: &String| to.starts_with(|c: char| c == '+' || c.is_ascii_digit());
    is_send |= is_alone && words.first().is_some_and(is_number);
    let (to, from, body, index) = match words.as_slice() {
        [to, from, body] => (to, from, body, None),
        [to, from, body, index] => (to, from, body, Some(index.clone())),
        _ => return None,
    };
    (is_send && !to.starts_with('-')).then(|| SendArgs {
        to: to.clone(),
        from: from.clone(),
        body: body.clone(),
        index,
        root,
    })
}

/// Why it was not taken.
#[derive(Debug, thiserror::Error)]
enum HandInError {
    #[error("standard input cannot be read: {0}")]
    Input(io::Error),
    #[error("the text is longer than {} KiB", LONGEST / 1024)]
    TooLong,
    #[error("WebSMS does not run: cannot connect to `{}`: {source}", path.display())]
    Away { path: PathBuf, source: io::Error },
    #[error("this user may not hand messages in: `{}` is closed to it", path.display())]
    Forbidden { path: PathBuf },
    #[error("WebSMS does not answer: {0}")]
    Silent(io::Error),
    #[error("WebSMS gave an answer that this program does not know")]
    Shape,
    #[error("the message is not taken: {reason}")]
    Refused {
        reason: String,
        hint: Option<String>,
    },
}

impl HandInError {
    fn hint(&self) -> Option<&str> {
        match self {
            HandInError::Away { .. } => {
                Some("`switchhook status websms` and `switchhook logs websms` say why")
            }
            HandInError::Forbidden { .. } => Some("root and the PBX's user may"),
            HandInError::Refused { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

pub fn run(args: &SendArgs) -> ExitCode {
    match hand_in(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn hand_in(args: &SendArgs) -> Result<(), HandInError> {
    let message = HandedIn {
        to: args.to.clone(),
        from: args.from.clone(),
        body: match args.body.as_str() {
            "-" => input()?,
            body => body.to_owned(),
        },
        index: args.index.clone(),
        key: key(),
        media: Vec::new(),
    };
    let has_key = message.key.is_some();
    let mut line = serde_json::to_vec(&Request::Send(message)).map_err(|_| HandInError::Shape)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST {
        return Err(HandInError::TooLong);
    }
    let socket = args.root.join(SOCKET);
    let begin = Stopwatch::start();
    loop {
        let error = match ask(&socket, &line) {
            Ok(Reply::Queued { .. }) => return Ok(()),
            Ok(Reply::Refused { reason, hint }) => {
                return Err(HandInError::Refused { reason, hint });
            }
            Ok(_) => return Err(HandInError::Shape),
            Err(error) => error,
        };
        // It went away while it had the message: with its key it can be handed in again.
        let may_come = match &error {
            HandInError::Away { .. } => true,
            HandInError::Silent(error) => has_key && error.kind() != io::ErrorKind::WouldBlock,
            _ => false,
        };
        if !may_come || begin.elapsed() >= PATIENCE {
            return Err(error);
        }
        clock::pause(PAUSE);
    }
}

fn input() -> Result<String, HandInError> {
    let mut bytes = Vec::new();
    let mut all = io::stdin().lock().take(LONGEST);
    all.read_to_end(&mut bytes).map_err(HandInError::Input)?;
    let text = String::from_utf8_lossy(&bytes);
    // A shell's line has an end; the message does not.
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

fn key() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::getrandom(&mut bytes).ok()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("command:{hex}"))
}

fn ask(socket: &Path, line: &[u8]) -> Result<Reply, HandInError> {
    let mut stream = UnixStream::connect(socket).map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => HandInError::Forbidden { path },
            _ => HandInError::Away { path, source },
        }
    })?;
    let mut answer = String::new();
    let count = stream
        .set_read_timeout(Some(ANSWER))
        .and_then(|()| stream.set_write_timeout(Some(ANSWER)))
        .and_then(|()| stream.write_all(line))
        .and_then(|()| BufReader::new(stream.take(LONGEST)).read_line(&mut answer))
        .map_err(HandInError::Silent)?;
    if count == 0 {
        return Err(HandInError::Silent(io::ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_str(&answer).map_err(|_| HandInError::Shape)
}

/// On stderr for people and, since nobody reads that of a dialplan's program, in the log.
fn complain(error: &HandInError) {
    let out = crate::cli::output::Output::new(false);
    out.problem(&error.to_string(), error.hint());
    let shown: String = error
        .to_string()
        .chars()
        .flat_map(char::escape_debug)
        .collect();
    let line = format!("<{PRIORITY}>websms: {shown}");
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        // Where there is no log, stderr has said it.
        let _ = socket.send_to(line.as_bytes(), "/dev/log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> Option<(String, String, String, Option<String>)> {
        let found = asked(words.split(' ').map(OsString::from))?;
        Some((found.to, found.from, found.body, found.index))
    }

    #[test]
    fn the_predecessors_words_are_known() {
        let expected = |index: Option<&str>| {
            let index = index.map(str::to_owned);
            Some((
                "+46701".to_owned(),
                "101".to_owned(),
                "hi".to_owned(),
                index,
            ))
        };
        for words in [
            "/usr/local/bin/websms +46701 101 hi",
            "websms send +46701 101 hi",
            "switchhook websms send +46701 101 hi",
            "websms --root /x +46701 101 hi",
        ] {
            assert_eq!(of(words), expected(None), "{words}");
        }
        assert_eq!(of("websms +46701 101 hi 2"), expected(Some("2")));
        assert_eq!(of("websms +46701 101 hi "), expected(Some("")));
        for words in [
            "websms",
            "websms +46701 101",
            "websms +46701 101 hi 1 2",
            "websms serve --listen 127.0.0.1:80 x",
            "websms send --help",
            "websms send --help x y",
            "switchhook websms +46701 101 hi",
            "switchhook status a b c",
        ] {
            assert_eq!(of(words), None, "{words}");
        }
    }
}
