//! Moving in: what a volume of mlan/docker-asterisk needs before this exchange can live on it, and the way back.
//!
//! `plan` decides, `hands` changes, `backup` remembers. The user's own files are not rewritten: owners and modes change,
//! files that Asterisk misses are added, and what the certificates' keeper may replace is copied first. Invariant: whatever
//! is changed stands in a manifest on the disk before it is changed, so that a power cut at any moment leaves a volume with
//! which either the next start goes on or `migrate --undo` goes back.

pub mod backup;
mod hands;
mod look;
pub mod plan;
mod remarks;

use std::path::PathBuf;

use crate::config::paths::Paths;
use crate::sys::file::FileError;
pub use hands::{Undone, undo};
pub use plan::{Found, Step};
pub use remarks::remarks;

/// What `MIGRATE_CONFIG` asks of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// A volume moves in once, whole.
    #[default]
    Once,
    /// Owners are changed, for nothing works without, and no file is added.
    OwnersOnly,
    /// What is missing is added at each start.
    EachStart,
}

impl Extent {
    /// Words for no are those of the other switches; any other text is a wish for it.
    pub fn of(text: Option<&str>) -> Extent {
        match text.map(str::trim) {
            None | Some("" | "auto") => Extent::Once,
            Some("0" | "no" | "off" | "false" | "none") => Extent::OwnersOnly,
            Some(_) => Extent::EachStart,
        }
    }
}

/// Why a volume could not move in or out.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("cannot {step} `{path}`")]
    Step {
        step: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot keep a copy in {}", path.display())]
    Copy { path: PathBuf, source: FileError },
    #[error(transparent)]
    Write(#[from] FileError),
    #[error("`{path}`, line {line}: this is no entry of a manifest")]
    Manifest {
        path: PathBuf,
        line: usize,
        source: serde_json::Error,
    },
}

/// A move that has begun: its manifest is on the disk.
#[derive(Debug)]
pub struct Move {
    pub steps: Vec<Step>,
    record: backup::Record,
}

/// What would be done, by what is there; nothing is touched.
pub fn find(paths: &Paths, extent: Extent) -> Result<Vec<Step>, MigrateError> {
    Ok(plan::plan(&look::look(paths)?, extent))
}

/// Writes the manifest with the copies. An earlier move that was cut short is gone on with.
pub fn begin(paths: &Paths, extent: Extent) -> Result<Move, MigrateError> {
    let found = look::look(paths)?;
    let steps = plan::plan(&found, extent);
    let record = backup::Record::begin(paths, &plan::touched(&found, &steps))?;
    Ok(Move { steps, record })
}

/// Does the steps; what the exchange can live without is only told of.
pub fn apply(paths: &Paths, moving: &Move, warnings: &mut Vec<String>) -> Result<(), MigrateError> {
    hands::apply(paths, &moving.steps, warnings)
}

/// The volume has moved in.
pub fn end(moving: &Move) -> Result<(), MigrateError> {
    moving.record.complete()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_predecessors_variable_takes_any_wish() {
        assert_eq!(Extent::of(None), Extent::Once);
        assert_eq!(Extent::of(Some("")), Extent::Once);
        assert_eq!(Extent::of(Some("no")), Extent::OwnersOnly);
        assert_eq!(Extent::of(Some("1")), Extent::EachStart);
        assert_eq!(Extent::of(Some("all")), Extent::EachStart);
    }
}
