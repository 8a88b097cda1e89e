//! What has to be done to a volume before anything starts: pure decisions over what was found.
//!
//! A configuration that exists is never touched. Planning over the result of a plan gives an empty plan.

use std::collections::BTreeSet;

/// The schema of the volume that this version writes and reads.
pub const SCHEMA: u32 = 1;

/// Who owns a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Root,
    Asterisk,
    /// The log service.
    Log,
    Autoban,
    Websms,
}

/// A directory of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Below the volume.
    pub path: &'static str,
    pub owner: Owner,
    pub mode: u32,
}

const fn place(path: &'static str, owner: Owner, mode: u32) -> Place {
    Place { path, owner, mode }
}

/// Everything that lasts, at the places where it has always been.
pub const PLACES: &[Place] = &[
    place("etc", Owner::Root, 0o755),
    place("etc/asterisk", Owner::Asterisk, 0o750),
    place("etc/ssl", Owner::Root, 0o755),
    place("etc/ssl/asterisk", Owner::Asterisk, 0o750),
    place("etc/nftables.d", Owner::Root, 0o755),
    place("etc/entry.d", Owner::Root, 0o755),
    place("etc/exit.d", Owner::Root, 0o755),
    place("etc/units", Owner::Root, 0o755),
    place("var", Owner::Root, 0o755),
    place("var/spool", Owner::Root, 0o755),
    place("var/spool/asterisk", Owner::Asterisk, 0o750),
    // WebSMS, of the group, puts call files there for a dialplan that wants them.
    place("var/spool/asterisk/outgoing", Owner::Asterisk, 0o770),
    place("var/spool/asterisk/monitor", Owner::Asterisk, 0o750),
    place("var/spool/asterisk/recording", Owner::Asterisk, 0o750),
    place("var/spool/asterisk/tmp", Owner::Asterisk, 0o750),
    place("var/spool/asterisk/voicemail", Owner::Asterisk, 0o750),
    place("var/spool/switchhook", Owner::Root, 0o755),
    // The PBX puts voicemail there, and the mail service, of its group, takes it out.
    place("var/spool/switchhook/mail", Owner::Asterisk, 0o770),
    place("var/lib", Owner::Root, 0o755),
    place("var/lib/asterisk", Owner::Asterisk, 0o750),
    place("var/lib/switchhook", Owner::Root, 0o755),
    place("var/lib/switchhook/autoban", Owner::Autoban, 0o755),
    place("var/lib/switchhook/websms", Owner::Websms, 0o750),
    place("var/log", Owner::Root, 0o755),
    place("var/log/switchhook", Owner::Log, 0o750),
    place("var/log/asterisk", Owner::Asterisk, 0o750),
    place("var/log/asterisk/cdr-csv", Owner::Asterisk, 0o750),
];

/// The directory whose emptiness means that a volume is new.
pub const CONFIGURATION: &str = "etc/asterisk";

/// What was found in the volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The number in the schema file; `None` when there is none.
    pub schema: Option<u32>,
    /// Directories of `PLACES` that exist.
    pub places: BTreeSet<String>,
    /// Seed files that exist in the volume.
    pub files: BTreeSet<String>,
    /// The configuration directory holds nothing.
    pub is_empty: bool,
    /// An earlier seeding did not come to its end.
    pub seeding: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    MakePlace(Place),
    /// Everything below the configuration and state directories becomes the PBX's own, once.
    AdoptOwner,
    /// Written before the first seed file: an interrupted seeding is finished at the next start.
    BeginSeeding,
    /// Copies one seed file; its placeholders become secrets of this volume.
    Seed(String),
    EndSeeding,
    WriteSchema(u32),
}

/// A volume that must not be touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the volume has schema {found}, this version knows schemas up to {SCHEMA}\nhint: it was used by a newer version; start that one, or restore a backup. Nothing was changed"
)]
pub struct FromTheFuture {
    pub found: u32,
}

