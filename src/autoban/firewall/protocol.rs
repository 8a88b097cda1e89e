//! The table and its elements as messages of nf_tables.
//!
//! Numbers are those of Linux's include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h; what each message must hold is decided
//! in net/netfilter/nf_tables_api.c. Nothing here touches a socket.

use crate::autoban::ruleset::{
    CHAIN, Key, Kind, PRIORITY, Rule, Ruleset, SIP_PORTS, SetSpec, Verdict,
};
use crate::sys::netlink::message::Writer;

/// NFNLGRP_NFTABLES: who joins it is told of every change.
pub const GROUP: u32 = 7;

const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const DUMP: u16 = 0x300;
pub const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

pub const NEWTABLE: u8 = 0;
pub const DELTABLE: u8 = 2;
pub const NEWCHAIN: u8 = 3;
pub const NEWRULE: u8 = 6;
pub const NEWSET: u8 = 9;
pub const NEWSETELEM: u8 = 12;
pub const GETSETELEM: u8 = 13;
pub const DELSETELEM: u8 = 14;
pub const NEWGEN: u8 = 15;
pub const NEWOBJ: u8 = 18;
pub const GETOBJ: u8 = 19;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u8 = 10;
/// NFPROTO_INET.
const INET: u8 = 1;
/// NFT_OBJECT_COUNTER.
const COUNTER: u32 = 1;

/// In messages of every kind the first attribute names the table.
pub const ATTRIBUTE_TABLE: u16 = 1;
pub const ATTRIBUTE_OBJECT_NAME: u16 = 2;
pub const ATTRIBUTE_OBJECT_DATA: u16 = 4;
pub const ATTRIBUTE_ELEMENTS: u16 = 3;
pub const ATTRIBUTE_ELEMENT_TIMEOUT: u16 = 4;
pub const ATTRIBUTE_COUNTER_BYTES: u16 = 1;
pub const ATTRIBUTE_COUNTER_PACKETS: u16 = 2;
pub const ATTRIBUTE_GENERATION_PROGRAM: u16 = 3;
/// NFTA_LIST_ELEM, one of a list.
const ATTRIBUTE_ITEM: u16 = 1;
/// NFTA_DATA_VALUE.
const ATTRIBUTE_VALUE: u16 = 1;

/// NFT_REG_VERDICT, and the one register that rules compare in.
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;

const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// An element of a timed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    pub set: &'static str,
    pub key: Key,
    pub value: u128,
    /// Its whole time and what remains, in milliseconds, neither 0.
    pub timeout: u64,
    pub left: u64,
}

/// A counter's packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

pub fn batch_begin(writer: &mut Writer, sequence: u32) {
    writer.message(BATCH_BEGIN, REQUEST, sequence, |w| {
        w.raw(&[0, 0, 0, SUBSYSTEM])
    });
}

pub fn batch_end(writer: &mut Writer, sequence: u32) {
    writer.message(BATCH_END, REQUEST, sequence, |w| {
        w.raw(&[0, 0, 0, SUBSYSTEM])
    });
}

/// One message of this subsystem; `flags` beyond NLM_F_REQUEST.
pub fn message(
    writer: &mut Writer,
    kind: u8,
    flags: u16,
    sequence: u32,
    body: impl FnOnce(&mut Writer),
) {
    let kind = u16::from(SUBSYSTEM) << 8 | u16::from(kind);
    writer.message(kind, REQUEST | flags, sequence, |w| {
        w.raw(&[INET, 0, 0, 0]);
        body(w);
    });
}

/// The message's kind when it is one of nf_tables.
pub fn kind_of(kind: u16) -> Option<u8> {
    let [subsystem, kind] = kind.to_be_bytes();
    (subsystem == SUBSYSTEM).then_some(kind)
}

/// The attributes of a message of family `inet`.
pub fn inet_body(body: &[u8]) -> Option<&[u8]> {
    (body.first() == Some(&INET))
        .then(|| body.get(4..))
        .flatten()
}

pub fn table(writer: &mut Writer, kind: u8, flags: u16, sequence: u32, name: &str) {
    message(writer, kind, flags, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, name)
    });
}

