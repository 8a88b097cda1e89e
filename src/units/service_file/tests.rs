use super::*;

fn source(text: &str) -> Vec<Source> {
    vec![Source {
        file: "a.service".to_owned(),
        text: text.to_owned(),
    }]
}

#[test]
fn a_full_unit_becomes_a_spec() {
    let (spec, findings) = read(
        "asterisk",
        &source(
            "[Unit]\nAfter=network.target logd.service\n[Service]\nType=notify\nUser=asterisk\n\
             ExecStart=/usr/sbin/asterisk -f -C '/etc/a b'\nRestart=always\nLimitCORE=infinity\n\
             RuntimeDirectory=asterisk\nRuntimeDirectoryMode=0750\nTimeoutStopSec=5\nStandardOutput=null\n",
        ),
    );
    let spec = spec.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(spec.command, ["/usr/sbin/asterisk", "-f", "-C", "/etc/a b"]);
    assert_eq!(spec.after, ["logd"]);
    assert_eq!(spec.readiness, Readiness::Notify);
    assert_eq!(spec.stop_timeout, Duration::from_secs(5));
    assert_eq!(spec.runtime_directories[0].mode, 0o750);
    assert_eq!(spec.stdout, Output::Null);
}

#[test]
fn what_would_weaken_security_is_an_error_and_the_rest_is_named() {
    let (spec, findings) = read(
        "a",
        &source("[Service]\nExecStart=/bin/a\nDynamicUser=yes\nPrivateTmp=yes\nFrobnicate=1\n"),
    );
    assert!(spec.is_none());
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    a.service:3: `DynamicUser=` is refused: name a user with `User=`
    a.service:4: `PrivateTmp=` is ignored: the container is the sandbox
    a.service:5: `Frobnicate=` is not a directive that we know; ignored
    ");
}

