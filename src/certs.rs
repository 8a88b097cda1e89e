//! Certificates of the exchange.

#[cfg(feature = "services")]
pub mod acme;
#[cfg(feature = "services")]
pub mod key;
pub mod self_signed;
