//! The PBX as the keeper knows it: its listeners, and how it is told to read its certificate again.
//!
//! `module reload res_pjsip.so` opens the TLS listener anew when the pair's files have changed under their names, and drops
//! no call (res_pjsip/config_transport.c); the web server and the manager have reloads of their own. The web server once
//! closed by a bad pair stays closed until http.conf is newer (main/http.c), so that healing begins with its time.
//! Invariant: nothing here ends a call or a connection.

use std::time::{Duration, Instant};

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::asterisk::control::{self, CtlError};
use crate::asterisk::generate::includes::Includes;
use crate::certs::doors::{Texts, doors};
use crate::certs::keeper::{Door, Reload};
use crate::config::paths::Paths;
use crate::sys::clock;
use crate::sys::say::{WARNING, say};

/// How long it may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the PBX may take to start before it is called down.
const START: Duration = Duration::from_secs(60);
/// Between two tries while another reload goes on.
const PAUSE: Duration = Duration::from_millis(50);

/// The listeners that show our certificate now.
pub fn listeners(paths: &Paths) -> Vec<Door> {
    doors(&texts(paths), &directories(paths))
}

fn texts(paths: &Paths) -> Texts {
    let home = paths.asterisk_config();
    let read = |name: &str| Includes::at(paths, &home).read(name).unwrap_or_default();
    Texts {
        pjsip: read("pjsip.conf"),
        http: read("http.conf"),
        manager: read("manager.conf"),
    }
}

/// The place of the certificates by all of its names.
fn directories(paths: &Paths) -> Vec<String> {
    let name = paths.pbx().name();
    let place = paths.certificates();
    vec![
        format!("/etc/ssl/{name}"),
        format!("/srv/etc/ssl/{name}"),
        place.display().to_string(),
    ]
}

/// Lets it read its certificate again.
pub fn reload(paths: &Paths, heal: bool) -> Reload {
    let doors = listeners(paths);
    let has = |what: &str| doors.iter().any(|door| door.what == what);
    let mut commands = vec!["module reload res_pjsip.so"];
    if has("https") {
        if heal {
            touch(paths, "http.conf");
        }
        commands.push("module reload http");
    }
    if has("amis") {
        // It looks at its file first, and leaves it at that when it is not newer.
        touch(paths, "manager.conf");
        commands.push("module reload manager");
    }
    for command in commands {
        match ordered(paths, command) {
            Ok(()) => {}
            // PID 1 holds the console while the PBX starts.
            Err(CtlError::NotRunning(_) | CtlError::Silent { .. }) => return Reload::PbxDown,
            Err(error) => return Reload::Failed(error.to_string()),
        }
    }
    Reload::Done
}

/// Has a reload done, not only noted down: while the PBX starts it takes requests and carries them out afterwards, and
/// its listeners meanwhile show what they have read before.
fn ordered(paths: &Paths, command: &str) -> Result<(), CtlError> {
    let console = paths.asterisk_control();
    let end = Instant::now() + START;
    loop {
        let answer = control::run(&console, command, PATIENCE)?;
        if !is_put_off(&answer) || Instant::now() >= end {
            return Ok(());
        }
        let left = end.saturating_duration_since(Instant::now());
        control::run(&console, "core waitfullybooted", left)?;
        clock::pause(PAUSE);
    }
}

/// What the console says of a reload that it has not done (main/cli.c, handle_reload).
fn is_put_off(answer: &str) -> bool {
    ["request queued", "already in progress"]
        .iter()
        .any(|words| answer.contains(words))
}

fn touch(paths: &Paths, name: &str) {
    let path = paths.asterisk_config().join(name);
    let (now, flags) = (TimeSpec::UTIME_NOW, UtimensatFlags::FollowSymlink);
    if let Err(error) = utimensat(nix::fcntl::AT_FDCWD, &path, &now, &now, flags) {
        let path = path.display();
        say(
            WARNING,
            &format!(
                "cannot touch `{path}`, so that Asterisk may not read its certificate again: {error}"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_that_was_put_off_is_told_from_one_that_was_done() {
        assert!(is_put_off(
            "Asterisk cannot reload a module yet; request queued\n"
        ));
        assert!(is_put_off(
            "A module reload request is already in progress; please be patient\n"
        ));
        assert!(!is_put_off(
            "Module 'res_pjsip.so' reloaded successfully.\n"
        ));
    }
}