#[test]
fn a_unit_without_a_command_is_an_error() {
    let (spec, findings) = read("a", &source("[Service]\nType=notify\n"));
    assert!(spec.is_none());
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_drop_in_overrides_the_file() {
    let mut sources = source("[Service]\nExecStart=/bin/a\nRestart=no\nEnvironment=A=1 B=2\n");
    sources.push(Source {
        file: "a.service.d/x.conf".to_owned(),
        text: "[Service]\nRestart=always\nEnvironment=A=3\n".to_owned(),
    });
    let spec = read("a", &sources).0.unwrap();
    assert_eq!(spec.restart, Restart::Always);
    assert_eq!(
        spec.environment,
        [("B".into(), "2".into()), ("A".into(), "3".into())]
    );
}

/// Reads `[Service]` lines whose directives may be ignored, and one that is refused by its parser alone.
fn spec_of(lines: &str) -> ServiceSpec {
    let (spec, findings) = read(
        "a",
        &source(&format!("[Service]\nExecStart=/bin/a\n{lines}")),
    );
    spec.unwrap_or_else(|| panic!("{findings:?}"))
}

fn assigned(key: &str, value: &str) -> Result<ServiceSpec, String> {
    let mut spec = ServiceSpec::new("a", vec!["/bin/a".into()]);
    let assignment = Assignment {
        section: "Service".into(),
        key: key.into(),
        value: value.into(),
        file: "a.service".into(),
        line: 1,
        obeyed: true,
    };
    assign(&mut spec, &mut 0, &assignment).map(|()| spec)
}

#[test]
fn the_life_of_a_service_is_read() {
    let spec = spec_of(
        "RemainAfterExit=yes\nSuccessExitStatus=3 SIGUSR1\nRestartPreventExitStatus=CONFIG\n\
         RestartForceExitStatus=SIGABRT\nWatchdogSec=20\nNotifyAccess=all\nKillSignal=SIGINT\n\
         KillMode=mixed\nOOMScoreAdjust=-500\nNice=-5\nStartLimitBurst=4\nFileDescriptorStoreMax=8\n\
         PassEnvironment=TZ LANG\n",
    );
    assert!(spec.remain_after_exit);
    assert_eq!(spec.success_exit.codes, [3]);
    assert_eq!(spec.success_exit.signals, [10]);
    assert_eq!(spec.prevent_restart.codes, [78]);
    assert_eq!(spec.force_restart.signals, [6]);
    assert_eq!(spec.watchdog, Some(Duration::from_secs(20)));
    assert_eq!(spec.notify_access, NotifyAccess::All);
    assert_eq!(spec.kill_signal, 2);
    assert_eq!(spec.kill_mode, KillMode::Mixed);
    assert_eq!(spec.oom_score_adjust, Some(-500));
    assert_eq!(spec.nice, Some(-5));
    assert_eq!(spec.start_limit_burst, Some(4));
    assert_eq!(spec.descriptor_store, 8);
    assert_eq!(spec.pass_environment, ["TZ", "LANG"]);
}

#[test]
fn surroundings_are_read() {
    let file = &assigned("EnvironmentFile", "-/etc/default/a")
        .unwrap()
        .environment_files[0];
    assert!(file.optional && file.path == "/etc/default/a");
    assert_eq!(
        assigned("UnsetEnvironment", "A B=1")
            .unwrap()
            .unset_environment,
        ["A", "B=1"]
    );
    assert_eq!(
        assigned("ConditionPathExists", "!/srv/x")
            .unwrap()
            .conditions
            .len(),
        1
    );
    assert_eq!(
        assigned("ConditionEnvironment", "A")
            .unwrap()
            .conditions
            .len(),
        1
    );
}

#[test]
fn bad_values_are_named() {
    for (key, value) in [
        ("KillMode", "gently"),
        ("KillSignal", "SIGSTOPPED"),
        ("NotifyAccess", "everybody"),
        ("Nice", "20"),
        ("OOMScoreAdjust", "-1001"),
        ("EnvironmentFile", "relative"),
        ("PassEnvironment", "A=1"),
        ("RestartPreventExitStatus", "999"),
        ("ConditionPathExists", "relative"),
        ("StartLimitBurst", "-1"),
    ] {
        let problem = assigned(key, value).unwrap_err();
        assert!(problem.contains(value), "{key}: {problem}");
    }
}

#[test]
fn a_bad_value_of_an_ignored_directive_does_no_harm() {
    let (spec, findings) = read(
        "a",
        &source("[Service]\nExecStart=/bin/a\nSyslogIdentifier=%q\n"),
    );
    assert!(spec.is_some());
    assert_eq!(findings.len(), 1);
}

#[test]
fn commands_are_listed_taken_back_and_marked() {
    let read_unit = |text: &str| {
        let source = Source {
            file: "a".into(),
            text: format!("[Service]\n{text}"),
        };
        read("a", &[source])
    };
    let words = |list: &[CommandLine]| -> Vec<String> {
        list.iter().map(|line| line.words.join(" ")).collect()
    };
    let text = "Type=oneshot\nExecStart=/a\nExecStart=\nExecStart=-/b\nExecStart=/c\nExecStop=/x\nExecStop=\nExecStop=-/y";
    let spec = read_unit(text).0.unwrap();
    assert_eq!(
        (spec.command.join(" ").as_str(), spec.may_fail),
        ("/b", true)
    );
    assert_eq!(words(&spec.then), ["/c"]);
    assert_eq!(words(&spec.stop), ["/y"]);
    assert!(spec.stop[0].may_fail && !spec.then[0].may_fail);
    // All but a oneshot have one program.
    let spec = read_unit("ExecStart=-/a\nExecStart=/b").0.unwrap();
    assert_eq!(
        (spec.command.join(" ").as_str(), spec.may_fail),
        ("/b", false)
    );
    assert!(spec.then.is_empty());
}

#[test]
fn a_probe_has_defaults_and_needs_a_path() {
    let read_unit = |text: &str| {
        let source = Source {
            file: "a".into(),
            text: format!("[Service]\nExecStart=/a\n{text}"),
        };
        read("a", &[source])
    };
    let probe = read_unit("X-ProbeFailures=5\nX-Probe=unix:/run/a")
        .0
        .unwrap()
        .probe
        .unwrap();
    assert_eq!(probe.path, "/run/a");
    assert_eq!(
        (probe.interval, probe.failures),
        (Duration::from_secs(10), 5)
    );
    assert_eq!(read_unit("X-ProbeFailures=5").0.unwrap().probe, None);
    for bad in [
        "X-Probe=/run/a",
        "X-Probe=unix:a",
        "X-ProbeFailures=0",
        "X-ProbeIntervalSec=0",
        "X-NotificationFd=2",
        "KillMode=none",
    ] {
        assert!(read_unit(bad).0.is_none(), "{bad}");
    }
}
