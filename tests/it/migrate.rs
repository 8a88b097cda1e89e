//! `switchhook migrate`: what a volume from elsewhere needs, and the way back.

use std::path::Path;
use std::process::Command;

use crate::appliance::{BINARY, Root};

fn migrate(root: &Root, arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(BINARY)
        .arg("migrate")
        .args(arguments)
        .arg("--root")
        .arg(root.dir.path())
        .env_clear()
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        out.status.code().unwrap(),
        text(&out.stdout),
        text(&out.stderr),
    )
}

/// The volume of somebody else, with a key that only its owner could read.
fn volume() -> Root {
    let root = Root::new();
    root.seed("etc/asterisk/sample.conf", "sample\n");
    root.file("srv/etc/asterisk/pjsip.conf", "years of work\n");
    root.file("srv/etc/asterisk/cdr.conf", "[general]\nenable = yes\n");
    root.file(
        "srv/etc/asterisk/minivm.conf",
        "[general]\nmailcmd = post-it -x\n",
    );
    root.file("srv/etc/nftables.d/autoban.nft", "table ip autoban {}\n");
    root.file("srv/etc/ssl/asterisk/cert.pem", "a certificate\n");
    root
}

/// Every file below a directory with its bytes.
fn tree(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                found.push((path.display().to_string(), target.display().to_string()));
            } else if path.is_dir() {
                pending.push(path);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn start_and_stop(root: &Root) {
    let mut it = root.start();
    it.is_ready();
    assert_eq!(it.stops(), 0);
}

#[test]
fn a_dry_run_names_each_step_and_changes_nothing() {
    let root = volume();
    let before = tree(&root.path("srv"));
    let (code, out, err) = migrate(&root, &["--dry-run"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for file in ["acl", "ccss", "cel", "features", "pjproject", "udptl"] {
        let line = format!("would add /srv/etc/asterisk/{file}.conf: ");
        assert!(out.contains(&line), "{line}: {out}");
    }
    assert!(!out.contains("cdr.conf"), "{out}");
    assert!(
        out.contains("for you: minivm.conf sends voicemail with `post-it`"),
        "{out}"
    );
    assert!(
        out.contains("autoban.nft at its first start; the file stays"),
        "{out}"
    );
    assert_eq!(tree(&root.path("srv")), before);
    let (code, out, _) = migrate(&root, &["--dry-run", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["done"]), (0, &false.into()));
    assert!(report["steps"].as_array().unwrap().len() >= 6, "{report}");
}

#[test]
fn the_first_start_moves_in_the_second_changes_nothing_and_the_way_back_gives_the_bytes() {
    let root = volume();
    let before = tree(&root.path("srv/etc"));
    let mut it = root.start();
    it.is_ready();
    it.said_in_order(&[
        "the volume moves in; `switchhook migrate --undo` is the way back",
        "added /srv/etc/asterisk/acl.conf: ",
    ]);
    assert_eq!(it.stops(), 0);
    assert_eq!(root.read("srv/etc/asterisk/pjsip.conf"), "years of work\n");
    assert!(!root.path("srv/etc/asterisk/sample.conf").exists());
    let backup = "srv/var/lib/switchhook/backup/0001-move-in";
    assert!(root.path(&format!("{backup}/complete")).exists());
    let moved = tree(&root.path("srv"));
    start_and_stop(&root);
    assert_eq!(tree(&root.path("srv")), moved);
    let (code, out, _) = migrate(&root, &["--dry-run"]);
    assert!(code == 0 && out.starts_with("nothing to do"), "{out}");
    // A file of ours that became theirs stays.
    root.file("srv/etc/asterisk/acl.conf", "mine now\n");
    let (code, out, err) = migrate(&root, &["--undo"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("/srv/etc/asterisk/acl.conf was changed since, and stays"),
        "{out}"
    );
    std::fs::remove_file(root.path("srv/etc/asterisk/acl.conf")).unwrap();
    assert_eq!(tree(&root.path("srv/etc")), before);
    assert!(!root.path("srv/var/lib/switchhook/schema").exists());
    let (code, _, err) = migrate(&root, &["--undo"]);
    assert!(
        code == 1 && err.contains("there is no move to take back"),
        "{err}"
    );
    // And in again.
    start_and_stop(&root);
    assert!(
        root.path("srv/var/lib/switchhook/backup/0002-move-in/complete")
            .exists()
    );
}

#[test]
fn a_move_that_was_cut_short_is_gone_on_with_by_its_own_manifest() {
    let root = volume();
    let before = tree(&root.path("srv/etc"));
    assert_eq!(migrate(&root, &[]).0, 0);
    // As a power cut leaves it: the manifest is there, some of the work is done, and it is not said to be complete.
    let backup = root.path("srv/var/lib/switchhook/backup/0001-move-in");
    std::fs::remove_file(backup.join("complete")).unwrap();
    std::fs::remove_file(root.path("srv/var/lib/switchhook/schema")).unwrap();
    std::fs::remove_file(root.path("srv/etc/asterisk/udptl.conf")).unwrap();
    start_and_stop(&root);
    assert!(backup.join("complete").exists() && root.path("srv/etc/asterisk/udptl.conf").exists());
    assert!(
        !root
            .path("srv/var/lib/switchhook/backup/0002-move-in")
            .exists()
    );
    assert_eq!(migrate(&root, &["--undo"]).0, 0);
    assert_eq!(tree(&root.path("srv/etc")), before);
}

#[test]
fn the_way_back_is_closed_while_the_exchange_runs() {
    let root = volume();
    let mut it = root.start();
    it.is_ready();
    let (code, _, err) = migrate(&root, &["--undo"]);
    assert!(
        code == 1 && err.contains("the exchange runs on this volume\nhint: stop"),
        "{err}"
    );
    assert_eq!(it.stops(), 0);
}

#[test]
fn migrate_config_says_how_far_it_goes() {
    let root = volume().env("MIGRATE_CONFIG", "no");
    start_and_stop(&root);
    assert!(!root.path("srv/etc/asterisk/acl.conf").exists());
    let root = volume().env("MIGRATE_CONFIG", "all");
    start_and_stop(&root);
    std::fs::remove_file(root.path("srv/etc/asterisk/acl.conf")).unwrap();
    start_and_stop(&root);
    assert!(root.path("srv/etc/asterisk/acl.conf").exists());
}
