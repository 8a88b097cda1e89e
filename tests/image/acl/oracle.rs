//! Asterisk as the judge: what we say of random rules and addresses is what it does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use switchhook::acl::list::{List, Row, of_file, of_rows, respelt};
use switchhook::acl::rule::Sense;
use switchhook::asterisk::conf::Document;

use super::house::{House, Kept};
use crate::docker::Network;

/// Lists, and addresses that each is asked about.
const LISTS: usize = 250;
const ADDRESSES: usize = 40;
/// Rules of odd forms.
const FORMS: usize = 2000;

/// A small generator (xorshift64*), so that a failure can be played again by its seed.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        let given = std::env::var("SWITCHHOOK_TEST_SEED").ok();
        let seed = given.map_or_else(
            || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1,
            |text| text.parse().unwrap(),
        );
        println!("SWITCHHOOK_TEST_SEED={seed}");
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 33) as usize % count
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// An address near the others, so that rules and addresses meet.
fn address(dice: &mut Dice) -> IpAddr {
    match dice.below(2) {
        0 => {
            let [a, b, c] = [(); 3].map(|()| [0, 1, 2, 3, 128, 255][dice.below(6)]);
            let first = [10, 10, 172, 203][dice.below(4)];
            IpAddr::V4(Ipv4Addr::new(first, a, b, c.clamp(1, 254)))
        }
        _ => {
            let mut parts = [0u16; 8];
            parts[0] = [0xfd00, 0xfd00, 0x2001][dice.below(3)];
            for at in [1, 3, 7] {
                parts[at] = [0, 1, 2, 0x8000, 0xffff][dice.below(5)];
            }
            parts[7] |= 1;
            IpAddr::from(Ipv6Addr::from(parts))
        }
    }
}

fn rule(dice: &mut Dice) -> String {
    let words = 1 + dice.below(3) / 2 * (1 + dice.below(2));
    let word = |dice: &mut Dice| {
        let turned = if dice.below(5) == 0 { "!" } else { "" };
        if dice.below(8) == 0 {
            return format!(
                "{turned}{}",
                dice.pick(&["0.0.0.0/0", "::/0", "0.0.0.0/0.0.0.0"])
            );
        }
        let address = address(dice);
        let mask = match (address, dice.below(6)) {
            (_, 0) => String::new(),
            (IpAddr::V4(_), 1) => format!(
                "/{}",
                dice.pick(&[
                    "255.255.0.0",
                    "255.0.255.0",
                    "255.255.255.254",
                    "0.0.0.255",
                    "128.0.0.0"
                ])
            ),
            (IpAddr::V6(_), 1) => {
                format!(
                    "/{}",
                    dice.pick(&["ffff:ffff::", "ffff::1", "::ffff", "ffff:ffff:0:ffff::"])
                )
            }
            (IpAddr::V4(_), _) => format!("/{}", dice.below(33)),
            (IpAddr::V6(_), _) => format!("/{}", dice.below(129)),
        };
        format!("{turned}{address}{mask}")
    };
    let words: Vec<String> = (0..words).map(|_| word(dice)).collect();
    words.join(",")
}

/// The text of acl.conf: templates, additions and lists.
fn conf(dice: &mut Dice) -> String {
    let lines = |dice: &mut Dice, most: usize| -> String {
        let lines = (0..dice.below(most + 1)).map(|_| {
            let word = dice.pick(&["permit", "deny", "deny", "Permit"]);
            let equals = dice.pick(&[" = ", "=", " => "]);
            format!("{word}{equals}{}\n", rule(dice))
        });
        lines.collect()
    };
    let mut text = String::new();
    for at in 0..5 {
        let base = if at > 0 {
            format!(",base{}", at - 1)
        } else {
            String::new()
        };
        text.push_str(&format!("[base{at}](!{base})\n{}", lines(dice, 2)));
    }
    for at in 0..LISTS {
        let bases = match dice.below(3) {
            0 => format!("(base{})", dice.below(5)),
            1 => format!("(base{},base{})", dice.below(5), dice.below(5)),
            _ => String::new(),
        };
        text.push_str(&format!("[list{at}]{bases}\n{}", lines(dice, 6)));
    }
    for _ in 0..LISTS / 5 {
        let at = dice.below(LISTS);
        let kind = dice.pick(&["", "(+)", "(+)"]);
        text.push_str(&format!("[list{at}]{kind}\n{}", lines(dice, 2)));
    }
    text
}

