//! Which listeners the PBX will open, by its own configuration: what PID 1 has to bind for it, and how.
//!
//! The PBX takes a passed descriptor only when its address is the very one that it would bind (`ast_sd_get_fd` in
//! main/io.c). A socket that it does not take would make its own bind fail and its clients wait for ever, so whatever
//! is not certain is left to the PBX. Pure: texts in, sockets out. Invariant: every socket of a plan is one that
//! Asterisk 22.10.1 was seen to bind with the same lines; the tests are that list.

mod settings;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::pbx::Pbx;
use crate::units::spec::Listen;
pub use settings::{Settings, is_true};

/// Ports that hold when none is named (`DEFAULT_MANAGER_PORT` and its like in main/manager.c and main/http.c).
const AMI_PORT: u16 = 5038;
const AMI_TLS_PORT: u16 = 5039;
const HTTP_PORT: u16 = 8088;
const HTTPS_PORT: u16 = 8089;

/// The configuration that decides; every `#include` already put in its place. `None`: there is no such file.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    pub main: Option<String>,
    pub manager: Option<String>,
    pub http: Option<String>,
}

/// What the plan asks about the world.
pub struct World<'a> {
    /// The addresses of a name by the container's own table of hosts.
    pub hosts: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// Whether the first file holds a certificate and the second its private key.
    pub has_certificate: &'a dyn Fn(&str, &str) -> bool,
}

/// One listener of the PBX.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What it is: `cli`, `ami`, `amis`, `http` or `https`, as in the names of the sample units.
    pub what: &'static str,
    pub listen: Listen,
    /// Mode, user and group of a path, where the PBX's configuration names them.
    pub mode: Option<String>,
    pub user: Option<String>,
    pub group: Option<String>,
}

/// What to bind, and what is left to the PBX and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub sockets: Vec<Socket>,
    pub notes: Vec<String>,
}

/// Decides over the whole configuration.
pub fn plan(pbx: Pbx, texts: &Texts, world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let console = console(pbx, texts.main.as_deref());
    if console.listen.path().is_some_and(is_socket_name) {
        plan.sockets.push(console);
    } else {
        plan.notes.push(format!(
            "{}: `{}` is no name that a socket can have; the console is not held over restarts",
            pbx.main_file(),
            console.listen
        ));
    }
    if let Some(text) = &texts.manager {
        plan.manager(&Settings::read(text, "general"), world);
    }
    if let Some(text) = &texts.http {
        plan.http(&Settings::read(text, "general"), world);
    }
    plan
}

/// The text of the unit that makes PID 1 hold this socket. `account` owns paths for which nobody else is named.
pub fn unit_text(socket: &Socket, pbx: Pbx, account: Option<&str>) -> String {
    let name = pbx.name();
    let address = match &socket.listen {
        Listen::Tcp(address) => address.to_string(),
        // A percent sign would begin a specifier of the unit.
        other => other.to_string().replace('%', "%%"),
    };
    let mut text = format!(
        "# Made at each start from the configuration of {}; a file of the same name in /srv/etc/units replaces it.\n\
         [Socket]\nService={name}.service\nX-Role=pbx\nListenStream={address}\nBacklog=1024\n",
        pbx.title()
    );
    if socket.listen.path().is_some() {
        let or_account = |given: &Option<String>| given.clone().or(account.map(str::to_owned));
        for (key, value) in [
            ("SocketUser", or_account(&socket.user)),
            ("SocketGroup", or_account(&socket.group)),
            (
                "SocketMode",
                Some(socket.mode.clone().unwrap_or("0660".to_owned())),
            ),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("{key}={value}\n"));
            }
        }
    } else {
        text.push_str("FreeBind=yes\n");
    }
    text
}

/// What a unit can say and the kernel takes (unix(7)): an absolute path of at most 107 bytes to something with a name.
fn is_socket_name(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 107
        && !path.ends_with(['/', '\\'])
        && path.trim() == path
        && !path.contains(char::is_control)
}

/// The PBX compares the name byte by byte (sd_is_socket_unix(3)), so it is put together as `ast_config_AST_SOCKET` is.
fn console(pbx: Pbx, main: Option<&str>) -> Socket {
    let read = |section: &str| {
        main.map(|text| Settings::read(text, section))
            .unwrap_or_default()
    };
    let (directories, files) = (read("directories"), read("files"));
    let directory = directories.last(&["astrundir"]).map(str::to_owned);
    let directory = directory.unwrap_or_else(|| pbx.run_directory());
    let file = files.last(&["astctl"]).map(str::to_owned);
    let file = file.unwrap_or_else(|| pbx.console());
    let plain = |key: &str| {
        let value = files.last(&[key])?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (!value.is_empty() && value.chars().all(is_name)).then(|| value.to_owned())
    };
    let mode = plain("astctlpermissions");
    Socket {
        what: "cli",
        listen: Listen::UnixStream(format!("{directory}/{file}")),
        mode: mode.filter(|mode| u32::from_str_radix(mode, 8).is_ok_and(|mode| mode <= 0o777)),
        user: plain("astctlowner"),
        group: plain("astctlgroup"),
    }
}

