//! Every case with a listener was run with Asterisk 22.10.1 and its listeners read from /proc/net/tcp and tcp6.

use proptest::prelude::*;

use super::*;
use crate::units::socket_file;
use crate::units::unit_file::Source;

fn world(test: impl FnOnce(&World<'_>)) {
    let hosts = |name: &str| match name {
        "one" => vec!["127.0.0.1".parse().unwrap()],
        "localhost" => vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        _ => vec![],
    };
    let has_certificate = |certificate: &str, key: &str| {
        (certificate, key) == ("/c.pem", "/k.pem") || (certificate, key) == ("/ck.pem", "/ck.pem")
    };
    test(&World {
        hosts: &hosts,
        has_certificate: &has_certificate,
    });
}

fn shown(plan: &Plan) -> String {
    let sockets = plan.sockets.iter().filter(|socket| socket.what != "cli");
    let all: Vec<String> = sockets
        .map(|socket| format!("{} {}", socket.what, socket.listen))
        .collect();
    all.join(", ")
}

fn with_manager(lines: &str) -> Plan {
    let mut found = Plan::default();
    let texts = Texts {
        manager: Some(format!("[general]\n{}", lines.replace("; ", "\n"))),
        ..Texts::default()
    };
    world(|world| found = plan(Pbx::Asterisk, &texts, world));
    found
}

fn with_http(lines: &str) -> Plan {
    let mut found = Plan::default();
    let texts = Texts {
        http: Some(format!("[general]\n{}", lines.replace("; ", "\n"))),
        ..Texts::default()
    };
    world(|world| found = plan(Pbx::Asterisk, &texts, world));
    found
}

const PAIR: &str = "tlscertfile=/c.pem; tlsprivatekey=/k.pem";

#[test]
fn the_manager_interface_listens_where_asterisk_was_seen_to() {
    for (lines, expected) in [
        ("", ""),
        ("enabled=no", ""),
        ("enabled=2", ""),
        ("enabled=yes", "ami tcp [::]:5038"),
        ("enabled=on", "ami tcp [::]:5038"),
        ("enabled=T", "ami tcp [::]:5038"),
        (
            "enabled=yes; bindaddr=0.0.0.0; port=6000",
            "ami tcp 0.0.0.0:6000",
        ),
        (
            "enabled=yes; port=6000; bindaddr=127.0.0.1:7000",
            "ami tcp 127.0.0.1:6000",
        ),
        ("enabled=yes; bindport=6001", "ami tcp [::]:5038"),
        ("enabled=yes; bindaddr=[::]:7777", "ami tcp [::]:5038"),
        (
            "enabled=yes; bindaddr=nonsense.invalid",
            "ami tcp [::]:5038",
        ),
        ("enabled=yes; bindaddr=one", "ami tcp [::]:5038"),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindaddr=one",
            "ami tcp 127.0.0.1:5038",
        ),
        (
            "enabled=no\n[general](+); enabled=yes; bindaddr=127.0.0.1",
            "ami tcp 127.0.0.1:5038",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1\n[general]; bindaddr=127.0.0.2",
            "ami tcp 127.0.0.1:5038",
        ),
        ("enabled=yes\n[other](!); port=6100", "ami tcp [::]:5038"),
        ("enabled=no; webenabled=yes", ""),
    ] {
        assert_eq!(shown(&with_manager(lines)), expected, "{lines}");
    }
}

#[test]
fn the_manager_interface_over_tls() {
    let base = format!("enabled=yes; bindaddr=127.0.0.1; tlsenable=yes; {PAIR}");
    for (more, expected) in [
        ("", "127.0.0.1:5039"),
        ("tlsbindaddr=127.0.0.2:6039", "127.0.0.2:6039"),
        ("tlsbindaddr=127.0.0.2", "127.0.0.2:5039"),
        ("tlsbindaddr=0.0.0.0", "0.0.0.0:5039"),
        ("tlsbindport=6040", "127.0.0.1:5039"),
        ("tlsbindaddr=127.0.0.2:5038", "127.0.0.2:5039"),
        ("tlsbindaddr=localhost:6039", "127.0.0.1:5039"),
    ] {
        let expected = format!("ami tcp 127.0.0.1:5038, amis tcp {expected}");
        assert_eq!(
            shown(&with_manager(&format!("{base}; {more}"))),
            expected,
            "{more}"
        );
    }
    assert_eq!(shown(&with_manager(&format!("tlsenable=yes; {PAIR}"))), "");
}