/// Decides what to do; `seeds` are the seed files, as paths below the volume.
pub fn plan(found: &Found, seeds: &[String]) -> Result<Vec<Action>, FromTheFuture> {
    if let Some(schema) = found.schema.filter(|schema| *schema > SCHEMA) {
        return Err(FromTheFuture { found: schema });
    }
    let mut actions: Vec<Action> = PLACES
        .iter()
        .filter(|place| !found.places.contains(place.path))
        .map(|place| Action::MakePlace(*place))
        .collect();
    let is_new = found.is_empty || found.seeding;
    if found.schema.is_none() && !is_new {
        actions.push(Action::AdoptOwner);
    }
    if is_new && !seeds.is_empty() {
        actions.push(Action::BeginSeeding);
        actions.extend(
            seeds
                .iter()
                .filter(|seed| !found.files.contains(*seed))
                .cloned()
                .map(Action::Seed),
        );
        actions.push(Action::EndSeeding);
    }
    if found.schema != Some(SCHEMA) {
        actions.push(Action::WriteSchema(SCHEMA));
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> Vec<String> {
        vec!["etc/asterisk/a.conf".into(), "etc/asterisk/b.conf".into()]
    }

    /// What `apply` leaves behind, without a disk.
    fn applied(mut found: Found, actions: &[Action]) -> Found {
        for action in actions {
            match action {
                Action::MakePlace(place) => {
                    found.places.insert(place.path.to_owned());
                }
                Action::AdoptOwner => {}
                Action::BeginSeeding => found.seeding = true,
                Action::Seed(path) => {
                    found.files.insert(path.clone());
                    found.is_empty = false;
                }
                Action::EndSeeding => found.seeding = false,
                Action::WriteSchema(schema) => found.schema = Some(*schema),
            }
        }
        found
    }

    #[test]
    fn a_new_volume_is_seeded_whole() {
        let found = Found {
            is_empty: true,
            ..Found::default()
        };
        let actions = plan(&found, &seeds()).unwrap();
        let seeded = actions
            .iter()
            .filter(|a| matches!(a, Action::Seed(_)))
            .count();
        assert_eq!(seeded, 2);
        assert_eq!(actions.last(), Some(&Action::WriteSchema(SCHEMA)));
    }

    #[test]
    fn an_existing_configuration_is_never_touched() {
        let found = Found {
            is_empty: false,
            ..Found::default()
        };
        let actions = plan(&found, &seeds()).unwrap();
        assert!(!actions.iter().any(|a| matches!(a, Action::Seed(_))));
        assert!(actions.contains(&Action::AdoptOwner));
    }

    #[test]
    fn an_interrupted_seeding_is_finished_and_keeps_what_is_there() {
        let mut found = Found {
            seeding: true,
            ..Found::default()
        };
        found.files.insert("etc/asterisk/a.conf".into());
        let actions = plan(&found, &seeds()).unwrap();
        assert!(actions.contains(&Action::Seed("etc/asterisk/b.conf".into())));
        assert!(!actions.contains(&Action::Seed("etc/asterisk/a.conf".into())));
        assert!(!actions.contains(&Action::AdoptOwner));
    }

    #[test]
    fn a_volume_from_the_future_is_refused() {
        let found = Found {
            schema: Some(SCHEMA + 1),
            is_empty: true,
            ..Found::default()
        };
        assert_eq!(
            plan(&found, &seeds()),
            Err(FromTheFuture { found: SCHEMA + 1 })
        );
    }

    proptest::proptest! {
        #[test]
        fn planning_twice_changes_nothing(is_empty: bool, seeding: bool, known: bool, one_place: bool) {
            let mut found = Found { is_empty, seeding, schema: known.then_some(SCHEMA), ..Found::default() };
            if one_place {
                found.places.insert("etc/asterisk".into());
            }
            let first = plan(&found, &seeds()).unwrap();
            let second = plan(&applied(found, &first), &seeds()).unwrap();
            proptest::prop_assert_eq!(second, vec![]);
        }
    }
}
