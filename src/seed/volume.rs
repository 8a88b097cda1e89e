//! What /srv is: a named volume, a bind mount, an anonymous volume, memory, or nothing that lasts.
//!
//! Pure: reads the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).

/// The kind of storage behind a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A volume of the engine with a name that somebody chose.
    Named(String),
    /// A volume of the engine with a made-up name: `docker rm -v` and `compose down -v` take it away.
    Anonymous(String),
    /// A directory of the host.
    Bind(String),
    /// A tmpfs: gone at every stop.
    Memory,
    /// The container's own layer: gone with the container.
    ContainerLayer,
}

impl Volume {
    /// Whether what is stored survives a new container, and is easy to find again.
    pub fn lasts(&self) -> bool {
        matches!(self, Volume::Named(_) | Volume::Bind(_))
    }
}

impl std::fmt::Display for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Volume::Named(name) => write!(f, "named volume `{name}`"),
            Volume::Anonymous(name) => {
                write!(f, "anonymous volume {}", name.get(..12).unwrap_or(name))
            }
            Volume::Bind(path) => write!(f, "bind mount of `{path}`"),
            Volume::Memory => write!(f, "tmpfs"),
            Volume::ContainerLayer => write!(f, "the container's own layer"),
        }
    }
}

/// Looks for the mount at `directory` in the text of mountinfo.
pub fn classify(mountinfo: &str, directory: &str) -> Volume {
    // The last mount over a directory is the one in force.
    let Some(line) = mountinfo
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(directory))
    else {
        return Volume::ContainerLayer;
    };
    let source = line.split(' ').nth(3).unwrap_or("/");
    let kind = line
        .split(" - ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or("");
    if kind == "tmpfs" {
        return Volume::Memory;
    }
    match source
        .strip_suffix("/_data")
        .and_then(|path| path.split_once("/volumes/"))
    {
        Some((_, name)) if name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Volume::Anonymous(name.to_owned())
        }
        Some((_, name)) if !name.contains('/') => Volume::Named(name.to_owned()),
        _ => Volume::Bind(source.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: &str, at: &str, kind: &str) -> String {
        format!("717 690 254:0 {source} {at} rw,relatime - {kind} /dev/vda rw\n")
    }

    #[test]
    fn every_kind_is_told_apart() {
        let hex = "0123456789abcdef".repeat(4);
        let cases = [
            (
                line(
                    "/var/lib/docker/volumes/demo_tele-conf/_data",
                    "/srv",
                    "ext4",
                ),
                "named volume `demo_tele-conf`",
            ),
            (
                line(
                    &format!("/var/lib/docker/volumes/{hex}/_data"),
                    "/srv",
                    "ext4",
                ),
                "anonymous volume 0123456789ab",
            ),
            (
                line("/home/ann/pbx", "/srv", "ext4"),
                "bind mount of `/home/ann/pbx`",
            ),
            (line("/", "/srv", "tmpfs"), "tmpfs"),
            (line("/", "/", "overlay"), "the container's own layer"),
        ];
        for (text, expected) in cases {
            assert_eq!(classify(&text, "/srv").to_string(), expected);
        }
    }

    #[test]
    fn the_last_mount_is_in_force() {
        let text = line("/a", "/srv", "ext4") + &line("/b", "/srv", "ext4");
        assert_eq!(classify(&text, "/srv"), Volume::Bind("/b".into()));
    }
}
