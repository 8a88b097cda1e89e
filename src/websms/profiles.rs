//! The carriers that are known: profiles shipped in the binary, and the user's own, which win.
//!
//! Pure. It refuses a profile that names what nobody knows. Invariant: every shipped profile loads; a test says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::profile::{Outgoing, OutgoingFormat, Profile};

/// The shipped ones by name, in order.
pub const SHIPPED: &[(&str, &str)] = &[
    ("46elks", include_str!("profiles/46elks.toml")),
    ("aws-sns", include_str!("profiles/aws-sns.toml")),
    ("bandwidth", include_str!("profiles/bandwidth.toml")),
    ("bulkvs", include_str!("profiles/bulkvs.toml")),
    ("flowroute", include_str!("profiles/flowroute.toml")),
    ("plivo", include_str!("profiles/plivo.toml")),
    ("signalwire", include_str!("profiles/signalwire.toml")),
    ("sinch", include_str!("profiles/sinch.toml")),
    ("skyetel", include_str!("profiles/skyetel.toml")),
    ("telnyx", include_str!("profiles/telnyx.toml")),
    ("twilio", include_str!("profiles/twilio.toml")),
    ("voipms", include_str!("profiles/voipms.toml")),
    (
        "vonage-messages",
        include_str!("profiles/vonage-messages.toml"),
    ),
    ("vonage-sms", include_str!("profiles/vonage-sms.toml")),
    ("zadarma", include_str!("profiles/zadarma.toml")),
];

/// Names in templates that need no `param_NAME`.
pub const GIVEN: &[&str] = &[
    "alphabet",
    "from",
    "id",
    "media",
    "public_url",
    "secret",
    "text",
    "to",
    "user",
];

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the profile {name} cannot be used: {problem}\nhint: compare it with one that is shipped; docs/reference/websms-conf.md tells the fields"
)]
pub struct BadProfile {
    pub name: String,
    pub problem: String,
}

/// All that can be chosen by name.
#[derive(Debug, Clone, Default)]
pub struct Profiles(BTreeMap<String, Arc<Profile>>);

