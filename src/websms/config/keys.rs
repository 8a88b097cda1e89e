//! Every key of websms.conf, declared once: section, name, form, default, meaning.
//!
//! Pure. The reader, its hints and the reference page come from this table. Invariant: a key that the reader asks for is here.

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub section: &'static str,
    /// `param_` stands for any name that begins so.
    pub name: &'static str,
    pub form: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
    pub index: Index,
}

/// Whether `key [index] = value` can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    No,
    /// The index of an interface.
    Interface,
    /// The name of a client of the API.
    Client,
    /// The name of a hook.
    Hook,
}

const fn known(
    section: &'static str,
    index: Index,
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    Known {
        section,
        name,
        form,
        default,
        meaning,
        index,
    }
}

const fn out(
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    known("websms", Index::Interface, name, form, default, meaning)
}

const fn inward(
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    known("websmsd", Index::Interface, name, form, default, meaning)
}

const fn client(
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    known("api", Index::Client, name, form, default, meaning)
}

const fn hook(
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    known("hooks", Index::Hook, name, form, default, meaning)
}

const fn single(
    section: &'static str,
    name: &'static str,
    form: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Known {
    known(section, Index::No, name, form, default, meaning)
}

/// The sections, with what each is for.
pub const SECTIONS: &[(&str, &str)] = &[
    ("websms", "how messages go out"),
    ("websmsd", "how messages come in"),
    ("astqueue", "the dialplan that takes them"),
    ("store", "how long messages are kept"),
    ("api", "who may use the API"),
    ("hooks", "who is told what happens to messages"),
];

/// The keys, in the order of the reference.
pub const KEYS: &[Known] = &[
    out(
        "profile",
        "name",
        "",
        "the carrier: a profile that is shipped, or one of your own; it knows all that the keys of the predecessor say",
    ),
    out(
        "auth_method",
        "none, plain, basic, zadarma",
        "basic",
        "how a request without profile proves who you are",
    ),
    out("auth_user", "text", "", "the user name"),
    out(
        "auth_secret",
        "text",
        "",
        "the password, or the key of the interface",
    ),
    out(
        "auth_secret_file",
        "path",
        "",
        "a file whose first line is `auth_secret`",
    ),
    out("key_to", "field", "To", "the field of the receiver"),
    out("key_from", "field", "From", "the field of the sender"),
    out("key_body", "field", "Body", "the field of the text"),
    out(
        "key_user",
        "field",
        "",
        "the field of the user, for `auth_method = plain`",
    ),
    out(
        "key_secret",
        "field",
        "",
        "the field of the password, for `auth_method = plain`",
    ),
    out(
        "resp_check",
        "field=value or /pattern/",
        "",
        "what the answer must hold; without it any 2xx means that the message was taken",
    ),
    out(
        "url_host",
        "address",
        "http://localhost",
        "scheme, host and port; with a profile it stands in for the carrier's own",
    ),
    out("url_path", "path", "/", "where messages are posted to"),
    out(
        "val_numform",
        "no+, e164",
        "",
        "strips a leading + and then a leading 00 from both numbers",
    ),
    out(
        "val_static",
        "field=value, ...",
        "",
        "fields that are always sent; they win over the others",
    ),
    out(
        "val_unicode",
        "UCS-2 or field=value",
        "",
        "what to do with signs beyond 16 bits: replace them, or send this field too",
    ),
    out(
        "param_",
        "text",
        "",
        "any name after `param_`: what the profile asks for, for example `param_account`",
    ),
    out(
        "number",
        "numbers",
        "",
        "the numbers of this interface; a message from one of them goes out by it",
    ),
    out(
        "country",
        "calling code",
        "",
        "the country of numbers that are written without one, for example 46",
    ),
    out(
        "failover",
        "index",
        "",
        "the interface that takes over when this one refuses or stays away",
    ),
    out(
        "rate",
        "count/s, /m or /h",
        "that of the profile",
        "how many messages go out in that time",
    ),
    inward(
        "profile",
        "name",
        "",
        "as in [websms]; one of the two sections is enough",
    ),
    inward(
        "remt_addr",
        "networks",
        "",
        "who may send; without it anybody who knows the path",
    ),
    inward(
        "url_path",
        "paths",
        "",
        "where messages are taken; without it anywhere",
    ),
    inward("key_to", "field", "To", "the field of the receiver"),
    inward("key_from", "field", "From", "the field of the sender"),
    inward("key_body", "field", "Body", "the field of the text"),
    inward(
        "key_echo",
        "field",
        "",
        "a field of the query whose value is answered as it is, to prove the address",
    ),
    inward(
        "resp_ack",
        "text",
        "",
        "the answer when a message was taken",
    ),
    inward(
        "verify",
        "yes or no",
        "yes",
        "whether the profile's signature is asked for",
    ),
    inward(
        "verify_user",
        "text",
        "",
        "the user name that the carrier presents, where it presents one",
    ),
    inward(
        "verify_secret",
        "text",
        "",
        "the secret by which the carrier signs",
    ),
    inward(
        "verify_secret_file",
        "path",
        "",
        "a file with such a secret on each line, so that one can follow another",
    ),
    inward(
        "public_url",
        "address",
        "",
        "the address under which the carrier knows this interface; signatures are made over it",
    ),
    inward(
        "media_allow",
        "http, private",
        "",
        "from where media may be fetched beside https and the public Internet",
    ),
    single(
        "websmsd",
        "prox_addr",
        "networks",
        "",
        "the reverse proxies whose word on the sender's address is taken",
    ),
    single(
        "websmsd",
        "prox_header",
        "header",
        "HTTP_X_FORWARDED_FOR",
        "the header in which they give it",
    ),
    single(
        "astqueue",
        "deliver",
        "direct or dialplan",
        "direct",
        "whether messages go to the phones one by one, or through the dialplan as the predecessor's did",
    ),
    single(
        "astqueue",
        "context",
        "context",
        "default",
        "the context of the dialplan that a message enters",
    ),
    single(
        "astqueue",
        "channel_context",
        "context",
        "default",
        "the context of the channel's other end",
    ),
    single(
        "astqueue",
        "priority",
        "priority or label",
        "1",
        "where in the extension",
    ),
    single(
        "astqueue",
        "message_encode",
        "rfc3986 or none",
        "rfc3986",
        "how the text is written for the dialplan",
    ),
    single(
        "astqueue",
        "outgoingdir",
        "path",
        "/var/spool/asterisk/outgoing",
        "where call files go",
    ),
    single(
        "astqueue",
        "stagingdir",
        "path",
        "/var/spool/asterisk/staging",
        "where they are written first",
    ),
    single(
        "astqueue",
        "waittime",
        "seconds",
        "45",
        "how long the channel may take to answer",
    ),
    single(
        "astqueue",
        "maxretries",
        "count",
        "0",
        "how often it is tried again",
    ),
    single(
        "astqueue",
        "retrytime",
        "seconds",
        "300",
        "the time between tries",
    ),
    single(
        "astqueue",
        "archive",
        "yes or no",
        "no",
        "whether Asterisk keeps call files that are done",
    ),
    single("astqueue", "account", "text", "", "the account code"),
    single(
        "astqueue",
        "application",
        "application",
        "",
        "an application in place of context, extension and priority",
    ),
    single("astqueue", "data", "text", "", "its arguments"),
    single(
        "store",
        "retention",
        "time",
        "30d",
        "how long a message that is done is kept",
    ),
    single(
        "store",
        "hold",
        "time",
        "7d",
        "how long a message waits for a phone that is away",
    ),
    single(
        "store",
        "validity",
        "time",
        "1d",
        "how long a message out is tried",
    ),
    single(
        "store",
        "redact",
        "yes or no",
        "no",
        "whether a text is erased when it is delivered or taken back, and each text at rest after 3 days",
    ),
    single(
        "store",
        "media_url",
        "address",
        "",
        "the address under which phones reach WebSMS: media are kept and handed on as links below it; without it the carrier's links are",
    ),
    single(
        "store",
        "media_quota",
        "size",
        "1G",
        "the place for all media together; what comes when it is full stays with the carrier",
    ),
    client(
        "token",
        "text",
        "",
        "the bearer token of the client of that name",
    ),
    client(
        "token_file",
        "path",
        "",
        "a file whose first line is the token",
    ),
    client(
        "token_sha256",
        "64 digits",
        "",
        "the SHA-256 digest of the token, which then stands nowhere on the machine",
    ),
    client(
        "rights",
        "send, read",
        "send, read",
        "what that client may do",
    ),
    client(
        "numbers",
        "numbers",
        "all",
        "the numbers from which that client may send, and whose messages it sees",
    ),
    hook("url", "address", "", "where events are posted to"),
    hook(
        "secret",
        "text",
        "",
        "what requests are signed with: `whsec_` and 24 to 64 bytes in base64",
    ),
    hook(
        "secret_file",
        "path",
        "",
        "a file with such a secret on each line; requests are signed with all of them",
    ),
    hook(
        "events",
        "states",
        "all",
        "the states of which the hook is told, for example `received, delivered, failed`",
    ),
    hook(
        "numbers",
        "numbers",
        "all",
        "the numbers of whose messages the hook is told",
    ),
    hook(
        "body",
        "yes or no",
        "yes",
        "whether the text and the addresses of pictures go along",
    ),
    hook(
        "rate",
        "count/s, /m or /h",
        "20/s",
        "how many requests the hook gets in that time",
    ),
];

/// Keys that the predecessor took and never used.
pub const UNUSED: &[(&str, &str)] = &[
    ("astqueue", "filemode"),
    ("astqueue", "fileowner"),
    ("websmsd", "auth_method"),
    ("websmsd", "auth_secret"),
    ("websmsd", "auth_user"),
    ("websmsd", "key_secret"),
    ("websmsd", "key_user"),
];

/// The declaration of a key.
#[must_use]
pub fn find(section: &str, name: &str) -> Option<&'static Known> {
    KEYS.iter().find(|known| {
        let named = match known.name.strip_suffix('_') {
            Some(_) => name.len() > known.name.len() && name.starts_with(known.name),
            None => name == known.name,
        };
        known.section == section && named
    })
}
