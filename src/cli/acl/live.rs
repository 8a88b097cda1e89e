//! Makes a running Asterisk and its parts take the lists, and proves that they did.
//!
//! Checked on Asterisk 22.10.1: `module reload acl` does nothing while acl.conf is unchanged, not even for rows of a database,
//! so the file is touched first. It then tells the manager, PJSIP, IAX2, RTP and STIR/SHAKEN, which ask for their lists anew;
//! ARI is not told, so ari.conf is touched and res_ari reloaded. What the manager and ARI took can be seen in the console; PJSIP
//! and the others show no rules there, and take them after the answer, each in the queue of its subscription to the topic of such
//! changes (`publish_acl_change`, `ast_sorcery_force_reload_object`); `asterisk::reload` waits until each has done what stood there.
//! `acl show` asks a database at once, without a reload; so it tells before one whether Asterisk can read the lists in use. After a
//! restart of PostgreSQL its first question fails, and whoever asked it in a reload would be closed to everybody.
//! Invariants: `Effect::Live` is said only after Asterisk itself showed the list as it is written; no reload is asked for while
//! Asterisk does not show a list of the database that is in use.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::acl::consumers::{Consumer, Kind};
use crate::acl::list::{List, respelt};
use crate::asterisk::control::{self, CtlError};
use crate::asterisk::reload;
use crate::config::paths::Paths;
use crate::init::control::{Reply, Request, ask};

const RELOAD_ARI: &str = "module reload res_ari.so";
const ANSWER: Duration = Duration::from_secs(5);
/// How long a part may take to ask for its lists again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long PID 1 may take to have Asterisk up again after it ended.
const BACK: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);
const PID_1: Duration = Duration::from_secs(4);

/// When a change is real.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Effect {
    /// Asterisk has it.
    Live { consumers: Vec<Taken> },
    /// Asterisk does not run, and will have it when it does.
    NextStart,
    /// Nothing was changed.
    DryRun,
    /// It is written, and Asterisk has not shown it.
    Unproved { reason: String },
}

/// What became of it at one consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Taken {
    pub kind: Kind,
    pub name: String,
    #[serde(skip)]
    pub words: String,
    /// It shows the new rules itself, or its listener has handled the change.
    pub proven: bool,
    /// What the change does not touch.
    pub goes_on: &'static str,
}

/// A list as Asterisk shall show it; `None`: it shall be gone.
pub(super) type Wanted<'a> = (&'a str, Option<&'a List>);

/// Reloads and looks. `needed` are the lists of the database that are in use. In the error it is never `Effect::Live`.
pub(super) fn apply(
    paths: &Paths,
    needed: &[List],
    wanted: &[Wanted<'_>],
    consumers: &[&Consumer],
) -> Result<(), Effect> {
    let console = Console {
        socket: &paths.asterisk_control(),
    };
    let home = paths.asterisk_config();
    console.can_read(needed).map_err(Trouble::effect)?;
    touch(&home.join(crate::acl::FILE)).map_err(|error| Effect::Unproved {
        reason: format!("cannot touch `{}/acl.conf`: {error}", home.display()),
    })?;
    let answer = reload::ordered(console.socket, reload::LISTS).map_err(Trouble::Console);
    match answer.and_then(|answer| console.verify(&home, &answer, wanted, consumers)) {
        // It runs, and one of its parts has not taken the lists.
        Err(Trouble::Console(error @ CtlError::Busy(_))) => Err(Trouble::Console(error)),
        // Where it ends over it, it reads the lists at its start.
        Err(Trouble::Console(_)) => {
            console.is_back().map_err(Trouble::effect)?;
            console.verify(&home, "", wanted, consumers)
        }
        verified => verified,
    }
    .map_err(Trouble::effect)
}

/// What became of it at each, after it was applied. AutoBan is told here.
pub(super) fn taken(paths: &Paths, consumers: &[&Consumer]) -> Vec<Taken> {
    let take = |consumer: &&Consumer| Taken {
        kind: consumer.kind,
        name: consumer.name.clone(),
        words: consumer.words(),
        proven: match consumer.kind {
            Kind::AutobanBlack | Kind::AutobanWhite => {
                let service = "autoban".to_owned();
                let reply = ask(&paths.control_socket(), &Request::Reload { service }, PID_1);
                matches!(reply, Ok(reply) if !matches!(reply, Reply::Refused { .. }))
            }
            _ => true,
        },
        goes_on: consumer.kind.goes_on(),
    };
    consumers.iter().map(take).collect()
}

/// Gives a file the time of now, which is another one at each call: Asterisk compares nanoseconds.
fn touch(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let before = file.metadata()?.modified()?;
    let now = SystemTime::now();
    let later = before + Duration::from_micros(1);
    // A file of the future stays one: it is only moved on.
    file.set_modified(if now > before { now } else { later })
}

enum Trouble {
    Console(CtlError),
    Differs(String),
}

impl Trouble {
    fn effect(self) -> Effect {
        let reason = match self {
            Trouble::Console(CtlError::NotRunning(_)) => return Effect::NextStart,
            Trouble::Console(error) => describe(&error),
            Trouble::Differs(reason) => reason,
        };
        Effect::Unproved { reason }
    }
}

impl From<CtlError> for Trouble {
    fn from(error: CtlError) -> Trouble {
        Trouble::Console(error)
    }
}

struct Console<'a> {
    socket: &'a Path,
}

