//! The environment of this process, as text: its variables, and the name of its host.

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

/// The host's own name; `localhost` where it has none that can be read.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "localhost".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}
