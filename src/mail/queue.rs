//! The directory in which letters wait: `ID.mail` is a letter, `ID.state` what has happened to it so far.
//!
//! The PBX's user puts letters there, the mail service takes them, a person looks after them; nobody waits for another, for
//! each file is replaced as a whole. Invariant: a letter that `put` returned for survives a power cut, and nothing but `remove`
//! takes it away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::letter::{self, Letter, State};
use crate::sys::clock;
use crate::sys::file::{FileError, Owner, read_text, sync_around, write_atomic};

/// Below the volume.
pub const PLACE: &str = "srv/var/spool/switchhook/mail";

/// The longest first line of a letter, in bytes.
const LONGEST_HEAD: u64 = 64 * 1024;
/// A temporary file that is older was left by a crash.
const FORGOTTEN: Duration = Duration::from_secs(3600);
const MODE: u32 = 0o640;

/// The letters on disk.
#[derive(Debug, Clone)]
pub struct Queue {
    directory: PathBuf,
}

/// A letter and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub letter: Letter,
    pub state: State,
}

/// Why the queue cannot do it.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is no letter: {problem}", path.display())]
    Shape { path: PathBuf, problem: String },
}

impl QueueError {
    /// What the reader can do next, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            QueueError::File(error) => error.hint(),
            QueueError::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => {
                    Some("the exchange makes that directory at its start")
                }
                std::io::ErrorKind::PermissionDenied => Some("root and the PBX's user may"),
                _ => None,
            },
            QueueError::Shape { .. } => None,
        }
    }
}