impl Console<'_> {
    fn ask(&self, command: &str) -> Result<String, CtlError> {
        control::run(self.socket, command, ANSWER)
    }

    /// Whether Asterisk is there and reads these from its database.
    fn can_read(&self, needed: &[List]) -> Result<(), Trouble> {
        self.ask("core show uptime seconds")?;
        for list in needed {
            let name = &list.name;
            let shown = self.until(&format!("acl show {}", quoted(name)), |shown| {
                rules_of(shown, name).as_ref() == Some(&list.shown())
            });
            if let Err(Trouble::Differs(_)) = shown {
                return Err(Trouble::Differs(format!(
                    "it does not read `{name}` from the database, so nothing was reloaded and it keeps the lists that it has"
                )));
            }
            shown?;
        }
        Ok(())
    }

    /// Sees that Asterisk and its parts have the lists, after a reload that was answered so.
    fn verify(
        &self,
        home: &Path,
        answer: &str,
        wanted: &[Wanted<'_>],
        consumers: &[&Consumer],
    ) -> Result<(), Trouble> {
        for (name, list) in wanted {
            self.until(&format!("acl show {}", quoted(name)), |shown| {
                rules_of(shown, name) == list.map(List::shown)
            })
            .map_err(|error| match error {
                Trouble::Differs(_) => Trouble::Differs(format!(
                    "it answered \"{}\", but shows `{name}` otherwise",
                    first_line(answer)
                )),
                other => other,
            })?;
        }
        if consumers.iter().any(|consumer| consumer.kind == Kind::Ari) {
            // Without the touch it would not read it.
            touch(&home.join("ari.conf")).ok();
            reload::ordered(self.socket, RELOAD_ARI)?;
        }
        for consumer in consumers {
            let command = match consumer.kind {
                Kind::Manager => format!("manager show user {}", quoted(&consumer.name)),
                Kind::Ari => format!("ari show user {}", quoted(&consumer.name)),
                _ => continue,
            };
            let used = wanted.iter().filter(|(name, _)| consumer.uses(name));
            for (name, list) in used {
                let list = list.map(List::shown).unwrap_or_default();
                self.until(&command, |shown| {
                    // Where there is no such user, nobody has to take anything.
                    !shown.contains("ACL: ") || rules_of(shown, name).unwrap_or_default() == list
                })
                .map_err(|error| match error {
                    Trouble::Differs(_) => Trouble::Differs(format!(
                        "{} has not taken `{name}` within {} s",
                        consumer.words(),
                        PATIENCE.as_secs()
                    )),
                    other => other,
                })?;
            }
        }
        Ok(())
    }

    /// Waits for an Asterisk that ended to be there again, with all that it reads at its start.
    fn is_back(&self) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            match control::run(self.socket, "core waitfullybooted", BACK) {
                Ok(_) => return Ok(()),
                Err(error) if started.elapsed() > BACK => return Err(error.into()),
                Err(_) => crate::sys::clock::pause(PAUSE),
            }
        }
    }

    /// Asks until the answer is as wanted.
    fn until(&self, command: &str, is_so: impl Fn(&str) -> bool) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            let shown = self.ask(command)?;
            if is_so(&shown) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Trouble::Differs(String::new()));
            }
            crate::sys::clock::pause(PAUSE);
        }
    }
}

/// Whether Asterisk shows a list as it is written; `None` where it does not run.
pub(super) fn in_force(paths: &Paths, list: &List) -> Option<bool> {
    let socket = paths.asterisk_control();
    let console = Console { socket: &socket };
    let command = format!("acl show {}", quoted(&list.name));
    let shown = console.ask(&command).ok()?;
    Some(rules_of(&shown, &list.name).as_ref() == Some(&list.shown()))
}

/// A name as one word of the console.
fn quoted(name: &str) -> String {
    match name.contains(' ') {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}

fn first_line(answer: &str) -> &str {
    let mut lines = answer.lines().map(str::trim);
    lines.find(|line| !line.is_empty()).unwrap_or("nothing")
}

/// The rules that a listing has for a list, without their numbers; `None` where it does not have the list.
///
/// `  0:  deny - 0.0.0.0/0.0.0.0` below `ACL: name` or `ACL: name (realtime)` (`ast_acl_output`, main/acl.c).
fn rules_of(shown: &str, name: &str) -> Option<Vec<String>> {
    let is_head = |line: &str| {
        let of = line.trim_start().strip_prefix("ACL: ");
        of.is_some_and(|of| of == name || of.strip_suffix(" (realtime)") == Some(name))
    };
    let mut lines = shown.lines().map(str::trim_end);
    lines.find(|line| is_head(line))?;
    let rules = lines
        .skip_while(|line| line.starts_with("---"))
        .map_while(|line| line.trim_start().split_once(": "))
        .take_while(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    Some(rules.map(|(_, rule)| respelt(rule)).collect())
}

fn describe(error: &CtlError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "               ACL: yes\n         Variables: \nACL: t1\n---------------\n  0:  deny - 0.0.0.0/0.0.0.0\n  1: allow - ::/::\nACL: t2 (realtime)\n-----\nACL: t3\n----\n  0: allow - 10.0.0.1/255.255.255.255\n";

    #[test]
    fn a_listing_is_read_by_its_heads() {
        let rules = |name| rules_of(USER, name);
        assert_eq!(
            rules("t1"),
            Some(vec![
                "deny - 0.0.0.0/0.0.0.0".to_owned(),
                "allow - ::/::".to_owned()
            ])
        );
        assert_eq!(rules("t2"), Some(vec![]));
        assert_eq!(
            rules("t3"),
            Some(vec!["allow - 10.0.0.1/255.255.255.255".to_owned()])
        );
        assert_eq!(rules("t"), None);
        assert_eq!(rules_of("\nCould not find ACL named 'x'\n", "x"), None);
    }

    #[test]
    fn each_touch_is_later() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut last = SystemTime::UNIX_EPOCH;
        for _ in 0..100 {
            touch(file.path()).unwrap();
            let now = file.as_file().metadata().unwrap().modified().unwrap();
            assert!(now > last);
            last = now;
        }
    }
}
