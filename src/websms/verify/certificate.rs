//! Of a certificate (RFC 5280) what a signature needs: its key, and from when to when it counts.
//!
//! Pure. It reads no more than that: who is named in it does not matter here, where the certificate comes from does, and the
//! caller knows. It refuses what is cut, what is not an RSA key, and lengths that are not written in the one way DER has.
//!
//! Invariant: nothing outside the given bytes is read, whatever lengths they tell.

use super::secret;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which old certificates leave out.
const VERSION: u8 = 0xa0;
/// The algorithm of a key: rsaEncryption, without parameters (RFC 8017, A.1).
const RSA: [u8; 13] = [
    0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0,
];

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The RSA key (RFC 8017, A.1.1).
    pub key: Vec<u8>,
    /// In seconds since 1970, both within.
    pub not_before: u64,
    pub not_after: u64,
}

/// A certificate in PEM or DER; of several the first. `None` if it cannot be read.
pub fn read(bytes: &[u8]) -> Option<Certificate> {
    match bytes.starts_with(b"-----") {
        true => read_der(&pem(std::str::from_utf8(bytes).ok()?)?),
        false => read_der(bytes),
    }
}

fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (inside, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let bare: String = inside.split_ascii_whitespace().collect();
    secret::unbase64(&bare)
}

fn read_der(bytes: &[u8]) -> Option<Certificate> {
    let (certificate, _) = value(bytes, SEQUENCE)?;
    let (signed, _) = value(certificate, SEQUENCE)?;
    let rest = match signed.first() {
        Some(&VERSION) => value(signed, VERSION)?.1,
        _ => signed,
    };
    let (_serial, rest) = value(rest, INTEGER)?;
    let (_signed_with, rest) = value(rest, SEQUENCE)?;
    let (_issuer, rest) = value(rest, SEQUENCE)?;
    let (validity, rest) = value(rest, SEQUENCE)?;
    let (_subject, rest) = value(rest, SEQUENCE)?;
    let (key, _) = value(rest, SEQUENCE)?;
    let (not_before, validity) = moment(validity)?;
    let (not_after, _) = moment(validity)?;
    let (algorithm, key) = value(key, SEQUENCE)?;
    let (key, _) = value(key, BIT_STRING)?;
    // The first byte tells how many bits of the last are none of the key's.
    let key = key.strip_prefix(&[0])?;
    (algorithm == RSA).then(|| Certificate {
        key: key.to_vec(),
        not_before,
        not_after,
    })
}

/// The content of the value that comes first, if it is of this kind, and what follows it.
fn value(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&[one], rest) = rest.split_first_chunk()?;
            (usize::from(one), rest)
        }
        0x82 => {
            let (two, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*two)), rest)
        }
        _ => return None,
    };
    let shortest = match first {
        0x81 => length > 0x7f,
        0x82 => length > 0xff,
        _ => true,
    };
    (tag == kind && shortest)
        .then(|| rest.split_at_checked(length))
        .flatten()
}

/// A time, in seconds since 1970, and what follows it. Two digits of a year are of 1950 to 2049 (RFC 5280, 4.1.2.5.1).
fn moment(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, rest, two_digits) = match *bytes.first()? {
        UTC_TIME => {
            let (text, rest) = value(bytes, UTC_TIME)?;
            (text, rest, true)
        }
        _ => {
            let (text, rest) = value(bytes, GENERALIZED_TIME)?;
            (text, rest, false)
        }
    };
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, digits) = digits.split_at_checked(if two_digits { 2 } else { 4 })?;
    let number = |text: &str| -> Option<u16> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let year = match (number(year)?, two_digits) {
        (year @ 0..=49, true) => 2000 + year,
        (year, true) => 1900 + year,
        (year, false) => year,
    };
    if digits.len() != 10 {
        return None;
    }
    let two = |at: usize| number(digits.get(at..at + 2)?);
    let moment = seconds([year, two(0)?, two(2)?], [two(4)?, two(6)?, two(8)?])?;
    Some((moment, rest))
}

/// Year, month, day, and hour, minute, second as seconds since 1970.
pub fn seconds([year, month, day]: [u16; 3], time: [u16; 3]) -> Option<u64> {
    let small = |number: u16| u8::try_from(number).ok();
    let month = time::Month::try_from(small(month)?).ok()?;
    let date = time::Date::from_calendar_date(i32::from(year), month, small(day)?).ok()?;
    let [hour, minute, second] = time;
    let moment = date
        .with_hms(small(hour)?, small(minute)?, small(second)?)
        .ok()?;
    u64::try_from(moment.assume_utc().unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ours() -> Vec<u8> {
        let data = include_str!("../../../tests/data/sns-signatures.json");
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        data["certificate"].as_str().unwrap().as_bytes().to_vec()
    }

    #[test]
    fn a_certificate_is_read_from_pem_and_der() {
        let read_pem = read(&ours()).unwrap();
        let der = pem(std::str::from_utf8(&ours()).unwrap()).unwrap();
        assert_eq!(read(&der).as_ref(), Some(&read_pem));
        // OpenSSL made it: Nov 22 09:28:34 2026 GMT, for 365 days.
        assert_eq!(read_pem.not_before, 1_795_339_714);
        assert_eq!(read_pem.not_after, 1_795_339_714 + 365 * 86_400);
        // 2048 bits, and the public exponent.
        assert_eq!(read_pem.key.len(), 270);
        for length in 0..der.len() {
            assert!(read(&der[..length]).is_none(), "{length}");
        }
    }

    #[test]
    fn times_are_of_both_notations() {
        let told = |kind: u8, text: &str| {
            let bytes = [&[kind, text.len() as u8], text.as_bytes()].concat();
            moment(&bytes).map(|(moment, _)| moment)
        };
        assert_eq!(told(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(told(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(
            told(GENERALIZED_TIME, "20500101000000Z"),
            Some(2_524_608_000)
        );
        for text in [
            "",
            "Z",
            "7001010000Z",
            "700101000001",
            "701301000001Z",
            "70010100000åZ",
            "500101000000Z",
        ] {
            assert_eq!(told(UTC_TIME, text), None, "{text}");
        }
        assert_eq!(told(INTEGER, "700101000001Z"), None);
    }

    #[test]
    fn a_length_is_written_in_one_way() {
        assert_eq!(
            value(&[0x30, 1, 7, 8], SEQUENCE),
            Some((&[7][..], &[8][..]))
        );
        for odd in [
            &[0x30, 0x81, 1, 7][..],
            &[0x30, 0x82, 0, 1, 7],
            &[0x30, 0x80, 7, 0, 0],
            &[0x30, 2, 7],
            &[0x30],
        ] {
            assert_eq!(value(odd, SEQUENCE), None, "{odd:?}");
        }
        assert_eq!(value(&[0x31, 0], SEQUENCE), None);
    }

    proptest! {
        #[test]
        fn no_certificate_is_too_odd(at in 0usize..900, byte: u8, rest in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut der = pem(std::str::from_utf8(&ours()).unwrap()).unwrap();
            if let Some(there) = der.get_mut(at) {
                *there = byte;
            }
            let _ = read(&der);
            let _ = read(&rest);
        }
    }
}
