//! `switchhook phone`: add, list, show and remove phones, and give them passwords, without a dropped call.
//!
//! The decisions are in `phone::plan`; this file reads, locks, writes and tells. It never takes a password from the command
//! line, and never prints one but on stdout for `show`.
//! Invariant: the file is read, planned and written under one lock, so two commands at once do not lose a phone.

mod live;
mod show;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use thiserror::Error;

use self::live::Effect;
use super::output::{Exit, Output};
use crate::asterisk::conf::Document;
use crate::config::paths::Paths;
use crate::config::pbx::Pbx;
use crate::phone::plan::{self, Change, Plan, PlanError};
use crate::phone::{self, DisplayName, Host, Invalid, Name, Number, Password, qr};
use crate::sys::file::{self, FileError, Owner};

const PHONES: &str = "pjsip_endpoint.conf";
/// The file that includes it; templates may be there.
const WIZARD: &str = "pjsip_wizard.conf";
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Asterisk's group reads it; it holds passwords, so nobody else does.
const NEW_FILE_MODE: u32 = 0o640;
const MAX_STDIN: u64 = 4096;
const SEED_HINT: &str = "start the appliance once to seed its configuration, or give `--root`";

/// Arguments of `switchhook phone`.
#[derive(Debug, Args)]
pub struct PhoneArgs {
    /// Print JSON (schema 1)
    #[arg(long, global = true)]
    json: bool,
    /// Look for all files below this directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    root: PathBuf,
    #[command(subcommand)]
    command: PhoneCommand,
}

