//! Who may have sent a request of which the log says that it failed.
//!
//! Pure. A stranger's text stands on both sides of the address, and may look like an address with its surroundings.
//! Invariant: the true sender is among those that are read.

use std::net::SocketAddr;

/// The most that are read. Asterisk cuts From and Call-ID at 511 bytes each (PJSIP_MAX_URL_SIZE), which have room for 16
/// each, and the true one is between them.
const MOST: usize = 40;

/// With the quotation mark before it the pattern could overlap itself, and the second of two would not be found.
const BEFORE: &str = " failed for '";
const BEHIND: &str = " (callid: ";

/// Those that can be read, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senders {
    pub places: Vec<SocketAddr>,
    /// All of them are one address, and nothing else looks like one.
    pub is_alone: bool,
}

impl Senders {
    /// Reads `METHOD' from 'URI' failed for 'ADDRESS:PORT' (callid: ID`.
    #[must_use]
    pub fn read(text: &str) -> Senders {
        let mut places: Vec<SocketAddr> = Vec::new();
        let mut is_alone = true;
        for (at, _) in text.match_indices(BEFORE) {
            let Some((front, rest)) = text.split_at_checked(at) else {
                continue;
            };
            let place = rest
                .strip_prefix(BEFORE)
                .and_then(|rest| rest.split_once('\''));
            // An address has neither a space nor a mark in it.
            let Some((place, _)) = place.filter(|(place, behind)| {
                front.ends_with('\'') && !place.contains(' ') && behind.starts_with(BEHIND)
            }) else {
                continue;
            };
            match place.parse::<SocketAddr>() {
                Ok(place) => {
                    let place = SocketAddr::new(place.ip().to_canonical(), place.port());
                    is_alone &= places.first().is_none_or(|other| other.ip() == place.ip());
                    match (places.contains(&place), places.len() < MOST) {
                        (true, _) => {}
                        (false, true) => places.push(place),
                        (false, false) => is_alone = false,
                    }
                }
                // Asterisk writes none that is no address; but who knows.
                Err(_) => is_alone = false,
            }
        }
        is_alone &= !places.is_empty();
        Senders { places, is_alone }
    }
}
