//! Certificates: the right one found, checked, put in place by one switch, and proven by a handshake with ourselves.
//!
//! `acme_json` reads Traefik's store, `validate` makes pairs of what may be served, `names` and `choose` say which one is
//! ours, `keeper` goes over to it or back; those rooms are pure.
//! `source` holds where they come from, `generation` how they lie on disk, `prove` the handshakes, `daemon` the service
//! that does all of it, and `first` the certificate before the first start. Invariant: no listener ever sees a pair that was not found sound before.

#[cfg(feature = "services")]
pub mod acme;
#[cfg(feature = "services")]
pub mod acme_json;
#[cfg(feature = "services")]
pub mod choose;
#[cfg(feature = "services")]
pub mod control;
#[cfg(feature = "services")]
pub mod daemon;
#[cfg(feature = "services")]
pub mod doors;
pub mod first;
pub mod generation;
#[cfg(feature = "services")]
pub mod keeper;
#[cfg(feature = "services")]
pub mod key;
#[cfg(feature = "services")]
pub mod metrics;
#[cfg(feature = "services")]
pub mod names;
#[cfg(feature = "services")]
pub mod pair;
#[cfg(feature = "services")]
mod pem;
pub mod private_key;
#[cfg(feature = "services")]
pub mod program;
#[cfg(feature = "services")]
pub mod prove;
#[cfg(feature = "services")]
pub mod report;
pub mod self_signed;
#[cfg(feature = "services")]
pub mod serve;
pub mod source;
#[cfg(all(test, feature = "services"))]
mod testing;
#[cfg(feature = "services")]
pub mod validate;
