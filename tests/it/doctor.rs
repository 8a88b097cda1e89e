//! `switchhook doctor` in a temporary root: its forms and exit codes. What it finds is tested in the real image.

use serde_json::Value;

use crate::appliance::Root;

fn doctor(root: &Root, arguments: &[&str]) -> (i32, String) {
    let all: Vec<&str> = [&["doctor", "--offline"], arguments].concat();
    let (code, out, err) = root.ask(&all);
    assert_eq!(err, "");
    (code, out)
}

#[test]
fn what_is_wrong_is_told_for_people_and_for_programs() {
    let root = Root::bare();
    root.file(
        "srv/etc/asterisk/pjsip.conf",
        "[udp]\ntype=transport\n#include gone.conf\n[broken\n",
    );
    let (code, text) = doctor(&root, &[]);
    assert_eq!(code, 1, "{text}");
    for line in [
        "error    syntax        configuration that Asterisk refuses",
        "    seen: pjsip.conf:4: no closing `]`",
        "    seen: pjsip.conf:3: `#include gone.conf`",
        "-        names         names in pjsip's files: names were not looked up",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // Where no exchange runs, its PBX is not missing.
    let pbx = "-        pbx           the PBX runs: cannot reach the exchange at";
    assert!(text.contains(pbx), "{text}");
    let (code, json) = doctor(&root, &["--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &report["schema"], &report["well"]),
        (1, &1.into(), &false.into())
    );
    let checks = report["checks"].as_array().unwrap();
    let syntax = checks
        .iter()
        .find(|check| check["name"] == "syntax")
        .unwrap();
    assert_eq!(syntax["state"], "found");
    assert_eq!(syntax["findings"][0]["severity"], "error");
    let names = checks
        .iter()
        .find(|check| check["name"] == "names")
        .unwrap();
    assert_eq!(names["why"], "names were not looked up");
}

#[test]
fn wrong_words_end_with_64() {
    let root = Root::bare();
    assert_eq!(root.ask(&["doctor", "--mend"]).0, 64);
}
