//! When the disk does not take it.

use super::CONF;
use super::bridge::{Bridge, form};
use crate::firewall::wire;

#[test]
fn d05_a_full_disk_is_our_trouble_and_no_message_is_forgotten() {
    if std::env::var_os(wire::INSIDE).is_none() {
        return wire::in_namespace_of(
            "websms::trouble::d05_a_full_disk_is_our_trouble_and_no_message_is_forgotten",
            &["-Urmn"],
        );
    }
    wire::run("ip", &["link", "set", "lo", "up"]);
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("srv/var");
    std::fs::create_dir_all(&state).unwrap();
    let mount = state.to_str().unwrap().to_owned();
    wire::run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", &mount]);
    std::fs::create_dir_all(root.path().join("srv/etc/asterisk")).unwrap();
    std::fs::write(root.path().join("srv/etc/asterisk/websms.conf"), CONF).unwrap();
    let filler = state.join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let mut bridge = Bridge::at(root);
    let body = form("1", "2", &"x".repeat(20_000));
    let mut taken = 0;
    let refused = loop {
        let answer = bridge.post("/hook", &body);
        match answer.status {
            200 => taken += 1,
            _ => break answer,
        }
    };
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert!(taken > 10, "{taken}");
    // What little there is may do for a short text. The trouble is not over then.
    taken += usize::from(bridge.post("/hook", &form("1", "2", "short")).status == 200);
    bridge.is_told("no message is taken: the disk of the spool is full");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(bridge.post("/hook", &body).status, 200);
    // Other parts miss an exchange here; that is not what is asked.
    while bridge.is_told("STATUS=").contains("no message is taken") {}
    assert_eq!(bridge.messages().len(), taken + 1);
    bridge.all_that_was_said();
    drop(bridge);
    wire::run("umount", &[&mount]);
}
