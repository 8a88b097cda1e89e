//! A webhook as its carrier would write it, made from the profile that reads it: to test an interface without its carrier.
//!
//! Pure. A value is put where the profile looks for it, and each condition is met with the first of its words. What it writes
//! is no proof that the carrier writes the same: the profile may be wrong, and then this is. Invariant: what was composed says
//! what was wanted, by the same profile; a test says so for each that is shipped.

use super::document::Document;
use super::number;
use super::path::Path;
use super::profile::{Condition, Decode, Format, Profile};
use super::verify::sign::{Draft, percent};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const BOUNDARY: &str = "switchhook-test";

/// What the message is to say.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub to: &'a str,
    pub from: &'a str,
    pub text: &'a str,
    /// The carrier's id, where the profile has one.
    pub id: &'a str,
}

/// Why a profile's webhook cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    #[error("the profile does not say where {0} stands")]
    NoPlace(&'static str),
    #[error("a path of the profile cannot be read: {0}")]
    Path(String),
    #[error("the profile reads a form, and its paths lead deeper than a form's fields")]
    TooDeep,
    #[error("the number cannot be written as the carrier does: {0}")]
    Number(String),
}

/// A webhook of the profile's carrier, not signed yet.
///
/// # Errors
/// If the profile does not say where the values stand.
pub fn of_profile(
    profile: &Profile,
    wanted: &Wanted<'_>,
    target: &str,
) -> Result<Draft, Unwritten> {
    let incoming = &profile.incoming;
    let written = |text: &str| {
        number::written(text, incoming.number, None).map_err(|e| Unwritten::Number(e.to_string()))
    };
    let text = match incoming.decode {
        Decode::Url => percent(wanted.text),
        Decode::None | Decode::Html => wanted.text.to_owned(),
    };
    let mut item = Document::Null;
    for (paths, value, name) in [
        (&incoming.to, written(wanted.to)?, "to whom it is"),
        (&incoming.from, written(wanted.from)?, "from whom it is"),
        (&incoming.text, text, "the text"),
    ] {
        let path = paths.first().ok_or(Unwritten::NoPlace(name))?;
        read(path)?.put(&mut item, Document::Text(value));
    }
    if let Some(path) = incoming.id.first() {
        read(path)?.put(&mut item, Document::Text(wanted.id.to_owned()));
    }
    for condition in &incoming.when {
        meet(condition, &mut item)?;
    }
    let mut whole = Document::Null;
    match &incoming.each {
        Some(each) => read(each)?.put(&mut whole, item),
        None => whole = item,
    }
    for path in incoming.unwrap.iter().rev() {
        if let Some(place) = read(path)?.place(&mut whole) {
            *place = Document::Text(json(place).to_string());
        }
    }
    let posts = incoming.methods.is_empty() || incoming.methods.iter().any(|m| m == "POST");
    write(incoming.format, posts, &whole, target)
}

/// One in the predecessor's manner: a form with three fields.
///
/// # Errors
/// None that can come about.
pub fn of_keys(
    [to, from, body]: [&str; 3],
    wanted: &Wanted<'_>,
    target: &str,
) -> Result<Draft, Unwritten> {
    let member = |name: &str, value: &str| (name.to_owned(), Document::Text(value.to_owned()));
    let fields = Document::Object(vec![
        member(to, wanted.to),
        member(from, wanted.from),
        member(body, wanted.text),
    ]);
    write(Format::Form, true, &fields, target)
}

fn read(path: &str) -> Result<Path, Unwritten> {
    path.parse()
        .map_err(|e: super::path::PathError| Unwritten::Path(e.to_string()))
}

fn meet(condition: &Condition, item: &mut Document) -> Result<(), Unwritten> {
    let path = read(&condition.path)?;
    let is_met = match (path.first(item), condition.values.as_slice()) {
        (None, _) => false,
        (Some(_), []) => true,
        (Some(value), words) => words.iter().any(|word| value.text() == Some(word)),
    };
    if !is_met {
        let word = condition.values.first().map_or("1", String::as_str);
        path.put(item, Document::Text(word.to_owned()));
    }
    Ok(())
}

