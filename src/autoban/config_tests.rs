use proptest::prelude::*;

use super::*;

/// As the predecessor's image shipped it.
const PREDECESSOR: &str = "; autoban.conf\n\n[asmanager]\nserver     = 127.0.0.1\nport       = 5038\nusername   = autoban\nsecret     = 6003.438\n\n[autoban]\nenabled    = true ; on\nmaxcount   = 10   ; abuse count\nwatchtime  = 20m\njailtime   = 1200\nrepeatmult = 6\n\n[nftables]\ncmd = nft\n";

fn mistakes(text: &str) -> String {
    let (_, mistakes) = read("autoban.conf", text);
    mistakes.iter().map(|m| format!("{m}\n")).collect()
}

#[test]
fn the_predecessors_file_is_read_unchanged() {
    let (config, mistakes) = read("autoban.conf", PREDECESSOR);
    assert_eq!(mistakes, []);
    let mut expected = Config::default();
    expected.manager.secret = Some("6003.438".to_owned());
    assert_eq!(config, expected);
    assert_eq!(read("autoban.conf", ""), (Config::default(), vec![]));
}

#[test]
fn every_key_is_read() {
    let (config, mistakes) = read(
        "autoban.conf",
        "[autoban]\nenabled = \"no\"\nmaxcount = 3\nwatchtime = 1h\njailtime = 1d2h3m4s\nrepeatmult = 1.5\nweaktime = 90\ntrusttime = 2d\naggregatecount = 4\naggregatetime = 30m\nmaxwatch = 5000\nmaxjail = 200\nwhitelist = 192.0.2.0/24, 2001:db8::1\nwhitelist = 198.51.100.7\nblacklist = 203.0.113.0/24\nwebhook = https://u:p@example.org/x\nwebhooksecret = s\nwebhookweak = yes\nimport = /srv/list.txt, 2h\nimport = https://example.org/l\nsipports = 5060, 5062\n",
    );
    assert_eq!(mistakes, []);
    let policy = &config.policy;
    assert!(!config.enabled);
    assert_eq!(
        (policy.maxcount, policy.repeatmult, policy.aggregatecount),
        (3, 1500, 4)
    );
    assert_eq!(policy.jailtime, Duration::from_secs(93_784));
    assert_eq!((policy.maxwatch, policy.maxjail), (5000, 200));
    let white: Vec<String> = config.whitelist.iter().map(Cidr::to_string).collect();
    assert_eq!(white, ["192.0.2.0/24", "2001:db8::1", "198.51.100.7"]);
    assert_eq!(config.imports[0].time, Duration::from_secs(7200));
    assert_eq!(config.sipports, [5060, 5062]);
    let webhook = &config.webhook;
    assert_eq!(webhook.to, Address::parse("https://u:p@example.org/x"));
    assert_eq!(
        (&webhook.key, webhook.weak),
        (&Some(Key::Given("s".to_owned())), true)
    );
    let from: Vec<String> = config.imports.iter().map(|i| i.from.to_string()).collect();
    assert_eq!(from, ["/srv/list.txt", "https://example.org/l"]);
}

#[test]
fn each_mistake_has_its_line_and_the_default_holds() {
    let text = "maxcount = 1\n[autoban]\nmaxcount = ten\nmaxcuont = 3\nrubbish\nweaktime = 1h\nwhitelist = 192.0.2.0/24, host\n[asmanger]\n[asmanager]\nport = 0\nsecrt = hunter2\n";
    assert_eq!(
        mistakes(text),
        "autoban.conf:1: `maxcount` stands before any section\nhint: put it below [autoban]\n\
         autoban.conf:3: maxcount = ten: that is no whole number; the default holds\nhint: write 1 to 1000 in digits\n\
         autoban.conf:4: `maxcuont` is no key of this section\nhint: did you mean maxcount?\n\
         autoban.conf:5: `rubbish` is no `key = value`\nhint: write for example `maxcount = 10`, comments after `;`\n\
         autoban.conf:6: weaktime = 1h: that is out of bounds; the default holds\nhint: write 1s to 300s\n\
         autoban.conf:7: whitelist = 192.0.2.0/24, host: `host` is not an address or a network such as 192.0.2.0/24 or 2001:db8::/48; the line is left out\nhint: write addresses and networks with commas between them\n\
         autoban.conf:8: [asmanger] is no section of AutoBan\nhint: did you mean [asmanager]?\n\
         autoban.conf:10: port = 0 is no port; 5038 holds\nhint: write the `port` of manager.conf, for example 5038\n\
         autoban.conf:11: `secrt` is no key of this section\nhint: did you mean secret?\n"
    );
    assert_eq!(read("autoban.conf", text).0, Config::default());
}

#[test]
fn the_reference_names_every_key_with_its_form() {
    let reference = include_str!("../../docs/reference/autoban-conf.md");
    for (key, form, what) in KEYS {
        let row = reference
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` | {form} |")));
        assert!(row.is_some_and(|row| row.contains(what)), "{key}");
    }
}

#[test]
fn times_in_words() {
    for (text, expected) in [
        ("20m", Some(1200)),
        ("1d2h3m4s", Some(93_784)),
        ("1d 2h", Some(93_600)),
        ("90", Some(90)),
        ("", None),
        ("m", None),
        ("20x", None),
        ("3m1h", None),
        ("1m1m", None),
        ("1h30", None),
        ("-5", None),
        ("99999999999999999999d", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let text = "[asmanager]\nsecret = hunter2\nsecret = hunter3\nusername = \n";
    let (config, mistakes) = read("autoban.conf", text);
    assert_eq!(config.manager.secret.as_deref(), Some("hunter3"));
    assert!(!format!("{config:?} {mistakes:?}").contains("hunter"));
    assert_eq!(mistakes.len(), 2);
}

#[test]
fn the_managers_own_file_knows_the_secret() {
    let text = "[general]\nenabled = yes\n[autoban]\nsecret = s3\nread = security\n";
    assert_eq!(secret_of(text, "autoban").as_deref(), Some("s3"));
    assert_eq!(secret_of(text, "other"), None);
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration(text in "(\\PC|\n|\\[autoban\\]\n|maxcount|=|weaktime = ){0,40}") {
        let (config, _) = read("x", &text);
        prop_assert!(config.policy.maxcount >= 1 && config.policy.weak_sentence() <= LONGEST_WEAK);
    }
}

#[test]
fn no_mistake_shows_a_secret() {
    let text = "[autoban]\nwebhook = htps://u:hunter2@example.org/\nwebhook = https://u:hunter2@example.org:0x/\nwebhooksecret_file = secret\nwebhooksecret = hunter2\nwebhooksecret_file = /x\nimport = ftp://u:hunter2@example.org/, 1d\nimport = https://u:hunter2@example.org/?hunter2, 1s\n";
    let (config, mistakes) = read("autoban.conf", text);
    assert_eq!(mistakes.len(), 8, "{mistakes:?}");
    let shown = format!("{mistakes:?} {config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("the secret is given already"), "{shown}");
    assert_eq!(config.webhook.key, Some(Key::Given("hunter2".to_owned())));
}

#[test]
fn there_is_an_end_to_block_lists() {
    let line = "import = /srv/list.txt, 1h\n";
    let (config, mistakes) = read("autoban.conf", &format!("[autoban]\n{}", line.repeat(17)));
    assert_eq!((config.imports.len(), mistakes.len()), (16, 1));
}
