//! Certificates on disk: a directory for each, one link that says which is in use, and the names that the PBX knows.
//!
//! ```text
//! /srv/etc/ssl/asterisk/            root:asterisk 0750
//!   generations/gen-000007/         root:asterisk 0750, files 0640
//!     cert.pem priv_key.pem         chain and key for everybody
//!     asterisk_rsa.pem, .key        the same; Asterisk finds the file below by this name
//!     asterisk_ecc.pem              chain and key of a second pair, ECDSA beside RSA
//!     meta.json                     source and time
//!   live -> generations/gen-000007
//!   cert.pem -> live/cert.pem       and so on; or the user's own files
//! ```
//!
//! A generation is complete and on disk before it has its name, and is never changed. It decides nothing. Invariant: who
//! opens `live/...` at any time finds the files of one generation; a key is never readable by others, not for an instant.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::private_key::PrivateKey;
use super::source::Source;
use crate::sys::file::{FileError, Owner, read_text, write_atomic};

/// The names by which the predecessor's configuration and ours know the pair.
pub const CERTIFICATE: &str = "cert.pem";
pub const PRIVATE_KEY: &str = "priv_key.pem";
/// The names with which Asterisk looks for a second pair: pjproject's ssl_sock_ossl.c puts `_ecc.` in the place of `_rsa.`,
/// as main/tcptls.c does.
const RSA_CERTIFICATE: &str = "asterisk_rsa.pem";
const RSA_KEY: &str = "asterisk_rsa.key";
const ECC_BOTH: &str = "asterisk_ecc.pem";
const META: &str = "meta.json";
const LIVE: &str = "live";
const GENERATIONS: &str = "generations";
/// So many are kept: the one in use, and what one can go back to.
const KEPT: usize = 3;

/// Why nothing was put in place.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot {doing} `{}`: {source}", path.display())]
    System {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn cannot<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> GenerationError + 'a {
    move |source| GenerationError::System {
        doing,
        path: path.to_owned(),
        source,
    }
}

impl GenerationError {
    /// With all causes, in one line.
    pub fn text(&self) -> String {
        match self {
            GenerationError::File(error) => match std::error::Error::source(error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            },
            other => other.to_string(),
        }
    }
}

/// Chain and key in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub chain: String,
    pub key: PrivateKey,
}

/// What a generation holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub source: Source,
    pub first: Text,
    pub second: Option<Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    schema: u32,
    source: Source,
    /// Seconds since 1970.
    made_at: i64,
}

/// The place of the certificates.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
    uid: u32,
    /// The group that may read: the PBX's.
    gid: u32,
}

/// To whom the pair `cert.pem` and `priv_key.pem` belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Links of ours, or nothing.
    Ours,
    /// Files, or links to files, that somebody else has put there.
    Placed,
}

impl Place {
    /// `gid` is the PBX's group.
    pub fn new(root: impl Into<PathBuf>, gid: u32) -> Place {
        Place {
            root: root.into(),
            uid: nix::unistd::geteuid().as_raw(),
            gid,
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the place what it must be.
    pub fn furnish(&self) -> Result<(), GenerationError> {
        for path in [self.root.clone(), self.root.join(GENERATIONS)] {
            match DirBuilder::new().recursive(true).mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(cannot("make", &path)(error));
                }
                _ => {}
            }
            self.own_directory(&path)?;
        }
        Ok(())
    }

