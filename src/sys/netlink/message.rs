//! Netlink messages as bytes (netlink(7), Linux's include/uapi/linux/netlink.h): written, and read with every length checked.

use std::ops::Range;

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// An attribute that holds attributes (NLA_F_NESTED).
const NESTED: u16 = 0x8000;

/// Writes messages one behind the other.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// One message; `body` writes what follows its header.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        body: impl FnOnce(&mut Writer),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start..start + 4, &length.to_ne_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An attribute; its value is at most 65,531 bytes.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.any(kind, |writer| writer.raw(value));
    }

    /// A text, with a NUL at its end.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.any(kind, |writer| {
            writer.raw(value.as_bytes());
            writer.raw(&[0]);
        });
    }

    /// A number of 32 bits in network order, as all of nf_tables.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// A number of 64 bits in network order.
    pub fn long(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// An attribute of attributes; together at most 65,531 bytes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        self.any(kind | NESTED, body);
    }

    fn any(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length = self.bytes.len() - start;
        debug_assert!(
            length <= usize::from(u16::MAX),
            "an attribute of {length} bytes"
        );
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.patch(start..start + 2, &length.to_ne_bytes());
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    fn patch(&mut self, place: Range<usize>, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(place) {
            place.copy_from_slice(value);
        }
    }
}

/// One message as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The port of who caused it.
    pub port: u32,
    pub body: &'a [u8],
}

/// The messages of one datagram. What is cut off or has an impossible length ends it.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(long_at(rest, 0)?).ok()?;
        let body = rest.get(HEADER..length)?;
        let message = Message {
            kind: short_at(rest, 4)?,
            flags: short_at(rest, 6)?,
            sequence: long_at(rest, 8)?,
            port: long_at(rest, 12)?,
            body,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in these bytes, each with its kind. What is cut off or has an impossible length ends it.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(short_at(rest, 0)?);
        let kind = short_at(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text attribute without the NUL at its end; what is no UTF-8 is replaced.
pub fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

/// A number in network order, of as many bytes as there are.
pub fn number(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => Some(u32::from_be_bytes(value.try_into().ok()?).into()),
        8 => Some(u64::from_be_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

/// What NLMSG_ERROR says: 0 or the error number.
pub fn errno(body: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(body.get(..4)?.try_into().ok()?).wrapping_neg())
}

fn long_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.message(7, 1, 42, |w| {
            w.raw(&[1, 0, 0, 0]);
            w.text(1, "abc");
            w.nested(3, |w| w.number(2, 0x0102_0304));
        });
        writer.message(8, 0, 43, |w| w.attribute(9, &[1, 2, 3]));
        let read: Vec<_> = messages(writer.as_bytes()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (7, 1, 42));
        let body = &read[0].body[4..];
        assert_eq!(text(attribute(body, 1).unwrap()), "abc");
        let inner = attribute(body, 3).unwrap();
        assert_eq!(number(attribute(inner, 2).unwrap()), Some(0x0102_0304));
        assert_eq!(attribute(read[1].body, 9), Some(&[1, 2, 3][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            for message in messages(&bytes) {
                prop_assert!(attributes(message.body).count() <= bytes.len());
            }
        }
    }
}
