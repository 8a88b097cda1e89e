//! Choices by configurations as people write them.

use super::*;
use crate::websms::config::{self, World};
use crate::websms::profiles::Profiles;

fn config(text: &str) -> Config {
    let (profiles, _) = Profiles::load(std::iter::empty());
    let world = World {
        variable: &|_| None,
        file: &|_| Err("none".to_owned()),
        profiles: &profiles,
    };
    config::read("websms.conf", Some(text), &world)
}

fn message(from: &str, index: &str) -> HandedIn {
    HandedIn {
        to: "+46701234567".to_owned(),
        from: from.to_owned(),
        body: "text".to_owned(),
        index: Some(index.to_owned()),
        key: None,
        media: Vec::new(),
    }
}

const TWO: &str = "[websms]\nauth_method = none\nurl_host [a] = https://a.example\nurl_host [b] = https://b.example\n\
    number [b] = +46701111111\ncountry = 46\nfailover [a] = b\nfailover [b] = a\n";

#[test]
fn the_index_comes_first_then_the_number() {
    let config = config(TWO);
    let chosen = |from, index| {
        let message = message(from, index);
        let accepted = accept(&config, &message);
        accepted.map(|accepted| name_of(accepted.interface).to_owned())
    };
    assert_eq!(chosen("+46701111111", "a").as_deref(), Ok("a"));
    for number in [
        "+46701111111",
        "0701111111",
        "0046701111111",
        "\"B\" <sip:+46701111111@pbx>",
    ] {
        assert_eq!(chosen(number, "").as_deref(), Ok("b"), "{number}");
    }
    assert_eq!(
        chosen("101", "c").unwrap_err().to_string(),
        "there is no interface [c] that sends; those that do are [a], [b]"
    );
    assert_eq!(
        chosen("101", "").unwrap_err().to_string(),
        "several interfaces send, and none of them has the number 101; they are [a], [b]"
    );
}

#[test]
fn the_only_one_is_taken_and_so_is_the_one_without_index() {
    let one = config("[websms]\nauth_method = none\nurl_host = https://a.example\n");
    assert_eq!(
        name_of(accept(&one, &message("101", "")).unwrap().interface),
        ""
    );
    let none = config("[websmsd]\n");
    assert_eq!(
        accept(&none, &message("101", "")).unwrap_err(),
        Refusal::NobodySends
    );
}

#[test]
fn what_no_carrier_takes_is_refused_at_once() {
    let config = config("[websms]\nprofile = voipms\nauth_user = u\nauth_secret = s\n");
    let refused = |to: &str, body: &str| {
        let message = HandedIn {
            to: to.to_owned(),
            body: body.to_owned(),
            ..message("2125550101", "")
        };
        accept(&config, &message).unwrap_err().to_string()
    };
    assert_eq!(
        refused("2125550102", &"x".repeat(161)),
        "the text has 161 characters, and this carrier takes 160"
    );
    assert!(refused("+46701234567", "x").contains("North American"));
    assert!(refused("1,2", "x").contains("a number or name has"));
    assert_eq!(refused("2125550102", ""), "the text is empty");
}

#[test]
fn a_circle_of_interfaces_is_gone_round_once() {
    let config = config(TWO);
    let next_of = |name, tried: &[&str]| {
        let tried: Vec<String> = tried.iter().map(|name| (*name).to_owned()).collect();
        next(&config, name, &tried).map(|next| name_of(next).to_owned())
    };
    assert_eq!(next_of("a", &[]).as_deref(), Some("b"));
    assert_eq!(next_of("b", &["a"]), None);
    assert_eq!(next_of("c", &[]), None);
    assert!(is_out_of_patience(Some(0), PATIENCE));
    assert!(!is_out_of_patience(Some(1), PATIENCE));
    assert!(!is_out_of_patience(None, PATIENCE));
}

#[test]
fn the_user_of_a_sip_address_is_the_sender() {
    for (from, number) in [
        ("+46701", "+46701"),
        ("<sip:+46701@host>", "+46701"),
        ("\"A <sip:evil@x>\" <sips:101@host;x=y>", "101"),
        ("sip:101;user=phone@host", "101"),
        ("Shop", "Shop"),
    ] {
        assert_eq!(bare(from), number, "{from}");
    }
}
