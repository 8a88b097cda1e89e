//! Certificates: the right one found, checked, put in place by one switch, and proven by a handshake with ourselves.
//!
//! `acme_json` reads Traefik's store, `validate` makes pairs of what may be served, `names` and `choose` say which one is
//! ours, `keeper` goes over to it or back; those rooms are pure. Invariant: no listener ever sees a pair that was not found sound before.

#[cfg(feature = "services")]
pub mod acme_json;
#[cfg(feature = "services")]
pub mod choose;
#[cfg(feature = "services")]
pub mod keeper;
#[cfg(feature = "services")]
pub mod names;
#[cfg(feature = "services")]
pub mod pair;
pub mod self_signed;
#[cfg(all(test, feature = "services"))]
mod testing;
#[cfg(feature = "services")]
pub mod validate;
