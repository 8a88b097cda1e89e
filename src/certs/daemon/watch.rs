//! Hints that a file has changed.
//!
//! The directory is watched, so that a file that is renamed over ours is seen. A hint is no more than that: FUSE, NFS and
//! the like give none, and the kernel has only so many watches to give, so that the keeper looks every half minute anyway.
//! Invariant: our own reading is no hint.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::statfs::statfs;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// A directory that was not there is looked for this often.
const ROUND: Duration = Duration::from_secs(30);
/// Magic numbers of file systems whose changes elsewhere give no hint (statfs(2)).
const SILENT: [(i64, &str); 5] = [
    (0x6573_5546, "FUSE"),
    (0x6969, "NFS"),
    (0xFF53_4D42, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0x0102_1997, "9P"),
];

/// Where hints come from, in words.
#[derive(Debug, Clone, Default)]
pub struct Mode(Arc<Mutex<String>>);

impl Mode {
    fn set(&self, text: &str) {
        text.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn text(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Watches these files for ever, and sends `hint` for each change.
pub fn watch<T: Clone>(files: &[PathBuf], hint: &T, to: &Sender<T>, mode: &Mode) {
    let names: BTreeSet<&OsStr> = files.iter().filter_map(|file| file.file_name()).collect();
    let directories: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let (tell, told) = channel();
    let mut watcher = match RecommendedWatcher::new(tell, Config::default()) {
        Ok(watcher) => watcher,
        Err(error) => {
            let text = format!("by looking every 30 s: no watch is left ({error})");
            return mode.set(&text);
        }
    };
    loop {
        mode.set(&add(&mut watcher, &directories));
        let is_hint = match told.recv_timeout(ROUND) {
            Ok(Ok(event)) => is_change(&event, &names),
            // The kernel has lost some.
            Ok(Err(_)) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if is_hint && to.send(hint.clone()).is_err() {
            return;
        }
    }
}

/// Whether one of our files may be another one now. Opening and reading one is what we do ourselves.
fn is_change(event: &notify::Event, names: &BTreeSet<&OsStr>) -> bool {
    let is_of_content = matches!(
        event.kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Create(_)
            | EventKind::Remove(_)
    );
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
    is_of_content && (event.need_rescan() || event.paths.iter().any(is_ours))
}

/// Watches the directories that are there. One that is watched already stays so.
fn add(watcher: &mut RecommendedWatcher, directories: &BTreeSet<&Path>) -> String {
    let mut mode = "by changes, and every 30 s".to_owned();
    for directory in directories {
        let name = directory.display();
        // One that is not there is looked for again.
        if !directory.is_dir() {
            continue;
        }
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            mode = format!("by looking every 30 s: `{name}` cannot be watched ({error})");
        }
        if let Some(kind) = statfs(*directory)
            .ok()
            .and_then(|found| silent(found.filesystem_type().0))
        {
            mode = format!("by looking every 30 s: `{name}` is {kind}, which tells no changes");
        }
    }
    mode
}

fn silent(kind: i64) -> Option<&'static str> {
    let kind = kind & 0xFFFF_FFFF;
    let mut known = SILENT.iter();
    known
        .find(|(number, _)| *number == kind)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::Receiver;

    const LONG: Duration = Duration::from_secs(60);

    /// A watch of DIRECTORY/acme.json that is in place.
    fn watched(directory: &Path) -> Receiver<()> {
        let (to, hints) = channel();
        let file = directory.join("acme.json");
        let mode = Mode::default();
        std::thread::spawn(move || watch(&[file], &(), &to, &mode));
        // It is in place when it sees a change; the first ones may come before.
        let mut seen = hints.try_recv();
        while seen.is_err() {
            fs::write(directory.join("acme.json"), "x").unwrap();
            seen = hints
                .recv_timeout(Duration::from_millis(100))
                .map_err(|_| std::sync::mpsc::TryRecvError::Empty);
        }
        hints
    }

    fn drain(hints: &Receiver<()>) {
        while hints.recv_timeout(Duration::from_millis(50)).is_ok() {}
    }

    #[test]
    fn t28_and_t34_writes_and_renames_are_seen_and_our_own_reading_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("acme.json");
        let hints = watched(directory.path());
        drain(&hints);
        fs::read(&file).unwrap();
        fs::write(directory.path().join("another"), "y").unwrap();
        fs::write(&file, "z").unwrap();
        // Of all that only the last is a hint: reading comes first, and gives none.
        hints.recv_timeout(LONG).unwrap();
        drain(&hints);
        fs::rename(directory.path().join("another"), &file).unwrap();
        hints.recv_timeout(LONG).unwrap();
    }

    #[test]
    fn t30_file_systems_that_tell_nothing_are_known() {
        assert_eq!(silent(0x6573_5546), Some("FUSE"));
        assert_eq!(silent(0xFE53_4D42_u32.into()), Some("SMB"));
        assert_eq!(silent(0xEF53), None);
    }
}
