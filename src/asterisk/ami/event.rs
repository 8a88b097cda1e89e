//! One security event, read from the lines of a frame.
//!
//! Pure. Which headers an event has, and in which order, is what Asterisk 22 writes: `sec_events` in
//! main/security_events.c for the fields, main/manager.c for what stands before them. Invariant: an event has every mandatory
//! header once, in that order, and nothing that Asterisk would not have put there.

use super::address::Peer;
use super::lines::{Lines, Suspicion};

/// Which event it is (main/security_events.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    FailedAcl,
    InvalidAccountId,
    SessionLimit,
    MemoryLimit,
    LoadAverageLimit,
    RequestNotSupported,
    RequestNotAllowed,
    AuthMethodNotAllowed,
    RequestBadFormat,
    SuccessfulAuth,
    UnexpectedAddress,
    ChallengeResponseFailed,
    InvalidPassword,
    ChallengeSent,
    InvalidTransport,
}

impl Name {
    /// As Asterisk writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        let shape = SHAPES.iter().find(|shape| shape.name == self);
        shape
            .and_then(|shape| std::str::from_utf8(shape.text).ok())
            .unwrap_or_default()
    }
}

/// Who raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Pjsip,
    /// The manager interface.
    Ami,
    /// One that no Asterisk 22 has.
    Other,
}

/// A well-formed security event. Its texts are a stranger's: bytes, not checked, to be escaped before they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecurityEvent<'a> {
    pub name: Name,
    pub service: Service,
    /// The endpoint, or what the stranger called itself; empty for a `RequestBadFormat` without one.
    pub account: &'a [u8],
    pub remote: Peer,
    /// `ACLName` of a `FailedACL`, else empty.
    pub acl: &'a [u8],
    /// `RequestType`, else empty.
    pub request: &'a [u8],
    /// The nonce of a `ChallengeSent` or `ChallengeResponseFailed`, else empty; stock Asterisk 22 leaves that of
    /// `ChallengeSent` empty.
    pub challenge: &'a [u8],
}

/// What Asterisk writes of one event.
struct Shape {
    text: &'static [u8],
    name: Name,
    version: &'static [u8],
    informational: bool,
    required: &'static [Field],
    optional: &'static [Field],
}

/// A header that not every event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Module,
    SessionTv,
    Acl,
    Account,
    RequestType,
    RequestParams,
    AuthMethod,
    UsingPassword,
    ExpectedAddress,
    Challenge,
    Response,
    ExpectedResponse,
    ReceivedChallenge,
    ReceivedHash,
    Transport,
}

impl Field {
    fn header(self) -> &'static [u8] {
        match self {
            Field::Module => b"Module",
            Field::SessionTv => b"SessionTV",
            Field::Acl => b"ACLName",
            Field::Account => b"AccountID",
            Field::RequestType => b"RequestType",
            Field::RequestParams => b"RequestParams",
            Field::AuthMethod => b"AuthMethod",
            Field::UsingPassword => b"UsingPassword",
            Field::ExpectedAddress => b"ExpectedAddress",
            Field::Challenge => b"Challenge",
            Field::Response => b"Response",
            Field::ExpectedResponse => b"ExpectedResponse",
            Field::ReceivedChallenge => b"ReceivedChallenge",
            Field::ReceivedHash => b"ReceivedHash",
            Field::Transport => b"AttemptedTransport",
        }
    }
}

const COMMON: &[Field] = &[Field::Module, Field::SessionTv];

const fn error(
    text: &'static [u8],
    name: Name,
    required: &'static [Field],
    optional: &'static [Field],
) -> Shape {
    Shape {
        text,
        name,
        version: b"1",
        informational: false,
        required,
        optional,
    }
}

const fn second(shape: Shape) -> Shape {
    Shape {
        version: b"2",
        ..shape
    }
}

const fn informational(shape: Shape) -> Shape {
    Shape {
        informational: true,
        ..shape
    }
}

/// The frequent ones first.
const SHAPES: &[Shape] = &[
    informational(error(
        b"ChallengeSent",
        Name::ChallengeSent,
        &[Field::Challenge],
        COMMON,
    )),
    error(b"InvalidAccountID", Name::InvalidAccountId, &[], COMMON),
    error(
        b"ChallengeResponseFailed",
        Name::ChallengeResponseFailed,
        &[Field::Challenge, Field::Response, Field::ExpectedResponse],
        COMMON,
    ),
    informational(error(
        b"SuccessfulAuth",
        Name::SuccessfulAuth,
        &[Field::UsingPassword],
        COMMON,
    )),
    error(
        b"FailedACL",
        Name::FailedAcl,
        &[],
        &[Field::Module, Field::Acl, Field::SessionTv],
    ),
    second(error(
        b"InvalidPassword",
        Name::InvalidPassword,
        &[],
        &[
            Field::Module,
            Field::SessionTv,
            Field::Challenge,
            Field::ReceivedChallenge,
            Field::ReceivedHash,
        ],
    )),
    error(b"SessionLimit", Name::SessionLimit, &[], COMMON),
    error(b"MemoryLimit", Name::MemoryLimit, &[], COMMON),
    error(b"LoadAverageLimit", Name::LoadAverageLimit, &[], COMMON),
    error(
        b"RequestNotSupported",
        Name::RequestNotSupported,
        &[Field::RequestType],
        COMMON,
    ),
    error(
        b"RequestNotAllowed",
        Name::RequestNotAllowed,
        &[Field::RequestType],
        &[Field::Module, Field::SessionTv, Field::RequestParams],
    ),
    error(
        b"AuthMethodNotAllowed",
        Name::AuthMethodNotAllowed,
        &[Field::AuthMethod],
        COMMON,
    ),
    // The one whose account comes late, if at all.
    error(
        b"RequestBadFormat",
        Name::RequestBadFormat,
        &[Field::RequestType],
        &[
            Field::Module,
            Field::SessionTv,
            Field::Account,
            Field::RequestParams,
        ],
    ),
    second(error(
        b"UnexpectedAddress",
        Name::UnexpectedAddress,
        &[Field::ExpectedAddress],
        COMMON,
    )),
    error(
        b"InvalidTransport",
        Name::InvalidTransport,
        &[Field::Transport],
        COMMON,
    ),
];

