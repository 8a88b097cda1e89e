//! A real PostgreSQL, of Debian's package, on this host, in a network that the test made.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::house::TABLE;
use crate::docker::run;

pub struct Postgres {
    directory: tempfile::TempDir,
    programs: String,
    host: String,
    port: u16,
}

impl Postgres {
    /// Listens at this address of the host's.
    pub fn start(host: &str) -> Postgres {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let programs = std::fs::read_dir("/usr/lib/postgresql")
            .ok()
            .and_then(|entries| {
                entries
                    .flatten()
                    .map(|entry| entry.path().join("bin"))
                    .max()
            })
            .expect("there is no PostgreSQL here: install Debian's package `postgresql`");
        let port = 20_000
            + (std::process::id() % 10_000) as u16
            + COUNT.fetch_add(1, Ordering::Relaxed) as u16;
        let server = Postgres {
            directory: tempfile::tempdir().unwrap(),
            programs: programs.display().to_string(),
            host: host.to_owned(),
            port,
        };
        let home = server.directory.path().display().to_string();
        let owned = run("chown", &["postgres", &home]);
        assert_eq!(owned.code, 0, "{}", owned.text);
        let words = "initdb --pgdata=HOME/data --username=postgres --auth-local=trust --auth-host=scram-sha-256 --no-sync";
        server.program(words);
        let data = server.directory.path().join("data");
        let setting = format!(
            "listen_addresses = '{host}'\nport = {port}\nunix_socket_directories = '{home}'\nfsync = off\n"
        );
        append(&data.join("postgresql.conf"), &setting);
        append(
            &data.join("pg_hba.conf"),
            "host all all 0.0.0.0/0 scram-sha-256\n",
        );
        server.run();
        server.sql(
            "postgres",
            "CREATE ROLE asterisk LOGIN PASSWORD 'its-secret'",
        );
        server.sql("postgres", "CREATE DATABASE pbx OWNER asterisk");
        server.sql("pbx", TABLE);
        server.sql("pbx", "ALTER TABLE acls OWNER TO asterisk");
        server
    }

    /// Starts it, or starts it again.
    pub fn run(&self) {
        self.program("pg_ctl start --wait --silent --pgdata=HOME/data --log=HOME/log");
    }

    pub fn stop(&self) {
        self.program("pg_ctl stop --wait --silent --mode=immediate --pgdata=HOME/data");
    }

    fn program(&self, words: &str) {
        let home = self.directory.path().display().to_string();
        let words = words.replace("HOME", &home);
        let command = format!("{}/{words}", self.programs);
        // A server that goes on must not hold our pipes.
        let script = format!("{command} >{home}/said 2>&1 </dev/null");
        let ended = run(
            "runuser",
            &["-u", "postgres", "--", "/bin/sh", "-c", &script],
        );
        let said = std::fs::read_to_string(format!("{home}/said")).unwrap_or_default();
        assert_eq!(ended.code, 0, "{command}: {said}{}", ended.text);
    }

    pub fn sql(&self, database: &str, text: &str) {
        let home = self.directory.path().display().to_string();
        let port = self.port.to_string();
        let psql = format!("{}/psql", self.programs);
        let ended = run(
            &psql,
            &[
                "-h",
                &home,
                "-p",
                &port,
                "-U",
                "postgres",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                text,
                database,
            ],
        );
        assert_eq!(ended.code, 0, "{text}: {}", ended.text);
    }

    /// The lines of Asterisk's files, as a script.
    pub fn configuration(&self) -> String {
        let (host, port) = (&self.host, self.port);
        format!(
            "cat >/srv/etc/asterisk/extconfig.conf <<'HERE'
[settings]
acls => pgsql,general
HERE
cat >/srv/etc/asterisk/res_pgsql.conf <<'HERE'
[general]
dbhost = {host}
dbport = {port}
dbname = pbx
dbuser = asterisk
dbpass = its-secret
requirements = warn
HERE
sed -i '/^noload = res_config_pgsql.so/d' /srv/etc/asterisk/modules.conf
"
        )
    }
}

fn append(path: &std::path::Path, text: &str) {
    let before = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, format!("{before}{text}")).unwrap();
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.directory.path().join("data").display().to_string();
        let pg_ctl = format!("{}/pg_ctl", self.programs);
        let _ = Command::new("runuser")
            .args([
                "-u",
                "postgres",
                "--",
                &pg_ctl,
                "stop",
                "--silent",
                "--mode=immediate",
            ])
            .args(["--pgdata", &data])
            .status();
    }
}
