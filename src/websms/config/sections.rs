//! The sections without interfaces and names: proxies, `[astqueue]`, `[store]`.
//!
//! Pure. A bad value here leaves the default, but a bad list of proxies trusts none.

use super::interface::Side;
use super::values::{self, Read, bad};
use super::{AstQueue, Deliver, Interface, Reader, Store};
use crate::autoban::cidr::Cidr;

impl<'a> Reader<'a> {
    /// A section of keys without index; a bad value leaves the default.
    pub(super) fn plain(&mut self, section: &'static str) -> Side<'_, 'a> {
        Side {
            reader: self,
            section,
            index: None,
            consequence: "the default holds",
            broken: false,
        }
    }

    /// The proxies, and the header in small letters. PHP's name for a header begins with `HTTP_`.
    pub(super) fn proxies(&mut self) -> (Vec<Cidr>, String) {
        let mut side = self.plain("websmsd");
        side.consequence = "no proxy is trusted";
        let proxies = side.read("prox_addr", values::networks).unwrap_or_default();
        let named = side.text("prox_header", "HTTP_X_FORWARDED_FOR");
        let name = named.strip_prefix("HTTP_").unwrap_or(&named);
        (proxies, name.replace('_', "-").to_ascii_lowercase())
    }

    /// The predecessor trusted private networks by default. Where addresses decide who may send, it matters that we do not.
    pub(super) fn proxies_mattered(&mut self, interfaces: &[Interface]) {
        let mut sides = interfaces
            .iter()
            .filter_map(|interface| interface.incoming.as_ref());
        let matters = sides.any(|side| side.addresses.is_some());
        if matters && self.key("websmsd", "prox_addr").is_none() {
            let line = self.key("websmsd", "remt_addr").map_or(1, |key| key.line);
            self.tell(
                line,
                "prox_addr is not set, so no proxy is trusted: the sender is who connects. The predecessor took the word of \
                 172.16.0.0/12 and 192.168.0.0/16, which anybody in them could abuse",
                "behind a reverse proxy write prox_addr with its address; without one write prox_addr = \"\"",
            );
        }
    }

    pub(super) fn queue(&mut self) -> AstQueue {
        let default = AstQueue::default();
        let mut side = self.plain("astqueue");
        let mut text = |name: &str| side.read(name, values::line);
        let mut queue = AstQueue {
            context: text("context").unwrap_or(default.context),
            channel_context: text("channel_context").unwrap_or(default.channel_context),
            priority: text("priority").unwrap_or(default.priority),
            outgoingdir: text("outgoingdir").unwrap_or(default.outgoingdir),
            stagingdir: text("stagingdir").unwrap_or(default.stagingdir),
            account: text("account"),
            application: text("application"),
            data: text("data"),
            ..AstQueue::default()
        };
        queue.deliver = side.read("deliver", deliver).unwrap_or(default.deliver);
        queue.encode = side
            .read("message_encode", encode)
            .unwrap_or(default.encode);
        queue.waittime = side
            .read("waittime", values::whole)
            .unwrap_or(default.waittime);
        queue.maxretries = side
            .read("maxretries", values::whole)
            .unwrap_or(default.maxretries);
        queue.retrytime = side
            .read("retrytime", values::whole)
            .unwrap_or(default.retrytime);
        queue.archive = side
            .read("archive", values::boolean)
            .unwrap_or(default.archive);
        queue
    }

    pub(super) fn store(&mut self) -> Store {
        let default = Store::default();
        let mut side = self.plain("store");
        Store {
            retention: side
                .read("retention", values::time)
                .unwrap_or(default.retention),
            hold: side.read("hold", values::time).unwrap_or(default.hold),
            validity: side
                .read("validity", values::time)
                .unwrap_or(default.validity),
            redact: side
                .read("redact", values::boolean)
                .unwrap_or(default.redact),
            media_url: side.read("media_url", values::address),
            media_quota: side
                .read("media_quota", values::size)
                .unwrap_or(default.media_quota),
        }
    }
}

fn deliver(text: &str) -> Read<Deliver> {
    match text.to_ascii_lowercase().as_str() {
        "direct" => Ok(Deliver::Direct),
        "dialplan" => Ok(Deliver::Dialplan),
        _ => bad("that is no way to the phones", "write direct or dialplan"),
    }
}

fn encode(text: &str) -> Read<bool> {
    match text.to_ascii_lowercase().as_str() {
        "rfc3986" => Ok(true),
        "none" | "no" => Ok(false),
        _ => bad("that is no encoding", "write rfc3986 or none"),
    }
}
