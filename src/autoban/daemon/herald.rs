//! What the webhook is told of: bans and their early end, hidden sources, and bans that others removed.
//!
//! Invariant: no event names an account.

use std::net::IpAddr;

use super::voice::hidden;
use crate::autoban::cidr::Cidr;
use crate::autoban::evidence::Kind;
use crate::autoban::ledger::{Fact, List, Note};
use crate::autoban::outbox::Event;
use crate::sys::clock::rfc3339;

pub const BANNED: &str = "banned";
pub const RELEASED: &str = "released";

/// What follows from evidence; `weak`: bans of SIP over UDP, too.
pub fn of(note: &Note, weak: bool, now: i64) -> Option<Event> {
    match note {
        Note::Jailed { source, record, .. } => {
            let count = Some(u32::from(record.level));
            Some(ban(
                (*source).into(),
                record.kind,
                Some(record.until),
                count,
                now,
            ))
        }
        Note::NetworkBanned { network, record } => {
            let until = Some(record.until);
            Some(ban((*network).into(), record.kind, until, None, now))
        }
        Note::WeakBanned { source, record } if weak => {
            let until = Some(record.until);
            let event = ban((*source).into(), record.kind, until, None, now);
            Some(Event {
                event: "weak-banned",
                ..event
            })
        }
        Note::SourceHidden { gateway } => Some(source_hidden(*gateway, now)),
        _ => None,
    }
}

/// What an operator did.
pub fn by_hand(fact: &Fact, now: i64) -> Option<Event> {
    let by_hand = |cidr: Cidr, until, count| Some(ban(cidr, Kind::Manual, until, count, now));
    let released = |cidr: Cidr| {
        Some(Event {
            event: RELEASED,
            ..ban(cidr, Kind::Manual, None, None, now)
        })
    };
    match fact {
        Fact::Offender { source, record } if record.until > now => {
            let count = Some(u32::from(record.level));
            by_hand((*source).into(), Some(record.until), count)
        }
        Fact::Network { network, record } => by_hand((*network).into(), Some(record.until), None),
        Fact::List {
            list: List::Black,
            cidr,
            ..
        } => by_hand(*cidr, None, None),
        Fact::Free { source } => released((*source).into()),
        Fact::NetworkFree { network } => released((*network).into()),
        Fact::Unlist {
            list: List::Black,
            cidr,
        } => released(*cidr),
        _ => None,
    }
}

/// Another program removed bans from the kernel.
pub fn removed(reason: String, now: i64) -> Event {
    Event {
        event: "removed-by-others",
        at: rfc3339(now),
        address: None,
        reason,
        until: None,
        count: None,
    }
}

fn source_hidden(gateway: IpAddr, now: i64) -> Event {
    let text = hidden(gateway);
    let reason = text.lines().next().unwrap_or_default().to_owned();
    Event {
        event: "source-hidden",
        address: Some(gateway.to_string()),
        ..removed(reason, now)
    }
}

fn ban(cidr: Cidr, kind: Kind, until: Option<i64>, count: Option<u32>, now: i64) -> Event {
    Event {
        event: BANNED,
        at: rfc3339(now),
        address: Some(cidr.to_string()),
        reason: kind.words().to_owned(),
        until: until.map(rfc3339),
        count,
    }
}
