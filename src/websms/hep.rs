//! The phones' own answers to our messages, as Asterisk's res_hep_pjsip copies them to us.
//!
//! Asterisk says "sent" when a MESSAGE is handed to its SIP stack; whether a phone took it stands only in the SIP response.
//! Each copy is a HEPv3 datagram (HEP/EEP, version 3: `HEP3`, a length, then chunks of vendor, type, length and value) with
//! the SIP packet in chunk 15. All that is no request or response of the method MESSAGE is left alone, above all what
//! bears passwords.
//!
//! Pure. Invariant: an answer is known by the Call-ID of a request that bore our token, and a token is known to one phone
//! only, so that a phone can speak for nobody but itself.

/// The header with our token, in the MESSAGE that Asterisk sends for us.
pub const TOKEN_HEADER: &str = "X-Switchhook-Message";

/// Type of the chunk that says what is carried, and its value for SIP.
const CHUNK_PROTOCOL: u16 = 11;
const SIP: u8 = 1;
const CHUNK_PAYLOAD: u16 = 15;

/// What a copied packet says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A MESSAGE with our token is on its way, in this Call-ID.
    Request { call_id: String, token: String },
    /// Somebody answered a MESSAGE.
    Response { call_id: String, status: u16 },
}

/// Reads one datagram. `None`: it is of no interest, or not what it should be.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Seen> {
    sip(payload(datagram)?)
}

/// The SIP packet within a HEPv3 datagram.
fn payload(datagram: &[u8]) -> Option<&[u8]> {
    let mut rest = datagram.strip_prefix(b"HEP3")?;
    let total = usize::from(number(&mut rest)?);
    let mut rest = rest.get(..total.checked_sub(6)?)?;
    let (mut is_sip, mut payload) = (false, None);
    while !rest.is_empty() {
        let vendor = number(&mut rest)?;
        let kind = number(&mut rest)?;
        let length = usize::from(number(&mut rest)?).checked_sub(6)?;
        let (value, after) = rest.split_at_checked(length)?;
        rest = after;
        match (vendor, kind) {
            (0, CHUNK_PROTOCOL) => is_sip = value == [SIP],
            (0, CHUNK_PAYLOAD) => payload = Some(value),
            _ => {}
        }
    }
    payload.filter(|_| is_sip)
}

/// The next number of two bytes, in network order.
fn number(rest: &mut &[u8]) -> Option<u16> {
    let (number, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(u16::from_be_bytes(*number))
}

fn sip(packet: &[u8]) -> Option<Seen> {
    let head = match packet.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(end) => packet.get(..end)?,
        None => packet,
    };
    // The body is the message, of which nothing is wanted here; a head is text.
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let first = lines.next()?;
    let mut call_id = None;
    let mut token = None;
    let mut is_message = false;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let (name, value) = (name.trim_end(), value.trim());
        if name.eq_ignore_ascii_case("call-id") || name.eq_ignore_ascii_case("i") {
            call_id = Some(value);
        } else if name.eq_ignore_ascii_case(TOKEN_HEADER) {
            token = Some(value);
        } else if name.eq_ignore_ascii_case("cseq") {
            is_message = value.split_ascii_whitespace().nth(1) == Some("MESSAGE");
        }
    }
    let call_id = call_id.filter(|_| is_message)?.to_owned();
    match first.strip_prefix("SIP/2.0 ") {
        Some(status) => {
            let digits = status.split(' ').next()?;
            let status = digits.parse().ok().filter(|n| (100..700).contains(n))?;
            Some(Seen::Response { call_id, status })
        }
        None => {
            let token = token?.to_owned();
            Some(Seen::Request { call_id, token })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(protocol: u8, packet: &str) -> Vec<u8> {
        let mut chunks = Vec::new();
        let mut chunk = |kind: u16, value: &[u8]| {
            chunks.extend_from_slice(&0u16.to_be_bytes());
            chunks.extend_from_slice(&kind.to_be_bytes());
            chunks.extend_from_slice(&u16::try_from(value.len() + 6).unwrap().to_be_bytes());
            chunks.extend_from_slice(value);
        };
        chunk(1, &[2]);
        chunk(3, &[127, 0, 0, 1]);
        chunk(11, &[protocol]);
        chunk(15, packet.as_bytes());
        let mut whole = b"HEP3".to_vec();
        whole.extend_from_slice(&u16::try_from(chunks.len() + 6).unwrap().to_be_bytes());
        whole.extend_from_slice(&chunks);
        whole
    }

    const REQUEST: &str = "MESSAGE sip:bob@192.0.2.7:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nCall-ID: 47c5-a2\r\n\
        CSeq: 4711 MESSAGE\r\nX-Switchhook-Message: 01J.x7\r\nContent-Length: 2\r\n\r\nhi";
    const RESPONSE: &str =
        "SIP/2.0 486 Busy Here\r\ni: 47c5-a2\r\nCSeq: 4711 MESSAGE\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn a_message_and_its_answer_are_seen() {
        let call_id = "47c5-a2".to_owned();
        let request = Seen::Request {
            call_id: call_id.clone(),
            token: "01J.x7".to_owned(),
        };
        assert_eq!(read(&datagram(1, REQUEST)), Some(request));
        let response = Seen::Response {
            call_id,
            status: 486,
        };
        assert_eq!(read(&datagram(1, RESPONSE)), Some(response));
    }

    #[test]
    fn all_else_is_left_alone() {
        let register = "REGISTER sip:pbx SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\nAuthorization: Digest x\r\n\r\n";
        let from_a_phone = REQUEST.replace("X-Switchhook-Message: 01J.x7\r\n", "");
        let nonsense = RESPONSE.replace("486", "48600");
        for packet in [register, &from_a_phone, &nonsense, ""] {
            assert_eq!(read(&datagram(1, packet)), None, "{packet}");
        }
        assert_eq!(read(&datagram(5, REQUEST)), None, "no SIP");
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes: Vec<u8>, cut in 0usize..400, flip in 0usize..400) {
            let _ = read(&bytes);
            let mut whole = datagram(1, REQUEST);
            if let Some(byte) = whole.get_mut(flip) {
                *byte ^= 0x55;
            }
            whole.truncate(cut);
            let _ = read(&whole);
        }
    }
}
