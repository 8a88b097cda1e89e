//! Reloads, one after the other and many: Asterisk goes on, and each part takes each change.

use super::house::{House, Kept};
use crate::docker::Network;

/// More phones than a household has: the more the wizard has to do, the longer two reloads meet in it.
const PHONES: usize = 100;

/// How many reloads come as fast as they can.
fn reloads() -> usize {
    let set = std::env::var("SWITCHHOOK_TEST_ACL_RELOADS");
    set.map_or(300, |text| text.parse().unwrap())
}

/// Asterisk 22.10.1 alone ends with "double free" (docs/decisions/0023-wizard.md).
#[test]
fn many_reloads_of_lists_do_not_end_asterisk() {
    let phones = (0..PHONES).map(|at| {
        format!("[many{at}](tpl_phone)\nhint_exten = 9{at:03}\nendpoint/acl = crowd\ninbound_auth/username = many{at}\ninbound_auth/password = many{at}\n")
    });
    let script = format!(
        "cat >>/srv/etc/asterisk/pjsip_endpoint.conf <<'HERE'\n{}HERE\nsed -i 's/^enabled = yes/enabled = no/' /srv/etc/asterisk/autoban.conf\n\
         printf '\\n[crowd]\\ndeny = 10.0.0.0/8\\n' >>/srv/etc/asterisk/acl.conf",
        phones.collect::<String>()
    );
    let house = House::prepared(&Kept::File, Network::new(), &script, |recipe| recipe);
    let before = (house.restarts(), house.exchange.pid_of("asterisk"));
    let count = reloads();
    let answered = house.exchange.shell(&format!(
        "for n in $(seq {count}); do touch /srv/etc/asterisk/acl.conf; asterisk -rx 'module reload acl'; done | grep -c reloaded || :"
    ));
    house.acl(0, &["reload"]);
    house.exchange.wait_healthy();
    let after = (house.restarts(), house.exchange.pid_of("asterisk"));
    println!(
        "{} of {count} reloads were answered, {} restarts",
        answered.trim(),
        after.0 - before.0
    );
    assert_eq!(after, before, "Asterisk goes on");
    let shown = house.exchange.asterisk("pjsip show endpoints");
    assert_eq!(shown.matches("Endpoint:  many").count(), PHONES, "{shown}");
}

/// What holds a phone of the wizard's, its contacts, and all contacts to lists of their own.
const EACH: &str = "\
cat >>/srv/etc/asterisk/pjsip_endpoint.conf <<'HERE'

[alice](+)
endpoint/acl = ends

[bob](+)
endpoint/contact_acl = contacts
HERE
cat >>/srv/etc/asterisk/pjsip.conf <<'HERE'

[acl-contacts]
type = acl
contact_acl = anybody
HERE
";

#[test]
fn each_consumer_has_a_change_when_the_command_ends() {
    let script = format!("{}{EACH}", super::house::CONSUMERS);
    let house = House::prepared(&Kept::File, Network::new(), &script, |recipe| recipe);
    for list in ["house", "ends", "contacts", "anybody"] {
        house.begin(list, "deny", "203.0.113.255");
    }
    let before = house.restarts();
    for round in 1..=20 {
        let (from, contact) = (format!("127.8.0.{round}"), format!("203.0.113.{round}"));
        // The phone, the list that holds it, what is denied there, and from where and with which contact it comes.
        let asked = [
            ("alice", "ends", &from),
            ("bob", "contacts", &contact),
            ("bob", "anybody", &contact),
            ("bob", "house", &from),
        ];
        for (phone, list, denied) in asked {
            let answer = || house.registers_with(phone, &from, &contact);
            assert_eq!(answer(), Some(200), "{list}, before");
            let told = house.acl(0, &["add", list, "deny", denied]);
            assert!(told.contains("PJSIP") && told.contains("has it"), "{told}");
            let kept_out = answer();
            assert!(
                matches!(kept_out, Some(401 | 403)),
                "{phone} by {list}: {kept_out:?}"
            );
            house.acl(0, &["remove", list, "deny", denied]);
            assert_eq!(answer(), Some(200), "{phone} by {list}, after");
        }
    }
    assert_eq!(house.restarts(), before);
}
