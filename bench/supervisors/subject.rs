//! Who is measured, and how each is given the same services.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Floor,
    Ours,
    /// With our log service, which reads what the services print.
    OursLogd,
    S6,
    Runit,
    Tini,
    DumbInit,
    Catatonit,
}

pub const ALL: [Subject; 8] = [
    Subject::Floor,
    Subject::Ours,
    Subject::OursLogd,
    Subject::S6,
    Subject::Runit,
    Subject::Tini,
    Subject::DumbInit,
    Subject::Catatonit,
];

/// Those that start again what has ended.
pub const SUPERVISORS: [Subject; 5] = [
    Subject::Floor,
    Subject::Ours,
    Subject::OursLogd,
    Subject::S6,
    Subject::Runit,
];

/// What the services do beside being there; the names are the files that bench/programs/service.c looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    Plain,
    Slow,
    Fail,
    Escape,
}

impl Subject {
    pub fn name(self) -> &'static str {
        match self {
            Subject::Floor => "floor",
            Subject::Ours => "ours",
            Subject::OursLogd => "ours+logd",
            Subject::S6 => "s6-svscan",
            Subject::Runit => "runsvdir",
            Subject::Tini => "tini+sh",
            Subject::DumbInit => "dumb-init+sh",
            Subject::Catatonit => "catatonit+sh",
        }
    }

    /// The name of its service with this number; no two subjects have the same.
    pub fn service(self, number: usize) -> String {
        format!("{}-{number}", char::from(b'a' + self as u8))
    }

    pub fn is_peer(self) -> bool {
        !matches!(self, Subject::Floor | Subject::Ours | Subject::OursLogd)
    }

    /// The signal that asks it to stop.
    pub fn stop_signal(self) -> i32 {
        match self {
            // TERM makes it leave its children alone (runsvdir(8)).
            Subject::Runit => libc::SIGHUP,
            _ => libc::SIGTERM,
        }
    }

    /// Lays out `count` services and returns the command. Only our own root is kept from run to run: its volume
    /// is then seeded, as on every start but the first.
    pub fn prepare(
        self,
        world: &World,
        count: usize,
        habit: Habit,
        user: Option<u32>,
    ) -> Vec<String> {
        let directory = self.directory(world);
        let homes = directory.join("services");
        let _ = fs::remove_dir_all(&homes);
        let names: Vec<String> = (0..count).map(|n| self.service(n)).collect();
        for (place, name) in names.iter().enumerate() {
            let home = homes.join(name);
            fs::create_dir_all(&home).expect("a service directory");
            symlink("/bench/service", home.join("run")).expect("a link");
            if self == Subject::S6 {
                // Its fastest configuration: without it every restart takes a second.
                fs::write(home.join("notification-fd"), "3\n").expect("a file");
            }
            let file = match habit {
                Habit::Plain => None,
                // One slow service among quick ones.
                Habit::Slow => (place == 0).then_some("slow"),
                Habit::Fail => Some("fail"),
                Habit::Escape => Some("escape"),
            };
            if let Some(file) = file {
                fs::write(home.join(file), "").expect("a file");
            }
        }
        let inside = |path: &Path| {
            let below = path.strip_prefix(world.work.path()).expect("below");
            format!("/bench/{}", below.display())
        };
        let home = |name: &String| inside(&homes.join(name));
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let command = match self {
            Subject::Floor => {
                let mut command = words(&["/bench/floor", "/bench/service"]);
                command.extend(names.iter().map(home));
                command
            }
            Subject::Ours | Subject::OursLogd => {
                self.lay_out_root(world, &names, &homes, &inside);
                let root = inside(&directory.join("root"));
                match thin(world) {
                    true => words(&["/bench/switchhook-init", "--root", &root]),
                    false => words(&["/bench/switchhook", "init", "--root", &root]),
                }
            }
            Subject::S6 => words(&["/usr/bin/s6-svscan", &inside(&homes)]),
            Subject::Runit => {
                // It waits a second when the directory was changed in the current one.
                run(Command::new("touch").args(["-d", "1 hour ago"]).arg(&homes));
                words(&["/usr/bin/runsvdir", "-P", &inside(&homes)])
            }
            Subject::Tini | Subject::DumbInit | Subject::Catatonit => {
                let starts: Vec<_> = names
                    .iter()
                    .map(|n| format!("/bench/service {} &", home(n)))
                    .collect();
                let script = format!("{} wait", starts.join(" "));
                let mut command = match self {
                    Subject::Tini => words(&["/usr/bin/tini", "-g", "--"]),
                    Subject::DumbInit => words(&["/usr/bin/dumb-init", "--"]),
                    _ => words(&["/usr/bin/catatonit", "--"]),
                };
                command.extend(words(&["/bin/sh", "-c", &script]));
                command
            }
        };
        if let Some(user) = user {
            give(&directory, user);
        }
        command
    }

    /// The root of our PID 1: units, sample configuration and no hook.
    fn lay_out_root(
        self,
        world: &World,
        names: &[String],
        homes: &Path,
        inside: &dyn Fn(&Path) -> String,
    ) {
        let root = self.root(world);
        let units = root.join("usr/lib/switchhook/units");
        let _ = fs::remove_dir_all(&units);
        for below in [
            "usr/lib/switchhook/units",
            "usr/lib/switchhook/entry.d",
            "usr/lib/switchhook/exit.d",
            "srv",
        ] {
            fs::create_dir_all(root.join(below)).expect("a directory");
        }
        let samples = root.join("usr/share/switchhook/seed-config");
        if !samples.exists() {
            fs::create_dir_all(samples.parent().expect("a parent")).expect("a directory");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed-config");
            run(Command::new("cp").arg("-r").arg(source).arg(&samples));
        }
        let unit = |name: &str, text: String| fs::write(units.join(name), text).expect("a unit");
        for name in names {
            let home = inside(&homes.join(name));
            unit(
                &format!("{name}.service"),
                format!("[Service]\nType=exec\nRestart=always\nExecStart=/bench/service {home}\n"),
            );
        }
        if self == Subject::OursLogd {
            unit(
                "logd.service",
                "[Service]\nType=notify\nExecStart=/bench/switchhook logd\nRestart=always\nX-Role=log\n".to_owned(),
            );
        }
    }

    fn directory(self, world: &World) -> PathBuf {
        world.work.path().join("subjects").join(self.name())
    }

    /// Where our PID 1 has its root.
    pub fn root(self, world: &World) -> PathBuf {
        self.directory(world).join("root")
    }
}

/// Whether PID 1 is a binary of its own.
fn thin(world: &World) -> bool {
    world.work.path().join("switchhook-init").exists()
}

/// Everything below belongs to `user` from now on.
fn give(path: &Path, user: u32) {
    let _ = chown(path, Some(user), Some(user));
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            give(&entry.path(), user);
        }
    }
}
