//! Every bit of a request, one after the other.

use super::*;
use crate::websms::body::{form, json};
use crate::websms::document::Document;

/// A part of a case whose bits are turned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Body,
    Target,
    PublicUrl,
    Header(usize),
    Secret,
    User,
}

fn bytes(case: &Case, place: Place) -> Vec<u8> {
    match place {
        Place::Body => case.body.clone(),
        Place::Target => case.target.clone().into_bytes(),
        Place::PublicUrl => case.public_url.clone().into_bytes(),
        Place::Header(at) => case.headers[at].1.clone().into_bytes(),
        Place::Secret => case.secrets[0].clone().into_bytes(),
        Place::User => case.user.clone().into_bytes(),
    }
}

/// The case with other bytes in a place; `None` where the server would not have taken them as text.
fn with(case: &Case, place: Place, bytes: Vec<u8>) -> Option<Case> {
    let mut case = case.clone();
    if place == Place::Body {
        case.body = bytes;
        return Some(case);
    }
    let text = String::from_utf8(bytes).ok()?;
    match place {
        Place::Body => {}
        Place::Target => case.target = text,
        Place::PublicUrl => case.public_url = text,
        Place::Header(at) => case.headers[at].1 = text,
        Place::Secret => case.secrets[0] = text,
        Place::User => case.user = text,
    }
    Some(case)
}

/// Every turned bit of these places must be refused, unless it means the same as before.
fn refused(case: &Case, places: &[Place], same: impl Fn(&[u8], &[u8]) -> bool) {
    refused_bits(case, places, |_| 0..8, same);
}

fn refused_bits(
    case: &Case,
    places: &[Place],
    bits: impl Fn(usize) -> std::ops::Range<usize>,
    same: impl Fn(&[u8], &[u8]) -> bool,
) {
    assert_eq!(case.judge(), Ok(()), "{}", case.rule);
    for place in places {
        let before = bytes(case, *place);
        assert!(!before.is_empty(), "{place:?}");
        for at in 0..before.len() {
            for bit in bits(at) {
                let mut after = before.clone();
                after[at] ^= 1 << bit;
                let Some(turned) = with(case, *place, after.clone()) else {
                    continue;
                };
                if !same(&before, &after) {
                    let shown = String::from_utf8_lossy(&after);
                    assert!(turned.judge().is_err(), "{}: {place:?} {shown}", case.rule);
                }
            }
        }
    }
}

fn exactly(one: &[u8], other: &[u8]) -> bool {
    one == other
}

/// Fields are written in several ways, `%C3` and `%c3` say.
fn as_form(one: &[u8], other: &[u8]) -> bool {
    form::read(one) == form::read(other)
}

/// The names of authentication schemes know no case.
fn as_scheme(one: &[u8], other: &[u8]) -> bool {
    let split = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let (scheme, rest) = text.split_once(' ')?;
        Some((scheme.to_ascii_lowercase(), rest.to_owned()))
    };
    split(one) == split(other)
}

#[test]
fn a_turned_bit_under_twilios_signature_is_refused() {
    for case in [twilio(0), twilio(1)] {
        refused(&case, &[Place::Body], as_form);
        let places = [
            Place::Target,
            Place::PublicUrl,
            Place::Header(1),
            Place::Secret,
        ];
        refused(&case, &places, exactly);
        // Another type of the body takes its fields out of what is signed.
        refused(&case, &[Place::Header(0)], |_, after| {
            after.eq_ignore_ascii_case(FORM.as_bytes())
        });
    }
    let places = [
        Place::Body,
        Place::Target,
        Place::PublicUrl,
        Place::Header(1),
        Place::Secret,
    ];
    refused(&twilio_json(), &places, exactly);
}

