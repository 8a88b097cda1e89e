//! The volume before the start: what it is, whether it can be used, and what a new one gets.
//!
//! `plan` decides, `apply` does. Invariant: no file that exists is ever opened for writing.

pub mod apply;
pub mod plan;
pub mod secret;
pub mod volume;

use crate::config::paths::Paths;
use crate::migrate::{self, Extent};
pub use volume::Volume;

/// What became of the volume.
#[derive(Debug)]
pub struct Prepared {
    pub volume: Volume,
    /// Number of files that a new volume got.
    pub seeded: usize,
    /// What was done because the volume comes from elsewhere, with what else its owner should know.
    pub moved: Vec<String>,
    /// What the operator should know, worst first.
    pub warnings: Vec<String>,
}

/// Looks at the volume, plans and applies. A volume from elsewhere moves in, as far as `extent` allows.
pub fn prepare(paths: &Paths, extent: Extent) -> Result<Prepared, apply::SeedError> {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let volume = volume::classify(&mountinfo, &paths.volume().to_string_lossy());
    let mut warnings = Vec::new();
    if !volume.lasts() {
        warnings.push(format!(
            "/srv is {volume}: configuration, voicemail and messages do not outlive this container\n\
             hint: mount a named volume, as in `-v tele-conf:/srv`"
        ));
    }
    let (found, seeds) = apply::look(paths)?;
    let actions = plan::plan(&found, &seeds)?;
    let moves = actions.contains(&plan::Action::AdoptOwner)
        || extent == Extent::EachStart && found.schema.is_some();
    let room = apply::check_writable(paths);
    if let Err(problem) = room {
        // A telephone that works matters more than a full disk, as long as nothing must be written now.
        if !actions.is_empty() || !problem.is_full() {
            return Err(problem);
        }
        warnings.push(problem.to_string());
    }
    let moving = moves.then(|| migrate::begin(paths, extent)).transpose()?;
    let seeded = apply::apply(paths, &actions, moving.as_ref(), &mut warnings)?;
    let mut moved = Vec::new();
    if let Some(moving) = &moving {
        if found.schema.is_some() {
            migrate::apply(paths, moving, &mut warnings)?;
        }
        migrate::end(moving)?;
        moved.extend(moving.steps.iter().map(|step| step.text(true)));
        if found.schema.is_none() {
            moved.extend(migrate::remarks(paths).into_iter().filter(|remark| {
                // The start says those by itself.
                !remark.starts_with("at each start: ")
            }));
        }
    }
    Ok(Prepared {
        volume,
        seeded,
        moved,
        warnings,
    })
}
