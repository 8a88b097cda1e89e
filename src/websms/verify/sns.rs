//! Amazon SNS: RSA over a text of fields, by a certificate that lies on Amazon's own host.
//!
//! Pure: the caller fetches the certificate, from the address that `certificate_url` found to be Amazon's and from no other.
//! It refuses a topic that is not ours: everybody can make a topic, subscribe our address to it, and Amazon signs for it.
//!
//! Invariant: no address leaves here that is not https on Amazon's SNS.

use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

use super::{Keys, LONG_TOLERANCE, Refused, certificate, in_time, secret};
use crate::websms::body::json;
use crate::websms::document::Document;
use crate::websms::request::{LARGEST_BODY, Request};

/// The address of the certificate that a request is signed with.
pub fn certificate_url(request: &Request<'_>) -> Result<String, Refused> {
    let document = read(request)?;
    let url = field(&document, "SigningCertURL")?;
    let path = on_amazons_sns(url).filter(|path| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.".contains(&b);
        path.ends_with(".pem") && path.bytes().all(plain)
    });
    match path {
        Some(_) => Ok(url.to_owned()),
        None => Err(Refused::new(
            "the certificate does not lie on a host of Amazon SNS",
        )),
    }
}

/// Whether an address is one that confirms a subscription at Amazon.
#[must_use]
pub fn confirms(url: &str) -> bool {
    on_amazons_sns(url).is_some_and(|path| path.starts_with("/?"))
}

/// What follows the host, if that is `sns.REGION.amazonaws.com`, or `.com.cn`. A port or a user makes it another address.
fn on_amazons_sns(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let (host, path) = rest.split_at(rest.find('/')?);
    let region = host.strip_prefix("sns.")?;
    let region = region
        .strip_suffix(".amazonaws.com")
        .or_else(|| region.strip_suffix(".amazonaws.com.cn"))?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let printable = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    (!region.is_empty() && region.bytes().all(plain) && printable).then_some(path)
}

pub fn verify(request: &Request<'_>, keys: &Keys<'_>, now: u64) -> Result<(), Refused> {
    // The address is judged again: a certificate of elsewhere proves nothing.
    certificate_url(request)?;
    let document = read(request)?;
    let topic = field(&document, "TopicArn")?;
    if !keys.topics.contains(&topic) {
        let shown: String = topic.chars().take(128).collect();
        return Err(Refused::new(format!(
            "the topic `{}` is none of ours; hint: name the topic's ARN in the interface",
            shown.escape_debug()
        )));
    }
    let algorithm = match field(&document, "SignatureVersion")? {
        "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        "2" => &RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(Refused::new("the version of the signature is not known")),
    };
    let tag = secret::unbase64(field(&document, "Signature")?)
        .ok_or_else(|| Refused::new("the field Signature holds no signature"))?;
    let certificate = keys
        .certificate
        .ok_or_else(|| Refused::new("Amazon's certificate could not be fetched"))?;
    let key = public_key(certificate, now)?;
    UnparsedPublicKey::new(algorithm, key)
        .verify(canonical(&document)?.as_bytes(), &tag)
        .map_err(|_| Refused::new("the signature is not right by Amazon's certificate"))?;
    let signed = seconds(field(&document, "Timestamp")?)
        .ok_or_else(|| Refused::new("the field Timestamp tells no time"))?;
    in_time(signed, now, LONG_TOLERANCE)
}

fn read(request: &Request<'_>) -> Result<Document, Refused> {
    if request.body.len() > LARGEST_BODY {
        return Err(Refused::new("the body is too large"));
    }
    Ok(json::read(request.body)?)
}

fn field<'d>(document: &'d Document, name: &str) -> Result<&'d str, Refused> {
    match document.get(name) {
        Some(Document::Text(text)) => Ok(text),
        _ => Err(Refused::new(format!("the notification has no {name}"))),
    }
}

/// The signed text: for each type its fields, the name and the value on a line each.
fn canonical(document: &Document) -> Result<String, Refused> {
    let names: &[&str] = match field(document, "Type")? {
        "Notification" => &[
            "Message",
            "MessageId",
            "Subject",
            "Timestamp",
            "TopicArn",
            "Type",
        ],
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &[
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ],
        _ => return Err(Refused::new("the type of the notification is not known")),
    };
    let mut text = String::new();
    for name in names {
        // A notification without a subject has none in its text.
        if *name == "Subject" && matches!(document.get(name), None | Some(Document::Null)) {
            continue;
        }
        for line in [name, field(document, name)?] {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// The RSA key of a certificate that counts now.
fn public_key(certificate: &[u8], now: u64) -> Result<Vec<u8>, Refused> {
    let certificate = certificate::read(certificate)
        .ok_or_else(|| Refused::new("Amazon's certificate cannot be read"))?;
    if !(certificate.not_before..=certificate.not_after).contains(&now) {
        return Err(Refused::new("Amazon's certificate is out of its time"));
    }
    Ok(certificate.key)
}

/// `2012-05-02T00:54:06.655Z` in seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let numbers = |text: &str, at: char| -> Option<[u16; 3]> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let parts: Option<Vec<u16>> = text
            .split(at)
            .map(|part| part.parse().ok().filter(|_| digits(part)))
            .collect();
        parts?.try_into().ok()
    };
    certificate::seconds(numbers(date, '-')?, numbers(time, ':')?)
}
