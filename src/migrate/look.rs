//! Looks at a volume for `plan`: every entry of the PBX's trees, links not followed.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::MigrateError;
use super::plan::{Entry, Found, Kind, LINKED};
use crate::config::paths::Paths;
use crate::seed::plan::{Owner, PLACES};

/// Keys are small; what is larger is none.
const LONGEST_KEY: u64 = 64 << 10;

/// Reads owners, modes and kinds; of files in the directory of certificates also whether they are keys.
pub(super) fn look(paths: &Paths) -> Result<Found, MigrateError> {
    let pbx = paths.pbx();
    let volume = paths.volume();
    let mut found = Found {
        has_schema: paths.state().join("schema").exists(),
        account: crate::sys::account::user(pbx.name())
            .ok()
            .flatten()
            .map(|account| (account.uid, account.gid)),
        name: pbx.name().to_owned(),
        configuration: pbx.rename("etc/asterisk"),
        certificates: pbx.rename("etc/ssl/asterisk"),
        spool: pbx.rename("var/spool/asterisk"),
        state: pbx.rename("var/lib/asterisk"),
        ..Found::default()
    };
    let trees = PLACES.iter().filter(|place| place.owner == Owner::Asterisk);
    let mut pending: BTreeSet<String> = trees.map(|place| pbx.rename(place.path)).collect();
    let certificates = format!("{}/", found.certificates);
    while let Some(below) = pending.pop_first() {
        let path = volume.join(&below);
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(MigrateError::Step {
                    step: "look at",
                    path,
                    source,
                });
            }
        };
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        if kind == Kind::Directory {
            let entries = std::fs::read_dir(&path).map_err(|source| MigrateError::Step {
                step: "read",
                path: path.clone(),
                source,
            })?;
            for entry in entries.flatten() {
                // A name that is no text cannot stand in a manifest, and Asterisk reads none.
                if let Some(name) = entry.file_name().to_str() {
                    pending.insert(format!("{below}/{name}"));
                }
            }
        }
        let is_certificate = below.starts_with(&certificates) || below.starts_with(LINKED);
        // A link among the certificates may lead to the pair itself.
        if kind == Kind::Link
            && is_certificate
            && let Ok(target) = std::fs::read_link(&path)
            && let Some(target) = target.to_str().and_then(|target| target.strip_prefix('/'))
            && target.starts_with(LINKED)
            && !target.contains("..")
            && volume.join(target).is_file()
        {
            pending.insert(target.to_owned());
        }
        let entry = Entry {
            kind,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & 0o7777,
            is_key: kind == Kind::File && is_certificate && is_key(&path),
        };
        found.entries.insert(below, entry);
    }
    // Our own state, the memory of the move in it, is no concern of whoever goes back.
    let places = PLACES.iter().map(|place| pbx.rename(place.path));
    let places = places.filter(|place| !paths.volume().join(place).starts_with(paths.state()));
    found.missing_places = places
        .filter(|place| volume.join(place).symlink_metadata().is_err())
        .collect();
    Ok(found)
}

fn is_key(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(LONGEST_KEY).read_to_end(&mut bytes));
    read.is_ok() && String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----")
}
