//! `.socket` files to `SocketSpec` (systemd.socket(5), the subset of `directives`).
//!
//! Pure. Invariant: a spec has at least one listener.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::spec::{Finding, Listen, Severity, SocketSpec};
use super::unit_file::{self, Assignment, Source};
use super::value;

/// systemd's own limit on starts by connections (systemd.socket(5)).
const TRIGGER_INTERVAL: Duration = Duration::from_secs(2);
const TRIGGER_BURST: u32 = 20;

/// Reads the socket unit `name` (without suffix) from its file and drop-ins.
pub fn read(name: &str, sources: &[Source]) -> (Option<SocketSpec>, Vec<Finding>) {
    let (assignments, mut findings) = unit_file::collect(sources, &["Unit", "Socket", "Install"]);
    let mut spec = SocketSpec {
        name: name.to_owned(),
        service: name.to_owned(),
        listeners: Vec::new(),
        user: None,
        group: None,
        mode: 0o666,
        free_bind: false,
        backlog: 128,
        reuse_port: false,
        remove_on_stop: false,
        descriptor_name: None,
        trigger_interval: TRIGGER_INTERVAL,
        trigger_burst: TRIGGER_BURST,
        is_generated: false,
    };
    for assignment in &assignments {
        match assign(&mut spec, assignment) {
            Err(text) if assignment.obeyed => findings.push(assignment.error(text)),
            Ok(()) | Err(_) => {}
        }
    }
    if spec.listeners.is_empty() && !findings.iter().any(|f| f.severity == Severity::Error) {
        findings.push(Finding {
            file: sources.first().map(|s| s.file.clone()).unwrap_or_default(),
            line: 0,
            severity: Severity::Error,
            text: "no `ListenStream=` or other `Listen...=`: there is nothing to bind".to_owned(),
        });
    }
    let usable = !findings.iter().any(|f| f.severity == Severity::Error);
    (usable.then_some(spec), findings)
}

fn assign(spec: &mut SocketSpec, a: &Assignment) -> Result<(), String> {
    let text = value::specifiers(&a.value, &spec.name, ".socket")?;
    let text = text.as_str();
    match a.key.as_str() {
        "ListenStream" | "ListenDatagram" | "ListenSequentialPacket" if text.is_empty() => {
            spec.listeners.clear();
        }
        "ListenStream" => spec.listeners.push(match address(text)? {
            Address::Path(path) => Listen::UnixStream(path),
            Address::Net(net) => Listen::Tcp(net),
        }),
        "ListenDatagram" => spec.listeners.push(match address(text)? {
            Address::Path(path) => Listen::UnixDatagram(path),
            Address::Net(net) => Listen::Udp(net),
        }),
        "ListenSequentialPacket" => spec.listeners.push(match address(text)? {
            Address::Path(path) => Listen::UnixSequential(path),
            Address::Net(_) => {
                return Err(format!(
                    "`{text}` is not a path; only unix sockets are of this kind"
                ));
            }
        }),
        "Accept" if value::boolean(text)? => {
            return Err(
                "a service takes its listener itself; write no, or leave it out".to_owned(),
            );
        }
        "ReusePort" => spec.reuse_port = value::boolean(text)?,
        "RemoveOnStop" => spec.remove_on_stop = value::boolean(text)?,
        "FileDescriptorName" => {
            let plain = |c: char| c.is_ascii_graphic() && c != ':';
            if text.len() > 255 || !text.chars().all(plain) {
                return Err(format!("`{text}` is not a name without spaces and colons"));
            }
            spec.descriptor_name = Some(text.to_owned()).filter(|name| !name.is_empty());
        }
        "TriggerLimitIntervalSec" => {
            spec.trigger_interval = value::time_span(text)?.unwrap_or(Duration::MAX);
        }
        "TriggerLimitBurst" => {
            spec.trigger_burst = text
                .parse()
                .map_err(|_| format!("`{text}` is not a number"))?;
        }
        "X-Role" if text == "pbx" => spec.is_generated = true,
        "X-Role" => {
            return Err(format!(
                "`{text}` is not a role of a socket; the only one is `pbx`"
            ));
        }
        "Service" => spec.service = text.trim_end_matches(".service").to_owned(),
        "SocketUser" => spec.user = Some(text.to_owned()).filter(|name| !name.is_empty()),
        "SocketGroup" => spec.group = Some(text.to_owned()).filter(|name| !name.is_empty()),
        "SocketMode" => {
            spec.mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o777)
                .ok_or_else(|| format!("`{text}` is not an octal mode such as 0660"))?;
        }
        "FreeBind" => spec.free_bind = value::boolean(text)?,
        "Backlog" => {
            spec.backlog = text
                .parse()
                .map_err(|_| format!("`{text}` is not a number"))?;
        }
        // What remains belongs to [Unit] and says nothing about listeners.
        _ => {}
    }
    Ok(())
}

