//! What the spool holds, in the shapes of the control socket.

use crate::websms::choose;
use crate::websms::config::{self, Style};
use crate::websms::control::{Asked, Delivery, Happened, Interface, Kept, Row};
use crate::websms::delivery::{Leg, LegState};
use crate::websms::media;
use crate::websms::segments;
use crate::websms::spool::{History, Media, Message, Request};

pub fn message(of: Message) -> Row {
    Row {
        id: of.id.to_string(),
        direction: of.direction.word().to_owned(),
        interface: of.interface,
        segments: segments::count(&of.body).count,
        from: of.from,
        to: of.to,
        body: of.body,
        media: of.media,
        state: of.state.word().to_owned(),
        received: of.received,
        changed: of.changed,
        next: of.next,
        tries: of.tries,
        detail: of.detail,
        provider_id: of.provider_id,
        endpoint: of.endpoint,
    }
}

pub fn happened(of: History) -> Happened {
    Happened {
        at: of.at,
        what: of.what,
        detail: of.detail,
    }
}

pub fn delivery(of: Leg) -> Delivery {
    let (state, code) = match of.state {
        LegState::Taken => ("taken", None),
        LegState::Refused { code } => ("refused", Some(code)),
        LegState::Waiting { .. } => ("waiting", None),
        LegState::Sending { .. } => ("sending", None),
    };
    Delivery {
        contact: of.contact,
        state: state.to_owned(),
        code,
        tries: of.tries,
    }
}

pub fn media(of: Media, url: Option<&str>) -> Kept {
    let link = of.token.as_deref().zip(url);
    Kept {
        source: of.source,
        state: of.state.word().to_owned(),
        kind: of.kind,
        bytes: of.bytes,
        link: link.map(|(token, url)| media::link(url, token)),
        detail: of.detail,
    }
}

pub fn request(of: Request) -> Asked {
    Asked {
        at: of.at,
        interface: of.interface,
        peer: of.peer,
        method: of.method,
        path: of.path,
        status: of.status,
        reason: of.reason,
    }
}

pub fn interface(of: &config::Interface) -> Interface {
    let profile = match of.outgoing.as_ref().map(|outgoing| &outgoing.style) {
        Some(Style::Profile { named, .. }) => Some(named),
        _ => of
            .incoming
            .as_ref()
            .and_then(|incoming| incoming.profile.as_ref()),
    };
    Interface {
        index: choose::name_of(of).to_owned(),
        profile: profile.map(|named| named.name.clone()),
        receives: of.incoming.is_some(),
        sends: of.outgoing.is_some(),
        numbers: of.numbers.clone(),
        failover: of.failover.clone(),
    }
}