fn lists(text: &str) -> HashMap<String, List> {
    let sections = Document::parse(text).full_sections();
    let (lists, mistakes) = of_file(&sections, |line| ("acl.conf".to_owned(), line));
    assert_eq!(mistakes, []);
    let lists = lists.into_iter();
    lists.map(|list| (list.name.clone(), list)).collect()
}

#[test]
fn ten_thousand_verdicts_are_asterisks() {
    let mut dice = Dice::new();
    let acl = conf(&mut dice);
    let lists = lists(&acl);
    // An endpoint without a password answers OPTIONS with anything but 401, unless its lists keep the sender out.
    let mut endpoints = String::new();
    let mut held = Vec::new();
    for at in 0..LISTS {
        let mut names = vec![format!("list{at}")];
        for _ in 0..dice.below(3) {
            let other = format!("list{}", dice.below(LISTS));
            if !names.contains(&other) {
                names.push(other);
            }
        }
        endpoints.push_str(&format!(
            "\n[oracle{at}]\ntype = endpoint\ncontext = nowhere\nacl = {}\n",
            names.join(",")
        ));
        held.push(names);
    }
    let script = format!(
        "cat >>/srv/etc/asterisk/acl.conf <<'HERE'\n{acl}\nHERE\ncat >>/srv/etc/asterisk/pjsip.conf <<'HERE'\n{endpoints}\nHERE\n\
         sed -i 's/^enabled = yes/enabled = no/' /srv/etc/asterisk/autoban.conf\n"
    );
    let house = House::prepared(&Kept::File, Network::new(), &script, |recipe| recipe);
    // Without `src` the kernel answers from the address that it answers to.
    let ours = house.exchange.address4();
    for network in ["10.0.0.0/8", "172.0.0.0/8", "203.0.0.0/8"] {
        house
            .within
            .ip(&format!("route add local {network} dev lo src {ours}"));
    }
    for network in ["fd00::/16", "2001::/16"] {
        house
            .within
            .ip(&format!("-6 route add local {network} dev lo"));
    }
    let mut sockets: HashMap<IpAddr, UdpSocket> = HashMap::new();
    let (mut cases, mut denied) = (0, 0);
    for (at, names) in held.iter().enumerate() {
        for _ in 0..ADDRESSES {
            let from = address(&mut dice);
            let wanted = names
                .iter()
                .any(|name| lists[name].decide(from).sense == Sense::Deny);
            let socket = sockets.entry(from).or_insert_with(|| {
                // What a loopback address answers goes to no other address.
                let to = match from {
                    IpAddr::V4(_) => format!("{}:5060", house.exchange.address4()),
                    IpAddr::V6(_) => format!("[{}]:5060", house.exchange.address6()),
                };
                house
                    .within
                    .forger(&from.to_string(), to.parse::<SocketAddr>().unwrap())
            });
            let status = options(socket, &format!("oracle{at}"), from);
            assert_eq!(
                status == 401,
                wanted,
                "{from} at {names:?}: {status}\n{acl}"
            );
            cases += 1;
            denied += usize::from(wanted);
        }
    }
    println!(
        "{cases} verdicts, {denied} of them to keep out, from {} addresses",
        sockets.len()
    );
    assert!(cases >= 10_000 && denied > cases / 10 && denied < cases * 9 / 10);
    // The rules themselves, as Asterisk shows them.
    let names: Vec<&String> = lists.keys().collect();
    let shown = all_shown(&house, &names);
    for name in names {
        assert_eq!(shown.get(name), Some(&lists[name].shown()), "{name}");
    }
}

