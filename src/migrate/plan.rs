//! What a volume needs to move in: pure decisions over what was found.
//!
//! Invariant: planning over the result of a plan gives an empty plan.

use std::collections::{BTreeMap, BTreeSet};

use super::Extent;

/// What an entry of the volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Directory,
    File,
    Link,
    /// Something else: a socket, a pipe.
    Other,
}

/// An entry of the volume, and to whom it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub uid: u32,
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
    /// It holds a private key.
    pub is_key: bool,
}

/// What was found on the volume; paths are below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// It has moved in already.
    pub has_schema: bool,
    /// Number and group of the PBX's account; `None`: there is no such account here.
    pub account: Option<(u32, u32)>,
    /// The account's name.
    pub name: String,
    /// The configuration directory, as `etc/asterisk`.
    pub configuration: String,
    /// The directory of certificates, as `etc/ssl/asterisk`.
    pub certificates: String,
    /// The spool, as `var/spool/asterisk`.
    pub spool: String,
    /// The state, as `var/lib/asterisk`.
    pub state: String,
    /// Everything in the trees of the PBX.
    pub entries: BTreeMap<String, Entry>,
    /// Places that are missing and will be made.
    pub missing_places: BTreeSet<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Gives these to the PBX's account.
    Own {
        paths: Vec<String>,
        /// To whom they belong now.
        from: Vec<(u32, u32)>,
        to: (u32, u32),
        name: String,
    },
    /// Gives a certificate or key to root, readable for the PBX's group.
    Keep {
        path: String,
        gid: u32,
        mode: u32,
        is_key: bool,
    },
    /// Sets the mode of a directory.
    Open { path: String, mode: u32 },
    /// Adds a file that is missing.
    Add {
        path: String,
        text: String,
        owner: Option<(u32, u32)>,
    },
}

/// Files that Asterisk 22 reports an error about when they are missing, and what they must hold at least. With them it
/// has the defaults that it has without.
const MISSED: &[(&str, &str)] = &[
    ("acl.conf", ""),
    ("ccss.conf", "[general]\n"),
    ("cdr.conf", "[general]\n"),
    ("cel.conf", "[general]\n"),
    ("features.conf", "[general]\n"),
    ("pjproject.conf", ""),
    ("udptl.conf", "[general]\n"),
];

/// Where an early predecessor kept what Traefik had given; its links lead there.
pub(super) const LINKED: &str = "etc/ssl/acme/";

/// Directories below the spool into which WebSMS, of the PBX's group, puts call files.
const OPEN: &[&str] = &["outgoing", "staging"];

impl Step {
    /// One line on what is done and why; `is_done`: it was done.
    pub fn text(&self, is_done: bool) -> String {
        let word = |now: &'static str, then: &'static str| if is_done { then } else { now };
        match self {
            Step::Own {
                paths,
                from,
                to: (uid, gid),
                name,
            } => {
                let trees: BTreeSet<&str> = paths.iter().map(|path| tree(path)).collect();
                let trees: Vec<String> = trees.iter().map(|tree| format!("/srv/{tree}")).collect();
                let from: Vec<String> = from
                    .iter()
                    .map(|(uid, gid)| format!("{uid}:{gid}"))
                    .collect();
                format!(
                    "{} {} files and directories of {} in {} to {name} ({uid}:{gid}): the PBX runs as this account",
                    word("give", "gave"),
                    paths.len(),
                    from.join(" and "),
                    trees.join(", ")
                )
            }
            Step::Keep {
                path,
                gid,
                mode,
                is_key,
            } => format!(
                "{} /srv/{path} to root and group {gid}, mode {mode:04o}: {}",
                word("give", "gave"),
                if *is_key {
                    "the keeper of certificates and the PBX read the key, and nobody else"
                } else {
                    "the keeper of certificates keeps it for the PBX"
                }
            ),
            Step::Open { path, mode } => format!(
                "{} the mode of /srv/{path} to {mode:04o}: WebSMS, of the PBX's group, puts call files there",
                word("set", "set")
            ),
            Step::Add { path, .. } => format!(
                "{} /srv/{path}: Asterisk 22 reports an error where it is missing; the defaults stay",
                word("add", "added")
            ),
        }
    }
}

/// The first parts of a path that name its tree.
fn tree(path: &str) -> &str {
    let deep = if path.starts_with("etc/ssl") || path.starts_with("var") {
        3
    } else {
        2
    };
    let mut ends = path.match_indices('/').map(|(at, _)| at);
    ends.nth(deep - 1)
        .and_then(|end| path.get(..end))
        .unwrap_or(path)
}