fn write(
    format: Format,
    posts: bool,
    document: &Document,
    target: &str,
) -> Result<Draft, Unwritten> {
    let mut draft = Draft {
        method: "POST".to_owned(),
        target: target.to_owned(),
        ..Draft::default()
    };
    let mut kind = FORM.to_owned();
    match (format, posts) {
        (Format::Json, _) => {
            kind = JSON.to_owned();
            draft.body = json(document).to_string().into_bytes();
        }
        (Format::Query, _) | (Format::Auto, false) => {
            "GET".clone_into(&mut draft.method);
            for (name, value) in fields(document)? {
                draft.query(name, value);
            }
            return Ok(draft);
        }
        (Format::Multipart, _) => {
            kind = format!("multipart/form-data; boundary={BOUNDARY}");
            let mut body = String::new();
            for (name, value) in fields(document)? {
                body.push_str(&format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                ));
            }
            draft.body = format!("{body}--{BOUNDARY}--\r\n").into_bytes();
        }
        (Format::Form, _) | (Format::Auto, true) => {
            let fields = fields(document)?.into_iter();
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{}={}", percent(name), percent(value)))
                .collect();
            draft.body = fields.join("&").into_bytes();
        }
    }
    draft.headers.push(("Content-Type".to_owned(), kind));
    Ok(draft)
}

/// The fields of a form.
fn fields<'d>(document: &'d Document) -> Result<Vec<(&'d str, &'d str)>, Unwritten> {
    let Document::Object(members) = document else {
        return Err(Unwritten::TooDeep);
    };
    let field = |(name, value): &'d (String, Document)| {
        let value = value.text().ok_or(Unwritten::TooDeep)?;
        Ok((name.as_str(), value))
    };
    members.iter().map(field).collect()
}

