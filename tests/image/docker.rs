//! The engine's command line: bounded calls, and volumes and networks that take themselves away.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::lines::until;

/// No call of ours takes so long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub code: i32,
    /// Standard output and, below it, standard error.
    pub text: String,
    pub out: String,
}

/// Runs a command to its end, or kills it at the limit and fails.
pub fn run(program: &str, arguments: &[&str]) -> Ended {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run `{program}`, is it installed? {e}"));
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(LIMIT) else {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        panic!("`{program} {}` hangs", arguments.join(" "));
    };
    let output = output.unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    Ended {
        code: output.status.code().unwrap_or(-1),
        text: format!("{out}{}", String::from_utf8_lossy(&output.stderr)),
        out,
    }
}

pub fn docker(arguments: &[&str]) -> Ended {
    run("docker", arguments)
}

/// A call that must succeed; the value is what it printed.
pub fn ok(arguments: &[&str]) -> String {
    let ended = docker(arguments);
    assert_eq!(
        ended.code,
        0,
        "docker {}: {}",
        arguments.join(" "),
        ended.text
    );
    ended.out.trim().to_owned()
}

/// A name that no other test, and no other run, has.
pub fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("switchhook-test-{}-{count}-{what}", std::process::id())
}

/// The image of a target; `SWITCHHOOK_TEST_IMAGE` names another repository than `switchhook`.
pub fn image(target: &str) -> String {
    let repository =
        std::env::var("SWITCHHOOK_TEST_IMAGE").unwrap_or_else(|_| "switchhook".to_owned());
    let image = format!("{repository}:{target}");
    let found = docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
    assert_eq!(
        found.code, 0,
        "there is no image {image}: make image-{target}\n{}",
        found.text
    );
    image
}

/// A named volume.
pub struct Volume {
    pub name: String,
}

impl Volume {
    pub fn new() -> Volume {
        let name = unique("srv");
        ok(&["volume", "create", &name]);
        Volume { name }
    }

    /// Runs a script over the volume at /srv, with nothing of ours running.
    pub fn shell(&self, script: &str) -> String {
        let mount = format!("{}:/srv", self.name);
        let image = image("full");
        let mut arguments = vec!["run", "--rm", "--network", "none", "-v", &mount];
        arguments.extend(["--entrypoint", "/bin/sh", &image, "-euc", script]);
        ok(&arguments)
    }

    /// Puts a file there, with its parents; `mode` as chmod(1) takes it.
    pub fn write(&self, path: &str, mode: &str, text: &str) {
        let parent = path.rsplit_once('/').map_or("/srv", |(parent, _)| parent);
        self.shell(&format!(
            "mkdir -p {parent}\ncat >{path} <<'END'\n{text}\nEND\nchmod {mode} {path}"
        ));
    }

    /// Every file below a directory: its checksum, owner, mode, time and size.
    pub fn fingerprint(&self, directory: &str) -> String {
        self.shell(&format!(
            "find {directory} -type f -exec md5sum {{}} + | sort; \
             find {directory} -exec stat -c '%n %u:%g %a %Y %s' {{}} + | sort"
        ))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "-f", &self.name]);
    }
}

/// A network of our own with both families, seen from the host as well.
pub struct Network {
    pub name: String,
    /// The host's addresses in it.
    pub host4: String,
    pub host6: String,
    /// The host's interface in it.
    pub interface: String,
}

impl Network {
    pub fn new() -> Network {
        let name = unique("net");
        let pid = std::process::id();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        until("a free subnet", || {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let four = format!("172.31.{}.0/24", (pid + count * 37) % 256);
            let six = format!("fd5a:{:x}:{count:x}::/64", pid & 0xffff);
            let mut arguments = vec!["network", "create", "--ipv6", "--subnet", &four];
            arguments.extend(["--subnet", &six, &name]);
            let ended = docker(&arguments);
            if ended.code == 0 {
                Ok(())
            } else {
                Err(ended.text)
            }
        });
        let id = ok(&["network", "inspect", "--format", "{{.Id}}", &name]);
        let gateways = ok(&[
            "network",
            "inspect",
            "--format",
            "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}} {{end}}",
            &name,
        ]);
        let addresses: Vec<String> = gateways.split_whitespace().map(str::to_owned).collect();
        let host = |is_six: bool| {
            let address = addresses.iter().find(|a| a.contains(':') == is_six);
            let address = address.unwrap_or_else(|| panic!("no gateway in {gateways}"));
            // An engine that does not name the gateway gives it the first address of the subnet.
            match address.split_once('/') {
                Some((subnet, _)) if is_six => format!("{subnet}1"),
                Some((subnet, _)) => format!("{}1", subnet.trim_end_matches('0')),
                None => address.clone(),
            }
        };
        Network {
            host4: host(false),
            host6: host(true),
            interface: format!("br-{}", &id[..12]),
            name,
        }
    }

    /// Waits until the host may use its own IPv6 address; a fresh one is checked for duplicates first (RFC 4862, 5.4).
    pub fn wait_usable(&self) {
        until("the host's address in the network", || {
            std::net::UdpSocket::bind((self.host6.as_str(), 0))
                .map(|_| ())
                .map_err(|e| format!("{}: {e}", self.host6))
        });
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.name]);
    }
}
