//! STUN's one question, "what is my address?", and its answer (RFC 8489; RFC 5389 and 3489 are spoken by older servers).
//!
//! Pure: bytes out, bytes in. It knows the Binding method only, authenticates nobody, and takes no redirection. Invariant:
//! an answer is one to the very question that was asked: its 96 random bits must come back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The id of a transaction, chosen at random (RFC 8489, 5).
pub type Id = [u8; 12];

/// Bytes of a header, and of the question, which is nothing but one.
pub const HEADER: usize = 20;
/// The longest answer that is read. One over UDP is to stay below 576 bytes (RFC 8489, 6.1).
pub const LONGEST: usize = 1500;

const COOKIE: u32 = 0x2112_A442;
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const FAILURE: u16 = 0x0111;

const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes that may be misunderstood begin here; those below must be known (RFC 8489, 14).
const OPTIONAL: u16 = 0x8000;
/// What else servers put into an answer to this question: SOURCE-ADDRESS, CHANGED-ADDRESS and REFLECTED-FROM of RFC 3489, a
/// USERNAME, MESSAGE-INTEGRITY and its likes. None of them changes what the address is.
const HARMLESS: [u16; 8] = [
    0x0004, 0x0005, 0x0006, 0x0008, 0x000B, 0x0014, 0x0015, 0x001C,
];

/// Why bytes are no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is no answer to our question")]
    Foreign,
    #[error("it ends in the middle")]
    Short,
    #[error("the server refuses, code {0}")]
    Failure(u16),
    #[error("it holds an attribute 0x{0:04x} that has to be understood")]
    Unknown(u16),
    #[error("it holds no address")]
    NoAddress,
}

/// The question.
#[must_use]
pub fn request(id: &Id) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let parts = REQUEST
        .to_be_bytes()
        .into_iter()
        .chain([0, 0])
        .chain(COOKIE.to_be_bytes())
        .chain(*id);
    for (byte, part) in bytes.iter_mut().zip(parts) {
        *byte = part;
    }
    bytes
}

/// The address in the answer to the question with this id.
///
/// # Errors
/// If it is none, or one that cannot be relied on.
pub fn answer(bytes: &[u8], id: &Id) -> Result<SocketAddr, Refusal> {
    let (kind, length) = header(bytes, id)?;
    let body = bytes.get(HEADER..HEADER + length).ok_or(Refusal::Short)?;
    let mut plain = None;
    let mut masked = None;
    let mut failure = None;
    let mut rest = body;
    while !rest.is_empty() {
        let (kind, value, behind) = attribute(rest).ok_or(Refusal::Short)?;
        match kind {
            XOR_MAPPED_ADDRESS => masked = masked.or(address(value, Some(id))),
            MAPPED_ADDRESS => plain = plain.or(address(value, None)),
            ERROR_CODE => failure = failure.or(error_code(value)),
            kind if kind >= OPTIONAL || HARMLESS.contains(&kind) => {}
            unknown => return Err(Refusal::Unknown(unknown)),
        }
        rest = behind;
    }
    match kind {
        FAILURE => Err(Refusal::Failure(failure.unwrap_or(0))),
        // The masked one first: some routers rewrite addresses that they recognise in a packet (RFC 8489, 14.2).
        _ => masked.or(plain).ok_or(Refusal::NoAddress),
    }
}

/// The kind and the length of the body.
fn header(bytes: &[u8], id: &Id) -> Result<(u16, usize), Refusal> {
    let kind = number(bytes, 0).ok_or(Refusal::Foreign)?;
    let length = usize::from(number(bytes, 2).ok_or(Refusal::Foreign)?);
    let has_cookie = bytes.get(4..8) == Some(&COOKIE.to_be_bytes());
    let has_id = bytes.get(8..HEADER) == Some(id);
    if !has_cookie || !has_id || ![SUCCESS, FAILURE].contains(&kind) || length % 4 != 0 {
        return Err(Refusal::Foreign);
    }
    Ok((kind, length))
}

/// Kind, value and what follows. Values are filled up to a multiple of four bytes.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let kind = number(bytes, 0)?;
    let length = usize::from(number(bytes, 2)?);
    let value = bytes.get(4..4 + length)?;
    let behind = bytes.get(4 + length.next_multiple_of(4)..)?;
    Some((kind, value, behind))
}

/// One byte of nothing, the family, port and address; masked with the cookie, and for IPv6 with the id behind it.
fn address(value: &[u8], mask: Option<&Id>) -> Option<SocketAddr> {
    let cookie = COOKIE.to_be_bytes();
    let mask: Vec<u8> = match mask {
        Some(id) => cookie.iter().chain(id).copied().collect(),
        None => vec![0; 16],
    };
    let unmasked = |bytes: &[u8]| -> Vec<u8> {
        let pairs = bytes.iter().zip(&mask);
        pairs.map(|(byte, mask)| byte ^ mask).collect()
    };
    let port: [u8; 2] = unmasked(value.get(2..4)?).try_into().ok()?;
    let address = unmasked(value.get(4..)?);
    let ip = match (value.get(1)?, value.len()) {
        (1, 8) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        (2, 20) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port)))
}

