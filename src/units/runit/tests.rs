use proptest::prelude::*;

use super::*;

fn directory(path: &str, files: &[(&str, u32, &str)]) -> RunitDirectory {
    RunitDirectory {
        path: path.to_owned(),
        home: path.to_owned(),
        files: files
            .iter()
            .map(|(name, mode, text)| {
                let file = RunitFile {
                    mode: *mode,
                    bytes: text.as_bytes().to_vec(),
                };
                ((*name).to_owned(), file)
            })
            .collect(),
        directories: BTreeMap::new(),
    }
}

const SCRIPT: &str = "#!/bin/sh\nexec true\n";

fn shown(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_full_directory_becomes_a_spec() {
    let mut it = directory(
        "/etc/service/sshd",
        &[
            ("run", 0o755, SCRIPT),
            ("finish", 0o755, SCRIPT),
            ("check", 0o755, SCRIPT),
            ("down", 0o644, ""),
        ],
    );
    let env = directory(
        "/etc/service/sshd/env",
        &[
            ("A", 0o644, "one \t\nsecond line\n"),
            ("B", 0o644, "x\0y"),
            ("C", 0o644, "\n"),
            (".hidden", 0o644, "x"),
        ],
    );
    let log = directory("/etc/service/sshd/log", &[("run", 0o755, SCRIPT)]);
    it.directories.insert("env".into(), env);
    it.directories.insert("log".into(), log);
    let (spec, _) = read("sshd", &it);
    let spec = spec.unwrap();
    assert_eq!(spec.command, ["/etc/service/sshd/run"]);
    assert_eq!(spec.working_directory.as_deref(), Some("/etc/service/sshd"));
    assert_eq!(spec.restart, Restart::Always);
    assert_eq!(spec.finish.unwrap(), ["/etc/service/sshd/finish"]);
    assert_eq!(spec.check.unwrap(), ["/etc/service/sshd/check"]);
    assert!(!spec.starts);
    let pairs = [("A", "one"), ("B", "x\ny"), ("C", "")];
    assert_eq!(
        spec.environment,
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(spec.log_service.as_deref(), Some("sshd-log"));
    let log = read_log("sshd", &it).unwrap().0.unwrap();
    assert_eq!(log.command, ["/etc/service/sshd/log/run"]);
    assert!(spec.after.contains(&log.name));
}

#[test]
fn what_cannot_run_is_told() {
    let files: [&[(&str, u32, &str)]; 5] = [
        &[("finish", 0o755, SCRIPT)],
        &[("run", 0o644, SCRIPT)],
        &[("run", 0o755, "exec true\n")],
        &[("run", 0o755, "#!/bin/sh\r\nexec true\r\n")],
        &[("run", 0o600, "")],
    ];
    let all: Vec<String> = files
        .iter()
        .map(|files| {
            let (spec, findings) = read("a", &directory("a", files));
            assert!(spec.is_none());
            let errors: Vec<Finding> = findings
                .into_iter()
                .filter(|finding| finding.severity == Severity::Error)
                .collect();
            shown(&errors)
        })
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    a/run: there is no such file: there is nothing to run
    a/run: not executable; `chmod +x` makes it so
    a/run:1: neither a program nor a script that begins with `#!`
    a/run:1: the line ends in a carriage return, which the kernel takes for a part of the program's name
    a/run: not executable; `chmod +x` makes it so
    a/run:1: neither a program nor a script that begins with `#!`
    ");
}

#[test]
fn scripts_without_a_run_bit_are_not_run() {
    let it = directory("a", &[("run", 0o755, SCRIPT), ("check", 0o644, SCRIPT)]);
    let (spec, findings) = read("a", &it);
    assert_eq!(spec.unwrap().check, None);
    assert!(shown(&findings).starts_with("a/check: `check` is not executable"));
}

#[test]
fn controls_and_the_notification_descriptor_are_read() {
    let mut it = directory(
        "a",
        &[
            ("run", 0o755, SCRIPT),
            ("check", 0o755, SCRIPT),
            ("notification-fd", 0o644, "4\n"),
        ],
    );
    let control = directory(
        "a/control",
        &[
            ("t", 0o755, SCRIPT),
            ("u", 0o755, SCRIPT),
            ("h", 0o644, SCRIPT),
            ("xyz", 0o755, SCRIPT),
        ],
    );
    it.directories.insert("control".into(), control);
    let (spec, findings) = read("a", &it);
    let spec = spec.unwrap();
    assert_eq!(spec.control, [('t', vec!["a/control/t".to_owned()])]);
    assert_eq!(spec.before_start[0].words, ["a/control/u"]);
    assert_eq!(spec.notification_descriptor, Some(4));
    assert_eq!(spec.readiness, Readiness::Notify);
    insta::assert_snapshot!(shown(&findings), @r"
    a/control/h: not executable and not run; `chmod +x` makes it so
    a/control/xyz: there is no such control; ignored
    ");
    it.files.get_mut("notification-fd").unwrap().bytes = b"three".to_vec();
    assert!(read("a", &it).0.is_none());
}

proptest! {
    #[test]
    fn a_spec_means_an_executable_run_and_no_error(
        mode in 0u32..0o1000,
        head in prop::sample::select(vec!["#!/bin/sh\n", "", "#!", "\x7fELF", "x"]),
        names in prop::collection::vec("[A-Za-z.=]{1,6}", 0..4),
        value in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut it = directory("a", &[("run", mode, head)]);
        let mut env = directory("a/env", &[]);
        for name in names {
            env.files.insert(name, RunitFile { mode: 0o644, bytes: value.clone() });
        }
        it.directories.insert("env".into(), env);
        let (spec, findings) = read("a", &it);
        let has_error = findings.iter().any(|f| f.severity == Severity::Error);
        prop_assert_eq!(spec.is_some(), !has_error);
        if let Some(spec) = spec {
            prop_assert!(mode & 0o111 != 0);
            let clean = |(name, value): &(String, String)| !name.contains('=') && !value.contains('\0');
            prop_assert!(spec.environment.iter().all(clean));
        }
    }
}
