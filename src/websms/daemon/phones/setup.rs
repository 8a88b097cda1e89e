//! The way to the phones, as the volume's files have it: the users that manager.conf and ari.conf keep for us, or the
//! predecessor's way through the dialplan.

use crate::asterisk::ami::client;
use crate::asterisk::ari;
use crate::asterisk::conf::Document;
use crate::config::paths::Paths;
use crate::sys::file::read_text;
use crate::websms::config::{AstQueue, Deliver};

/// Our name with Asterisk.
const USER: &str = "websms";
const HERE: &str = "127.0.0.1";

/// How messages reach the phones.
#[derive(Clone)]
pub enum Way {
    /// One by one, with the phones' own answers.
    Direct { ami: client::Door, ari: ari::Door },
    /// By call files; with the reason, if nobody chose it.
    Dialplan {
        queue: AstQueue,
        reason: Option<String>,
    },
}

/// Reads what there is.
pub fn way(paths: &Paths, queue: &AstQueue) -> Way {
    let dialplan = |reason| Way::Dialplan {
        queue: queue.clone(),
        reason,
    };
    if queue.deliver == Deliver::Dialplan {
        return dialplan(None);
    }
    match (manager(paths), rest(paths)) {
        (Ok(ami), Ok(ari)) => Way::Direct { ami, ari },
        (Err(why), _) | (_, Err(why)) => dialplan(Some(why)),
    }
}

fn read(paths: &Paths, name: &str) -> Result<(String, Document), String> {
    let path = paths.asterisk_config().join(name);
    let text = read_text(&path).map_err(|error| error.to_string())?;
    Ok((path.display().to_string(), Document::parse(&text)))
}

fn port(document: &Document, key: &str, otherwise: u16) -> u16 {
    let port = document.effective("general", key);
    port.and_then(|port| port.parse().ok()).unwrap_or(otherwise)
}

fn secret(path: &str, document: &Document, key: &str) -> Result<String, String> {
    let secret = document.effective(USER, key);
    let secret = secret.filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| format!("`{path}` has no user [{USER}] with a `{key}`"))
}

fn manager(paths: &Paths) -> Result<client::Door, String> {
    let (path, document) = read(paths, "manager.conf")?;
    Ok(client::Door {
        server: HERE.to_owned(),
        port: port(&document, "port", 5038),
        username: USER.to_owned(),
        secret: secret(&path, &document, "secret")?,
        events: "system",
    })
}

fn rest(paths: &Paths) -> Result<ari::Door, String> {
    let (path, document) = read(paths, "ari.conf")?;
    let password = secret(&path, &document, "password")?;
    let (_, http) = read(paths, "http.conf")?;
    Ok(ari::Door {
        server: HERE.to_owned(),
        port: port(&http, "bindport", 8088),
        username: USER.to_owned(),
        password,
    })
}
