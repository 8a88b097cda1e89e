//! Signatures that carriers' own libraries made, and what becomes of them when a bit of anything changes.

use std::sync::LazyLock;

use ring::hmac;
use serde_json::Value;

use super::*;
use crate::websms::profile::Profile;

mod flips;
mod refusals;

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/data/webhook-signatures.json")).unwrap()
});
static SNS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../tests/data/sns-signatures.json")).unwrap()
});

const FORM: &str = "application/x-www-form-urlencoded";

/// A request and what it is held against, to be changed at will.
#[derive(Clone)]
struct Case {
    rule: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    secrets: Vec<String>,
    user: String,
    public_url: String,
    certificate: String,
    topic: String,
    now: u64,
}

impl Case {
    fn new(rule: &str) -> Case {
        Case {
            rule: rule.to_owned(),
            target: "/hook".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            secrets: vec!["secret".to_owned()],
            user: String::new(),
            public_url: "https://pbx.example.org".to_owned(),
            certificate: String::new(),
            topic: String::new(),
            now: 1_700_000_000,
        }
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Case {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn form(self, params: &Value) -> Case {
        let body = encoded(params);
        Case {
            body: body.into_bytes(),
            ..self.header("Content-Type", FORM)
        }
    }

    fn secret(self, secret: &str) -> Case {
        Case {
            secrets: vec![secret.to_owned()],
            ..self
        }
    }

    /// At this address, whose path and query are the target's.
    fn at(self, url: &str) -> Case {
        let path = url.match_indices('/').nth(2).unwrap().0;
        Case {
            public_url: url.get(..path).unwrap().to_owned(),
            target: url.get(path..).unwrap().to_owned(),
            ..self
        }
    }

    fn verifier(&self) -> Verifier {
        let profile: Profile =
            toml::from_str(&format!("title='x'\n[verify]\n{}", self.rule)).unwrap();
        Verifier::new(&profile.verify, Format::Auto).unwrap()
    }

    fn judge(&self) -> Result<(), String> {
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let request = Request {
            method: "POST",
            target: &self.target,
            headers: &headers,
            body: &self.body,
        };
        let keys = Keys {
            secrets: &secrets,
            user: &self.user,
            public_url: Some(&self.public_url)
                .filter(|url| !url.is_empty())
                .map(String::as_str),
            certificate: Some(self.certificate.as_bytes()).filter(|c| !c.is_empty()),
            topics: &[&self.topic],
        };
        let judged = self
            .verifier()
            .verify(&request, &keys, self.now)
            .map_err(|refused| refused.to_string());
        if let Err(reason) = &judged {
            for secret in self.secrets.iter().filter(|secret| secret.len() > 3) {
                assert!(
                    !reason.contains(secret.as_str()) || secret == "secret",
                    "{reason}"
                );
            }
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
        judged
    }
}

fn encoded(params: &Value) -> String {
    let code = |text: &str| {
        text.bytes()
            .map(|b| format!("%{b:02X}"))
            .collect::<String>()
    };
    let field = |(name, value): (&String, &Value)| format!("{name}={}", code(text(value)));
    let fields: Vec<String> = params.as_object().unwrap().iter().map(field).collect();
    fields.join("&")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn vectors(name: &str) -> &'static Vec<Value> {
    let found = VECTORS.as_object().unwrap();
    let (_, list) = found
        .iter()
        .find(|(known, _)| known.starts_with(name))
        .unwrap();
    list.as_array().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits =
            group.iter().fold(0u32, |sum, b| sum << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        let sign = |at: usize| match at <= group.len() {
            true => char::from(SIGNS[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        (0..4).map(sign).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn base64_url(bytes: &[u8]) -> String {
    base64(bytes)
        .replace('+', "-")
        .replace('/', "_")
        .replace('=', "")
}

fn tag(algorithm: hmac::Algorithm, secret: &str, text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    hmac::sign(&key, text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const TWILIO: &str = "kind='twilio'\nheader='X-Twilio-Signature'";

fn twilio(at: usize) -> Case {
    let v = &vectors("twilio")[at];
    Case::new(TWILIO)
        .at(text(&v["url"]))
        .secret(text(&v["token"]))
        .form(&v["params"])
        .header("X-Twilio-Signature", text(&v["sig"]))
}

fn plivo(version: &str) -> Case {
    Case::new(&format!(
        "kind='plivo'\nheader='X-Plivo-Signature-{version}'\nnonce-header='X-Plivo-Signature-{version}-Nonce'"
    ))
}

fn plivo_3(at: usize) -> Case {
    let v = &vectors("plivo v3")[at];
    let case = plivo("V3")
        .at(text(&v["url"]))
        .secret(text(&v["auth_token"]));
    let case = match text(&v["method"]) {
        "POST" => case.form(&v["params"]),
        // What a GET says stands in its address.
        _ => Case {
            target: format!("{}&{}", case.target, encoded(&v["params"])),
            ..case
        },
    };
    case.header("X-Plivo-Signature-V3", text(&v["sig_v3"]))
        .header("X-Plivo-Signature-V3-Nonce", text(&v["nonce"]))
}

fn plivo_2() -> Case {
    let v = &vectors("plivo v2")[0];
    plivo("V2")
        .at(text(&v["url_without_query"]))
        .secret(text(&v["auth_token"]))
        .header("X-Plivo-Signature-V2", text(&v["sig_v2"]))
        .header("X-Plivo-Signature-V2-Nonce", text(&v["nonce"]))
}

fn vonage(at: usize) -> Case {
    let v = &vectors("vonage")[at];
    let mut params = v["params"].clone();
    params["sig"] = v["sig"].clone();
    Case {
        now: 1_578_787_200,
        ..Case::new("kind='vonage-sms'")
            .secret(text(&v["secret"]))
            .form(&params)
    }
}

fn zadarma() -> Case {
    let v = &vectors("zadarma inbound")[0];
    Case::new(
        "kind='hmac'\nalgorithm='sha1'\nheader='Signature'\nover='{field:result}'\nencoding='base64-hex'",
    )
    .secret(text(&v["secret"]))
    .form(&serde_json::json!({"result": v["result"]}))
    .header("Signature", text(&v["sig"]))
}

fn telnyx() -> Case {
    let v = &vectors("telnyx")[0];
    let case = Case::new(
        "kind='ed25519'\nheader='telnyx-signature-ed25519'\nover='{timestamp}|{body}'\ntimestamp-header='telnyx-timestamp'\ntolerance=300",
    )
    .secret(text(&v["public_key_b64"]))
    .header("telnyx-signature-ed25519", text(&v["sig_b64"]))
    .header("telnyx-timestamp", text(&v["timestamp"]));
    Case {
        body: text(&v["body"]).as_bytes().to_vec(),
        ..case
    }
}

fn sns(at: usize) -> Case {
    Case {
        body: text(&SNS["notifications"][at]).as_bytes().to_vec(),
        certificate: text(&SNS["certificate"]).to_owned(),
        topic: text(&SNS["topic"]).to_owned(),
        now: SNS["now"].as_u64().unwrap(),
        secrets: Vec::new(),
        ..Case::new("kind='sns'")
    }
}

fn jwt(head: &str, claims: &str) -> Case {
    let signed = format!(
        "{}.{}",
        base64_url(head.as_bytes()),
        base64_url(claims.as_bytes())
    );
    let tag = tag(hmac::HMAC_SHA256, "secret", signed.as_bytes());
    Case {
        body: b"{\"text\":\"x\"}".to_vec(),
        ..Case::new("kind='jwt'").header(
            "Authorization",
            format!("Bearer {signed}.{}", base64_url(&tag)),
        )
    }
}

const HS256: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// Claims about the body of `jwt`.
fn claims(rest: &str) -> String {
    let digest = secret::sha256_hex(b"{\"text\":\"x\"}");
    format!(r#"{{"payload_hash":"{digest}"{rest}}}"#)
}

/// With everything that a text can be put together from.
fn put_together() -> Case {
    let text = "v0:1700000000:n-1:https://pbx.example.org/hook?a=1:/hook:{\"a\":1}";
    let tag = tag(hmac::HMAC_SHA512, "secret", text.as_bytes());
    let case = Case::new(
        "kind='hmac'\nalgorithm='sha512'\nheader='X-Sig'\nover='v0:{timestamp}:{nonce}:{url}:{path}:{body}'\nprefix='sha512='\ntimestamp-header='X-Time'\nnonce-header='X-Nonce'",
    )
    .header("X-Sig", format!("sha512={}", hex(&tag)))
    .header("X-Time", "1700000000")
    .header("X-Nonce", "n-1");
    Case {
        target: "/hook?a=1".to_owned(),
        body: b"{\"a\":1}".to_vec(),
        ..case
    }
}

fn twilio_json() -> Case {
    let body = b"{\"To\":\"+1\",\"From\":\"+2\"}";
    let url = format!(
        "https://pbx.example.org/hook?bodySHA256={}",
        secret::sha256_hex(body)
    );
    let tag = tag(
        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "secret",
        url.as_bytes(),
    );
    Case {
        body: body.to_vec(),
        ..Case::new(TWILIO)
            .at(&url)
            .header("Content-Type", "application/json")
            .header("X-Twilio-Signature", base64(&tag))
    }
}

fn basic() -> Case {
    let mut case = Case::new("kind='basic'")
        .header("Authorization", format!("Basic {}", base64(b"me:secret")));
    case.user = "me".to_owned();
    case
}

fn token() -> Case {
    Case {
        target: "/hook?key=secret".to_owned(),
        ..Case::new("kind='token'\nquery='key'\nheader='X-Key'")
    }
}

#[test]
fn what_the_carriers_own_libraries_signed_is_right() {
    for case in [
        twilio(0),
        twilio(1),
        plivo_3(0),
        plivo_3(1),
        plivo_2(),
        vonage(0),
        vonage(1),
        zadarma(),
        telnyx(),
        sns(0),
        sns(1),
        sns(2),
    ] {
        assert_eq!(case.judge(), Ok(()), "{}", case.rule);
    }
}

#[test]
fn what_is_signed_as_the_profile_says_is_right() {
    for case in [
        put_together(),
        twilio_json(),
        basic(),
        token(),
        jwt(HS256, &claims(",\"exp\":1700000001")),
        Case::new("kind='none'"),
    ] {
        assert_eq!(case.judge(), Ok(()), "{}", case.rule);
    }
    let header = Case {
        target: "/hook".to_owned(),
        ..token().header("X-Key", "secret")
    };
    assert_eq!(header.judge(), Ok(()));
}

#[test]
fn either_of_two_secrets_is_right() {
    let vonage_key = text(&vectors("vonage")[0]["secret"]).to_owned();
    let telnyx_key = telnyx().secrets.remove(0);
    let other_key = base64(&[7; 32]);
    for (case, own, other) in [
        (twilio(0), "12345", "old"),
        (plivo_2(), "MYTOKEN", "old"),
        (vonage(0), vonage_key.as_str(), "old"),
        (telnyx(), telnyx_key.as_str(), other_key.as_str()),
        (put_together(), "secret", "old"),
        (basic(), "secret", "old"),
        (token(), "secret", "old"),
        (jwt(HS256, &claims(",\"iat\":1700000000")), "secret", "old"),
    ] {
        for (secrets, right) in [
            (vec![other, own], true),
            (vec![own, other], true),
            (vec![other], false),
            (vec![""], false),
            (vec![], false),
        ] {
            let case = Case {
                secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
                ..case.clone()
            };
            assert_eq!(case.judge().is_ok(), right, "{} {secrets:?}", case.rule);
        }
    }
}
