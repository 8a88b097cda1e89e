//! By which interface a message goes out, whether it can go at all, and who takes over from whom.
//!
//! Pure. What can be known to fail is refused at once, in a sentence for who sends it, and not after a day of tries.
//!
//! Invariant: a message that is accepted has an interface that sends, and a request can be written for it.

use super::config::{Config, Interface};
use super::control::HandedIn;
use super::delivery::Moment;
use super::message::Sent;
use super::number;
use super::outgoing::{self, Unsendable};
use super::profile::NumberForm;
use super::segments::{self, Alphabet, Segments};

/// How long an interface may put a message off before another takes over, in milliseconds.
pub const PATIENCE: i64 = 60_000;

/// A message that can go.
#[derive(Debug)]
pub struct Accepted<'a> {
    pub interface: &'a Interface,
    pub sent: Sent,
    pub segments: Segments,
}

/// Why it cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no interface of websms.conf sends messages")]
    NobodySends,
    #[error("there is no interface [{index}] that sends; those that do are {known}")]
    UnknownIndex { index: String, known: String },
    #[error("several interfaces send, and none of them has the number {from}; they are {known}")]
    Ambiguous { from: String, known: String },
    #[error("the text is empty")]
    Empty,
    #[error("{0}")]
    Unsendable(#[from] Unsendable),
}

impl Refusal {
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Refusal::NobodySends => {
                Some("write what your carrier told you into /srv/etc/asterisk/websms.conf")
            }
            Refusal::UnknownIndex { .. } => {
                Some("the fourth argument, or WEBSMS_INDEX, is the index")
            }
            Refusal::Ambiguous { .. } => {
                Some("give the index, or write `number [INDEX] = ...` into websms.conf")
            }
            Refusal::Unsendable(Unsendable::TooLong { .. }) => Some("send it in parts"),
            Refusal::Empty | Refusal::Unsendable(_) => None,
        }
    }
}

/// The interface's name in the spool; empty for that without index.
#[must_use]
pub fn name_of(interface: &Interface) -> &str {
    interface.index.as_deref().unwrap_or_default()
}

/// An interface's name for people.
#[must_use]
pub fn shown(name: &str) -> String {
    match name {
        "" => "the interface without index".to_owned(),
        name => format!("[{}]", name.escape_debug()),
    }
}

/// The interface of this name.
#[must_use]
pub fn find<'a>(config: &'a Config, name: &str) -> Option<&'a Interface> {
    let mut all = config.interfaces.iter();
    all.find(|interface| name_of(interface) == name)
}

/// Chooses the interface: that of the index, else the one with the sender's number, else the only one that sends, else that
/// without index.
///
/// # Errors
/// If there is none, or nothing of it could be sent.
pub fn accept<'a>(config: &'a Config, message: &HandedIn) -> Result<Accepted<'a>, Refusal> {
    if message.body.is_empty() && message.media.is_empty() {
        return Err(Refusal::Empty);
    }
    let sent = Sent {
        to: message.to.trim().to_owned(),
        from: bare(&message.from).to_owned(),
        body: message.body.clone(),
        media: message.media.clone(),
    };
    let interface = choose(config, message.index.as_deref(), &sent.from)?;
    // Only whether it can be written: its id is still to come.
    outgoing::request(interface, &sent, "")?;
    let segments = segments::count(&sent.body);
    Ok(Accepted {
        interface,
        sent,
        segments,
    })
}

fn choose<'a>(
    config: &'a Config,
    index: Option<&str>,
    from: &str,
) -> Result<&'a Interface, Refusal> {
    let senders: Vec<&Interface> = config
        .interfaces
        .iter()
        .filter(|interface| interface.outgoing.is_some())
        .collect();
    let known = || {
        let names = senders.iter().map(|interface| shown(name_of(interface)));
        names.collect::<Vec<_>>().join(", ")
    };
    if senders.is_empty() {
        return Err(Refusal::NobodySends);
    }
    if let Some(index) = index.map(str::trim).filter(|index| !index.is_empty()) {
        let named = senders.iter().find(|sender| name_of(sender) == index);
        return named.copied().ok_or_else(|| Refusal::UnknownIndex {
            index: index
                .chars()
                .take(32)
                .flat_map(char::escape_debug)
                .collect(),
            known: known(),
        });
    }
    let owns = |sender: &&&Interface| {
        let country = sender.country.as_deref();
        let own = |number: &String| canonical(number, country) == canonical(from, country);
        sender.numbers.iter().any(own)
    };
    match (senders.iter().find(owns), senders.as_slice()) {
        (Some(owner), _) => Ok(owner),
        (None, [only]) => Ok(only),
        (None, several) => {
            let bare = several.iter().find(|sender| sender.index.is_none());
            bare.copied().ok_or_else(|| Refusal::Ambiguous {
                from: from.chars().take(32).flat_map(char::escape_debug).collect(),
                known: known(),
            })
        }
    }
}

/// The interface that takes over from this one, unless it was there before.
#[must_use]
pub fn next<'a>(config: &'a Config, name: &str, tried: &[String]) -> Option<&'a Interface> {
    let next = find(config, name)?.failover.as_deref()?;
    let is_new = next != name && !tried.iter().any(|before| before == next);
    find(config, next).filter(|next| is_new && next.outgoing.is_some())
}

/// Whether one that puts a message off since this moment has done so for too long.
#[must_use]
pub fn is_out_of_patience(since: Option<Moment>, now: Moment) -> bool {
    since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE)
}

/// What a message costs, for people.
#[must_use]
pub fn cost(segments: Segments) -> String {
    let plural = if segments.count == 1 { "" } else { "s" };
    let alphabet = match segments.alphabet {
        Alphabet::Gsm7 => "GSM-7",
        Alphabet::Ucs2 => "UCS-2",
    };
    format!("{} segment{plural} of {alphabet}", segments.count)
}

fn canonical(number: &str, country: Option<&str>) -> String {
    number::written(number, NumberForm::E164, country).unwrap_or_else(|_| number.to_owned())
}

/// The user of `"Name" <sip:user@host>`; what is no SIP address as it is.
#[must_use]
pub fn bare(from: &str) -> &str {
    let uri = from.rsplit('<').next().unwrap_or(from).trim();
    let user = ["sips:", "sip:"]
        .iter()
        .find_map(|scheme| uri.strip_prefix(scheme));
    match user {
        Some(user) => user.split(['@', ';', '>']).next().unwrap_or_default(),
        None => from.trim(),
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