impl Profiles {
    /// The shipped ones, and these of the user: a name, which is in small letters, and the text of a TOML file.
    #[must_use]
    pub fn load<'a>(own: impl Iterator<Item = (&'a str, &'a str)>) -> (Profiles, Vec<BadProfile>) {
        let mut known = BTreeMap::new();
        let mut bad = Vec::new();
        for (name, text) in SHIPPED.iter().copied().chain(own) {
            match read(text) {
                Ok(profile) => drop(known.insert(name.to_owned(), Arc::new(profile))),
                Err(problem) => {
                    // A mistake in the user's own must not bring back the shipped one unseen.
                    known.remove(name);
                    bad.push(BadProfile {
                        name: name.to_owned(),
                        problem,
                    });
                }
            }
        }
        (Profiles(known), bad)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Profile>> {
        self.0.get(&name.to_ascii_lowercase()).cloned()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Reads one profile.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn read(text: &str) -> Result<Profile, String> {
    let profile: Profile =
        toml::from_str(text).map_err(|e| e.to_string().trim_end().replace('\n', " "))?;
    if let Some(outgoing) = &profile.outgoing {
        let json = outgoing.format == OutgoingFormat::Json;
        if json != outgoing.document.is_some() || (json && !outgoing.fields.is_empty()) {
            return Err(
                "`outgoing` needs `document` for JSON, and `fields` for any other format"
                    .to_owned(),
            );
        }
        if let Some(template) = templates(outgoing).find(|template| names(template).is_none()) {
            return Err(format!("`{template}` has a brace that does not end"));
        }
    }
    Ok(profile)
}

/// The names that need a `param_NAME`, in order, each once.
#[must_use]
pub fn parameters(outgoing: &Outgoing) -> Vec<String> {
    let mut needed: Vec<String> = templates(outgoing)
        .flat_map(|template| names(template).unwrap_or_default())
        .filter(|name| !GIVEN.contains(name))
        .map(str::to_owned)
        .collect();
    needed.sort();
    needed.dedup();
    needed
}

fn templates(outgoing: &Outgoing) -> impl Iterator<Item = &str> {
    let mut found: Vec<&str> = vec![&outgoing.url];
    found.extend(outgoing.fields.values().map(String::as_str));
    found.extend(outgoing.headers.values().map(String::as_str));
    for value in outgoing.document.iter().flat_map(toml::Table::values) {
        strings(value, &mut found);
    }
    found.into_iter()
}

fn strings<'a>(value: &'a toml::Value, found: &mut Vec<&'a str>) {
    match value {
        toml::Value::String(text) => found.push(text),
        toml::Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        toml::Value::Table(table) => table.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

/// The names in braces of a template; `None` if a brace does not end.
fn names(template: &str) -> Option<Vec<&str>> {
    template
        .split('{')
        .skip(1)
        .map(|rest| rest.split_once('}').map(|(name, _)| name))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::websms::profile::{Format, Verify};

    fn all() -> Profiles {
        let (profiles, bad) = Profiles::load(std::iter::empty());
        assert_eq!(bad, []);
        profiles
    }

    #[test]
    fn every_shipped_profile_loads() {
        let profiles = all();
        assert_eq!(profiles.names().count(), SHIPPED.len());
        for (name, _) in SHIPPED {
            let profile = profiles.get(name).unwrap();
            let incoming = &profile.incoming;
            for paths in [&incoming.to, &incoming.from, &incoming.text] {
                assert!(!paths.is_empty(), "{name}");
            }
            assert!((200..300).contains(&profile.answer.status), "{name}");
            assert!(profile.outgoing.is_some() || *name == "aws-sns", "{name}");
        }
        let ours: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        assert!(ours.is_sorted());
    }

    /// Every profile has a webhook as its carrier documents it; the extractor is run against them.
    #[test]
    fn every_profile_has_a_sample_and_every_receipt_too() {
        let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/websms");
        let read = |name: String| -> Json {
            let text = std::fs::read_to_string(samples.join(&name));
            serde_json::from_str(&text.unwrap_or_else(|e| panic!("{name}: {e}"))).unwrap()
        };
        for (name, _) in SHIPPED {
            let profile = all().get(name).unwrap();
            let sample = read(format!("{name}.json"));
            assert_eq!(sample["profile"], *name);
            for field in ["to", "from", "text"] {
                assert!(sample["expect"][field].is_string(), "{name} {field}");
            }
            let method = sample["method"].as_str().unwrap();
            assert!(
                profile.incoming.methods.iter().any(|m| m == method),
                "{name}"
            );
            if profile.incoming.format == Format::Json {
                let body: Json = serde_json::from_str(sample["body"].as_str().unwrap()).unwrap();
                assert!(body.is_object() || body.is_array(), "{name}");
            }
            if let Some(receipt) = &profile.receipt {
                let sample = read(format!("{name}-receipt.json"));
                let state = sample["expect"]["receipt"]["state"].as_str().unwrap();
                let states: Vec<Json> = receipt
                    .states
                    .values()
                    .map(|s| serde_json::to_value(s).unwrap())
                    .collect();
                assert!(states.contains(&Json::from(state)), "{name}");
            }
        }
    }

    /// The carriers' own words for what became of a message, as their documents list them, and what each means here. The first
    /// is that of the sample.
    const RECEIPTS: &[(&str, &[(&str, &str)])] = &[
        (
            "46elks",
            &[
                ("delivered", "delivered"),
                ("sent", "sent"),
                ("created", "accepted"),
                ("failed", "failed"),
            ],
        ),
        (
            "bandwidth",
            &[
                ("message-failed", "failed"),
                ("message-delivered", "delivered"),
                ("message-sending", "sent"),
            ],
        ),
        (
            "plivo",
            &[
                ("undelivered", "failed"),
                ("queued", "accepted"),
                ("sent", "sent"),
                ("delivered", "delivered"),
                ("read", "delivered"),
                ("failed", "failed"),
            ],
        ),
        (
            "signalwire",
            &[
                ("delivered", "delivered"),
                ("queued", "accepted"),
                ("sending", "accepted"),
                ("sent", "sent"),
                ("undelivered", "failed"),
                ("failed", "failed"),
            ],
        ),
        (
            "sinch",
            &[
                ("Delivered", "delivered"),
                ("Queued", "accepted"),
                ("Dispatched", "sent"),
                ("Aborted", "failed"),
                ("Cancelled", "failed"),
                ("Rejected", "failed"),
                ("Deleted", "failed"),
                ("Failed", "failed"),
                ("Expired", "failed"),
                ("Unknown", ""),
            ],
        ),
        (
            "telnyx",
            &[
                ("delivery_failed", "failed"),
                ("queued", "accepted"),
                ("sending", "accepted"),
                ("sent", "sent"),
                ("delivered", "delivered"),
                ("delivery_unconfirmed", "sent"),
                ("sending_failed", "failed"),
            ],
        ),
        (
            "twilio",
            &[
                ("undelivered", "failed"),
                ("accepted", "accepted"),
                ("scheduled", "accepted"),
                ("queued", "accepted"),
                ("sending", "accepted"),
                ("sent", "sent"),
                ("delivered", "delivered"),
                ("read", "delivered"),
                ("failed", "failed"),
                ("canceled", "failed"),
                ("partially_delivered", ""),
            ],
        ),
        (
            "vonage-messages",
            &[
                ("rejected", "failed"),
                ("submitted", "sent"),
                ("delivered", "delivered"),
                ("read", "delivered"),
                ("undeliverable", "failed"),
            ],
        ),
        (
            "vonage-sms",
            &[
                ("expired", "failed"),
                ("accepted", "accepted"),
                ("buffered", "accepted"),
                ("delivered", "delivered"),
                ("failed", "failed"),
                ("rejected", "failed"),
                ("unknown", ""),
            ],
        ),
    ];

    #[test]
    fn each_word_of_a_carriers_receipts_has_its_common_state() {
        use crate::websms::extract::Hearing;
        use crate::websms::message::Heard;
        use crate::websms::request::Request;
        let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/websms");
        let with_receipts = SHIPPED.iter().map(|(name, _)| *name);
        let with_receipts: Vec<&str> = with_receipts
            .filter(|name| all().get(name).unwrap().receipt.is_some())
            .collect();
        let tested: Vec<&str> = RECEIPTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(tested, with_receipts);
        for (name, words) in RECEIPTS {
            let profile = all().get(name).unwrap();
            let hearing = Hearing::new(&profile.incoming, profile.receipt.as_ref()).unwrap();
            let text = std::fs::read_to_string(samples.join(format!("{name}-receipt.json")));
            let sample: Json = serde_json::from_str(&text.unwrap()).unwrap();
            let kind = sample["headers"]["Content-Type"].as_str().unwrap_or("");
            let own = words[0].0;
            for (word, state) in *words {
                // Its own field has the name of another word in one of them.
                let put = |text: &str| {
                    let text = text.replace(&format!("={own}"), &format!("={word}"));
                    text.replace(&format!("\"{own}\""), &format!("\"{word}\""))
                };
                let (target, body) = (
                    put(sample["url"].as_str().unwrap()),
                    put(sample["body"].as_str().unwrap()),
                );
                let heard = hearing.hear(&Request {
                    method: sample["method"].as_str().unwrap(),
                    target: &target,
                    headers: &[("Content-Type", kind)],
                    body: body.as_bytes(),
                });
                let heard = heard.unwrap_or_else(|e| panic!("{name} {word}: {e}"));
                match (&heard, *state) {
                    (Heard::Nothing, "") => {}
                    (Heard::Receipts(all), state) => {
                        assert_eq!(all.len(), 1, "{name} {word}");
                        let found = serde_json::to_value(all[0].state).unwrap();
                        assert_eq!(found, state, "{name} {word}");
                        assert_eq!(sample["expect"]["receipt"]["id"], all[0].id, "{name}");
                    }
                    _ => panic!("{name} {word}: {heard:?}"),
                }
            }
        }
    }

    #[test]
    fn parameters_are_what_the_templates_name() {
        let needed = |name: &str| parameters(all().get(name).unwrap().outgoing.as_ref().unwrap());
        assert_eq!(needed("twilio"), ["account"]);
        assert_eq!(needed("signalwire"), ["project", "space"]);
        assert_eq!(needed("bandwidth"), ["account", "application"]);
        assert_eq!(needed("sinch"), ["plan", "region"]);
        assert_eq!(needed("46elks"), [""; 0]);
    }

    #[test]
    fn the_users_own_win_and_their_mistakes_are_told() {
        let own = [
            ("twilio", "title = \"Mine\"\n"),
            (
                "new",
                "title = \"New\"\n[incoming]\nto = [\"t\"]\n[verify]\nkind = \"basic\"\n",
            ),
            ("plivo", "title = \"Bad\"\n[incoming]\ntoo = [\"t\"]\n"),
            ("brace", "title = \"B\"\n[outgoing]\nurl = \"https://{x\"\n"),
            (
                "shape",
                "title = \"S\"\n[outgoing]\nurl = \"https://x\"\nformat = \"json\"\n",
            ),
        ];
        let (profiles, bad) = Profiles::load(own.into_iter());
        assert_eq!(profiles.get("Twilio").unwrap().title, "Mine");
        assert_eq!(profiles.get("new").unwrap().verify, Verify::Basic);
        assert!(profiles.get("plivo").is_none());
        let told: Vec<&str> = bad.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(told, ["plivo", "brace", "shape"]);
        assert!(bad[0].problem.contains("too"), "{}", bad[0]);
        assert!(bad[1].to_string().contains("hint: "), "{}", bad[1]);
    }
}