impl Queue {
    #[must_use]
    pub fn at(directory: PathBuf) -> Queue {
        Queue { directory }
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A name that no other letter has; names sort by age.
    ///
    /// # Errors
    /// If the kernel has no random bytes.
    pub fn new_id() -> Result<String, getrandom::Error> {
        let mut bytes = [0; 4];
        getrandom::getrandom(&mut bytes)?;
        let now: String = clock::wall_clock()
            .chars()
            .filter(char::is_ascii_digit)
            .take(14)
            .collect();
        let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{now}-{random}"))
    }

    /// Takes a letter. With a state it lies aside from the beginning.
    ///
    /// # Errors
    /// If it is not on disk.
    pub fn put(
        &self,
        letter: &Letter,
        mail: &[u8],
        state: Option<&State>,
    ) -> Result<(), QueueError> {
        let path = self.path(&letter.id, "mail");
        let bytes = letter::encode(letter, mail).map_err(|error| QueueError::Shape {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        // Before the letter, so that nobody sends it in between.
        if let Some(state) = state {
            self.set_state(
                &letter.id,
                state,
                Owner::Keep {
                    new_file_mode: MODE,
                },
            )?;
        }
        write_atomic(
            &path,
            &bytes,
            Owner::Keep {
                new_file_mode: MODE,
            },
        )?;
        Ok(())
    }

    /// Every letter, the oldest first; and what is none, with its reason.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<Waiting>, Vec<QueueError>), QueueError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(self.cannot("read"))? {
            let name = entry.map_err(self.cannot("read"))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".mail"));
            ids.extend(id.filter(|id| is_id(id)).map(ToOwned::to_owned));
        }
        ids.sort();
        let (mut found, mut bad) = (Vec::new(), Vec::new());
        for id in ids {
            match self.get(&id) {
                Ok(Some(waiting)) => found.push(waiting),
                // It went meanwhile.
                Ok(None) => {}
                Err(error) => bad.push(error),
            }
        }
        Ok((found, bad))
    }

    /// One letter; none if there is none of this name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<Waiting>, QueueError> {
        if !is_id(id) {
            return Ok(None);
        }
        let Some((letter, _)) = self.open(id)? else {
            return Ok(None);
        };
        Ok(Some(Waiting {
            letter,
            state: self.state(id)?,
        }))
    }

    /// The mail of a letter, as the server gets it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn mail(&self, id: &str) -> Result<Option<Vec<u8>>, QueueError> {
        if !is_id(id) {
            return Ok(None);
        }
        let Some((_, mut rest)) = self.open(id)? else {
            return Ok(None);
        };
        let mut mail = Vec::new();
        let path = self.path(id, "mail");
        rest.read_to_end(&mut mail).map_err(cannot("read", &path))?;
        Ok(Some(mail))
    }

    /// Writes what happened, as the process's own.
    ///
    /// # Errors
    /// If it is not on disk.
    pub fn note(&self, id: &str, state: &State) -> Result<(), QueueError> {
        let owner = Owner::Set {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            mode: MODE,
        };
        self.set_state(id, state, owner)
    }

    /// Forgets what happened: the letter is tried at once.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn renew(&self, id: &str) -> Result<(), QueueError> {
        self.delete(&self.path(id, "state"))?;
        Ok(sync_around(&self.directory)?)
    }

    /// Takes a letter away for good.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn remove(&self, id: &str) -> Result<(), QueueError> {
        self.delete(&self.path(id, "mail"))?;
        self.delete(&self.path(id, "state"))?;
        Ok(sync_around(&self.directory)?)
    }

    /// Clears away what crashes have left: temporary files, and states without a letter.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let is_old = |entry: &fs::DirEntry| {
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            let age = changed.map(|changed| SystemTime::now().duration_since(changed));
            matches!(age, Ok(Ok(age)) if age > FORGOTTEN)
        };
        for entry in entries.flatten().filter(is_old) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_lone = name
                .strip_suffix(".state")
                .is_some_and(|id| !self.path(id, "mail").exists());
            if is_lone || (name.starts_with('.') && name.ends_with(".tmp")) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, id: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{id}.{kind}"))
    }

    fn cannot(&self, doing: &'static str) -> impl Fn(std::io::Error) -> QueueError {
        cannot(doing, &self.directory)
    }

    fn open(&self, id: &str) -> Result<Option<(Letter, BufReader<File>)>, QueueError> {
        let path = self.path(id, "mail");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", &path)(error)),
        };
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        (&mut file)
            .take(LONGEST_HEAD)
            .read_until(b'\n', &mut line)
            .map_err(cannot("read", &path))?;
        match letter::decode(&line) {
            Ok(letter) if letter.id == id => Ok(Some((letter, file))),
            Ok(_) => Err(QueueError::Shape {
                path,
                problem: "it has another name inside".to_owned(),
            }),
            Err(problem) => Err(QueueError::Shape { path, problem }),
        }
    }

    fn state(&self, id: &str) -> Result<State, QueueError> {
        let path = self.path(id, "state");
        match read_text(&path) {
            // One that nobody can read costs a try too early.
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
            Err(error) if error.is_not_found() => Ok(State::default()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_state(&self, id: &str, state: &State, owner: Owner) -> Result<(), QueueError> {
        let path = self.path(id, "state");
        let bytes = serde_json::to_vec(state).map_err(|error| QueueError::Shape {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        Ok(write_atomic(&path, &bytes, owner)?)
    }

    fn delete(&self, path: &Path) -> Result<(), QueueError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn cannot(doing: &'static str, path: &Path) -> impl Fn(std::io::Error) -> QueueError {
    let path = path.to_owned();
    move |source| QueueError::Io {
        doing,
        path: path.clone(),
        source,
    }
}

/// As `new_id` makes them: nothing that leads out of the directory.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::letter::SCHEMA;

    fn letter(id: &str) -> Letter {
        Letter {
            schema: SCHEMA,
            id: id.into(),
            taken: 1,
            from: "f@x".into(),
            to: "t@x".into(),
            subject: "s".into(),
            route: None,
        }
    }

    #[test]
    fn a_letter_is_put_listed_noted_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let queue = Queue::at(root.path().to_owned());
        queue.put(&letter("2"), b"mail\r\n", None).unwrap();
        queue
            .put(&letter("1"), b"", Some(&State::aside("why")))
            .unwrap();
        let (found, bad) = queue.list().unwrap();
        let ids: Vec<_> = found
            .iter()
            .map(|one| (one.letter.id.as_str(), one.state.aside))
            .collect();
        assert_eq!(ids, [("1", true), ("2", false)]);
        assert!(bad.is_empty());
        assert_eq!(queue.mail("2").unwrap().unwrap(), b"mail\r\n");
        queue.renew("1").unwrap();
        assert!(!queue.get("1").unwrap().unwrap().state.aside);
        queue
            .note(
                "1",
                &State {
                    tries: 3,
                    ..State::default()
                },
            )
            .unwrap();
        assert_eq!(queue.get("1").unwrap().unwrap().state.tries, 3);
        queue.remove("1").unwrap();
        queue.remove("2").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_letter_is_told_and_hinders_no_other() {
        let root = tempfile::tempdir().unwrap();
        let queue = Queue::at(root.path().to_owned());
        queue.put(&letter("1"), b"", None).unwrap();
        fs::write(root.path().join("2.mail"), "rubbish").unwrap();
        fs::rename(root.path().join("1.mail"), root.path().join("3.mail")).unwrap();
        queue.put(&letter("1"), b"", None).unwrap();
        fs::write(root.path().join("1.state"), "rubbish").unwrap();
        let (found, bad) = queue.list().unwrap();
        assert_eq!((found.len(), bad.len()), (1, 2));
        assert_eq!(found[0].state, State::default());
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let queue = Queue::at("/nonexistent".into());
        for id in ["", "../x", "a/b", "a.b"] {
            assert_eq!(queue.get(id).unwrap(), None, "{id}");
        }
        let id = Queue::new_id().unwrap();
        assert!(is_id(&id), "{id}");
    }
}
