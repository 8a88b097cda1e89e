//! Traefik's certificate store, `acme.json`, in every form that Traefik has written since v1.0.
//!
//! Pure. Nothing in it is a file name, and no account key is read. Invariant: one entry that is empty or odd costs that
//! entry; a file that is cut off is `Incomplete`, and nothing that it holds is used.
//!
//! The forms (traefik/traefik, acme/account.go of v1.0, acme/localStore.go of v1.6, pkg/provider/acme/store.go of v2 and
//! v3): one object with `DomainsCertificate.Certs`; one object with `Certificates`; one object of those by resolver. Go
//! reads keys without regard to capitals, and so do we. A value of type `[]byte` is base64, here of PEM text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::pair::PrivateKey;

/// The largest store that is read, in bytes; one with a thousand certificates has 8 MB.
pub const LARGEST: usize = 16 << 20;
/// As many entries are looked at.
const MOST_ENTRIES: usize = 10_000;

/// One certificate of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The resolver that got it; empty before v2.
    pub resolver: String,
    /// What Traefik asked for, to be shown to people; what a certificate is good for it says itself.
    pub asked: Vec<String>,
    /// The authority's account is one for tests.
    pub is_staging: bool,
    pub chain: String,
    pub key: PrivateKey,
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    pub entries: Vec<Entry>,
    /// Entries that cannot be used, and why.
    pub odd: Vec<String>,
}

/// Why there is no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Traefik makes it so, and fills it with its first account.
    #[error("it is empty: Traefik has not got a certificate yet")]
    Empty,
    /// Traefik writes in place, so that a reader can come too early.
    #[error("it ends in the middle")]
    Incomplete,
    #[error("it is no certificate store: {0}")]
    Broken(String),
    #[error("it is larger than {} MiB", LARGEST >> 20)]
    TooLarge,
}

impl StoreError {
    /// A moment later it may be whole.
    pub fn may_pass(&self) -> bool {
        matches!(self, StoreError::Incomplete | StoreError::Broken(_))
    }
}

/// Reads a store.
///
/// # Errors
/// If the text as a whole is none.
pub fn read(bytes: &[u8]) -> Result<Store, StoreError> {
    if bytes.len() > LARGEST {
        return Err(StoreError::TooLarge);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(StoreError::Empty);
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| match error.is_eof() {
        true => StoreError::Incomplete,
        // A parser's text can hold pieces of what it read.
        false => StoreError::Broken(format!("no JSON at line {}", error.line())),
    })?;
    let Value::Object(top) = value else {
        return Err(StoreError::Broken("no JSON object".to_owned()));
    };
    let mut store = Store::default();
    if is_one(&top) {
        store.take("", &top);
        return Ok(store);
    }
    for (resolver, data) in &top {
        match data {
            Value::Object(data) => store.take(resolver, data),
            Value::Null => {}
            _ => store
                .odd
                .push(format!("the resolver `{resolver}` is no object")),
        }
    }
    Ok(store)
}

/// Whether an object is the data of one resolver, and not a table of resolvers.
fn is_one(object: &Map<String, Value>) -> bool {
    let is_list = |name| get(object, name).is_some_and(|value| value.is_array());
    let is_data = |name| {
        get(object, name)
            .and_then(Value::as_object)
            .is_some_and(|inner| {
                // A resolver may be called anything, also `account`; then it holds one of these itself.
                get(inner, "certificates").is_none() && get(inner, "account").is_none()
            })
    };
    is_list("certificates")
        || is_data("account")
        || is_data("domainscertificate")
        || (get(object, "privatekey").is_some_and(Value::is_string)
            && get(object, "registration").is_some())
}

/// The value of a key, whatever its capitals; of several the last, as in Go.
fn get<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let found = object
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).next_back()
}

fn text(object: &Map<String, Value>, name: &str) -> String {
    let found = get(object, name).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

impl Store {
    fn take(&mut self, resolver: &str, data: &Map<String, Value>) {
        let is_staging = is_staging(data);
        let old = get(data, "domainscertificate")
            .and_then(Value::as_object)
            .and_then(|old| get(old, "certs"));
        let lists = [old, get(data, "certificates")];
        let entries = lists
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten();
        for (number, entry) in entries.enumerate() {
            if self.entries.len() + self.odd.len() >= MOST_ENTRIES {
                return;
            }
            let read = match entry.as_object() {
                Some(entry) => read_entry(resolver, is_staging, entry),
                None => Err("it is no object".to_owned()),
            };
            match read {
                Ok(entry) => self.entries.push(entry),
                Err(why) => {
                    let of = match resolver {
                        "" => String::new(),
                        resolver => format!(" of the resolver `{resolver}`"),
                    };
                    self.odd.push(format!("entry {}{of}: {why}", number + 1));
                }
            }
        }
    }
}

fn is_staging(data: &Map<String, Value>) -> bool {
    let registration = match get(data, "account").and_then(Value::as_object) {
        Some(account) => get(account, "registration"),
        None => get(data, "registration"),
    };
    let uri = registration
        .and_then(Value::as_object)
        .map(|registration| text(registration, "uri"));
    uri.is_some_and(|uri| uri.to_ascii_lowercase().contains("staging"))
}

fn read_entry(
    resolver: &str,
    is_staging: bool,
    entry: &Map<String, Value>,
) -> Result<Entry, String> {
    // Before v1.6 both lay one level deeper.
    let inner = get(entry, "certificate").and_then(Value::as_object);
    let (chain, key) = match inner {
        Some(inner) => (get(inner, "certificate"), get(inner, "privatekey")),
        None => (get(entry, "certificate"), get(entry, "key")),
    };
    let domain = ["domain", "domains"]
        .into_iter()
        .find_map(|name| get(entry, name)?.as_object());
    let mut asked = Vec::new();
    if let Some(domain) = domain {
        asked.push(text(domain, "main"));
        let more = get(domain, "sans").and_then(Value::as_array);
        let more = more.into_iter().flatten().filter_map(Value::as_str);
        asked.extend(more.map(str::to_owned));
    }
    asked.retain(|name| !name.is_empty());
    let what = |name: &'static str| match asked.first() {
        Some(main) => format!("the {name} of `{main}`"),
        None => format!("the {name}"),
    };
    let decode = |value: Option<&Value>, name| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            return Err(format!("{} is missing", what(name)));
        }
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| format!("{} is no base64", what(name)))?;
        let pem = String::from_utf8(bytes).ok();
        pem.filter(|pem| pem.contains("-----BEGIN "))
            .ok_or_else(|| format!("{} is no PEM", what(name)))
    };
    let chain = decode(chain, "certificate")?;
    let key = decode(key, "key")?;
    Ok(Entry {
        resolver: resolver.to_owned(),
        is_staging,
        chain,
        key: PrivateKey::new(key),
        asked,
    })
}

#[cfg(test)]
mod tests;
