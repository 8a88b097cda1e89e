//! WebSMS's spool where it hurts: SIGKILL at any moment, and a disk without room.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use switchhook::websms::spool::{
    Direction, Handle, Limits, NAME, New, OpenError, Spool, SpoolError,
};

use crate::firewall::wire;

/// The spool that a child of the test is to fill, and where each of its callers begins.
const SPOOL: &str = "SWITCHHOOK_TEST_SPOOL";
const FROM: &str = "SWITCHHOOK_TEST_SPOOL_FROM";
const CALLERS: usize = 8;
const ROUNDS: u32 = 20;

/// What the spool said to people.
type Said = Arc<Mutex<Vec<String>>>;

fn open(path: &Path) -> Result<(Spool, Handle, Said), OpenError> {
    let said = Arc::new(Mutex::new(vec![]));
    let lines = Arc::clone(&said);
    let tell = Box::new(move |line: &str| lines.lock().unwrap().push(line.to_owned()));
    let (spool, handle) = Spool::open(path, Limits::default(), tell)?;
    Ok((spool, handle, said))
}

fn message(provider_id: &str, body: &str) -> New {
    New {
        direction: Direction::In,
        interface: "carrier".to_owned(),
        provider_id: Some(provider_id.to_owned()),
        key: None,
        from: "+46701234567".to_owned(),
        to: "+46707654321".to_owned(),
        body: body.to_owned(),
        media: vec![],
        received: switchhook::sys::clock::unix_millis(),
        part: None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.build().unwrap()
}

/// Stores for ever, and says each message once it is acknowledged.
fn store_for_ever(path: &Path, from: &[u64]) {
    let (spool, _handle, _) = open(path).unwrap();
    runtime().block_on(async {
        let callers = from.iter().enumerate().map(|(caller, from)| {
            let (spool, from) = (spool.clone(), *from);
            tokio::spawn(async move {
                for number in from.. {
                    let name = format!("{caller}-{number}");
                    let stored = spool.store(message(&name, "text")).await.unwrap();
                    let line = format!("ack {caller} {number} {}\n", stored.id);
                    let mut out = std::io::stdout().lock();
                    if out.write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
    });
}

/// A number below `end`, another one each time.
fn random(end: u64) -> u64 {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .unwrap();
    u64::from_le_bytes(bytes) % end
}

#[test]
fn no_acknowledged_message_is_lost_or_stored_twice_by_sigkill() {
    if let Some(path) = std::env::var_os(SPOOL) {
        let from = std::env::var(FROM).unwrap();
        let from: Vec<u64> = from.split(' ').map(|n| n.parse().unwrap()).collect();
        return store_for_ever(Path::new(&path), &from);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    // Each child begins with the last message that the one before it acknowledged: what was under way is repeated.
    let mut last = [0u64; CALLERS];
    for _ in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "websms_spool::no_acknowledged_message_is_lost_or_stored_twice_by_sigkill",
                "--nocapture",
            ])
            .env(SPOOL, &path)
            .env(FROM, last.map(|n| n.to_string()).join(" "))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut until = random(400);
        let mut line = String::new();
        let mut is_killed = false;
        loop {
            line.clear();
            let length = lines.read_line(&mut line).unwrap();
            if length == 0 {
                break;
            }
            // What was on its way into the pipe counts, too; half a line does not.
            if let Some(said) = line.strip_prefix("ack ").and_then(|l| l.strip_suffix('\n')) {
                let words: Vec<&str> = said.split(' ').collect();
                let (caller, number): (usize, u64) =
                    (words[0].parse().unwrap(), words[1].parse().unwrap());
                last[caller] = last[caller].max(number);
                let before = acknowledged.insert(format!("{caller}-{number}"), words[2].to_owned());
                assert!(before.is_none_or(|id| id == words[2]), "another id: {said}");
                until = until.saturating_sub(1);
            }
            if until == 0 && !is_killed {
                child.kill().unwrap();
                is_killed = true;
            }
        }
        assert!(is_killed, "it ended by itself");
        child.wait().unwrap();
    }
    assert!(!acknowledged.is_empty());
    let (_, handle, said) = open(&path).unwrap();
    handle.close();
    assert_eq!(*said.lock().unwrap(), [""; 0]);
    let database = rusqlite::Connection::open(&path).unwrap();
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.unwrap(), "ok");
    let mut select = database
        .prepare("SELECT provider_id, id FROM message")
        .unwrap();
    let rows = select.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    });
    let mut stored = BTreeMap::new();
    for row in rows.unwrap() {
        let (provider_id, id) = row.unwrap();
        let twice = stored.insert(provider_id.clone(), id);
        assert_eq!(twice, None, "{provider_id} is there twice");
    }
    for (provider_id, id) in &acknowledged {
        assert_eq!(stored.get(provider_id), Some(id), "{provider_id} is lost");
    }
    println!(
        "{} acknowledged, {} stored",
        acknowledged.len(),
        stored.len()
    );
}

#[test]
fn a_full_disk_is_told_and_the_spool_goes_on_when_there_is_room() {
    if std::env::var_os(wire::INSIDE).is_none() {
        return wire::in_namespace_of(
            "websms_spool::a_full_disk_is_told_and_the_spool_goes_on_when_there_is_room",
            &["-Urm"],
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().to_str().unwrap();
    wire::run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", mount]);
    let (spool, handle, said) = open(&directory.path().join(NAME)).unwrap();
    let filler = directory.path().join("filler");
    std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
    let body = "x".repeat(2000);
    runtime().block_on(async {
        let mut taken = vec![];
        let refused = loop {
            let name = taken.len().to_string();
            match spool.store(message(&name, &body)).await {
                Ok(stored) => taken.push(stored.id),
                Err(error) => break error,
            }
        };
        assert_eq!(refused, SpoolError::NoSpace);
        assert!(refused.retry_after().is_some());
        assert!(taken.len() > 10, "{}", taken.len());
        // Still full, told once.
        let again = spool.store(message("again", &body)).await;
        assert_eq!(again, Err(SpoolError::NoSpace));
        assert_eq!(said.lock().unwrap().len(), 1);
        std::fs::remove_file(&filler).unwrap();
        let stored = spool.store(message("again", &body)).await.unwrap();
        assert!(stored.is_new);
        assert_eq!(said.lock().unwrap().len(), 2);
        for id in taken {
            let found = spool.read(move |reader| reader.get(id)).await.unwrap();
            assert_eq!(found.map(|message| message.body.len()), Some(body.len()));
        }
    });
    handle.close();
    // With its readers.
    drop(spool);
    wire::run("umount", &[mount]);
}