/// What main/manager.c puts between the privilege and the fields, if it is asked to; all of it is Asterisk's own.
const PREAMBLE: &[&[u8]] = &[
    b"Timestamp",
    b"SequenceNumber",
    b"File",
    b"Line",
    b"Func",
    b"SystemName",
];

/// Whether a frame that begins so has to be a security event.
pub(super) fn is_claimed(lines: &Lines<'_>) -> bool {
    let Some(name) = lines.value(0, b"Event") else {
        return false;
    };
    SHAPES.iter().any(|shape| shape.text == name)
        || lines.value(1, b"Privilege") == Some(b"security,all")
}

/// Reads an event; otherwise what is wrong with it.
pub(super) fn read<'a>(lines: &Lines<'a>) -> Result<SecurityEvent<'a>, Suspicion> {
    let mut at = Cursor { lines, at: 0 };
    let text = at.take(b"Event")?;
    let shape = SHAPES
        .iter()
        .find(|shape| shape.text == text)
        .ok_or(Suspicion::Value)?;
    at.take_value(b"Privilege", b"security,all")?;
    at.preamble()?;
    if at.take(b"EventTV")?.is_empty() {
        return Err(Suspicion::Value);
    }
    at.take_value(
        b"Severity",
        if shape.informational {
            b"Informational"
        } else {
            b"Error"
        },
    )?;
    let service = match at.take(b"Service")? {
        b"PJSIP" => Service::Pjsip,
        b"AMI" => Service::Ami,
        _ => Service::Other,
    };
    at.take_value(b"EventVersion", shape.version)?;
    let mut event = SecurityEvent {
        name: shape.name,
        service,
        account: match shape.name {
            Name::RequestBadFormat => b"",
            _ => at.take(b"AccountID")?,
        },
        remote: {
            at.take(b"SessionID")?;
            Peer::parse(at.take(b"LocalAddress")?).ok_or(Suspicion::Value)?;
            Peer::parse(at.take(b"RemoteAddress")?).ok_or(Suspicion::Value)?
        },
        acl: b"",
        request: b"",
        challenge: b"",
    };
    for field in shape.required {
        event.keep(*field, at.take(field.header())?)?;
    }
    for field in shape.optional {
        if let Some(value) = at.take_if(field.header()) {
            event.keep(*field, value)?;
        }
    }
    match at.is_at_end() {
        true => Ok(event),
        false => Err(Suspicion::Place),
    }
}

impl<'a> SecurityEvent<'a> {
    fn keep(&mut self, field: Field, value: &'a [u8]) -> Result<(), Suspicion> {
        match field {
            Field::Acl => self.acl = value,
            Field::Account => self.account = value,
            Field::RequestType => self.request = value,
            Field::Challenge => self.challenge = value,
            Field::UsingPassword if !matches!(value, b"0" | b"1") => return Err(Suspicion::Value),
            Field::ExpectedAddress if Peer::parse(value).is_none() => {
                return Err(Suspicion::Value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Goes through the lines in their order.
struct Cursor<'l, 'a> {
    lines: &'l Lines<'a>,
    at: usize,
}

impl<'a> Cursor<'_, 'a> {
    /// The value of the line that has to be this header.
    fn take(&mut self, header: &[u8]) -> Result<&'a [u8], Suspicion> {
        match self.take_if(header) {
            Some(value) => Ok(value),
            None if self.is_at_end() => Err(Suspicion::Incomplete),
            None => Err(Suspicion::Place),
        }
    }

    fn take_if(&mut self, header: &[u8]) -> Option<&'a [u8]> {
        let value = self.lines.value(self.at, header)?;
        self.at += 1;
        Some(value)
    }

    fn take_value(&mut self, header: &[u8], expected: &[u8]) -> Result<(), Suspicion> {
        match self.take(header)? == expected {
            true => Ok(()),
            false => Err(Suspicion::Value),
        }
    }

    /// Each at most once, in any order: no stranger's text stands before them.
    fn preamble(&mut self) -> Result<(), Suspicion> {
        let mut seen = 0u8;
        while let Some(index) = PREAMBLE
            .iter()
            .position(|header| self.lines.value(self.at, header).is_some())
        {
            if seen & (1 << index) != 0 {
                return Err(Suspicion::Duplicate);
            }
            seen |= 1 << index;
            self.at += 1;
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.at == self.lines.len()
    }
}
