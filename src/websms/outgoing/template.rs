//! The request of an interface with a profile: its templates, filled.
//!
//! Pure. A value is filled into a string that is then encoded as a whole, so that it cannot end the string that it stands in.
//! A field that is one name alone is left out where that has no value; `{media}` alone is a list.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Request, Unsendable, authorization, php};
use crate::websms::config::{Outbound, Style};
use crate::websms::message::Sent;
use crate::websms::number;
use crate::websms::profile::{Auth, Outgoing, OutgoingFormat};
use crate::websms::segments::{self, Alphabet};

const MEDIA: &str = "{media}";

pub(super) fn request(outbound: &Outbound, sent: &Sent, id: &str) -> Result<Request, Unsendable> {
    let Style::Profile {
        named,
        parameters,
        public_url,
        host,
        path,
    } = &outbound.style
    else {
        return Err(Unsendable::NoOutgoing);
    };
    let Some(outgoing) = &named.profile.outgoing else {
        return Err(Unsendable::NoOutgoing);
    };
    if !sent.media.is_empty() && !takes_media(outgoing) {
        return Err(Unsendable::NoMedia);
    }
    let length = sent.body.chars().count();
    if let Some(longest) = outgoing
        .longest
        .filter(|longest| length > *longest as usize)
    {
        return Err(Unsendable::TooLong { length, longest });
    }
    let country = outbound.country.as_deref();
    let written = |text: &str| number::written(text, outgoing.number, country);
    let alphabet = match segments::count(&sent.body).alphabet {
        Alphabet::Gsm7 => "text",
        Alphabet::Ucs2 => "unicode",
    };
    let secret = outbound
        .secret
        .as_ref()
        .map_or("", |secret| secret.expose());
    let mut values: BTreeMap<&str, String> = parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    values.extend([
        ("to", written(&sent.to).map_err(Unsendable::Receiver)?),
        ("from", written(&sent.from).map_err(Unsendable::Sender)?),
        ("text", sent.body.clone()),
        ("id", id.to_owned()),
        ("user", outbound.user.clone()),
        ("secret", secret.to_owned()),
        ("alphabet", alphabet.to_owned()),
    ]);
    values.extend(public_url.iter().map(|url| ("public_url", url.clone())));
    let filling = Filling {
        values,
        media: &sent.media,
    };
    let mut url = placed(
        &filling.fill(&outgoing.url, percent),
        host.as_deref(),
        path.as_deref(),
    );
    let mut headers = BTreeMap::new();
    let mut body = String::new();
    match outgoing.format {
        OutgoingFormat::Form => {
            headers.insert(
                "Content-Type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            );
            body = filling.form(outgoing);
        }
        OutgoingFormat::Query => {
            let query = filling.form(outgoing);
            let joint = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{joint}{query}");
        }
        OutgoingFormat::Json => {
            headers.insert("Content-Type".to_owned(), "application/json".to_owned());
            body = Json::Object(filling.table(outgoing.document.as_ref())).to_string();
        }
    }
    let authorization = match outgoing.auth {
        Auth::None => None,
        Auth::Basic => Some(authorization::basic(&outbound.user, secret)),
        Auth::Bearer => Some(authorization::bearer(secret)),
        Auth::Zadarma => Some(authorization::zadarma(
            &outbound.user,
            secret,
            path_of(&url),
            &body,
        )),
    };
    headers.extend(authorization.map(|value| ("Authorization".to_owned(), value)));
    if let Some(name) = &outgoing.idempotency_header {
        headers.insert(name.clone(), authorization::one_line(id));
    }
    for (name, template) in &outgoing.headers {
        let value = filling.fill(template, authorization::one_line);
        headers.insert(name.clone(), value);
    }
    Ok(Request {
        method: outgoing.method.clone(),
        url,
        headers: headers.into_iter().collect(),
        body: body.into_bytes(),
    })
}

struct Filling<'a> {
    values: BTreeMap<&'a str, String>,
    media: &'a [String],
}

impl Filling<'_> {
    /// The template with its names filled in, each value encoded.
    fn fill(&self, template: &str, encode: fn(&str) -> String) -> String {
        let mut parts = template.split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or((part, ""));
            text.push_str(
                &self
                    .values
                    .get(name)
                    .map(|value| encode(value))
                    .unwrap_or_default(),
            );
            text.push_str(rest);
        }
        text
    }

    /// A field's value; none if it is one name alone that has none.
    fn field(&self, template: &str) -> Option<String> {
        let alone = template
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match alone.filter(|name| !name.contains(['{', '}'])) {
            Some(name) => self
                .values
                .get(name)
                .filter(|value| !value.is_empty())
                .cloned(),
            None => Some(self.fill(template, str::to_owned)),
        }
    }

    fn form(&self, outgoing: &Outgoing) -> String {
        let mut fields = Vec::new();
        for (name, template) in &outgoing.fields {
            match template == MEDIA {
                true => fields.extend(self.media.iter().map(|url| (name.as_str(), url.clone()))),
                false => fields.extend(self.field(template).map(|value| (name.as_str(), value))),
            }
        }
        php::query(fields.iter().map(|(name, value)| (*name, value.as_str())))
    }

    fn table(&self, table: Option<&toml::Table>) -> Map<String, Json> {
        let fields = table.into_iter().flatten();
        fields
            .filter_map(|(name, value)| Some((name.clone(), self.value(value)?)))
            .collect()
    }

    fn value(&self, value: &toml::Value) -> Option<Json> {
        match value {
            toml::Value::String(text) if text == MEDIA => {
                (!self.media.is_empty()).then(|| self.media.into())
            }
            toml::Value::String(template) => self.field(template).map(Json::String),
            toml::Value::Integer(number) => Some(Json::from(*number)),
            toml::Value::Float(number) => Some(Json::from(*number)),
            toml::Value::Boolean(truth) => Some(Json::from(*truth)),
            toml::Value::Datetime(time) => Some(Json::from(time.to_string())),
            toml::Value::Array(values) => Some(
                values
                    .iter()
                    .filter_map(|value| self.value(value))
                    .collect(),
            ),
            toml::Value::Table(table) => Some(Json::Object(self.table(Some(table)))),
        }
    }
}

fn takes_media(outgoing: &Outgoing) -> bool {
    fn holds(value: &toml::Value) -> bool {
        match value {
            toml::Value::String(text) => text == MEDIA,
            toml::Value::Array(values) => values.iter().any(holds),
            toml::Value::Table(table) => table.values().any(holds),
            _ => false,
        }
    }
    outgoing.fields.values().any(|template| template == MEDIA)
        || outgoing
            .document
            .iter()
            .flat_map(toml::Table::values)
            .any(holds)
}

/// Unreserved signs of RFC 3986 stay.
fn percent(text: &str) -> String {
    text.bytes()
        .map(
            |byte| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            },
        )
        .collect()
}

/// The address with another host, and another path.
fn placed(url: &str, host: Option<&str>, path: Option<&str>) -> String {
    let at = url.find("://").map_or(0, |scheme| scheme + 3);
    let rest = url.get(at..).unwrap_or_default();
    let slash = at + rest.find(['/', '?']).unwrap_or(rest.len());
    let (own_host, own_path) = url.split_at(slash);
    format!("{}{}", host.unwrap_or(own_host), path.unwrap_or(own_path))
}

/// The path of an address, without its query.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|slash| rest.get(slash..));
    path.unwrap_or("/").split('?').next().unwrap_or_default()
}