/// Decides what to do.
pub fn plan(found: &Found, extent: Extent) -> Vec<Step> {
    let mut steps = Vec::new();
    if !found.has_schema
        && let Some((uid, gid)) = found.account
    {
        steps.extend(owners(found, uid, gid));
    }
    if !found.has_schema || extent == Extent::EachStart {
        steps.extend(openings(found));
    }
    let adds = match extent {
        Extent::OwnersOnly => false,
        Extent::Once => !found.has_schema,
        Extent::EachStart => true,
    };
    if adds {
        steps.extend(additions(found));
    }
    steps
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn owners(found: &Found, uid: u32, gid: u32) -> Vec<Step> {
    let (mut paths, mut from) = (Vec::new(), BTreeSet::new());
    let mut steps = Vec::new();
    for (path, entry) in &found.entries {
        if is_below(path, &found.certificates) || path.starts_with(LINKED) {
            let mode = match entry.is_key {
                true => 0o640,
                false => entry.mode | 0o440,
            };
            if entry.kind == Kind::File && (entry.uid, entry.gid, entry.mode) != (0, gid, mode) {
                steps.push(Step::Keep {
                    path: path.clone(),
                    gid,
                    mode,
                    is_key: entry.is_key,
                });
            }
        } else if (entry.uid, entry.gid) != (uid, gid) {
            paths.push(path.clone());
            from.insert((entry.uid, entry.gid));
        }
    }
    if !paths.is_empty() {
        let own = Step::Own {
            paths,
            from: from.into_iter().collect(),
            to: (uid, gid),
            name: found.name.clone(),
        };
        steps.insert(0, own);
    }
    steps
}

fn openings(found: &Found) -> Vec<Step> {
    let directories = OPEN.iter().map(|name| format!("{}/{name}", found.spool));
    let closed = directories.filter_map(|path| {
        let entry = found.entries.get(&path)?;
        let mode = entry.mode | 0o770;
        (entry.kind == Kind::Directory && mode != entry.mode).then_some(Step::Open { path, mode })
    });
    closed.collect()
}

fn additions(found: &Found) -> Vec<Step> {
    // An empty directory is filled with the samples.
    let home = format!("{}/", found.configuration);
    if !found.entries.keys().any(|path| path.starts_with(&home)) {
        return Vec::new();
    }
    let missed = MISSED.iter().filter_map(|(name, text)| {
        let path = format!("{home}{name}");
        (!found.entries.contains_key(&path)).then(|| Step::Add {
            path,
            text: format!(
                "; Added when this volume moved in, for Asterisk reports an error where this file is missing.\n; The defaults hold.\n{text}"
            ),
            owner: found.account,
        })
    });
    missed.collect()
}

/// What is remembered of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Owner and mode.
    Owner,
    /// Its content as well: somebody may replace it.
    Content,
    /// Its content, to look at: it goes on living and is never put back.
    Look,
    /// It is not there, and will be a file of this text.
    Added,
    /// It is not there, and will be a directory.
    Place,
    /// It is not there, and all that comes there is ours.
    Ours,
}

/// Names that the keeper of certificates makes beside those of the user.
const KEEPERS: [&str; 5] = [
    "generations",
    "live",
    "asterisk_rsa.pem",
    "asterisk_rsa.key",
    "asterisk_ecc.pem",
];
/// Names that it may replace.
const REPLACED: [&str; 2] = ["cert.pem", "priv_key.pem"];

