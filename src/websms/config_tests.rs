use proptest::prelude::*;

use super::*;
use crate::websms::api::access::{Digest, Rights};
use crate::websms::delivery::State;

fn variable(name: &str) -> Option<String> {
    (name == "SMS_SECRET").then(|| "from-env".to_owned())
}

fn file(path: &str) -> Result<String, String> {
    match path {
        "/run/secrets/two" => Ok("new-secret\nold-secret\n".to_owned()),
        "/run/secrets/token" => Ok("0123456789abcdef\n".to_owned()),
        "/run/secrets/empty" => Ok("\n".to_owned()),
        _ => Err("no such file".to_owned()),
    }
}

/// Read once: it takes longer than all else here.
static PROFILES: std::sync::LazyLock<Profiles> =
    std::sync::LazyLock::new(|| Profiles::load(std::iter::empty()).0);

fn config(text: &str) -> Config {
    let world = World {
        variable: &variable,
        file: &file,
        profiles: &PROFILES,
    };
    read("websms.conf", Some(text), &world)
}

fn told(config: &Config) -> String {
    config
        .mistakes
        .iter()
        .map(|m| format!("{}: {}\n", m.line, m.problem))
        .collect()
}

fn by<'a>(config: &'a Config, index: &str) -> &'a Interface {
    let index = (!index.is_empty()).then(|| index.to_owned());
    config.interfaces.iter().find(|i| i.index == index).unwrap()
}

fn keys(interface: &Interface) -> &Keys {
    match &interface.outgoing.as_ref().unwrap().style {
        Style::Keys(keys) => keys,
        Style::Profile { .. } => panic!("a profile"),
    }
}

/// As the predecessor's image shipped it.
const PREDECESSOR: &str = ";\n; websms.conf\n;\n[websms]\nurl_host        = https://api.example.com\nurl_path        = /sms/send/\nauth_user       = user\nauth_secret     = hunter2\n\n[websmsd]\nurl_path    [1] = /hook/1\nresp_ack    [1] = \"SMS received on /hook/1\"\nurl_path    [2] = /hook/2\nresp_ack    [2] = \"SMS received on /hook/2\"\n\n[astqueue]\nchannel_context = dp_entry_answer\ncontext         = dp_entry_text_in\n";