#[test]
fn the_web_server_needs_an_address() {
    for (lines, expected) in [
        ("", ""),
        ("enabled=yes", ""),
        ("bindaddr=127.0.0.1", ""),
        ("ENABLED=Yes; BindAddr=127.0.0.1", "http tcp 127.0.0.1:8088"),
        (
            "enabled=yes; bindaddr=127.0.0.1:9000",
            "http tcp 127.0.0.1:9000",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1:9000; bindport=9001",
            "http tcp 127.0.0.1:9000",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindport=99999",
            "http tcp 127.0.0.1:8088",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindport=0",
            "http tcp 127.0.0.1:8088",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindport=80",
            "http tcp 127.0.0.1:80",
        ),
        ("enabled=yes; bindaddr=::", "http tcp [::]:8088"),
        ("enabled=yes; bindaddr=one", "http tcp 127.0.0.1:8088"),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindaddr=127.0.0.2",
            "http tcp 127.0.0.2:8088",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindaddr=nonsense.invalid",
            "",
        ),
    ] {
        assert_eq!(shown(&with_http(lines)), expected, "{lines}");
    }
}

#[test]
fn the_web_server_over_tls() {
    for (lines, expected) in [
        (
            "enabled=yes; bindaddr=127.0.0.1",
            "http tcp 127.0.0.1:8088, https tcp 127.0.0.1:8089",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; bindport=9005; tlsbindaddr=0.0.0.0",
            "http tcp 127.0.0.1:9005, https tcp 0.0.0.0:8089",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; tlsbindaddr=0.0.0.0:8443",
            "http tcp 127.0.0.1:8088, https tcp 0.0.0.0:8443",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; tlsbindport=8444",
            "http tcp 127.0.0.1:8088, https tcp 127.0.0.1:8089",
        ),
        (
            "enabled=yes; bindaddr=127.0.0.1; tlsbindaddr=localhost:8445",
            "http tcp 127.0.0.1:8088, https tcp 127.0.0.1:8089",
        ),
        (
            "enabled=yes; tlsbindaddr=127.0.0.1",
            "https tcp 127.0.0.1:8089",
        ),
        (
            "enabled=no; bindaddr=127.0.0.1; tlsbindaddr=127.0.0.1:8443",
            "https tcp 127.0.0.1:8443",
        ),
        ("enabled=yes", ""),
    ] {
        let plan = with_http(&format!("{lines}; tlsenable=yes; {PAIR}"));
        assert_eq!(shown(&plan), expected, "{lines}");
    }
    let old_names = "enabled=yes; bindaddr=127.0.0.1; sslenable=yes; sslbindaddr=127.0.0.4:8446; sslcert=/ck.pem";
    assert_eq!(
        shown(&with_http(old_names)),
        "http tcp 127.0.0.1:8088, https tcp 127.0.0.4:8446"
    );
}

#[test]
fn what_is_not_certain_is_left_to_the_pbx_and_told() {
    for (plan, held, word) in [
        (with_manager("enabled=yes; port=80"), "", "`80`"),
        (with_manager("enabled=yes; port=abc"), "", "`abc`"),
        (
            with_manager("enabled=yes; bindaddr=::1"),
            "",
            "[::1]:5038 (ami)",
        ),
        (
            with_http("enabled=yes; bindaddr=localhost"),
            "",
            "`localhost`",
        ),
        (
            with_http("enabled=yes; bindaddr=nowhere:80"),
            "",
            "`nowhere:80`",
        ),
        (
            with_http("enabled=yes; bindaddr=127.0.0.1; tlsenable=yes; tlscertfile=/c.pem"),
            "http tcp 127.0.0.1:8088",
            "http.conf: TLS",
        ),
        (
            with_manager("enabled=yes; bindaddr=127.0.0.1; tlsenable=yes"),
            "ami tcp 127.0.0.1:5038",
            "manager.conf: TLS",
        ),
    ] {
        assert_eq!(shown(&plan), held);
        assert_eq!(plan.notes.len(), 1, "{:?}", plan.notes);
        assert!(plan.notes[0].contains(word), "{:?}", plan.notes);
    }
}

#[test]
fn a_template_gives_its_values_first() {
    let text = "[base](!)\nenabled=yes\nbindaddr=127.0.0.1\nbindport=9000\n[general](base)\nbindport=9001\n";
    let texts = Texts {
        http: Some(text.to_owned()),
        ..Texts::default()
    };
    world(|world| {
        let plan = plan(Pbx::Asterisk, &texts, world);
        assert_eq!(shown(&plan), "http tcp 127.0.0.1:9001");
    });
    // So does a tower of templates that would be taller than the age of the world.
    let mut tower = "[t0](!)\nx=1\n".to_owned();
    for floor in 1..40 {
        let below = vec![format!("t{}", floor - 1); 50].join(",");
        tower.push_str(&format!("[t{floor}](!,{below})\n"));
    }
    tower.push_str("[general](t39)\nx=2\n");
    assert_eq!(Settings::read(&tower, "general").last(&["x"]), Some("2"));
    // A ring of templates ends.
    assert!(
        Settings::read("[a](!,a)\nx=1\n[general](a)\n", "general")
            .last(&["x"])
            .is_some()
    );
}

fn console_of(pbx: Pbx, main: &str) -> Socket {
    console(pbx, Some(main))
}