pub fn set(writer: &mut Writer, sequence: u32, table: &str, id: u32, spec: &SetSpec) {
    const CONSTANT: u32 = 0x2;
    const INTERVAL: u32 = 0x4;
    const TIMEOUT: u32 = 0x10;
    // The numbers by which nft(8) knows how to print an element; the kernel keeps them for it.
    let datatype = match spec.key {
        Key::V4 => 7,
        Key::V6 => 8,
        Key::Port => 13,
    };
    let flags = match spec.kind {
        Kind::Timed { .. } => TIMEOUT,
        Kind::Intervals(_) => INTERVAL,
        Kind::Fixed(_) => 0,
    };
    debug_assert_eq!(
        flags & CONSTANT,
        0,
        "a constant set takes no elements later"
    );
    message(writer, NEWSET, CREATE, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(2, spec.name);
        w.number(3, flags);
        w.number(4, datatype);
        w.number(5, spec.key.length());
        w.number(10, id);
        if let Kind::Timed { size } = spec.kind {
            w.nested(9, |w| w.number(1, size));
        }
    });
}

/// The elements that a set has from the start.
pub fn fixed_elements(writer: &mut Writer, sequence: u32, table: &str, spec: &SetSpec) {
    const INTERVAL_END: u32 = 1;
    let mut marks: Vec<(u128, bool)> = Vec::new();
    match &spec.kind {
        Kind::Timed { .. } => {}
        Kind::Fixed(values) => marks.extend(values.iter().map(|value| (*value, false))),
        Kind::Intervals(ranges) => {
            // An interval ends before the next mark; nothing marks the end of the last possible element.
            for (first, last) in ranges {
                marks.push((*first, false));
                if *last < spec.key.greatest() {
                    marks.push((last + 1, true));
                }
            }
        }
    }
    for marks in marks.chunks(ELEMENTS_PER_MESSAGE) {
        element_message(writer, NEWSETELEM, 0, sequence, table, spec.name, |w| {
            for (value, end) in marks {
                w.nested(ATTRIBUTE_ITEM, |w| {
                    element_key(w, spec.key, *value);
                    if *end {
                        w.number(3, INTERVAL_END);
                    }
                });
            }
        });
    }
}

/// So many of the longest fit the 16 bits of an attribute's length.
pub const ELEMENTS_PER_MESSAGE: usize = 1000;

/// New elements, all of the same set, at most ELEMENTS_PER_MESSAGE.
pub fn add_elements(
    writer: &mut Writer,
    flags: u16,
    sequence: u32,
    table: &str,
    elements: &[Element],
) {
    let set = elements.first().map_or("", |element| element.set);
    element_message(
        writer,
        NEWSETELEM,
        CREATE | flags,
        sequence,
        table,
        set,
        |w| {
            for element in elements {
                w.nested(ATTRIBUTE_ITEM, |w| {
                    element_key(w, element.key, element.value);
                    w.long(ATTRIBUTE_ELEMENT_TIMEOUT, element.timeout);
                    w.long(5, element.left);
                });
            }
        },
    );
}

/// Removes an element, or asks for it.
pub fn name_element(
    writer: &mut Writer,
    (kind, flags): (u8, u16),
    sequence: u32,
    table: &str,
    (set, key, value): (&str, Key, u128),
) {
    element_message(writer, kind, flags, sequence, table, set, |w| {
        w.nested(ATTRIBUTE_ITEM, |w| element_key(w, key, value));
    });
}

fn element_message(
    writer: &mut Writer,
    kind: u8,
    flags: u16,
    sequence: u32,
    table: &str,
    set: &str,
    elements: impl FnOnce(&mut Writer),
) {
    message(writer, kind, flags, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(2, set);
        w.nested(ATTRIBUTE_ELEMENTS, elements);
    });
}

fn element_key(writer: &mut Writer, key: Key, value: u128) {
    writer.nested(1, |w| w.attribute(ATTRIBUTE_VALUE, &key.bytes(value)));
}

pub fn counter(writer: &mut Writer, sequence: u32, table: &str, name: &str, count: Count) {
    message(writer, NEWOBJ, CREATE, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(ATTRIBUTE_OBJECT_NAME, name);
        w.number(3, COUNTER);
        w.nested(ATTRIBUTE_OBJECT_DATA, |w| {
            w.long(ATTRIBUTE_COUNTER_BYTES, count.bytes);
            w.long(ATTRIBUTE_COUNTER_PACKETS, count.packets);
        });
    });
}

/// Asks for all counters of the table.
pub fn list_counters(writer: &mut Writer, sequence: u32, table: &str) {
    message(writer, GETOBJ, DUMP, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.number(3, COUNTER);
    });
}

pub fn chain(writer: &mut Writer, sequence: u32, table: &str) {
    const PREROUTING: u32 = 0;
    const ACCEPT: u32 = 1;
    message(writer, NEWCHAIN, CREATE, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(3, CHAIN);
        w.nested(4, |w| {
            w.number(1, PREROUTING);
            w.number(2, PRIORITY.cast_unsigned());
        });
        w.number(5, ACCEPT);
        w.text(7, "filter");
    });
}