/// Every path that the steps, and the services at their first start, may change, and what is to be remembered of it.
/// `Added` paths come with their text.
pub fn touched(found: &Found, steps: &[Step]) -> Vec<(String, Care, Option<String>)> {
    let mut all: BTreeMap<String, (Care, Option<String>)> = BTreeMap::new();
    let mut note = |path: &str, care: Care, text: Option<String>| {
        all.insert(path.to_owned(), (care, text));
    };
    for step in steps {
        match step {
            Step::Own { paths, .. } => paths.iter().for_each(|path| note(path, Care::Owner, None)),
            Step::Keep { path, .. } | Step::Open { path, .. } => note(path, Care::Owner, None),
            Step::Add { path, text, .. } => note(path, Care::Added, Some(text.clone())),
        }
    }
    if !found.has_schema {
        let certificates = &found.certificates;
        if found.entries.contains_key(certificates) {
            note(certificates, Care::Owner, None);
        }
        for name in REPLACED {
            let path = format!("{certificates}/{name}");
            let care = match found.entries.contains_key(&path) {
                true => Care::Content,
                false => Care::Ours,
            };
            note(&path, care, None);
        }
        for name in KEEPERS {
            let path = format!("{certificates}/{name}");
            if !found.entries.contains_key(&path) {
                note(&path, Care::Ours, None);
            }
        }
        let database = format!("{}/astdb.sqlite3", found.state);
        if found.entries.contains_key(&database) {
            note(&database, Care::Look, None);
        }
        for place in &found.missing_places {
            note(place, Care::Place, None);
        }
    }
    all.into_iter()
        .map(|(path, (care, text))| (path, care, text))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, mode: u32) -> Entry {
        Entry {
            kind,
            uid: 100,
            gid: 101,
            mode,
            is_key: false,
        }
    }

    fn found() -> Found {
        let mut found = Found {
            account: Some((5060, 5060)),
            name: "asterisk".to_owned(),
            configuration: "etc/asterisk".to_owned(),
            certificates: "etc/ssl/asterisk".to_owned(),
            spool: "var/spool/asterisk".to_owned(),
            state: "var/lib/asterisk".to_owned(),
            ..Found::default()
        };
        for (path, kind, mode) in [
            ("etc/asterisk", Kind::Directory, 0o755),
            ("etc/asterisk/pjsip.conf", Kind::File, 0o644),
            ("etc/asterisk/cdr.conf", Kind::File, 0o644),
            ("etc/ssl/asterisk", Kind::Directory, 0o755),
            ("etc/ssl/asterisk/cert.pem", Kind::File, 0o644),
            ("etc/ssl/asterisk/priv_key.pem", Kind::File, 0o600),
            ("var/spool/asterisk/outgoing", Kind::Directory, 0o755),
        ] {
            found.entries.insert(path.to_owned(), entry(kind, mode));
        }
        let key = found.entries.get_mut("etc/ssl/asterisk/priv_key.pem");
        key.unwrap().is_key = true;
        found
    }

    /// What the steps leave behind, without a disk.
    fn applied(mut found: Found, steps: &[Step]) -> Found {
        for step in steps {
            match step {
                Step::Own { paths, to, .. } => {
                    for path in paths {
                        let entry = found.entries.get_mut(path).unwrap();
                        (entry.uid, entry.gid) = *to;
                    }
                }
                Step::Keep {
                    path, gid, mode, ..
                } => {
                    let entry = found.entries.get_mut(path).unwrap();
                    (entry.uid, entry.gid, entry.mode) = (0, *gid, *mode);
                }
                Step::Open { path, mode } => found.entries.get_mut(path).unwrap().mode = *mode,
                Step::Add { path, owner, .. } => {
                    let (uid, gid) = owner.unwrap();
                    let new = Entry {
                        uid,
                        gid,
                        ..entry(Kind::File, 0o640)
                    };
                    found.entries.insert(path.clone(), new);
                }
            }
        }
        found
    }

    #[test]
    fn every_step_says_what_and_why() {
        let text: Vec<String> = plan(&found(), Extent::Once)
            .iter()
            .map(|step| step.text(false))
            .collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        give 4 files and directories of 100:101 in /srv/etc/asterisk, /srv/var/spool/asterisk to asterisk (5060:5060): the PBX runs as this account
        give /srv/etc/ssl/asterisk/cert.pem to root and group 5060, mode 0644: the keeper of certificates keeps it for the PBX
        give /srv/etc/ssl/asterisk/priv_key.pem to root and group 5060, mode 0640: the keeper of certificates and the PBX read the key, and nobody else
        set the mode of /srv/var/spool/asterisk/outgoing to 0775: WebSMS, of the PBX's group, puts call files there
        add /srv/etc/asterisk/acl.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        add /srv/etc/asterisk/ccss.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        add /srv/etc/asterisk/cel.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        add /srv/etc/asterisk/features.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        add /srv/etc/asterisk/pjproject.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        add /srv/etc/asterisk/udptl.conf: Asterisk 22 reports an error where it is missing; the defaults stay
        ");
    }

    #[test]
    fn planning_twice_changes_nothing() {
        for extent in [Extent::Once, Extent::OwnersOnly, Extent::EachStart] {
            let steps = plan(&found(), extent);
            assert!(!steps.is_empty());
            assert_eq!(plan(&applied(found(), &steps), extent), vec![]);
        }
    }

    #[test]
    fn a_volume_that_has_moved_in_is_left_alone() {
        let found = Found {
            has_schema: true,
            ..found()
        };
        assert_eq!(plan(&found, Extent::Once), vec![]);
        assert_eq!(plan(&found, Extent::OwnersOnly), vec![]);
        let again = plan(&found, Extent::EachStart);
        let is_owner = |step: &Step| matches!(step, Step::Own { .. } | Step::Keep { .. });
        assert!(!again.is_empty() && !again.iter().any(is_owner));
    }

    #[test]
    fn an_empty_configuration_is_left_to_the_samples() {
        let mut found = found();
        found
            .entries
            .retain(|path, _| !path.starts_with("etc/asterisk/"));
        let steps = plan(&found, Extent::Once);
        assert!(!steps.iter().any(|step| matches!(step, Step::Add { .. })));
    }

    #[test]
    fn all_that_is_touched_is_remembered() {
        let found = found();
        let steps = plan(&found, Extent::Once);
        let all = touched(&found, &steps);
        let care = |path: &str| all.iter().find(|(name, _, _)| name == path).unwrap().1;
        assert_eq!(care("etc/asterisk/pjsip.conf"), Care::Owner);
        assert_eq!(care("etc/asterisk/acl.conf"), Care::Added);
        assert_eq!(care("etc/ssl/asterisk/priv_key.pem"), Care::Content);
        assert_eq!(care("etc/ssl/asterisk/live"), Care::Ours);
    }
}
