//! What is known of a carrier's interface, as data: a TOML file for each, shipped or the user's own.
//!
//! Pure shapes. Invariant: a field that is not known is a mistake and no silence.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A carrier's interface, whole.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// The carrier's name for people.
    pub title: String,
    #[serde(default)]
    pub incoming: Incoming,
    #[serde(default)]
    pub verify: Verify,
    #[serde(default)]
    pub answer: Answer,
    pub receipt: Option<ReceiptRule>,
    pub outgoing: Option<Outgoing>,
}

/// How a webhook is read.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Incoming {
    /// `POST` if empty.
    pub methods: Vec<String>,
    pub format: Format,
    /// Paths of text fields that hold JSON, in the order in which they are opened.
    pub unwrap: Vec<String>,
    /// The path of the array that holds a message, or a receipt, each; without it the whole is one.
    pub each: Option<String>,
    /// All must hold for a message; below `each`.
    pub when: Vec<Condition>,
    /// Paths, the first that is there counts: `data.payload.to[0].phone_number`, `To`.
    pub to: Vec<String>,
    pub from: Vec<String>,
    pub text: Vec<String>,
    pub id: Vec<String>,
    /// Paths of addresses of media; `media[*].url` names all of an array, `MediaUrl#` all of MediaUrl0, MediaUrl1, ...
    pub media: Vec<String>,
    /// How media are asked for: with `auth_user` and `auth_secret`, at `media-hosts` and by TLS alone.
    pub media_auth: MediaAuth,
    /// The carrier's own hosts, with a port that is none of the scheme's.
    pub media_hosts: Vec<String>,
    pub decode: Decode,
    pub part: Option<PartRule>,
    /// The form in which the carrier writes numbers; what it wrote is kept as it is.
    pub number: NumberForm,
    /// A field of the query whose value is to be answered as it is.
    pub echo: Option<String>,
    /// The path of an address that must be fetched once to confirm a subscription.
    pub confirm: Option<String>,
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By the request's Content-Type, and the query where there is no body.
    #[default]
    Auto,
    Form,
    Multipart,
    Json,
    Query,
}

/// A condition: the value at a path is one of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Condition {
    pub path: String,
    /// One of these; without it the path must merely be there.
    #[serde(rename = "is", default)]
    pub values: Vec<String>,
}

/// How we prove who we are where media are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaAuth {
    #[default]
    None,
    Basic,
    Bearer,
}

/// What must be undone in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decode {
    #[default]
    None,
    Url,
    Html,
}

/// How a number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberForm {
    /// As it is.
    #[default]
    Any,
    /// `+46701234567`.
    E164,
    /// E.164 without the plus.
    E164NoPlus,
    /// Ten digits of the North American plan.
    Nanp10,
}

/// Where the parts of a long message are numbered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PartRule {
    pub reference: String,
    pub number: String,
    pub total: String,
}

/// How a request proves that it is the carrier's. Secrets come from websms.conf, never from here.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(
    tag = "kind",
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Verify {
    #[default]
    None,
    /// Twilio and who signs like it: HMAC over the address and the sorted fields, or the body's digest in the query.
    Twilio { header: String },
    /// HMAC over text put together from the request.
    Hmac {
        algorithm: Algorithm,
        header: String,
        /// What is signed, with `{body}`, `{url}`, `{path}`, `{timestamp}`, `{nonce}`, `{field:NAME}`.
        over: String,
        #[serde(default)]
        encoding: Encoding,
        /// What stands before the signature in its header, as `sha256=`.
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        timestamp_header: Option<String>,
        #[serde(default)]
        nonce_header: Option<String>,
        /// How old it may be, in seconds.
        #[serde(default)]
        tolerance: Option<u32>,
    },
    /// Ed25519 over text put together as for `Hmac`.
    Ed25519 {
        header: String,
        over: String,
        #[serde(default)]
        timestamp_header: Option<String>,
        #[serde(default)]
        tolerance: Option<u32>,
    },
    /// Plivo's second version: HMAC-SHA256 over the address without query and a nonce.
    Plivo {
        header: String,
        nonce_header: String,
    },
    /// A JWT (HS256) in `Authorization`, whose claim `payload_hash` is the SHA-256 of the body.
    Jwt,
    /// HTTP Basic authentication of the callback.
    Basic,
    /// A secret in a field of the query or in a header.
    Token {
        #[serde(default)]
        query: Option<String>,
        #[serde(default)]
        header: Option<String>,
    },
    /// Vonage's signed webhooks of the SMS API: digest or HMAC over the sorted fields.
    VonageSms,
    /// Amazon SNS: RSA by a certificate of Amazon's own host.
    Sns,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// How the bytes of a signature are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
    /// Base64 over the hexadecimal text.
    Base64Hex,
}

/// What the carrier wants to hear.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answer {
    /// The status of what was taken.
    pub status: u16,
    pub body: String,
    pub content_type: String,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer {
            status: 200,
            body: String::new(),
            content_type: "text/plain; charset=utf-8".to_owned(),
        }
    }
}

/// How a delivery receipt is read; it comes to the same address as messages, or to another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReceiptRule {
    #[serde(default)]
    pub when: Vec<Condition>,
    pub id: Vec<String>,
    pub state: Vec<String>,
    #[serde(default)]
    pub detail: Vec<String>,
    /// The carrier's words, and the state that each means; a word that is not here says nothing.
    pub states: BTreeMap<String, super::message::ReceiptState>,
}

/// How a message is handed to the carrier.
///
/// A template holds names in braces: `{to}`, `{from}`, `{text}`, `{id}` (our own), `{user}`, `{secret}`, `{public_url}`,
/// `{media}`, `{alphabet}` (`text`, or `unicode` beyond GSM 7), and `{NAME}` for any `param_NAME` of websms.conf. A field that is one name alone is left out where that has
/// no value; `{media}` alone becomes a list.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Outgoing {
    #[serde(default = "post")]
    pub method: String,
    /// What its names stand for is percent-encoded.
    pub url: String,
    #[serde(default)]
    pub format: OutgoingFormat,
    /// Form and query: field to template.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// JSON: the document, with templates in its strings.
    #[serde(default)]
    pub document: Option<toml::Table>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Values of `param_NAME` where websms.conf has none.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub number: NumberForm,
    #[serde(default)]
    pub success: Success,
    /// Paths of the carrier's id in its answer.
    #[serde(default)]
    pub id: Vec<String>,
    /// The header that makes a repetition harmless.
    #[serde(default)]
    pub idempotency_header: Option<String>,
    /// Messages a second that the carrier takes.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The most characters that it takes.
    #[serde(default)]
    pub longest: Option<u32>,
}

fn post() -> String {
    "POST".to_owned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutgoingFormat {
    #[default]
    Form,
    Json,
    Query,
}

/// How we prove who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    #[default]
    None,
    Basic,
    Bearer,
    /// Zadarma's signature over path and fields.
    Zadarma,
}

/// When an answer means that the message was taken. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Success {
    /// Statuses, `2xx` if empty.
    pub status: Vec<String>,
    /// Of a path with `[*]`, every value must be one of those named.
    pub when: Vec<Condition>,
    /// Where all of this holds, the carrier asks to be tried again later.
    pub later: Vec<Condition>,
}
