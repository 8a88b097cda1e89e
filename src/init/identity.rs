//! Names of users and groups to numbers, with a sentence when there is none.

use nix::unistd::{Group, User};

use crate::sys::process::Identity;
use crate::units::spec::ServiceSpec;

/// The account of `name`.
pub fn user(name: &str) -> Result<User, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("user `{name}` does not exist")),
        Err(errno) => Err(format!("cannot look up user `{name}`: {errno}")),
    }
}

/// The number of group `name`.
pub fn group(name: &str) -> Result<u32, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(format!("group `{name}` does not exist")),
        Err(errno) => Err(format!("cannot look up group `{name}`: {errno}")),
    }
}

/// Whom a service becomes; `None` when its unit names nobody.
pub fn of(spec: &ServiceSpec) -> Result<Option<Identity>, String> {
    let names_nobody = spec.user.is_none()
        && spec.group.is_none()
        && spec.supplementary_groups.is_empty()
        && spec.capabilities.is_empty()
        && spec.bounding_set.is_none();
    if names_nobody {
        return Ok(None);
    }
    let account = spec.user.as_deref().map(user).transpose()?;
    let uid = account.as_ref().map_or(0, |account| account.uid.as_raw());
    let gid = match &spec.group {
        Some(name) => group(name)?,
        None => account.as_ref().map_or(0, |account| account.gid.as_raw()),
    };
    let mut groups = vec![gid];
    for name in &spec.supplementary_groups {
        groups.push(group(name)?);
    }
    Ok(Some(Identity { uid, gid, groups }))
}