#[test]
fn the_predecessors_file_is_read_unchanged() {
    let config = config(PREDECESSOR);
    assert_eq!(told(&config), "");
    let indexes: Vec<_> = config
        .interfaces
        .iter()
        .map(|i| i.index.as_deref())
        .collect();
    assert_eq!(indexes, [None, Some("1"), Some("2")]);
    let first = by(&config, "1").incoming.as_ref().unwrap();
    assert_eq!(first.resp_ack, "SMS received on /hook/1");
    assert!(
        first.takes("/hook/1")
            && first.takes("/hook/1?x=1")
            && !first.takes("/hook/1/")
            && !first.takes("/hook/2")
    );
    assert!(first.addresses.is_none());
    let outgoing = keys(by(&config, ""));
    assert_eq!(
        (outgoing.url_host.as_str(), outgoing.url_path.as_str()),
        ("https://api.example.com", "/sms/send/")
    );
    assert_eq!(
        (
            outgoing.to.as_str(),
            outgoing.from.as_str(),
            outgoing.body.as_str()
        ),
        ("To", "From", "Body")
    );
    assert_eq!(outgoing.auth, Auth::Basic);
    assert!(by(&config, "").incoming.is_none());
    assert_eq!(config.queue.context, "dp_entry_text_in");
    assert_eq!((config.queue.waittime, config.queue.encode), (45, true));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn without_a_file_nothing_is_open() {
    let (profiles, _) = Profiles::load(std::iter::empty());
    let world = World {
        variable: &variable,
        file: &file,
        profiles: &profiles,
    };
    let config = read("websms.conf", None, &world);
    assert_eq!(config.interfaces, []);
    assert_eq!(
        told(&config),
        "1: there is no such file; nothing is let in and nothing goes out\n"
    );
    assert_eq!(self::config("").interfaces, []);
}

#[test]
fn scalars_hold_for_all_and_arrays_for_their_index() {
    let config = config(
        "[websms]\nurl_host [api-1] = https://one.example\nurl_host [api-2] = https://two.example\nauth_user = me\nauth_secret [api-1] = s1\nauth_secret [api-2] = s2\nkey_to [api-2] = dst\n[websmsd]\nremt_addr [api-1] = 192.0.2.0/24\nremt_addr [api-2] = 192.0.2.7, 2001:db8::/48\nurl_path [api-1] = /a, /b\nprox_addr = \"\"\n",
    );
    assert_eq!(told(&config), "");
    let (one, two) = (by(&config, "api-1"), by(&config, "api-2"));
    assert_eq!(
        (keys(one).to.as_str(), keys(two).to.as_str()),
        ("To", "dst")
    );
    let secret = |i: &Interface| {
        i.outgoing
            .as_ref()
            .unwrap()
            .secret
            .as_ref()
            .unwrap()
            .expose()
            .to_owned()
    };
    assert_eq!((secret(one).as_str(), secret(two).as_str()), ("s1", "s2"));
    let door = one.incoming.as_ref().unwrap();
    assert!(door.takes("/b") && !door.takes("/c"));
    assert!(two.incoming.as_ref().unwrap().takes("/anything"));
    let two: Vec<String> = two
        .incoming
        .as_ref()
        .unwrap()
        .addresses
        .as_ref()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(two, ["192.0.2.7", "2001:db8::/48"]);
    assert_eq!(config.interfaces.len(), 2);
}

#[test]
fn a_list_that_cannot_be_read_lets_nobody_in() {
    let config = config(
        "[websmsd]\nprox_addr = \"\"\nremt_addr [1] = 3.104.90.0/24, a.b.c.d\nremt_addr [2] = \"\"\nremt_addr [3] = 192.0.2.1\nurl_path [4] = /four\nurl_path [5] = five\nremt_addr [5] = 192.0.2.5\nremt_addr [6] = 10.0.0.0/99\n",
    );
    for closed in ["1", "2", "4", "5", "6"] {
        assert!(by(&config, closed).incoming.is_none(), "{closed}");
    }
    assert!(by(&config, "3").incoming.is_some());
    let told = told(&config);
    for line in [
        "3: remt_addr [1]: `a.b.c.d` is not an address or a network such as 192.0.2.0/24 or 2001:db8::/48; nothing is received by it",
        "4: remt_addr [2]: it names nobody; nothing is received by it",
        "3: remt_addr [4] is missing; nothing is received by it",
        "7: url_path [5]: a path does not begin with /; nothing is received by it",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_side_without_a_door_is_told() {
    let config = config("[websmsd]\nkey_to = to\n");
    assert_eq!(
        told(&config),
        "1: whoever reaches the port can send messages to your phones\n"
    );
    assert!(by(&config, "").incoming.is_some());
}

#[test]
fn no_proxy_is_trusted_unless_it_is_named() {
    let warned = config("[websmsd]\nremt_addr = 192.0.2.1\n");
    assert!(
        told(&warned).starts_with("2: prox_addr is not set"),
        "{}",
        told(&warned)
    );
    assert_eq!(warned.proxies, []);
    assert_eq!(warned.proxy_header, "x-forwarded-for");
    let named = config(
        "[websmsd]\nremt_addr = 192.0.2.1\nprox_addr = 172.18.0.0/16\nprox_header = HTTP_X_REAL_IP\n",
    );
    assert_eq!(told(&named), "");
    assert_eq!(
        (named.proxies.len(), named.proxy_header.as_str()),
        (1, "x-real-ip")
    );
    let bad = config("[websmsd]\nurl_path = /x\nprox_addr = traefik\n");
    assert_eq!(bad.proxies, []);
    assert!(
        told(&bad).ends_with("no proxy is trusted\n"),
        "{}",
        told(&bad)
    );
}

#[test]
fn keys_that_nobody_knows_are_told_with_the_nearest() {
    let config = config(
        "a = 1\n[websms]\nurl_hots = https://x.example\nremt_addr = 1\n[websmsdd]\n[astqueue]\nfilemode = 0666\nwaittime [1] = 5\nwaittme = 3\nmaxretries = many\n[api]\ntoken = 0123456789abcdef\n",
    );
    let all: String = config.mistakes.iter().map(|m| format!("{m}\n")).collect();
    for line in [
        "websms.conf:1: `a` stands before any section\nhint: put it below [websms] or [websmsd]",
        "websms.conf:3: `url_hots` is no key of [websms]\nhint: did you mean url_host?",
        "websms.conf:4: `remt_addr` is no key of [websms]\nhint: it belongs below [websmsd]",
        "websms.conf:5: [websmsdd] is no section of WebSMS\nhint: did you mean [websmsd]?",
        "websms.conf:8: `waittime` takes no index; it is left out\n",
        "websms.conf:9: `waittme` is no key of [astqueue]\nhint: did you mean waittime?",
        "websms.conf:10: maxretries: that is no whole number; the default holds\n",
        "websms.conf:12: `token` names no client; it is left out\n",
    ] {
        assert!(all.contains(line), "{all}");
    }
    assert!(!all.contains("filemode"));
    assert_eq!(config.queue, AstQueue::default());
    assert_eq!(config.clients, []);
}

#[test]
fn a_bad_value_stops_only_its_side() {
    let config = config(
        "[websms]\nurl_host [1] = https://one.example\nurl_host [2] = ftp://two.example\nurl_host [3] = three.example\nresp_check [1] = \"/(/\"\nauth_method = baisc\nauth_method [3] = none\nfailover [3] = 9\n[websmsd]\nurl_path [1] = /1\n",
    );
    assert!(by(&config, "1").outgoing.is_none() && by(&config, "1").incoming.is_some());
    assert!(by(&config, "2").outgoing.is_none());
    assert_eq!(keys(by(&config, "3")).url_host, "http://three.example");
    assert_eq!(by(&config, "3").failover, None);
    let told = told(&config);
    for line in [
        "5: resp_check [1]: the pattern cannot be read; nothing is sent by it",
        "3: url_host [2]: that is no address; nothing is sent by it",
        "4: url_host [3] has no scheme",
        "8: failover: [9] is no other interface that sends; nobody takes over",
    ] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_profile_brings_all_but_what_is_yours() {
    let text = "[websms]\nprofile [1] = Twilio\nauth_user [1] = AC1\nauth_secret [1] = \"${SMS_SECRET}\"\nparam_account [1] = AC1\nnumber [1] = +15550100, +15550101\nfailover [1] = 2\nprofile [2] = sinch\nauth_secret_file [2] = /run/secrets/two\nparam_plan [2] = p\nrate [2] = 30/m\n[websmsd]\nurl_path [1] = /twilio\npublic_url [1] = https://pbx.example.org/twilio\nverify_secret_file [1] = /run/secrets/two\nurl_path [2] = /sinch\nverify [2] = no\n";
    let config = config(text);
    assert_eq!(told(&config), "");
    let one = by(&config, "1");
    assert_eq!(one.numbers, ["+15550100", "+15550101"]);
    assert_eq!(one.failover.as_deref(), Some("2"));
    let door = one.incoming.as_ref().unwrap();
    assert_eq!(door.profile.as_ref().unwrap().name, "twilio");
    let secrets: Vec<&str> = door.verify_secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["new-secret", "old-secret"]);
    assert_eq!(
        one.outgoing
            .as_ref()
            .unwrap()
            .secret
            .as_ref()
            .unwrap()
            .expose(),
        "from-env"
    );
    assert_eq!(by(&config, "2").rate, Some(0.5));
    match &by(&config, "2").outgoing.as_ref().unwrap().style {
        Style::Profile { parameters, .. } => {
            assert_eq!(parameters.get("region").map(String::as_str), Some("us"))
        }
        Style::Keys(_) => panic!("no profile"),
    }
    assert!(!by(&config, "2").incoming.as_ref().unwrap().verify);
}

#[test]
fn a_profile_without_what_it_needs_is_closed() {
    for (text, expected) in [
        (
            "[websmsd]\nprofile [1] = twilio\nurl_path [1] = /t\npublic_url [1] = https://h/t\n",
            "3: verify_secret [1] is missing, and this carrier signs what it sends; nothing is received by it",
        ),
        (
            "[websmsd]\nprofile [1] = plivo\nurl_path [1] = /t\nverify_secret [1] = s\n",
            "3: public_url [1] is missing, and this carrier's signature is made over it; nothing is received by it",
        ),
        (
            "[websms]\nprofile = twilio\nauth_user = a\nauth_secret = s\n",
            "2: param_account is missing, which the profile asks for; nothing is sent by it",
        ),
        (
            "[websms]\nprofile = telnyx\n",
            "2: auth_secret is missing; nothing is sent by it",
        ),
        (
            "[websms]\nprofile = twillio\n",
            "2: profile: there is no profile `twillio`; nothing is sent by it",
        ),
        (
            "[websms]\nprofile = telnyx\n[websmsd]\nprofile = sinch\n",
            "4: profile is another one in line 2; nothing is received by it",
        ),
        (
            "[websms]\nurl_host = https://h.example\nauth_user = u\nauth_secret_file = /nowhere\n",
            "4: auth_secret_file: the file cannot be read: no such file; nothing is sent by it",
        ),
        (
            "[websms]\nurl_host = https://h.example\nauth_user = u\nauth_secret_file = /run/secrets/empty\n",
            "4: auth_secret_file: the file is empty; nothing is sent by it",
        ),
    ] {
        let config = config(text);
        assert!(told(&config).contains(expected), "{text}{}", told(&config));
        assert!(
            config
                .interfaces
                .iter()
                .all(|i| i.incoming.is_none() && i.outgoing.is_none()),
            "{text}"
        );
    }
}

#[test]
fn clients_of_the_api() {
    let config = config(
        "[api]\ntoken [crm] = \"0123456789abcdefg\"\nnumbers [crm] = +46701234567\ntoken_file [shop] = /run/secrets/token\ntoken [short] = abc\nnumbers [none] = +1\n[store]\nretention = 1w\nhold = 3\nvalidity = soon\n",
    );
    let names: Vec<&str> = config.clients.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["crm", "shop"]);
    assert_eq!(config.clients[1].token, Digest::of("0123456789abcdef"));
    assert_eq!(config.clients[1].scope, None);
    assert!(
        config.clients[0]
            .scope
            .as_ref()
            .is_some_and(|scope| scope.has("46701234567"))
    );
    assert_eq!(config.store.retention, Duration::from_secs(604_800));
    assert_eq!(config.store.validity, Store::default().validity);
    let told = told(&config);
    assert!(
        told.contains("5: the token is shorter than 16 signs; this client is left out"),
        "{told}"
    );
    assert!(
        told.contains("token [none] is missing; this client is left out"),
        "{told}"
    );
    assert!(!format!("{config:?}").contains("0123456789"));
}

#[test]
fn rights_and_digests_of_clients() {
    let config = config(
        "[api]\ntoken_sha256 [a] = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nrights [a] = read\n\
         token [b] = 0123456789abcdefg\nrights [b] = write\ntoken [c] = 0123456789abcdefg\ntoken [d] = 0123456789abcdefg\n\
         token [e] = 0123456789abcdefh\ntoken_sha256 [e] = 12\ntoken_sha256 [f] = 12\ntoken_file = x\n\
         token [g] = 0123456789abcdefi\nrights [g] = none\ntoken [h] = 0123456789abcdefj\nnumbers [h] =\n\
         [websmsd]\nurl_path [1] = /v1/hook\nprox_addr = \"\"\n",
    );
    let names: Vec<&str> = config.clients.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(config.clients[0].token, Digest::of("abc"));
    assert_eq!(
        config.clients[0].rights,
        Rights {
            send: false,
            read: true
        }
    );
    let told = told(&config);
    for line in [
        "5: rights [b]: that is no right; this client is left out",
        "7: the token is that of [c]; this client is left out",
        "9: there are two tokens; this client is left out",
        "10: token_sha256 [f]: that is no SHA-256 digest; this client is left out",
        "11: `token_file` names no client; it is left out",
        "13: rights [g]: it names no right; this client is left out",
        "15: numbers [h]: it names no number; this client is left out",
        "17: url_path: /v1/hook lies where the API is; it stays the carrier's",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn hooks_and_their_mistakes() {
    let config = config(
        "[hooks]\nurl [crm] = https://crm.example.org/hunter2\nsecret [crm] = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         events [crm] = received, message.failed\nbody [crm] = no\nrate [crm] = 1/s\n\
         url [a] = crm.example.org\nsecret [a] = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         url [b] = http://crm\nsecret [b] = hunter2\nurl [c] = http://crm\nsecret [d] = hunter2\nevents [d] = eaten\n",
    );
    let [hook] = config.hooks.as_slice() else {
        panic!("{:?}", config.hooks)
    };
    assert_eq!(
        (hook.name.as_str(), hook.text, hook.rate),
        ("crm", false, 1.0)
    );
    assert_eq!(hook.states, Some(vec![State::Received, State::Failed]));
    assert!(config.listens && config.clients.is_empty());
    let told = told(&config);
    for line in [
        "7: url [a]: that is no address; this hook is left out",
        "10: a secret of a hook is `whsec_` and 24 to 64 bytes in base64; this hook is left out",
        "secret [c] is missing; this hook is left out",
        "url [d] is missing; this hook is left out",
        "13: events [d]: that is no state of a message; this hook is left out",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    assert!(!format!("{config:?}{told}").contains("hunter2"));
}

#[test]
fn no_mistake_repeats_a_secret() {
    let config = config(
        "[websms]\nauth_secret = hunter2|x\nauth_secret_file = /run/hunter2\nauth_secret = hunter2\nverify_secret = hunter2\n[websmsd]\nverify_secret = hun(ter2\nverify_secret [1] = hunter2\n[api]\ntoken [a] = hunter2\n",
    );
    assert!(config.mistakes.len() > 5);
    assert!(
        !told(&config).contains("hunter2") && !told(&config).contains("ter2"),
        "{}",
        told(&config)
    );
}

/// The table of the page, between its marks.
fn table() -> String {
    let mut text = String::new();
    for (section, what) in keys::SECTIONS {
        text += &format!(
            "\n## [{section}]: {what}\n\n| key | value | default | what it is |\n| --- | --- | --- | --- |\n"
        );
        for key in keys::KEYS.iter().filter(|key| key.section == *section) {
            let name = match key.name.ends_with('_') {
                true => format!("{}NAME", key.name),
                false => key.name.to_owned(),
            };
            let index = match key.index {
                keys::Index::No | keys::Index::Interface => "",
                keys::Index::Client | keys::Index::Hook => " [name]",
            };
            let default = match key.default.is_empty() {
                true => String::new(),
                false => format!("{} ", key.default),
            };
            text += &format!(
                "| `{name}{index}` | {} | {default}| {} |\n",
                key.form, key.meaning
            );
        }
    }
    text
}

/// `UPDATE_DOCS=1` writes the page anew.
#[test]
fn the_reference_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/websms-conf.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once("<!-- keys -->\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end of keys -->").unwrap();
    let made = format!(
        "{before}<!-- keys -->\n{}\n<!-- end of keys -->{after}",
        table()
    );
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert_eq!(page, made, "run the test with UPDATE_DOCS=1");
    for (name, _) in crate::websms::profiles::SHIPPED {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration(lines in proptest::collection::vec(
        ("\\[websmsd?\\]|remt_addr|url_path|url_host|profile|verify_secret|auth_method|resp_check|val_static|number|rate|failover|param_x", "| \\[[12a]\\]", "= \\PC{0,12}|= 192.0.2.0/24|= twilio|= /x/|=|")
            .prop_map(|(key, index, value)| format!("{key}{index} {value}\n")), 0..20)) {
        let text: String = lines.concat();
        let config = config(&format!("[websmsd]\n{text}"));
        for interface in &config.interfaces {
            if let Some(incoming) = &interface.incoming {
                prop_assert!(incoming.addresses.as_ref().is_none_or(|list| !list.is_empty()));
            }
        }
    }
}
