//! Certificates of the exchange.

pub mod self_signed;
