//! The request of an interface without profile, step by step as the predecessor made it.
//!
//! Pure. The order is part of the contract: fields, signs beyond 16 bits, form of numbers, static fields (which win), proof,
//! sort, encode.

use super::php::Fields;
use super::{Request, authorization};
use crate::websms::config::{Auth, Keys, Outbound, Unicode};
use crate::websms::message::Sent;
use crate::websms::number;

pub(super) fn request(outbound: &Outbound, keys: &Keys, sent: &Sent) -> Request {
    let mut fields = Fields::default();
    fields.set(&keys.to, &sent.to);
    fields.set(&keys.from, &sent.from);
    fields.set(&keys.body, &sent.body);
    let beyond = |text: &str| text.chars().any(|sign| sign.len_utf16() > 1);
    match &keys.unicode {
        Unicode::AsItIs => {}
        Unicode::Ucs2 => {
            for value in fields.values_mut() {
                *value = value
                    .chars()
                    .map(|sign| {
                        if sign.len_utf16() > 1 {
                            char::REPLACEMENT_CHARACTER
                        } else {
                            sign
                        }
                    })
                    .collect();
            }
        }
        Unicode::Field(name, value) => {
            if fields.values().any(beyond) {
                fields.set(name, value);
            }
        }
    }
    if keys.strip {
        for name in [&keys.to, &keys.from] {
            if let Some(value) = fields.get_mut(name) {
                *value = number::without_plus(value).to_owned();
            }
        }
    }
    for (name, value) in &keys.statics {
        fields.set(name, value);
    }
    let secret = outbound
        .secret
        .as_ref()
        .map_or("", |secret| secret.expose());
    if keys.auth == Auth::Plain {
        fields.set(&keys.user, &outbound.user);
        fields.set(&keys.secret, secret);
    }
    let body = fields.sorted_query();
    let authorization = match keys.auth {
        Auth::None | Auth::Plain => None,
        Auth::Basic => Some(authorization::basic(&outbound.user, secret)),
        Auth::Zadarma => Some(authorization::zadarma(
            &outbound.user,
            secret,
            &keys.url_path,
            &body,
        )),
    };
    let mut headers = vec![(
        "Content-Type".to_owned(),
        "application/x-www-form-urlencoded".to_owned(),
    )];
    headers.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
    Request {
        method: "POST".to_owned(),
        url: format!("{}{}", keys.url_host, keys.url_path),
        headers,
        body: body.into_bytes(),
    }
}
