//! The environment of this process, as text.

use std::collections::BTreeMap;

/// Every variable; bytes that are no UTF-8 are replaced.
pub fn all() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect()
}
