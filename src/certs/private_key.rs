//! The text of a private key. Pure. Invariant: `Debug` does not show it; who needs it says `expose`.

use std::fmt;

/// A private key in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    pub fn new(text: impl Into<String>) -> PrivateKey {
        PrivateKey(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