pub fn rule(writer: &mut Writer, sequence: u32, table: &str, rule: &Rule) {
    message(writer, NEWRULE, CREATE | APPEND, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(2, CHAIN);
        w.nested(4, |w| expressions(w, rule));
    });
}

/// The rule as steps that nft(8) shows as the rule's text.
fn expressions(w: &mut Writer, rule: &Rule) {
    const NFPROTO_IPV4: u8 = 2;
    const NFPROTO_IPV6: u8 = 10;
    const UDP: u8 = 17;
    let (family, source_at) = match rule.key {
        Key::V4 => (NFPROTO_IPV4, 12),
        _ => (NFPROTO_IPV6, 8),
    };
    is_equal(w, META_NFPROTO, family);
    payload(w, NETWORK_HEADER, source_at, rule.key.length());
    if rule.mask() != rule.key.greatest() {
        expression(w, "bitwise", |w| {
            w.number(1, REGISTER);
            w.number(2, REGISTER);
            w.number(3, rule.key.length());
            w.nested(4, |w| {
                w.attribute(ATTRIBUTE_VALUE, &rule.key.bytes(rule.mask()))
            });
            w.nested(5, |w| w.attribute(ATTRIBUTE_VALUE, &rule.key.bytes(0)));
        });
    }
    lookup(w, rule.set);
    if rule.only_sip {
        is_equal(w, META_L4PROTO, UDP);
        payload(w, TRANSPORT_HEADER, 2, 2);
        lookup(w, SIP_PORTS);
    }
    expression(w, "objref", |w| {
        w.number(1, COUNTER);
        w.text(2, rule.counter);
    });
    let code = match rule.verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
    };
    expression(w, "immediate", |w| {
        w.number(1, REGISTER_VERDICT);
        w.nested(2, |w| w.nested(2, |w| w.number(1, code)));
    });
}

fn expression(writer: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    writer.nested(ATTRIBUTE_ITEM, |w| {
        w.text(1, name);
        w.nested(2, data);
    });
}

fn is_equal(writer: &mut Writer, meta: u32, value: u8) {
    expression(writer, "meta", |w| {
        w.number(1, REGISTER);
        w.number(2, meta);
    });
    expression(writer, "cmp", |w| {
        w.number(1, REGISTER);
        w.number(2, 0);
        w.nested(3, |w| w.attribute(ATTRIBUTE_VALUE, &[value]));
    });
}

fn payload(writer: &mut Writer, base: u32, offset: u32, length: u32) {
    expression(writer, "payload", |w| {
        w.number(1, REGISTER);
        w.number(2, base);
        w.number(3, offset);
        w.number(4, length);
    });
}

fn lookup(writer: &mut Writer, set: &str) {
    expression(writer, "lookup", |w| {
        w.text(1, set);
        w.number(2, REGISTER);
    });
}

/// The table anew, in place of one of that name if there is one, with the counters going on where `count` has them.
pub fn rebuild(
    writer: &mut Writer,
    sequence: u32,
    ruleset: &Ruleset,
    count: impl Fn(&str) -> Count,
) {
    begin(writer, sequence, ruleset);
    finish(writer, sequence, ruleset, count);
}

/// The first half of a table: its sets, in place of a table of that name. Nothing asks them yet.
pub fn begin(writer: &mut Writer, sequence: u32, ruleset: &Ruleset) {
    let name = ruleset.table;
    remove_table(writer, sequence, name);
    table(writer, NEWTABLE, CREATE, sequence, name);
    for (id, spec) in (1..).zip(&ruleset.sets) {
        set(writer, sequence, name, id, spec);
        fixed_elements(writer, sequence, name, spec);
    }
}

/// The second half: counters and rules, which make it filter.
pub fn finish(
    writer: &mut Writer,
    sequence: u32,
    ruleset: &Ruleset,
    count: impl Fn(&str) -> Count,
) {
    let name = ruleset.table;
    for called in ruleset.counters() {
        counter(writer, sequence, name, called, count(called));
    }
    chain(writer, sequence, name);
    for spec in &ruleset.rules {
        rule(writer, sequence, name, spec);
    }
}

/// Removes a table that may be missing: to delete it, it is added first.
pub fn remove_table(writer: &mut Writer, sequence: u32, name: &str) {
    table(writer, NEWTABLE, CREATE, sequence, name);
    table(writer, DELTABLE, 0, sequence, name);
}

/// Empties a set.
pub fn flush_set(writer: &mut Writer, sequence: u32, table: &str, set: &str) {
    message(writer, DELSETELEM, 0, sequence, |w| {
        w.text(ATTRIBUTE_TABLE, table);
        w.text(2, set);
    });
}
