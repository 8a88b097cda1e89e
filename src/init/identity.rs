//! Names of users and groups to numbers, with a sentence when there is none.

use crate::config::accounts::Account;
use crate::sys::account;
use crate::sys::process::Identity;
use crate::units::spec::ServiceSpec;

/// The account of `name`.
pub fn user(name: &str) -> Result<Account, String> {
    match account::user(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(format!("user `{name}` does not exist")),
        Err(e) => Err(format!("cannot look up user `{name}`: {e}")),
    }
}

/// The number of group `name`.
pub fn group(name: &str) -> Result<u32, String> {
    match account::group(name) {
        Ok(Some(gid)) => Ok(gid),
        Ok(None) => Err(format!("group `{name}` does not exist")),
        Err(e) => Err(format!("cannot look up group `{name}`: {e}")),
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
    let uid = account.as_ref().map_or(0, |account| account.uid);
    let gid = match &spec.group {
        Some(name) => group(name)?,
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    let mut groups = vec![gid];
    for name in &spec.supplementary_groups {
        groups.push(group(name)?);
    }
    Ok(Some(Identity { uid, gid, groups }))
}