    fn own_directory(&self, path: &Path) -> Result<(), GenerationError> {
        use std::os::unix::fs::MetadataExt;
        let now = fs::metadata(path).map_err(cannot("look at", path))?;
        if (now.uid(), now.gid()) != (self.uid, self.gid) {
            chown(path, Some(self.uid), Some(self.gid))
                .map_err(cannot("set the owner of", path))?;
        }
        if now.mode() & 0o7777 != 0o750 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o750))
                .map_err(cannot("set the mode of", path))?;
        }
        Ok(())
    }

    /// The name of the generation in use.
    pub fn live(&self) -> Option<String> {
        let target = fs::read_link(self.root.join(LIVE)).ok()?;
        let name = target.file_name()?.to_str()?.to_owned();
        self.generation(&name).is_dir().then_some(name)
    }

    fn generation(&self, name: &str) -> PathBuf {
        self.root.join(GENERATIONS).join(name)
    }

    /// Where the PBX and others find the files of the generation in use, whatever it is.
    pub fn live_directory(&self) -> PathBuf {
        self.root.join(LIVE)
    }

    /// Reads a generation; its time in seconds since 1970.
    pub fn read(&self, name: &str) -> Result<(Content, i64), GenerationError> {
        let directory = self.generation(name);
        let text = |name: &str| read_text(&directory.join(name));
        let meta: Option<Meta> = text(META)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok());
        let second = match text(ECC_BOTH) {
            // Each reader finds its part of the file.
            Ok(both) => Some(Text {
                chain: both.clone(),
                key: PrivateKey::new(both),
            }),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let content = Content {
            source: meta.as_ref().map_or(Source::Files, |meta| meta.source),
            first: Text {
                chain: text(CERTIFICATE)?,
                key: PrivateKey::new(text(PRIVATE_KEY)?),
            },
            second,
        };
        Ok((content, meta.map_or(0, |meta| meta.made_at)))
    }

    /// Writes a new generation and brings it to disk. Returns its name.
    pub fn stage(&self, content: &Content, now: i64) -> Result<String, GenerationError> {
        self.furnish()?;
        self.sweep();
        let last = self.names().last().and_then(|name| number(name));
        let name = format!("gen-{:06}", last.unwrap_or(0) + 1);
        let generations = self.root.join(GENERATIONS);
        let unfinished = generations.join(format!(".{name}.tmp"));
        let written = self.fill(&unfinished, content, now).and_then(|()| {
            let named = generations.join(&name);
            fs::rename(&unfinished, &named).map_err(cannot("name", &named))?;
            sync(&generations)
        });
        match written {
            Ok(()) => Ok(name),
            Err(error) => {
                let _ = fs::remove_dir_all(&unfinished);
                Err(error)
            }
        }
    }

    fn fill(&self, to: &Path, content: &Content, now: i64) -> Result<(), GenerationError> {
        DirBuilder::new()
            .mode(0o700)
            .create(to)
            .map_err(cannot("make", to))?;
        let meta = Meta {
            schema: 1,
            source: content.source,
            made_at: now,
        };
        let meta = serde_json::to_string(&meta).unwrap_or_default() + "\n";
        let (chain, key) = (&content.first.chain, content.first.key.expose());
        let mut files = vec![
            (CERTIFICATE, chain.clone()),
            (PRIVATE_KEY, key.to_owned()),
            (RSA_CERTIFICATE, chain.clone()),
            (RSA_KEY, key.to_owned()),
            (META, meta),
        ];
        if let Some(second) = &content.second {
            let both = format!("{}{}", second.chain, second.key.expose());
            files.push((ECC_BOTH, both));
        }
        let owner = Owner::Set {
            uid: self.uid,
            gid: self.gid,
            mode: 0o640,
        };
        for (name, text) in files {
            write_atomic(&to.join(name), text.as_bytes(), owner)?;
        }
        self.own_directory(to)
    }

    /// Puts a generation in use, by one rename.
    pub fn switch(&self, name: &str) -> Result<(), GenerationError> {
        let target = self.generation(name);
        if !target.is_dir() {
            let missing = io::ErrorKind::NotFound.into();
            return Err(cannot("switch to", &target)(missing));
        }
        self.link(LIVE, &format!("{GENERATIONS}/{name}"))?;
        sync(&self.root)
    }

    fn link(&self, name: &str, target: &str) -> Result<(), GenerationError> {
        let path = self.root.join(name);
        if fs::read_link(&path).is_ok_and(|found| found == Path::new(target)) {
            return Ok(());
        }
        let unfinished = self.root.join(format!(".{name}.tmp"));
        let _ = fs::remove_file(&unfinished);
        symlink(target, &unfinished).map_err(cannot("link", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(cannot("link", &path))
    }

    /// To whom the predecessor's names belong. A link that leads nowhere is nobody's: the predecessor leaves such when
    /// its store is not there.
    pub fn owner_of_names(&self) -> Names {
        let is_placed = |name: &str| {
            let path = self.root.join(name);
            match fs::read_link(&path) {
                Ok(target) => !is_ours(&target) && path.exists(),
                Err(_) => path.symlink_metadata().is_ok_and(|meta| meta.len() > 0),
            }
        };
        match is_placed(CERTIFICATE) || is_placed(PRIVATE_KEY) {
            true => Names::Placed,
            false => Names::Ours,
        }
    }

    /// Lets the names lead to what is in use; those that somebody else has taken stay his.
    pub fn link_names(&self) -> Result<(), GenerationError> {
        let names = self.owner_of_names();
        let has_live = self.live().is_some();
        for (name, placed) in [
            (CERTIFICATE, None),
            (PRIVATE_KEY, None),
            (RSA_CERTIFICATE, Some(CERTIFICATE)),
            (RSA_KEY, Some(PRIVATE_KEY)),
            (ECC_BOTH, None),
        ] {
            let is_file = self
                .root
                .join(name)
                .symlink_metadata()
                .is_ok_and(|meta| !meta.is_symlink() && meta.len() > 0);
            match (names, placed) {
                (Names::Placed, None) if name != ECC_BOTH => {}
                // Nobody has taken it over yet.
                (Names::Placed, Some(placed)) if !has_live => self.link(name, placed)?,
                _ if is_file => {}
                _ => self.link(name, &format!("{LIVE}/{name}"))?,
            }
        }
        sync(&self.root)
    }

    /// Puts somebody's pair aside, under another name, so that ours can have the names.
    pub fn set_aside(&self) -> Result<(), GenerationError> {
        for name in [CERTIFICATE, PRIVATE_KEY] {
            let path = self.root.join(name);
            let aside = self.root.join(format!("{name}.before"));
            match fs::rename(&path, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(cannot("put aside", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The generations, oldest first.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(GENERATIONS));
        let mut names: Vec<String> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| number(name).is_some())
            .collect();
        names.sort_by_key(|name| number(name));
        names
    }

    /// Removes the oldest but some, and what an interrupted one has left.
    pub fn sweep(&self) {
        let entries = fs::read_dir(self.root.join(GENERATIONS));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".gen-") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let (live, names) = (self.live(), self.names());
        let surplus = names.len().saturating_sub(KEPT);
        for name in names.iter().take(surplus) {
            if live.as_ref() != Some(name) {
                let _ = fs::remove_dir_all(self.generation(name));
            }
        }
    }
}

fn is_ours(target: &Path) -> bool {
    target.starts_with(LIVE)
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("gen-")?;
    digits.parse().ok()
}

fn sync(directory: &Path) -> Result<(), GenerationError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(cannot("bring to disk", directory))
}

#[cfg(test)]
mod tests;
