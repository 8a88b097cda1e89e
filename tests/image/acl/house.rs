//! An exchange whose PJSIP and a user of its manager are held to the list `house`.

use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::postgres::Postgres;
use crate::docker::{Ended, Network, Volume};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::outside::Outside;
use crate::talk::{Carrier, Register, Talk};

/// Asterisk lets a failed login wait that long (main/manager.c).
pub const LOGIN_PAUSE: Duration = Duration::from_secs(1);

/// Where the lists are.
pub enum Kept<'a> {
    File,
    Sqlite,
    /// SQLite at this path.
    SqliteAt(&'a str),
    Postgres(&'a Postgres),
}

/// The table as the reference has it.
pub const TABLE: &str = "CREATE TABLE acls (name VARCHAR(79) NOT NULL, rule_order INTEGER NOT NULL, sense VARCHAR(6) NOT NULL CHECK (sense IN ('permit', 'deny')), rule VARCHAR(95) NOT NULL, PRIMARY KEY (name, rule_order));";

/// What holds somebody to a list.
pub const CONSUMERS: &str = "\
cat >>/srv/etc/asterisk/manager.conf <<'HERE'

[watcher]
secret = s3cret-of-the-watcher
acl = house
read = system
write = system
HERE
cat >>/srv/etc/asterisk/pjsip.conf <<'HERE'

[acl-house]
type = acl
acl = house
HERE
sed -i 's/^enabled = yes/enabled = no/' /srv/etc/asterisk/autoban.conf
";

pub struct House {
    pub exchange: Exchange,
    pub within: Outside,
    pub kept: &'static str,
    password: String,
    pub volume: Volume,
    _network: Network,
}

impl House {
    pub fn start(kept: &Kept<'_>) -> House {
        House::start_in(kept, Network::new())
    }

    pub fn start_in(kept: &Kept<'_>, network: Network) -> House {
        House::prepared(kept, network, CONSUMERS, |recipe| recipe)
    }

    /// With a script before the services, and with options of the container.
    pub fn prepared(
        kept: &Kept<'_>,
        network: Network,
        script: &str,
        options: impl FnOnce(Recipe) -> Recipe,
    ) -> House {
        let volume = Volume::new();
        let database = match kept {
            Kept::File => String::new(),
            Kept::Sqlite => sqlite("/srv/var/lib/asterisk/lists.sqlite3"),
            Kept::SqliteAt(path) => sqlite(path),
            Kept::Postgres(server) => server.configuration(),
        };
        if matches!(kept, Kept::Sqlite) {
            sql(&volume, FRESH, TABLE);
        }
        // Once: a start again finds the lines.
        let hook = format!(
            "#!/bin/sh\nset -eu\n[ ! -e /srv/prepared ] || exit 0\n{database}\n{script}\n: >/srv/prepared\n"
        );
        volume.write("/srv/etc/entry.d/10-house", "755", &hook);
        let recipe = Recipe::of("full").volume(&volume).network(&network);
        let exchange = options(recipe).start();
        House {
            within: Outside::within(&exchange),
            kept: match kept {
                Kept::File => "file",
                _ => "database",
            },
            password: exchange.password("alice"),
            exchange,
            volume,
            _network: network,
        }
    }

    /// Makes a list with its first rule, where the lists are kept; says where.
    pub fn begin(&self, name: &str, sense: &str, rule: &str) -> String {
        let mut words = vec!["add", name, sense, rule, "--new", "--json"];
        if self.kept == "database" {
            words.push("--database");
        }
        let made: Value = serde_json::from_str(&self.acl(0, &words)).unwrap();
        made["store"].as_str().unwrap().to_owned()
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        let mut all = vec!["switchhook", "acl"];
        all.extend(words);
        self.exchange.exec(&all)
    }

    /// The whole answer of `switchhook acl`, which ends so.
    pub fn acl(&self, code: i32, words: &[&str]) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, code, "{words:?}: {}", ended.text);
        ended.text
    }

    pub fn rules(&self, name: &str) -> Vec<Value> {
        let shown: Value = serde_json::from_str(&self.acl(0, &["show", name, "--json"])).unwrap();
        assert_eq!(shown["in_force"], Value::Bool(true), "{shown}");
        shown["rules"].as_array().unwrap().clone()
    }

    /// How many rules Asterisk shows.
    pub fn shown(&self, name: &str) -> usize {
        let shown = self.exchange.asterisk(&format!("acl show {name}"));
        shown.lines().filter(|line| line.contains(" - ")).count()
    }

    /// The status of a registration of alice's from there.
    fn registers(&self, from: &str) -> Option<u16> {
        let to: IpAddr = "127.0.0.1".parse().unwrap();
        let mut talk = Talk::open(&self.within, from, to, Carrier::Udp)?;
        talk.register("alice", &self.password)
    }

    /// The status of a registration from there, of that address.
    pub fn registers_with(&self, phone: &str, from: &str, contact: &str) -> Option<u16> {
        let to: IpAddr = "127.0.0.1".parse().unwrap();
        let mut talk = Talk::open(&self.within, from, to, Carrier::Udp)?;
        let register = Register {
            contact: Some(format!("<sip:{phone}@{contact}:5060>")),
            ..Register::of(phone)
        };
        let password = self.exchange.password(phone);
        Some(talk.register_as(&register, phone, &password)?.0)
    }

    /// Whether the watcher can log in at the manager from there; `None` where the connection breaks.
    fn logs_in(&self, from: &str) -> Option<bool> {
        use std::io::{Read, Write};
        let to: SocketAddr = "127.0.0.1:5038".parse().unwrap();
        let mut stream = self.within.tcp(from, to)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let login = "Action: Login\r\nUsername: watcher\r\nSecret: s3cret-of-the-watcher\r\nEvents: off\r\n\r\n";
        stream.write_all(login.as_bytes()).ok()?;
        let mut answer = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).ok()?;
            answer.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&answer);
            if text.contains("Message: Authentication accepted") {
                return Some(true);
            }
            if text.contains("Message: Authentication failed") {
                return Some(false);
            }
            if count == 0 {
                return None;
            }
        }
    }

    /// What both say at the first question; `None` where one of them says nothing, or they differ.
    pub fn answer(&self, from: &str) -> Option<bool> {
        let began = Instant::now();
        let registers = self.registers(from);
        let registered = began.elapsed();
        match (registers, self.logs_in(from)) {
            (Some(200), Some(true)) => Some(true),
            (Some(403), Some(false)) => Some(false),
            other => {
                let all = began.elapsed();
                println!("{from}: {other:?} after {registered:?} and {all:?}");
                None
            }
        }
    }

    pub fn lets_in(&self, from: &str) -> bool {
        self.answer(from) == Some(true)
    }

    pub fn keeps_out(&self, from: &str) -> bool {
        self.answer(from) == Some(false)
    }

    /// How often Asterisk has been started again.
    pub fn restarts(&self) -> u64 {
        let status = self.exchange.status();
        let services = status["services"].as_array().unwrap();
        let asterisk = services.iter().find(|found| found["name"] == "asterisk");
        asterisk.unwrap()["restarts"].as_u64().unwrap()
    }

    /// Many that add rules to the list `crowd` and take them away again, each in turn.
    pub fn writers(&self, count: usize) -> Writers {
        // What they say on failure is told at the end; `left` says that they shall leave their last rules and go.
        let script = r#"
change() { switchhook acl "$@" >"/tmp/said.$writer" 2>&1 || cat "/tmp/said.$writer"; echo . >>/tmp/written; }
writer=$1 n=0
until [ -e /tmp/left ]; do
    n=$(((n + 1) % 100))
    change add crowd deny "10.$writer.0.$n"
    change remove crowd deny "10.$writer.0.$n"
done
for n in $(seq "$(cat /tmp/left)"); do
    change add crowd deny "10.$writer.1.$n"
done
"#;
        self.exchange.shell("rm -f /tmp/left /tmp/written");
        let start = |at: usize| {
            Command::new("docker")
                .args(["exec", &self.exchange.name, "/bin/sh", "-c", script, "-"])
                .arg(at.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let writers = Writers {
            children: (0..count).map(start).collect(),
            name: self.exchange.name.clone(),
        };
        until("the writers", || {
            let written = self.exchange.exec(&["wc", "-l", "/tmp/written"]);
            let lines = written
                .out
                .split_whitespace()
                .next()
                .and_then(|n| n.parse::<usize>().ok());
            match lines {
                Some(lines) if lines >= count => Ok(()),
                _ => Err(written.text),
            }
        });
        writers
    }
}

pub struct Writers {
    children: Vec<Child>,
    name: String,
}

impl Writers {
    /// Lets each leave so many rules and end; the number of changes, and whatever went wrong.
    pub fn finish(self, left: usize) -> (usize, Vec<String>) {
        let end = format!("echo {left} >/tmp/left.new; mv /tmp/left.new /tmp/left");
        crate::docker::ok(&["exec", &self.name, "/bin/sh", "-c", &end]);
        let mut said = Vec::new();
        for child in self.children {
            let output = child.wait_with_output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            if !text.is_empty() {
                said.push(text);
            }
        }
        let count = crate::docker::ok(&["exec", &self.name, "wc", "-l", "/tmp/written"]);
        (count.split(' ').next().unwrap().parse().unwrap(), said)
    }
}

/// Where a fresh database waits for the start.
const FRESH: &str = "/srv/fresh.sqlite3";

/// Statements for a database of a volume, from this host: the image has no program for it.
pub fn sql(volume: &Volume, path: &str, statements: &str) {
    let home = crate::docker::ok(&[
        "volume",
        "inspect",
        "--format",
        "{{.Mountpoint}}",
        &volume.name,
    ]);
    let file = std::path::Path::new(home.trim()).join(path.strip_prefix("/srv/").unwrap());
    let database = rusqlite::Connection::open(file).unwrap();
    database.execute_batch(statements).unwrap();
}

fn sqlite(path: &str) -> String {
    format!(
        "cat >/srv/etc/asterisk/extconfig.conf <<'HERE'
[settings]
acls => sqlite3,lists
HERE
cat >/srv/etc/asterisk/res_config_sqlite3.conf <<'HERE'
[lists]
dbfile = {path}
batch = 0
HERE
sed -i '/^noload = res_config_sqlite3.so/d' /srv/etc/asterisk/modules.conf
[ -e {path} ] || mv {FRESH} {path}
chown asterisk:asterisk {path} || :
"
    )
}
