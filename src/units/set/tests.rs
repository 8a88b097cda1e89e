use super::*;
use crate::units::runit::RunitFile;

fn units(texts: &[(&str, &str)]) -> Vec<UnitText> {
    texts
        .iter()
        .map(|(name, text)| UnitText {
            file_name: (*name).to_owned(),
            sources: vec![Source {
                file: format!("/u/{name}"),
                text: (*text).to_owned(),
            }],
        })
        .collect()
}

fn directory(name: &str) -> (String, RunitDirectory) {
    let run = RunitFile {
        mode: 0o755,
        bytes: b"#!/bin/sh\n".to_vec(),
    };
    let directory = RunitDirectory {
        path: format!("/etc/service/{name}"),
        home: format!("/etc/service/{name}"),
        files: [("run".to_owned(), run)].into(),
        ..RunitDirectory::default()
    };
    (name.to_owned(), directory)
}

fn read(texts: &[(&str, &str)], runit: &[&str]) -> (UnitSet, String) {
    let units = units(texts);
    let runit = runit.iter().map(|name| directory(name)).collect();
    let (set, findings) = read_all(Origins {
        units: &units,
        runit: &runit,
    });
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    (set, lines.join("\n"))
}

const PLAIN: &str = "[Service]\nExecStart=/bin/a\n";

#[test]
fn before_is_the_others_after() {
    let early = format!("[Unit]\nBefore=b.service\n{PLAIN}");
    let (set, _) = read(&[("a.service", &early), ("b.service", PLAIN)], &[]);
    assert_eq!(set.services[1].after, ["a"]);
}

#[test]
fn directories_and_units_become_services_alike() {
    let (set, said) = read(&[("a.service", PLAIN)], &["b"]);
    assert_eq!(said, "");
    let names: Vec<&str> = set.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn what_does_not_fit_together_is_told_with_file_and_line() {
    let (set, said) = read(
        &[
            (
                "a.service",
                "[Unit]\nRequires=ghost.service\n[Service]\nExecStart=/bin/a\nSockets=none.socket\n",
            ),
            (
                "a.socket",
                "[Socket]\nListenStream=/var/run/a.ctl\nListenStream=127.0.0.1:80\n",
            ),
            (
                "b.socket",
                "[Socket]\nService=ghost.service\nListenStream=/run/b\n",
            ),
            (
                "c.socket",
                "[Socket]\nService=a.service\nListenStream=/run/a.ctl\nListenStream=127.0.0.1:80\n",
            ),
            ("a.socket", "[Socket]\nListenStream=1\n"),
            ("t.timer", "[Timer]\nOnCalendar=daily\nUnit=ghost.service\n"),
        ],
        &["a"],
    );
    assert_eq!(set.services[0].sockets, ["a"]);
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.contains("is ignored"))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    /u/a.socket: a unit of this name was read before
    /etc/service/a: the service `a` is also defined by `/u/a.service`; keep one of them
    /u/a.service:5: there is no socket unit `none`
    /u/b.socket:2: no service `ghost` takes this socket; it is not bound
    /u/c.socket:3: `a.socket` listens there already; ignored
    /u/c.socket:4: `a.socket` listens there already; ignored
    /u/a.service:2: it requires `ghost`, which does not exist or cannot be used
    /u/t.timer:3: there is no service `ghost` for it to start
    ");
}

#[test]
fn what_a_timer_starts_is_not_started_with_the_rest() {
    let (set, said) = read(
        &[
            ("t.service", PLAIN),
            ("t.timer", "[Timer]\nOnCalendar=daily\n"),
        ],
        &[],
    );
    assert_eq!(set.timers.len(), 1);
    assert!(!set.services.iter().any(|service| service.starts));
    assert_eq!((set.services.len(), said.as_str()), (1, ""));
}

#[test]
fn the_pbx_own_spelling_of_an_address_wins() {
    let (set, said) = read(
        &[
            ("pbx.service", PLAIN),
            (
                "pbx-cli.socket",
                "[Socket]\nService=pbx.service\nX-Role=pbx\nListenStream=/run/pbx/ctl\n",
            ),
            (
                "pbx-web.socket",
                "[Socket]\nService=pbx.service\nX-Role=pbx\nListenStream=127.0.0.1:80\n",
            ),
            (
                "pbx.socket",
                "[Socket]\nListenStream=/var/run/pbx/ctl\nListenStream=0.0.0.0:80\nListenStream=81\nSocketMode=0600\n",
            ),
            (
                "ghost-cli.socket",
                "[Socket]\nService=ghost.service\nX-Role=pbx\nListenStream=1\n",
            ),
        ],
        &[],
    );
    let sockets: Vec<String> = set
        .sockets
        .iter()
        .flat_map(|socket| {
            socket
                .listeners
                .iter()
                .map(|l| format!("{} {l}", socket.name))
        })
        .collect();
    // The hand-written unit keeps its owner and mode; only the name is the PBX's.
    assert_eq!(
        sockets,
        [
            "pbx-web tcp 127.0.0.1:80",
            "pbx /run/pbx/ctl",
            "pbx tcp [::]:81"
        ]
    );
    assert_eq!(set.services[0].sockets, ["pbx-web", "pbx"]);
    insta::assert_snapshot!(said, @r"
    /u/pbx.socket:2: bound as `/run/pbx/ctl`, for `pbx` takes its socket by that name only
    /u/pbx.socket:3: not bound: by its configuration `pbx` listens on `tcp 127.0.0.1:80`, and takes no other
    ");
}

#[test]
fn a_connection_starts_what_is_not_installed_and_has_a_socket_of_its_own() {
    let installed = format!("{PLAIN}[Install]\nWantedBy=multi-user.target\n");
    let log = format!("{PLAIN}X-Role=log\n");
    let socket = "[Socket]\nListenStream=/run/NAME\n";
    let generated = "[Socket]\nX-Role=pbx\nListenStream=/run/pbx\n";
    let named = |name: &str| socket.replace("NAME", name);
    let (set, said) = read(
        &[
            ("demand.service", PLAIN),
            ("demand.socket", &named("demand")),
            ("fixed.service", &installed),
            ("fixed.socket", &named("fixed")),
            ("logd.service", &log),
            ("logd.socket", &named("logd")),
            ("pbx.service", PLAIN),
            ("pbx.socket", generated),
            ("plain.service", PLAIN),
        ],
        &[],
    );
    assert_eq!(said, "");
    for service in &set.services {
        let is_demand = service.name == "demand";
        assert_eq!(
            (service.on_demand, service.starts),
            (is_demand, !is_demand),
            "{}",
            service.name
        );
    }
}
