//! From a number to the phones: which extension it is, which endpoints stand behind it, which contacts they have.
//!
//! Pure: what Asterisk answers is handed in. It refuses to guess an endpoint that no hint names. Invariant: nothing that is
//! no number or name is asked for, or becomes a sender that a phone could answer.

use crate::websms::number::checked;

/// The extensions under which a number may stand in the dialplan, the likeliest first. Empty: it is no number or name.
pub fn extensions(to: &str) -> Vec<String> {
    let Ok(to) = checked(to) else {
        return Vec::new();
    };
    let mut out = vec![to.to_owned()];
    let digits = to.strip_prefix('+').unwrap_or(to);
    if digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() >= 7 {
        let other = match (to.starts_with('+'), digits.strip_prefix("00")) {
            (true, _) => digits.to_owned(),
            (false, Some(rest)) => format!("+{rest}"),
            (false, None) => format!("+{digits}"),
        };
        out.push(other);
    }
    out
}

/// The endpoints of a hint such as `PJSIP/alice&PJSIP/bob,CustomPresence:alice`.
pub fn endpoints(hint: &str) -> Vec<String> {
    let devices = hint.split(',').next().unwrap_or_default();
    let names = devices.split('&').filter_map(|device| {
        let (technology, name) = device.trim().split_once('/')?;
        let fits = technology.eq_ignore_ascii_case("pjsip") && is_name(name);
        fits.then(|| name.to_owned())
    });
    let mut out: Vec<String> = Vec::new();
    for name in names {
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// A name that can stand within an expression of the dialplan and mean nothing else there.
pub fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.+-@".contains(&b);
    (1..=80).contains(&text.len()) && text.bytes().all(fits)
}

/// The contacts in the value of `PJSIP_DIAL_CONTACTS`, as `ENDPOINT/URI` each.
pub fn contacts(endpoint: &str, value: &str) -> Vec<String> {
    let first = format!("PJSIP/{endpoint}/");
    let Some(rest) = value.strip_prefix(&first) else {
        return Vec::new();
    };
    let between = format!("&{first}");
    let uris = rest.split(&between).filter(|uri| {
        uri.starts_with("sip") && uri.chars().all(|c| !c.is_control() && !c.is_whitespace())
    });
    uris.map(|uri| format!("{endpoint}/{uri}")).collect()
}

/// The endpoint of a contact.
pub fn endpoint_of(contact: &str) -> &str {
    contact.split('/').next().unwrap_or_default()
}

/// The sender that the phone sees: a number or name becomes the user of our own address, so that an answer comes to the
/// dialplan. All else can be shown and not answered.
pub fn sender(from: &str) -> String {
    if let Ok(from) = checked(from) {
        return from.to_owned();
    }
    let shown: String = from
        .chars()
        .filter(|c| !c.is_control() && !"\"\\<>".contains(*c))
        .take(64)
        .collect();
    format!("\"{shown}\" <sip:anonymous@anonymous.invalid>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_looked_for_as_carriers_and_dialplans_write_it() {
        assert_eq!(extensions("101"), ["101"]);
        assert_eq!(extensions("+46701234567"), ["+46701234567", "46701234567"]);
        assert_eq!(extensions("46701234567"), ["46701234567", "+46701234567"]);
        assert_eq!(
            extensions("0046701234567"),
            ["0046701234567", "+46701234567"]
        );
        assert_eq!(extensions("alice"), ["alice"]);
        for text in ["", "a\nAction: Command", "${SHELL(id)}", "a/b", "a,1"] {
            assert!(extensions(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_hint_names_endpoints() {
        assert_eq!(
            endpoints("PJSIP/alice&PJSIP/bob,CustomPresence:a"),
            ["alice", "bob"]
        );
        assert_eq!(endpoints("Custom:DND&pjsip/alice & PJSIP/alice"), ["alice"]);
        assert!(endpoints("").is_empty());
        assert!(endpoints("DAHDI/1&PJSIP/a)b,PJSIP/x").is_empty());
    }

    #[test]
    fn contacts_are_told_apart() {
        let value =
            "PJSIP/alice/sip:alice@192.0.2.1:5060&PJSIP/alice/sips:a&b@[2001:db8::1];transport=ws";
        assert_eq!(
            contacts("alice", value),
            [
                "alice/sip:alice@192.0.2.1:5060",
                "alice/sips:a&b@[2001:db8::1];transport=ws"
            ]
        );
        assert!(contacts("alice", "").is_empty());
        assert!(contacts("alice", "PJSIP/bob/sip:x@y").is_empty());
        assert!(contacts("alice", "PJSIP/alice/sip:x@y\r\nZ: 1").is_empty());
        assert_eq!(endpoint_of("alice/sip:a/b@c"), "alice");
    }

    #[test]
    fn a_sender_is_a_number_or_cannot_be_answered() {
        assert_eq!(sender("+46701234567"), "+46701234567");
        assert_eq!(sender("My Shop"), "My Shop");
        assert_eq!(
            sender("Ö\" <sip:bob@evil>\r\n"),
            "\"Ö sip:bob@evil\" <sip:anonymous@anonymous.invalid>"
        );
    }
}