#[test]
fn the_console_is_named_as_the_pbx_spells_it() {
    let path = |pbx, main: &str| console_of(pbx, main).listen.to_string();
    assert_eq!(path(Pbx::Asterisk, ""), "/var/run/asterisk/asterisk.ctl");
    assert_eq!(path(Pbx::Gabpbx, ""), "/var/run/gabpbx/gabpbx.ctl");
    let named = "[directories]\nastrundir => /run/asterisk\n";
    assert_eq!(path(Pbx::Asterisk, named), "/run/asterisk/asterisk.ctl");
    // Debian's sample begins with `[directories](!)`, which switches the section off.
    let off = "[directories](!)\nastrundir => /run/asterisk\n";
    assert_eq!(path(Pbx::Asterisk, off), "/var/run/asterisk/asterisk.ctl");
    let file = "[directories]\nastrundir => /run/a\n[files]\nastctl = foo.ctl\n";
    assert_eq!(path(Pbx::Asterisk, file), "/run/a/foo.ctl");
}

#[test]
fn units_carry_owner_and_mode_of_the_console_only() {
    let main = "[files]\nastctlpermissions = 0666\nastctlgroup = operators\nastctlowner = a b\n";
    let console = console_of(Pbx::Asterisk, main);
    insta::assert_snapshot!(unit_text(&console, Pbx::Asterisk, Some("asterisk")), @r"
    # Made at each start from the configuration of Asterisk; a file of the same name in /srv/etc/units replaces it.
    [Socket]
    Service=asterisk.service
    X-Role=pbx
    ListenStream=/var/run/asterisk/asterisk.ctl
    Backlog=1024
    SocketUser=asterisk
    SocketGroup=operators
    SocketMode=0666
    ");
    let plan = with_http("enabled=yes; bindaddr=::");
    insta::assert_snapshot!(unit_text(&plan.sockets[1], Pbx::Gabpbx, None), @r"
    # Made at each start from the configuration of GABpbx; a file of the same name in /srv/etc/units replaces it.
    [Socket]
    Service=gabpbx.service
    X-Role=pbx
    ListenStream=[::]:8088
    Backlog=1024
    FreeBind=yes
    ");
}

/// What PID 1 makes of a generated unit.
fn read_back(socket: &Socket) -> (Vec<Listen>, Vec<crate::units::spec::Finding>) {
    let source = Source {
        file: "x.socket".to_owned(),
        text: unit_text(socket, Pbx::Asterisk, Some("asterisk")),
    };
    let (spec, findings) = socket_file::read("x", &[source]);
    (
        spec.map(|spec| spec.listeners).unwrap_or_default(),
        findings,
    )
}

#[test]
fn a_name_that_no_socket_can_have_is_left_to_the_pbx() {
    let long = format!("/{}", "x".repeat(100));
    for directory in ["run", "@x", "", long.as_str()] {
        let main = format!("[directories]\nastrundir => {directory}\n");
        let texts = Texts {
            main: Some(main),
            ..Texts::default()
        };
        world(|world| {
            let plan = plan(Pbx::Asterisk, &texts, world);
            // An empty directory is the root, which is a place like any other.
            assert_eq!(
                plan.sockets.is_empty(),
                !directory.is_empty(),
                "{directory}"
            );
            assert_eq!(plan.notes.len(), usize::from(!directory.is_empty()));
        });
    }
}

proptest! {
    /// A generated unit with a mistake would end the start of the exchange.
    #[test]
    fn every_generated_unit_is_read_back_as_it_was_meant(
        directory in "[/a-z%@$; \\\\\"'#\\[\\]=:.-]{0,40}",
        file in "[/a-z%@$; \\\\\"'#=.-]{0,20}",
        owner in "[a-z%$ .]{0,8}",
        mode in "[0-9]{0,5}",
        manager in "(enabled|bindaddr|port|tlsenable|tlsbindaddr)=[0-9a-z:.\\[\\]]{0,20}",
        http in "(bindaddr|bindport|tlsenable|tlsbindaddr)=[0-9a-z:.\\[\\]]{0,20}",
    ) {
        let texts = Texts {
            main: Some(format!(
                "[directories]\nastrundir => {directory}\n[files]\nastctl={file}\nastctlowner={owner}\nastctlpermissions={mode}\n"
            )),
            manager: Some(format!("[general]\nenabled=yes\n{manager}\n{PAIR_LINES}")),
            http: Some(format!("[general]\nenabled=yes\n{http}\n{PAIR_LINES}")),
        };
        let mut found = Plan::default();
        world(|world| found = plan(Pbx::Asterisk, &texts, world));
        for socket in &found.sockets {
            let (listeners, findings) = read_back(socket);
            prop_assert!(findings.is_empty(), "{findings:?}");
            prop_assert_eq!(&listeners, std::slice::from_ref(&socket.listen));
        }
    }
}

const PAIR_LINES: &str = "tlscertfile=/c.pem\ntlsprivatekey=/k.pem\n";