impl Plan {
    fn hold(&mut self, what: &'static str, address: SocketAddr) {
        let is_single_v6 = matches!(address, SocketAddr::V6(v6) if !v6.ip().is_unspecified());
        if is_single_v6 {
            // `struct sockaddr` is too short for it there (main/io.c), so that the comparison never holds.
            self.notes.push(format!(
                "{address} ({what}) is left to the PBX, which recognises no passed IPv6 address but `[::]`"
            ));
            return;
        }
        self.sockets.push(Socket {
            what,
            listen: Listen::Tcp(address),
            mode: None,
            user: None,
            group: None,
        });
    }

    /// As `__init_manager` in main/manager.c does it.
    fn manager(&mut self, settings: &Settings, world: &World<'_>) {
        if !settings.last(&["enabled"]).is_some_and(is_true) {
            return;
        }
        // A value that is no address leaves what was before; a port in it does not count.
        let mut numbers = settings.all(&["bindaddr"]).filter_map(numeric);
        let ip = numbers
            .next_back()
            .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |(ip, _)| ip);
        let port = match settings.last(&["port"]) {
            None => AMI_PORT,
            Some(text) => match text.parse::<u16>() {
                Ok(port) if port >= 1024 => port,
                _ => {
                    self.notes.push(format!(
                        "manager.conf: port `{text}` is not from 1024 to 65535, and Asterisk then takes any; \
                         the manager interface is not held over restarts"
                    ));
                    return;
                }
            },
        };
        self.hold("ami", SocketAddr::new(ip, port));
        if self.is_secured("manager.conf", settings, world) {
            let own = settings
                .all(&["tlsbindaddr", "sslbindaddr"])
                .filter_map(numeric)
                .next_back();
            let (ip, own_port) = own.unwrap_or((ip, None));
            let own_port = own_port.filter(|own| *own != port).unwrap_or(AMI_TLS_PORT);
            self.hold("amis", SocketAddr::new(ip, own_port));
        }
    }

    /// As `__ast_http_load` in main/http.c does it: without an address there is no server.
    fn http(&mut self, settings: &Settings, world: &World<'_>) {
        let is_enabled = settings.last(&["enabled"]).is_some_and(is_true);
        let port = settings
            .last(&["bindport"])
            .and_then(|text| text.parse::<u16>().ok());
        let port = port.filter(|port| *port != 0).unwrap_or(HTTP_PORT);
        let mut clear = None;
        if is_enabled && let Some(text) = settings.last(&["bindaddr"]) {
            match self.resolve(text, world) {
                Some((ip, own_port)) => {
                    clear = Some(ip);
                    self.hold("http", SocketAddr::new(ip, own_port.unwrap_or(port)));
                }
                None => return,
            }
        }
        if self.is_secured("http.conf", settings, world) {
            let own = settings
                .all(&["tlsbindaddr", "sslbindaddr"])
                .filter_map(numeric)
                .next_back();
            // With an address of its own it opens even where the clear one is switched off.
            if let Some((ip, own_port)) = own.or(clear.map(|ip| (ip, None))) {
                self.hold("https", SocketAddr::new(ip, own_port.unwrap_or(HTTPS_PORT)));
            }
        }
    }

    /// The address of a number or of a name that has no choice of addresses.
    fn resolve(&mut self, text: &str, world: &World<'_>) -> Option<(IpAddr, Option<u16>)> {
        if let Some(found) = numeric(text) {
            return Some(found);
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let found = (world.hosts)(name);
        match found.as_slice() {
            [IpAddr::V4(ip)] => Some((IpAddr::V4(*ip), port)),
            _ => {
                self.notes.push(format!(
                    "http.conf: bindaddr `{text}` is a name for which /etc/hosts has not exactly one IPv4 address; the \
                     web server is not held over restarts\nhint: write the address as a number"
                ));
                None
            }
        }
    }

    /// Without a certificate that it can read the PBX opens no TLS listener, and held clients would wait in vain.
    fn is_secured(&mut self, file: &str, settings: &Settings, world: &World<'_>) -> bool {
        if !settings
            .last(&["tlsenable", "sslenable"])
            .is_some_and(is_true)
        {
            return false;
        }
        let certificate = settings
            .last(&["tlscertfile", "tlscert", "sslcert"])
            .unwrap_or_default();
        let key = settings
            .last(&["tlsprivatekey", "sslprivatekey"])
            .unwrap_or(certificate);
        let has = !certificate.is_empty() && (world.has_certificate)(certificate, key);
        if !has {
            self.notes.push(format!(
                "{file}: TLS is asked for without a certificate and key that can be read; its listener is left to the PBX"
            ));
        }
        has
    }
}

/// `address`, `address:port`, `[ipv6]`, `[ipv6]:port`.
fn numeric(text: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((address.ip(), Some(address.port()).filter(|port| *port != 0)));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse().ok()?;
    Some((ip, None))
}

#[cfg(test)]
mod tests;