#[test]
fn a_turned_bit_under_plivos_signature_is_refused() {
    refused(&plivo_3(0), &[Place::Body], as_form);
    let places = [
        Place::PublicUrl,
        Place::Header(1),
        Place::Header(2),
        Place::Secret,
    ];
    refused(&plivo_3(0), &places, exactly);
    let places = [
        Place::PublicUrl,
        Place::Header(0),
        Place::Header(1),
        Place::Secret,
    ];
    refused(&plivo_3(1), &places, exactly);
    refused(&plivo_3(1), &[Place::Target], |one, other| {
        let fields = |target: &[u8]| {
            let target = String::from_utf8(target.to_vec()).unwrap();
            let (path, query) = target
                .split_once('?')
                .map(|(p, q)| (p.to_owned(), q.to_owned()))?;
            Some((path, form::read(query.as_bytes()).ok()?))
        };
        fields(one) == fields(other)
    });
    let places = [
        Place::Target,
        Place::PublicUrl,
        Place::Header(0),
        Place::Header(1),
        Place::Secret,
    ];
    refused(&plivo_2(), &places, exactly);
}

#[test]
fn a_turned_bit_under_vonages_signature_is_refused() {
    let same = |one: &[u8], other: &[u8]| {
        let fields = |body: &[u8]| {
            let mut fields = form::read(body).ok()?;
            for (name, value) in &mut fields {
                match name.as_str() {
                    "sig" => value.make_ascii_lowercase(),
                    // The two signs that they write as one.
                    _ => *value = value.replace(['&', '='], "_"),
                }
            }
            Some(fields)
        };
        fields(one) == fields(other)
    };
    for case in [vonage(0), vonage(1)] {
        refused(&case, &[Place::Body], same);
        refused(&case, &[Place::Secret], exactly);
    }
}

#[test]
fn a_turned_bit_under_a_text_put_together_is_refused() {
    let as_hex =
        |one: &[u8], other: &[u8]| one.eq_ignore_ascii_case(other) && other.starts_with(b"sha512=");
    let case = put_together();
    refused(&case, &[Place::Header(0)], as_hex);
    let places = [
        Place::Body,
        Place::Target,
        Place::PublicUrl,
        Place::Header(1),
        Place::Header(2),
        Place::Secret,
    ];
    refused(&case, &places, exactly);

    let case = zadarma();
    refused(&case, &[Place::Body], as_form);
    refused(&case, &[Place::Secret], exactly);
    refused(&case, &[Place::Header(1)], |one, other| {
        let tag = |text: &[u8]| {
            let text = std::str::from_utf8(text).unwrap().trim();
            secret::decoded(crate::websms::profile::Encoding::Base64Hex, text)
        };
        tag(one) == tag(other)
    });
}

#[test]
fn a_turned_bit_under_ed25519_is_refused() {
    let places = [
        Place::Body,
        Place::Header(0),
        Place::Header(1),
        Place::Secret,
    ];
    refused(&telnyx(), &places, exactly);
}

#[test]
fn a_turned_bit_of_a_signed_token_is_refused() {
    let case = jwt(HS256, &claims(",\"exp\":1700000100,\"iat\":1700000000"));
    refused(&case, &[Place::Body, Place::Secret], exactly);
    refused(&case, &[Place::Header(0)], as_scheme);
}

#[test]
fn a_turned_bit_of_a_password_or_a_token_is_refused() {
    refused(&basic(), &[Place::Secret, Place::User], exactly);
    refused(&basic(), &[Place::Header(0)], as_scheme);
    // The path is the door's affair.
    let query = |one: &[u8], other: &[u8]| {
        let query = |target: &[u8]| target.splitn(2, |b| *b == b'?').nth(1).map(<[u8]>::to_vec);
        query(one) == query(other)
    };
    refused(&token(), &[Place::Target], query);
    refused(&token(), &[Place::Secret], exactly);
}

#[test]
fn a_turned_bit_under_amazons_signature_is_refused() {
    // The address of the certificate is not signed; which host it names is judged.
    let same = |one: &[u8], other: &[u8]| {
        let fields = |body: &[u8]| match json::read(body).ok()? {
            Document::Object(mut members) => {
                members.retain(|(name, _)| name != "SigningCertURL");
                Some(members)
            }
            _ => None,
        };
        fields(one) == fields(other)
    };
    for which in 0..3 {
        // RSA takes its time: one bit of each byte, another one for each notification.
        let one = |at: usize| (at + which) % 8..(at + which) % 8 + 1;
        refused_bits(&sns(which), &[Place::Body], one, same);
    }
}
