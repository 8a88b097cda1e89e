//! What lies beyond a router: a STUN server, coturn, and the router itself.
//!
//! The server runs in a container of its own in a network of the test's own. The router is the kernel's translation of
//! addresses, in the network of the exchange; the server knows the way back to the addresses that it makes.

use std::process::{Child, Command, Stdio};

use switchhook::config::external::Server;
use switchhook::nat::ask::{Family, ask};

use crate::docker::Network;
use crate::exchange::Exchange;
use crate::lines::until;
use crate::outside::Outside;

/// Where it listens.
const PORT: u16 = 3478;

pub struct Abroad {
    turnserver: Child,
    pub outside: Outside,
    address: String,
    // Taken away last.
    pub network: Network,
}

impl Abroad {
    pub fn new() -> Abroad {
        let network = Network::new();
        let outside = Outside::in_network(&network.name);
        let address = outside.address4();
        let arguments = format!(
            "--stun-only -n --no-tls --no-dtls --no-cli -L {address} -p {PORT} --log-file stdout --pidfile /dev/null -b /dev/null"
        );
        let turnserver = Command::new("docker")
            .args(["exec", outside.name(), "chroot", "/host", "turnserver"])
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server {
            host: address.clone(),
            port: PORT,
        };
        until("the STUN server", || ask(&server, Family::Four));
        Abroad {
            turnserver,
            outside,
            address,
            network,
        }
    }

    /// As SWITCHHOOK_STUN_SERVERS names it.
    pub fn server(&self) -> String {
        format!("{}:{PORT}", self.address)
    }

    pub fn router<'a>(&'a self, exchange: &'a Exchange) -> Router<'a> {
        Router {
            abroad: self,
            within: Outside::within(exchange),
            exchange,
        }
    }
}

impl Drop for Abroad {
    fn drop(&mut self) {
        let _ = self.turnserver.kill();
        let _ = self.turnserver.wait();
    }
}

/// Stands between an exchange and all that is abroad.
pub struct Router<'a> {
    abroad: &'a Abroad,
    within: Outside,
    exchange: &'a Exchange,
}

impl Router<'_> {
    /// From now on packets to the server bear this address.
    pub fn translate_to(&self, address: &str) {
        let (server, own) = (&self.abroad.address, self.exchange.address4());
        self.abroad
            .outside
            .ip(&format!("route replace {address}/32 via {own}"));
        // Made anew, so that the rule before is gone.
        self.within.run(&["nft", "add table ip router"]);
        self.within.run(&["nft", "delete table ip router"]);
        self.within.run(&[
            "nft",
            &format!(
                "table ip router {{\nchain out {{\ntype nat hook postrouting priority 100\nip daddr {server} udp dport {PORT} snat to {address}\n}}\n}}"
            ),
        ]);
    }
}
