//! The demo's words, run by make on a real exchange. Compose alone is stood in for, by the engine's own words: the demo's
//! ports may be taken on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::{Ended, Volume, docker, run};
use crate::exchange::{Exchange, Recipe};

/// The words that users of the predecessor type in its demo, but those that stop or wait.
const WORDS: &[&str] = &[
    "ps",
    "config",
    "logs",
    "diff",
    "top",
    "htop",
    "env",
    "sv",
    "nft",
    "autoban",
    "ipcs",
    "logger",
    "restart_asterisk",
    "pw",
    "sms0",
    "sms1",
    "sms2",
    "cli",
    "sh",
    "up",
    "init",
    "start",
    "stop",
    "down",
    "destroy",
    "variables",
    "apk_list",
    "apk_add_nano",
    "tools_install",
    "xdebug_install",
    "xdebug_getdata",
    "sips_test",
    "sound_enable",
    "sound_disable",
    "sound_1",
    "sound_2",
    "sound_3",
    "sound_4",
    "sound_5",
    "sound_6",
    "wait_10",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of the demo's directory whose compose is one container of ours.
pub struct Demo {
    pub exchange: Exchange,
    pub directory: tempfile::TempDir,
    _volume: Volume,
}

impl Demo {
    pub fn start(recipe: Recipe) -> Demo {
        let directory = tempfile::tempdir().unwrap();
        for file in ["Makefile", "sound", "wait-healthy"] {
            std::fs::copy(top().join("demo").join(file), directory.path().join(file)).unwrap();
        }
        std::fs::create_dir(directory.path().join("pulse")).unwrap();
        let option = format!("--volume={}/pulse:/run/pulse", directory.path().display());
        let volume = Volume::new();
        let exchange = recipe
            .option(&option)
            .volume(&volume)
            .variable("PULSE_SERVER", "unix:/run/pulse/socket")
            .variable("PULSE_COOKIE", "/run/pulse/cookie")
            .variable("WEBSMSD_PORT", "80")
            .start();
        let name = &exchange.name;
        let stand_in = format!(
            "#!/bin/sh\n\
             word=$1; shift\n\
             case $word in\n\
             ps) echo {name} ;;\n\
             logs) exec docker logs {name} ;;\n\
             top) exec docker top {name} ;;\n\
             exec) while [ \"$1\" != tele ]; do shift; done; shift; exec docker exec {name} \"$@\" ;;\n\
             *) echo \"compose $word $*\" ;;\n\
             esac\n"
        );
        let path = directory.path().join("compose");
        std::fs::write(&path, stand_in).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Who is anybody may look for the socket there.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open).unwrap();
        Demo {
            exchange,
            directory,
            _volume: volume,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `make WORD`, with variables of the environment.
    pub fn make(&self, word: &str, variables: &[(&str, &str)]) -> Ended {
        let mut arguments: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        arguments.push("make".to_owned());
        arguments.push("--no-print-directory".to_owned());
        arguments.push(format!("--directory={}", self.directory.path().display()));
        arguments.push(format!("COMPOSE={}", self.path("compose").display()));
        arguments.push(word.to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run("env", &arguments)
    }

    /// What it prints, when it succeeds.
    pub fn made(&self, word: &str) -> String {
        let ended = self.make(word, &[]);
        assert_eq!(ended.code, 0, "make {word}: {}", ended.text);
        ended.out
    }
}

#[test]
fn both_makefiles_know_the_predecessors_words() {
    for directory in ["demo", "."] {
        for word in WORDS {
            // The root's are those that make sense there.
            let is_of_the_demo = word.starts_with("apk")
                || word.contains("install")
                || word.starts_with("xdebug")
                || word.starts_with("wait")
                || ["variables", "init"].contains(word);
            if directory == "." && is_of_the_demo {
                continue;
            }
            let out = Command::new("make")
                .args(["--dry-run", "--directory", directory, word])
                .current_dir(top())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{directory}: make {word}: {text}");
        }
    }
    let out = Command::new("make")
        .args(["--dry-run", "--directory", "demo", "no_such_word"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(!out.status.success());
}

#[test]
fn the_words_do_what_they_say() {
    let demo = Demo::start(Recipe::of("full"));
    assert!(
        demo.made("sv").contains("run: asterisk: (pid "),
        "{}",
        demo.made("sv")
    );
    assert!(demo.made("autoban").contains("AutoBan: "));
    assert!(demo.made("nft").contains("table inet"));
    assert!(demo.made("codecs").contains("g729"));
    assert!(demo.made("env").contains("PULSE_SERVER="));
    assert!(demo.made("status").contains("asterisk"));
    assert!(demo.made("phones").contains("alice"));
    assert!(demo.made("apk_list").contains("asterisk-modules "));
    assert!(demo.made("top").contains("switchhook-init"));
    assert!(demo.made("ps").contains(&demo.exchange.name));
    // Its root cannot be written, so nothing differs but places of the engine's.
    assert!(!demo.made("diff").contains("/usr"));
    assert!(demo.made("ipcs").contains("shmid"));
    demo.made("logger");
    assert!(demo.made("pw").trim().len() >= 20);
    assert_ne!(demo.made("pw"), demo.made("pw"));
    assert!(demo.made("variables").contains("SMS_BODY"));
    let tls = demo.make("sips_test", &[]);
    assert!(tls.text.contains("CONNECTION ESTABLISHED"), "{}", tls.text);

    let before = demo.exchange.pid_of("asterisk");
    demo.made("restart_asterisk");
    demo.exchange.wait_healthy();
    assert_ne!(demo.exchange.pid_of("asterisk"), before);

    let refused = demo.make("apk_add_nano", &[]);
    assert!(
        refused.code != 0 && refused.text.contains("xtra"),
        "{}",
        refused.text
    );

    // The container's own address instead of the demo's port.
    let host = demo.exchange.address4();
    let host = [("SMS_HOST", host.as_str())];
    for word in ["sms0", "sms1", "sms2"] {
        let ended = demo.make(word, &host);
        assert!(
            ended.text.contains("HTTP/1.1 "),
            "make {word}: {}",
            ended.text
        );
    }

    // Without a demo there is a sentence and no trace of compose.
    docker(&["stop", "--time", "20", &demo.exchange.name]);
    std::fs::write(demo.path("compose"), "#!/bin/sh\n").unwrap();
    let ended = demo.make("sv", &[]);
    assert!(
        ended.code != 0 && ended.text.contains("The demo does not run: make up"),
        "{}",
        ended.text
    );
}