/// The status of the answer to OPTIONS of that user.
fn options(socket: &UdpSocket, user: &str, from: IpAddr) -> u16 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let via = match from {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let message = format!(
        "OPTIONS sip:nobody@localhost SIP/2.0\r\nVia: SIP/2.0/UDP {via}:5060;rport;branch=z9hG4bKo{count}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@localhost>;tag=t{count}\r\nTo: <sip:nobody@localhost>\r\nCall-ID: o{count}\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:{user}@{via}>\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send(message.as_bytes()).unwrap();
    let mut buffer = [0; 8192];
    let mut tries = 1;
    loop {
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            // As a phone does: it may have read its configuration meanwhile.
            Err(_) if tries < 3 => {
                tries += 1;
                socket.send(message.as_bytes()).unwrap();
                continue;
            }
            Err(error) => panic!("{user} from {from}: {error}"),
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.contains(&format!("Call-ID: o{count}\r\n")) {
            return text.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

/// What `acl show` prints of each list, without the numbers; nothing of those that are not there.
fn all_shown(house: &House, names: &[&String]) -> HashMap<String, Vec<String>> {
    let words: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for some in words.chunks(200) {
        let script = format!(
            "for name in {}; do asterisk -rx \"acl show $name\"; done",
            some.join(" ")
        );
        let mut current = None;
        for line in house.exchange.shell(&script).lines() {
            if let Some(name) = line.strip_prefix("ACL: ") {
                let name = name.trim_end_matches(" (realtime)").to_owned();
                found.insert(name.clone(), Vec::new());
                current = Some(name);
            } else if let (Some(name), Some((_, rule))) = (&current, line.split_once(": ")) {
                found.get_mut(name).unwrap().push(respelt(rule));
            }
        }
    }
    found
}

/// A rule in a form that hardly anybody writes.
fn odd(dice: &mut Dice) -> String {
    let address = match dice.below(4) {
        0 => address(dice).to_string(),
        1 => format!("[{}]", address(dice)),
        2 => dice
            .pick(&[
                "10.1",
                "10",
                "0x0a.1.2.3",
                "010.1.2.3",
                "10.1.2.256",
                "1.2.3.4.5",
                "",
                " 10.0.0.1",
                "10.0.0.1 ",
                "10.0.0.1:5060",
                "::ffff:10.0.0.1",
                "fe80::1",
                "::",
                "::1",
                "[::1",
                "[::1]:5060",
                "[10.0.0.1]",
                "office",
                "4294967295",
                "4294967296",
                "10..1",
                "0",
                "2001:db8::g",
                "1:2:3:4:5:6:7",
                "08.1.1.1",
                "0x.1",
                "!10.0.0.1",
                "::10.0.0.1",
                "10.0.0.1x",
            ])
            .to_owned(),
        _ => format!("{}.{}", dice.below(300), dice.below(70_000)),
    };
    let mask = dice.pick(&[
        "",
        "",
        "",
        "/8",
        "/0",
        "/32",
        "/33",
        "/128",
        "/129",
        "/-1",
        "/+8",
        "/ 8",
        "/8x",
        "/x",
        "/",
        "/8/8",
        "/255.0.0.0",
        "/255.0.255.0",
        "/ffff::",
        "/0x8",
        "/4294967304",
        "/99999999999999999999",
        "/::ffff:255.0.0.0",
        "/[ffff::]",
        "/255.0",
        "/1.",
        "/.",
        "/:",
        "/08",
    ]);
    let turned = dice.pick(&["", "", "!", "!!"]);
    let one = format!("{turned}{address}{mask}");
    match dice.below(6) {
        0 => format!("{one},10.0.0.0/8"),
        1 => format!("10.0.0.0/8,{one}"),
        _ => one,
    }
}

#[test]
fn odd_forms_are_taken_or_refused_as_asterisk_does() {
    let mut dice = Dice::new();
    let house = House::start(&Kept::Sqlite);
    let rules: Vec<(String, String, &str)> = (0..FORMS)
        .map(|at| {
            (
                format!("odd{at}"),
                odd(&mut dice),
                dice.pick(&["permit", "deny"]),
            )
        })
        .collect();
    let rows = rules.iter().map(|(name, rule, sense)| {
        format!("INSERT INTO acls VALUES ('{name}', 1, '{sense}', '{rule}');\n")
    });
    let statements = format!("BEGIN;\n{}COMMIT;", rows.collect::<String>());
    super::house::sql(
        &house.volume,
        "/srv/var/lib/asterisk/lists.sqlite3",
        &statements,
    );
    let names: Vec<&String> = rules.iter().map(|(name, ..)| name).collect();
    let shown = all_shown(&house, &names);
    let mut taken = 0;
    for (name, rule, sense) in &rules {
        let row = Row {
            rule_order: 1,
            sense: (*sense).to_owned(),
            rule: rule.clone(),
        };
        let ours = of_rows("acls", name, &[row])
            .ok()
            .flatten()
            .map(|list| list.shown());
        assert_eq!(shown.get(name), ours.as_ref(), "{sense} {rule:?}");
        taken += usize::from(ours.is_some());
    }
    println!("{FORMS} forms, {taken} of them taken");
    assert!(taken > FORMS / 10 && taken < FORMS);
}
