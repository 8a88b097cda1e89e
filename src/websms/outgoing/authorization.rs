//! Values of the header `Authorization`.
//!
//! Pure. Invariant: a header's value holds no line break, whatever the secret holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::asterisk::ami::md5;

/// RFC 7617.
pub(super) fn basic(user: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))
}

/// RFC 6750.
pub(super) fn bearer(secret: &str) -> String {
    format!("Bearer {}", one_line(secret))
}

/// Zadarma: the key, and Base64 of the hexadecimal HMAC-SHA1 over path, fields and the MD5 of the fields.
pub(super) fn zadarma(user: &str, secret: &str, path: &str, query: &str) -> String {
    let signed = format!("{path}{query}{}", md5::hex(query.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let hex: String = hmac::sign(&key, signed.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{}:{}", one_line(user), STANDARD.encode(hex))
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 7617, 2.
        assert_eq!(
            basic("Aladdin", "open sesame"),
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
        assert_eq!(bearer("a\r\nb"), "Bearer ab");
        // Made by PHP with the predecessor's algorithm.
        let query = "caller_id=0046701234567&message=Hello+w%C3%B6rld+%26+%F0%9F%98%80+%2B1+%7E%2A-_.&number=%2B12025550183";
        assert_eq!(
            zadarma("user", "secret", "/v1/sms/send/", query),
            "user:ZTE2MzZjMDU5ZGRiZWZhN2MwYjI5ZDE4ZGVjMDFhOGQ4ZDg1MjU5ZQ=="
        );
    }
}