/// Hundreds in one byte, the rest in the next (RFC 8489, 14.8).
fn error_code(value: &[u8]) -> Option<u16> {
    let hundreds = u16::from(value.get(2)? & 7);
    Some(hundreds * 100 + u16::from(*value.get(3)?))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(two.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Id = *b"twelve bytes";

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(ID);
        bytes.extend(body);
        bytes
    }

    fn masked(address: SocketAddr) -> Vec<u8> {
        let mask: Vec<u8> = COOKIE.to_be_bytes().iter().chain(&ID).copied().collect();
        let (family, octets) = match address.ip() {
            IpAddr::V4(v4) => (1, v4.octets().to_vec()),
            IpAddr::V6(v6) => (2, v6.octets().to_vec()),
        };
        let xor =
            |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(&mask).map(|(a, b)| a ^ b).collect() };
        let mut value = vec![0, family];
        value.extend(xor(&address.port().to_be_bytes()));
        value.extend(xor(&octets));
        value
    }

    #[test]
    fn the_question_is_a_header_alone() {
        let expected = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";
        assert_eq!(&request(&ID), expected);
    }

    #[test]
    fn both_families_are_unmasked() {
        for text in ["203.0.113.7:4242", "[2001:db8::7]:5060"] {
            let address: SocketAddr = text.parse().unwrap();
            let bytes = message(
                SUCCESS,
                &[(0x8022, b"soft"), (XOR_MAPPED_ADDRESS, &masked(address))],
            );
            assert_eq!(answer(&bytes, &ID), Ok(address));
        }
    }

    // The answer for IPv4 of RFC 5769, 2.2, without what follows the address: its length, id, and masked address.
    #[test]
    fn the_sample_of_the_test_vectors() {
        let id: Id = [
            0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
        ];
        let mut bytes = vec![0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend(id);
        bytes.extend([
            0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
        ]);
        assert_eq!(answer(&bytes, &id), Ok("192.0.2.1:32853".parse().unwrap()));
    }

    #[test]
    fn the_masked_address_wins_over_the_plain_one_and_an_old_server_has_only_that() {
        let plain = [0, 1, 0x13, 0xc4, 198, 51, 100, 9];
        let ours: SocketAddr = "203.0.113.7:1".parse().unwrap();
        let both = message(
            SUCCESS,
            &[
                (MAPPED_ADDRESS, &plain),
                (XOR_MAPPED_ADDRESS, &masked(ours)),
            ],
        );
        assert_eq!(answer(&both, &ID), Ok(ours));
        let old = message(SUCCESS, &[(MAPPED_ADDRESS, &plain), (0x0005, &plain)]);
        assert_eq!(answer(&old, &ID), Ok("198.51.100.9:5060".parse().unwrap()));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let ours = masked("203.0.113.7:1".parse().unwrap());
        let good = message(SUCCESS, &[(XOR_MAPPED_ADDRESS, &ours)]);
        assert_eq!(answer(&good, b"other twelve"), Err(Refusal::Foreign));
        assert_eq!(answer(&message(REQUEST, &[]), &ID), Err(Refusal::Foreign));
        assert_eq!(answer(&good[..28], &ID), Err(Refusal::Short));
        assert_eq!(answer(b"", &ID), Err(Refusal::Foreign));
        let refused = message(FAILURE, &[(ERROR_CODE, &[0, 0, 4, 20, b'S'])]);
        assert_eq!(answer(&refused, &ID), Err(Refusal::Failure(420)));
        let odd = message(SUCCESS, &[(0x7001, b"x"), (XOR_MAPPED_ADDRESS, &ours)]);
        assert_eq!(answer(&odd, &ID), Err(Refusal::Unknown(0x7001)));
        assert_eq!(answer(&message(SUCCESS, &[]), &ID), Err(Refusal::NoAddress));
        let wrong_size = message(SUCCESS, &[(XOR_MAPPED_ADDRESS, &[0, 2, 0, 0, 1, 2, 3, 4])]);
        assert_eq!(answer(&wrong_size, &ID), Err(Refusal::NoAddress));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), tail in 0usize..60) {
            let _ = answer(&bytes, &ID);
            let mut near = message(SUCCESS, &[(XOR_MAPPED_ADDRESS, &bytes)]);
            near.truncate(near.len().saturating_sub(tail));
            let _ = answer(&near, &ID);
        }
    }
}