enum Address {
    Path(String),
    Net(SocketAddr),
}

/// `/path`, `@abstract`, `port`, `ipv4:port`, `[ipv6]:port`.
fn address(text: &str) -> Result<Address, String> {
    // The kernel's room for a name (unix(7)), less the terminating zero byte.
    if text.starts_with(['/', '@']) && text.len() > 107 {
        return Err(format!(
            "`{text}` is longer than the 107 bytes of a socket's name"
        ));
    }
    if text.starts_with('/') || (text.starts_with('@') && text.len() > 1) {
        return Ok(Address::Path(text.to_owned()));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Address::Net(SocketAddr::new(
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port,
        )));
    }
    text.parse().map(Address::Net).map_err(|_| {
        format!("`{text}` is not a path, a port, an `@` name, `address:port` or `[ipv6]:port`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_every_form() {
        let text = "[Socket]\nService=asterisk.service\nListenStream=/run/asterisk/asterisk.ctl\n\
                    ListenStream=127.0.0.1:5038\nListenStream=[::1]:8088\nListenDatagram=/dev/log\nSocketMode=0660\n";
        let (spec, findings) = read(
            "x",
            &[Source {
                file: "x.socket".into(),
                text: text.into(),
            }],
        );
        assert!(findings.is_empty(), "{findings:?}");
        let spec = spec.unwrap();
        assert_eq!(spec.service, "asterisk");
        assert_eq!(spec.listeners.len(), 4);
        assert_eq!(spec.mode, 0o660);
    }

    #[test]
    fn bad_addresses_are_named() {
        let (spec, findings) = read(
            "x",
            &[Source {
                file: "x.socket".into(),
                text: "[Socket]\nListenStream=nowhere\n".into(),
            }],
        );
        assert!(spec.is_none());
        assert!(findings[0].to_string().contains("x.socket:2"));
    }

    fn one(lines: &str) -> (Option<SocketSpec>, Vec<Finding>) {
        let source = Source {
            file: "x.socket".into(),
            text: format!("[Socket]\n{lines}"),
        };
        read("x", &[source])
    }

    #[test]
    fn every_kind_and_option() {
        let (spec, findings) = one(
            "ListenSequentialPacket=/run/x/seq\nAccept=no\nReusePort=yes\nRemoveOnStop=yes\nFileDescriptorName=http\n",
        );
        let spec = spec.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(
            spec.listeners,
            [Listen::UnixSequential("/run/x/seq".into())]
        );
        assert!(spec.reuse_port && spec.remove_on_stop);
        assert_eq!(spec.descriptor_name.as_deref(), Some("http"));
    }

    #[test]
    fn names_of_the_abstract_namespace_and_limits() {
        let (spec, findings) =
            one("ListenStream=@door\nTriggerLimitIntervalSec=5s\nTriggerLimitBurst=3\n");
        let spec = spec.unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(spec.listeners, [Listen::UnixStream("@door".into())]);
        assert_eq!(
            (spec.trigger_interval.as_secs(), spec.trigger_burst),
            (5, 3)
        );
        assert!(one("ListenStream=@\n").0.is_none());
        let long = format!("ListenStream=/{}\n", "x".repeat(107));
        assert!(one(&long).0.is_none());
    }

    #[test]
    fn a_connection_for_each_service_is_refused() {
        assert!(one("ListenStream=80\nAccept=yes\n").0.is_none());
        assert!(one("ListenSequentialPacket=80\n").0.is_none());
    }
}