#[derive(Debug, Subcommand)]
enum PhoneCommand {
    /// Add a phone, with a random password unless one comes on stdin
    Add {
        /// What the phone calls itself: the endpoint and the user name
        name: Name,
        /// What others dial
        #[arg(long, value_name = "N", allow_hyphen_values = false)]
        number: Number,
        /// The name that others see (default: NAME)
        #[arg(long, value_name = "TEXT")]
        display: Option<DisplayName>,
        /// Take the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// List the phones, without their passwords
    List,
    /// Show what a phone needs to register, its password included
    Show(show::ShowArgs),
    /// Remove a phone
    Remove {
        name: String,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a phone a new password, a random one unless one comes on stdin
    Password {
        name: String,
        /// Take the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// Show what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What `--qr` encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum QrContent {
    /// The account as Grandstream Wave reads it
    Grandstream,
    /// A SIP URI with the password
    Sip,
}

impl From<QrContent> for qr::Content {
    fn from(content: QrContent) -> Self {
        match content {
            QrContent::Grandstream => Self::Grandstream,
            QrContent::Sip => Self::SipUri,
        }
    }
}

/// Whatever ends the command early.
#[derive(Debug, Error)]
enum PhoneError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    No(PlanError),
    #[error("cannot change `{}`", path.display())]
    Plan { path: PathBuf, source: PlanError },
    #[error("there is no configuration: neither `{}` nor the file that includes it", .0.display())]
    NoConfiguration(PathBuf),
    #[error("the password on stdin cannot be used")]
    Password(#[source] Invalid),
    #[error("cannot read the password from stdin")]
    Stdin(#[source] std::io::Error),
    #[error("cannot get random bytes from the kernel")]
    Random,
    #[error("there is no phone `{0}`")]
    NoSuchPhone(String),
    #[error("the phones' server is not known")]
    NoHost,
    #[error("`{name}` has no {what} in the file")]
    Incomplete { name: String, what: &'static str },
    #[error("cannot draw the QR code")]
    Qr(#[from] qr::TooLong),
}

impl PhoneError {
    fn exit(&self) -> Exit {
        match self {
            Self::File(
                FileError::NotText { .. }
                | FileError::TooLarge { .. }
                | FileError::NotRegular { .. },
            )
            | Self::NoConfiguration(_)
            | Self::Incomplete { .. } => Exit::Configuration,
            Self::File(error) if error.is_not_found() => Exit::Configuration,
            Self::File(_) | Self::Stdin(_) | Self::Random | Self::Qr(_) => Exit::Failed,
            Self::Plan { .. } => Exit::Configuration,
            Self::No(_) | Self::NoSuchPhone(_) => Exit::No,
            Self::Password(_) | Self::NoHost => Exit::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoConfiguration(_) => Some(SEED_HINT.into()),
            Self::File(error) if error.is_not_found() => Some(SEED_HINT.into()),
            Self::File(error) => error.hint().map(str::to_owned),
            Self::No(error) | Self::Plan { source: error, .. } => Some(error.hint()),
            Self::Password(_) => {
                Some("without `--password-stdin` a random password is made".into())
            }
            Self::NoSuchPhone(_) => Some("`switchhook phone list` shows the phones".into()),
            Self::NoHost => Some("set HOSTNAME to the exchange's name, or give `--domain`".into()),
            Self::Incomplete { name, .. } => Some(format!(
                "`switchhook phone password {name}` gives it a password"
            )),
            Self::Stdin(_) | Self::Random | Self::Qr(_) => None,
        }
    }
}

/// What `add`, `remove` and `password` answer.
#[derive(Debug, Serialize)]
struct Changed<'a> {
    command: &'static str,
    name: &'a str,
    changed: bool,
    effect: Effect,
    /// The difference of the file, secrets as `***`.
    diff: &'a str,
}

/// Runs the command. Exit codes: 0 done, 1 no, 2 failed, 64 usage, 78 configuration.
#[must_use]
pub fn run(args: PhoneArgs) -> ExitCode {
    let output = Output::new(args.json);
    let exit = match dispatch(&args, &output) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error, error.hint().as_deref());
            error.exit()
        }
    };
    output.finish(exit)
}

fn dispatch(args: &PhoneArgs, output: &Output) -> Result<Exit, PhoneError> {
    let paths = &Paths::under(&args.root).of_pbx(Pbx::chosen(&crate::sys::environment::all()));
    match &args.command {
        PhoneCommand::List => show::list(&read_phones(paths)?, output),
        PhoneCommand::Show(show) => return show::show(show, &read_phones(paths)?, output),
        PhoneCommand::Add {
            name,
            number,
            display,
            password_stdin,
            dry_run,
        } => {
            let password = new_password(*password_stdin)?;
            let change = Change::Add {
                name: name.clone(),
                number: number.clone(),
                display: display.clone(),
                password,
            };
            return change_file(paths, "add", &change, *dry_run, output);
        }
        PhoneCommand::Remove { name, dry_run } => {
            return change_file(
                paths,
                "remove",
                &Change::Remove { name: name.clone() },
                *dry_run,
                output,
            );
        }
        PhoneCommand::Password {
            name,
            password_stdin,
            dry_run,
        } => {
            let password = new_password(*password_stdin)?;
            let change = Change::SetPassword {
                name: name.clone(),
                password,
            };
            return change_file(paths, "password", &change, *dry_run, output);
        }
    }
    Ok(Exit::Ok)
}

/// Lock, read, plan, write, reload, verify; or, for a dry run, only read and plan.
fn change_file(
    paths: &Paths,
    command: &'static str,
    change: &Change,
    dry_run: bool,
    output: &Output,
) -> Result<Exit, PhoneError> {
    let path = paths.asterisk_config().join(PHONES);
    let wizard = paths.asterisk_config().join(WIZARD);
    // Before the lock, which makes a file: it must not make one where no configuration is.
    if read_document(&path)?.is_none() && read_document(&wizard)?.is_none() {
        return Err(PhoneError::NoConfiguration(path));
    }
    let _lock = if dry_run {
        None
    } else {
        Some(file::lock_beside(&path, LOCK_PATIENCE)?)
    };
    let document = read_document(&path)?.unwrap_or_else(|| Document::parse(""));
    let including: Vec<Document> = read_document(&wizard)?.into_iter().collect();
    let plan = plan::plan(&document, &including, change).map_err(|source| {
        if source.is_no() {
            PhoneError::No(source)
        } else {
            PhoneError::Plan {
                path: path.clone(),
                source,
            }
        }
    })?;
    let changed = plan.document != document;
    let mut effect = Effect::DryRun;
    if !dry_run {
        if changed {
            let text = plan.document.to_string();
            file::write_atomic(
                &path,
                text.as_bytes(),
                Owner::Keep {
                    new_file_mode: NEW_FILE_MODE,
                },
            )?;
        }
        effect = live::apply(&paths.asterisk_control(), &plan.name, change);
    }
    tell(output, command, change, &plan, changed, &effect);
    Ok(if matches!(effect, Effect::Unproved { .. }) {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

fn tell(
    output: &Output,
    command: &'static str,
    change: &Change,
    plan: &Plan,
    changed: bool,
    effect: &Effect,
) {
    let name = &plan.name;
    if output.is_json() {
        let effect = effect.clone();
        output.json(&Changed {
            command,
            name,
            changed,
            effect,
            diff: &plan.diff,
        });
    } else {
        let done = match (effect, change) {
            (Effect::DryRun, _) if changed => plan.diff.clone(),
            (Effect::DryRun, _) => "nothing would change".to_owned(),
            (_, Change::Add { number, .. }) => format!(
                "added {name}, number {number}\n`switchhook phone show {name} --qr` shows its password and a code to scan"
            ),
            (_, Change::Remove { .. }) => format!("removed {name}"),
            (_, Change::SetPassword { .. }) => {
                format!(
                    "{name} has a new password\n`switchhook phone show {name} --qr` shows it and a code to scan"
                )
            }
        };
        output.text(&done);
        if matches!(effect, Effect::NextStart) {
            output.text("Asterisk does not run: this takes effect at the next start");
        }
    }
    if let Effect::Unproved { reason } = effect {
        output.problem(
            &format!("the file is written, but Asterisk has not taken it: {reason}"),
            Some("`asterisk -rx 'module reload res_pjsip.so'` tries again, and Asterisk's log tells why not"),
        );
    }
}

/// A file's document, or `None` if there is no such file.
fn read_document(path: &Path) -> Result<Option<Document>, FileError> {
    match file::read_text(path) {
        Ok(text) => Ok(Some(Document::parse(&text))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_phones(paths: &Paths) -> Result<Vec<phone::Phone>, PhoneError> {
    let path = paths.asterisk_config().join(PHONES);
    Ok(phone::phones(&Document::parse(&file::read_text(&path)?)))
}

fn new_password(from_stdin: bool) -> Result<Password, PhoneError> {
    if !from_stdin {
        return random_password();
    }
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_STDIN)
        .read_to_string(&mut text)
        .map_err(PhoneError::Stdin)?;
    let line = text.lines().next().unwrap_or_default();
    Password::new(line).map_err(PhoneError::Password)
}

fn random_password() -> Result<Password, PhoneError> {
    // One byte in 32 is unusable; 64 bytes are short of 24 usable ones once in more than 10^40 times.
    let mut bytes = [0; 64];
    getrandom::getrandom(&mut bytes).map_err(|_| PhoneError::Random)?;
    Password::from_random(&bytes).ok_or(PhoneError::Random)
}

/// The host that phones register with: what was asked for, else HOSTNAME.
///
/// Without a name given to it, a container's HOSTNAME is the first 12 digits of its id, which no phone can find.
fn host(asked: Option<&Host>) -> Option<Host> {
    let ours = || {
        std::env::var("HOSTNAME")
            .ok()
            .filter(|name| !is_container_id(name))?
            .parse()
            .ok()
    };
    asked.cloned().or_else(ours)
}

fn is_container_id(name: &str) -> bool {
    name.len() == 12
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
