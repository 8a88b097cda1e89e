//! The PBX reads its configuration again, by order, and telephones on.

use crate::docker::{Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::household::edit;
use crate::phone::{Family, Transport};
use crate::sip::{self, Request};

fn register(exchange: &Exchange, network: &Network) {
    let password = exchange.password("alice");
    let request = Request {
        user: "alice",
        password: &password,
        to: "alice",
        transport: Transport::Udp,
        family: Family::Four,
    };
    sip::play(exchange, network, &request, sip::REGISTER).unwrap_or_else(|trace| panic!("{trace}"));
}

#[test]
fn endpoints_changed_again_and_again_are_taken_and_sip_is_answered() {
    let (network, volume) = (Network::new(), Volume::new());
    let exchange = Recipe::of("mini").volume(&volume).network(&network).start();
    let pid = exchange.pid_of("asterisk");
    let of_phones = r"/^\[tpl_phone\](!/a\";
    edit(
        &exchange,
        "pjsip_endpoint.conf",
        &format!("{of_phones}\nendpoint/allow = !all,ulaw"),
    );
    for codec in ["alaw", "g722", "ulaw", "gsm"] {
        edit(
            &exchange,
            "pjsip_endpoint.conf",
            &format!("s/^endpoint\\/allow = .*/endpoint\\/allow = !all,{codec}/"),
        );
        // Two at once wait for each other.
        let both = "switchhook pbx-reload & switchhook reload asterisk && wait $!";
        let ended = exchange.exec(&["sh", "-c", both]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let shown = exchange.asterisk("pjsip show endpoint alice");
        assert!(shown.contains(&format!("({codec})")), "{shown}");
        register(&exchange, &network);
    }
    assert_eq!(exchange.pid_of("asterisk"), pid);
}
