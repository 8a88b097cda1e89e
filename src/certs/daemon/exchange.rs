//! The PBX as the keeper knows it: its listeners, and how it is told to read its certificate again.
//!
//! `module reload res_pjsip.so` opens the TLS listener anew when the pair's files have changed under their names, and drops
//! no call (res_pjsip/config_transport.c); the web server and the manager have reloads of their own. The web server once
//! closed by a bad pair stays closed until http.conf is newer (main/http.c), so that healing begins with its time.
//! Invariant: nothing here ends a call or a connection.

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::asterisk::control::CtlError;
use crate::asterisk::generate::includes::Includes;
use crate::asterisk::reload::ordered;
use crate::certs::doors::{Texts, doors};
use crate::certs::keeper::{Door, Reload};
use crate::config::paths::Paths;
use crate::sys::say::{WARNING, say};

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
        match ordered(&paths.asterisk_control(), command) {
            Ok(_) => {}
            // PID 1 holds the console while the PBX starts.
            Err(CtlError::NotRunning(_) | CtlError::Silent { .. }) => return Reload::PbxDown,
            Err(error) => return Reload::Failed(error.to_string()),
        }
    }
    Reload::Done
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