fn json(document: &Document) -> serde_json::Value {
    match document {
        Document::Null => serde_json::Value::Null,
        Document::Bool(is) => (*is).into(),
        Document::Number(text) | Document::Text(text) => text.as_str().into(),
        Document::Array(items) => items.iter().map(json).collect(),
        Document::Object(members) => {
            let members = members.iter();
            members
                .map(|(name, value)| (name.clone(), json(value)))
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websms::extract::Hearing;
    use crate::websms::message::Heard;
    use crate::websms::profile::Verify;
    use crate::websms::profiles::{Profiles, SHIPPED};
    use crate::websms::verify::sign::Unsigned;
    use crate::websms::verify::{Keys, Verifier};

    const NOW: u64 = 1_800_000_000;

    const WANTED: Wanted<'_> = Wanted {
        to: "+12025550160",
        from: "+12025550161",
        text: "50 % & more = \"ünïcode\" 😀",
        id: "switchhook-test-1",
    };

    fn keys<'a>(secrets: &'a [&'a str]) -> Keys<'a> {
        Keys {
            secrets,
            user: "carrier",
            public_url: Some("https://pbx.example.org/hook"),
            ..Keys::default()
        }
    }

    #[test]
    fn each_shipped_carriers_webhook_is_heard_and_believed() {
        let (profiles, _) = Profiles::load(std::iter::empty());
        for (name, _) in SHIPPED {
            let profile = profiles.get(name).unwrap();
            let mut draft =
                of_profile(&profile, &WANTED, "/hook").unwrap_or_else(|e| panic!("{name}: {e}"));
            let verifier = Verifier::new(&profile.verify, profile.incoming.format).unwrap();
            let keys = keys(&["", "the secret"]);
            let signed = verifier.sign(&mut draft, &keys, NOW, "nonce-1");
            match &profile.verify {
                Verify::Ed25519 { .. } => assert_eq!(signed, Err(Unsigned::PrivateKey), "{name}"),
                Verify::Sns => assert_eq!(signed, Err(Unsigned::Amazon), "{name}"),
                _ => {
                    assert_eq!(signed, Ok(()), "{name}");
                    let head = draft.head();
                    let believed = verifier.verify(&draft.request(&head), &keys, NOW);
                    assert_eq!(believed, Ok(()), "{name}");
                }
            }
            let head = draft.head();
            let hearing = Hearing::new(&profile.incoming, profile.receipt.as_ref()).unwrap();
            let heard = hearing.hear(&draft.request(&head)).unwrap();
            let Heard::Messages(messages) = heard else {
                panic!("{name}: {heard:?}")
            };
            assert_eq!(messages.len(), 1, "{name}");
            let message = &messages[0];
            assert_eq!(message.body, WANTED.text, "{name}");
            let digits = |number: &str| number.trim_start_matches('+').to_owned();
            assert!(digits(WANTED.to).ends_with(&digits(&message.to)), "{name}");
            assert!(
                digits(WANTED.from).ends_with(&digits(&message.from)),
                "{name}"
            );
            let id = (!profile.incoming.id.is_empty()).then(|| WANTED.id.to_owned());
            assert_eq!(message.id, id, "{name}");
        }
    }

    #[test]
    fn every_kind_of_proof_that_we_can_make_is_right_and_another_secret_is_not() {
        let kinds = [
            "kind='twilio'\nheader='X-S'",
            "kind='hmac'\nalgorithm='sha256'\nheader='X-S'\nover='{timestamp}.{nonce}.{url}{body}'\nprefix='v1='\ntimestamp-header='X-T'\nnonce-header='X-N'",
            "kind='hmac'\nalgorithm='sha512'\nheader='X-S'\nover='{path}{field:To}'\nencoding='base64'",
            "kind='hmac'\nalgorithm='md5'\nheader='X-S'\nover='{body}'\nencoding='base64-hex'",
            "kind='plivo'\nheader='X-Plivo-Signature-V2'\nnonce-header='X-N'",
            "kind='plivo'\nheader='X-Plivo-Signature-V3'\nnonce-header='X-N'",
            "kind='jwt'",
            "kind='basic'",
            "kind='token'\nheader='X-Token'",
            "kind='token'\nquery='token'",
            "kind='vonage-sms'",
        ];
        for kind in kinds {
            let text = format!(
                "title='x'\n[incoming]\nformat='form'\nto=['To']\nfrom=['From']\ntext=['Body']\n[verify]\n{kind}\n"
            );
            let profile: Profile = toml::from_str(&text).unwrap();
            let verifier = Verifier::new(&profile.verify, profile.incoming.format).unwrap();
            let mut draft = of_profile(&profile, &WANTED, "/hook?a=1").unwrap();
            verifier
                .sign(&mut draft, &keys(&["the secret"]), NOW, "n")
                .unwrap_or_else(|e| panic!("{kind}: {e}"));
            let head = draft.head();
            let request = draft.request(&head);
            let judged = |secret| verifier.verify(&request, &keys(&[secret]), NOW + 60);
            assert_eq!(judged("the secret"), Ok(()), "{kind}");
            assert!(judged("another").is_err(), "{kind}");
            let none = verifier.sign(&mut draft.clone(), &keys(&[""]), NOW, "n");
            assert_eq!(none, Err(Unsigned::NoSecret), "{kind}");
        }
    }

    #[test]
    fn the_predecessors_form_and_a_profile_that_says_nothing() {
        let draft = of_keys(["To", "From", "Body"], &WANTED, "/hook").unwrap();
        let body = String::from_utf8(draft.body).unwrap();
        assert!(body.starts_with("To=%2B12025550160&From="), "{body}");
        let bare = Profile::default();
        let why = of_profile(&bare, &WANTED, "/").unwrap_err();
        assert_eq!(why, Unwritten::NoPlace("to whom it is"));
    }
}
