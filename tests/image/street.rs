//! An exchange, and a street outside from which anybody calls: addresses of other networks than the exchange's own, which
//! would be spared.

use std::collections::HashMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::outside::Outside;
use crate::talk::{Carrier, Talk};

/// What a user writes to let in browsers.
const WEBSOCKETS: &str = "\
cat >/srv/etc/asterisk/http.conf <<'HERE'
[general]
enabled = yes
bindaddr = ::
bindport = 8088
tlsenable = yes
tlsbindaddr = [::]:8089
tlscertfile = /etc/ssl/asterisk/cert.pem
tlsprivatekey = /etc/ssl/asterisk/priv_key.pem
HERE
cat >>/srv/etc/asterisk/pjsip_transport.conf <<'HERE'

[ws]
type = transport
protocol = ws
bind = 0.0.0.0

[wss]
type = transport
protocol = wss
bind = 0.0.0.0
HERE
";

pub struct Street {
    pub outside: Outside,
    pub exchange: Exchange,
    // Taken away last.
    pub network: Network,
    _volume: Volume,
}

impl Street {
    /// With these lines in `[autoban]`.
    pub fn with(conf: &str) -> Street {
        Street::prepared(conf, "")
    }

    /// With WebSocket, too.
    pub fn with_websockets(conf: &str) -> Street {
        Street::prepared(conf, WEBSOCKETS)
    }

    /// With a script that changes the configuration before Asterisk reads it.
    pub fn prepared(conf: &str, script: &str) -> Street {
        let (network, volume) = (Network::new(), Volume::new());
        let hook = format!(
            "#!/bin/sh\nset -eu\ncat >/tmp/lines <<'HERE'\n{conf}\nHERE\nsed -i '/^enabled/r /tmp/lines' /srv/etc/asterisk/autoban.conf\n{script}"
        );
        volume.write("/srv/etc/entry.d/10-street", "755", &hook);
        let recipe = Recipe::of("full").volume(&volume).network(&network);
        let exchange = recipe.start();
        exchange.log.wait_for("listening to security events");
        // The way back to addresses that are on the wire, but in no network of the exchange's.
        let within = Outside::within(&exchange);
        within.ip("route add 198.18.0.0/15 dev eth0");
        within.ip("-6 route add fd5b::/16 dev eth0");
        Street {
            outside: Outside::in_network(&network.name),
            exchange,
            network,
            _volume: volume,
        }
    }

    /// The exchange, as an address of this family sees it.
    pub fn exchange_for(&self, address: &str) -> IpAddr {
        let own = match address.contains(':') {
            true => self.exchange.address6(),
            false => self.exchange.address4(),
        };
        own.parse().unwrap()
    }

    /// Somebody calls from here; `None` if nobody takes the connection. The address must have moved in.
    pub fn talk(&self, from: &str, carrier: Carrier) -> Option<Talk> {
        Talk::open(&self.outside, from, self.exchange_for(from), carrier)
    }

    /// Whether a stranger is answered over this.
    pub fn answers(&self, from: &str, carrier: Carrier) -> bool {
        self.talk(from, carrier)
            .is_some_and(|mut talk| talk.knock() == Some(401))
    }

    /// What is known of an address.
    pub fn why(&self, address: &str) -> Value {
        let ended = self.exchange.exec(&["autoban", "why", address, "--json"]);
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text))
    }

    /// How many events are held against each source that is watched.
    pub fn watched(&self) -> HashMap<String, u64> {
        let ended = self.exchange.exec(&["autoban", "list", "watch", "--json"]);
        let list: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text));
        let rows = list["sets"][0]["entries"]
            .as_array()
            .unwrap_or_else(|| panic!("{list}"));
        let of = |row: &Value| Some((row["address"].as_str()?.to_owned(), row["count"].as_u64()?));
        rows.iter()
            .map(|row| of(row).unwrap_or_else(|| panic!("{row}")))
            .collect()
    }

    /// Waits until so much counts against an address; what is known of it then.
    pub fn counted(&self, address: &str, grade: &str, count: u64) -> Value {
        until(&format!("{count} {grade} of {address}"), || {
            let why = self.why(address);
            match why[grade].as_u64() == Some(count) {
                true => Ok(why),
                false => Err(why.to_string()),
            }
        })
    }

    /// A counter of AutoBan's; 0 if it was never raised.
    pub fn counter(&self, name: &str) -> u64 {
        let status = self.exchange.exec(&["autoban", "show", "--json"]);
        let status: Value =
            serde_json::from_str(&status.out).unwrap_or_else(|e| panic!("{e}: {}", status.text));
        assert_eq!(status["connected"], true, "{status}");
        let found = status["counters"].as_array().unwrap().iter();
        let mut values = found.filter(|pair| pair[0] == name);
        values.next().map_or(0, |pair| pair[1].as_u64().unwrap())
    }

    pub fn wait_counter(&self, name: &str, least: u64) {
        until(&format!("{least} of `{name}`"), || {
            match self.counter(name) {
                count if count >= least => Ok(()),
                count => Err(count.to_string()),
            }
        });
    }
}
