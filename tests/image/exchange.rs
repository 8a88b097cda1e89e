//! One container of the image, run as the demo runs it: started, asked, watched, stopped and taken away.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::docker::{Ended, Network, Volume, docker, image, ok, unique};
use crate::lines::{Lines, until};

/// The demo says what the appliance needs; the tests give it that and no more.
const DEMO: &str = include_str!("../../demo/docker-compose.yml");

/// The capabilities that the demo grants.
pub fn granted_capabilities() -> Vec<&'static str> {
    let lines = DEMO.lines().map(str::trim);
    let after = lines.skip_while(|line| *line != "cap_add:").skip(1);
    let items = after.take_while(|line| line.starts_with("- ") || line.starts_with('#'));
    let names = items.filter_map(|line| line.strip_prefix("- ")?.split_whitespace().next());
    names.collect()
}

/// How a container is to be run.
#[derive(Clone)]
pub struct Recipe {
    image: String,
    options: Vec<String>,
}

impl Recipe {
    pub fn of(target: &str) -> Recipe {
        let mut recipe = Recipe {
            image: image(target),
            options: vec![],
        };
        let fixed =
            "--read-only --tmpfs=/run --tmpfs=/tmp --cap-drop=ALL --security-opt=no-new-privileges";
        recipe
            .options
            .extend(fixed.split(' ').map(ToOwned::to_owned));
        for capability in granted_capabilities() {
            recipe.options.push(format!("--cap-add={capability}"));
        }
        recipe
            .variable("SYSLOG_LEVEL", "8")
            .variable("SWITCHHOOK_DRAIN_TIMEOUT", "30")
    }

    /// Another image than the suite's, made from it.
    pub fn image(mut self, image: &str) -> Recipe {
        self.image = image.to_owned();
        self
    }

    pub fn option(mut self, option: &str) -> Recipe {
        self.options.push(option.to_owned());
        self
    }

    /// Without the options that begin like this.
    pub fn without_option(mut self, beginning: &str) -> Recipe {
        self.options.retain(|given| !given.starts_with(beginning));
        self
    }

    /// Without one of the demo's capabilities.
    pub fn without(mut self, capability: &str) -> Recipe {
        let option = format!("--cap-add={capability}");
        self.options.retain(|given| *given != option);
        self
    }

    pub fn variable(self, name: &str, value: &str) -> Recipe {
        self.option(&format!("--env={name}={value}"))
    }

    pub fn volume(self, volume: &Volume) -> Recipe {
        self.option(&format!("--volume={}:/srv", volume.name))
    }

    pub fn network(self, network: &Network) -> Recipe {
        self.option(&format!("--network={}", network.name))
    }

    /// Starts the container and returns at once.
    pub fn launch(&self) -> Exchange {
        let name = unique("tele");
        let mut arguments = vec!["run", "--detach", "--name", &name];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.push(&self.image);
        let started = docker(&arguments);
        let mut exchange = Exchange {
            name: name.clone(),
            log: Lines::default(),
            reader: None,
        };
        assert_eq!(started.code, 0, "{}", started.text);
        exchange.follow_log(None);
        exchange
    }

    /// Starts the container and waits until it says that it is ready.
    pub fn start(&self) -> Exchange {
        let exchange = self.launch();
        exchange.wait_ready();
        exchange
    }

    /// Starts a container that must end by itself; the value is its exit code and its log.
    pub fn run_to_end(&self) -> Ended {
        let exchange = self.launch();
        let code = exchange.wait_exit();
        let text = exchange.log_text();
        Ended {
            code,
            out: text.clone(),
            text,
        }
    }
}

/// A container and its log.
pub struct Exchange {
    pub name: String,
    pub log: Lines,
    reader: Option<Child>,
}

impl Exchange {
    fn follow_log(&mut self, since: Option<&str>) {
        self.stop_reading();
        let script = r#"exec docker logs --follow ${2:+--since "$2"} "$1" 2>&1"#;
        let mut reader = Command::new("/bin/sh")
            .args(["-c", script, "-", &self.name, since.unwrap_or("")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        self.log = Lines::follow(reader.stdout.take().unwrap());
        self.reader = Some(reader);
    }

    fn stop_reading(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            let _ = reader.kill();
            let _ = reader.wait();
        }
    }

    pub fn wait_ready(&self) {
        self.log.wait_for("notice switchhook: ready after ");
    }

    /// Starts the stopped container again; the log begins anew.
    pub fn start_again(&mut self) {
        self.start_again_early();
        self.wait_ready();
    }

    /// As `start_again`, without waiting for anything.
    pub fn start_again_early(&mut self) {
        // `StartedAt` would be too late: the engine notes it after the first lines were said.
        let since = self.inspect("{{.State.FinishedAt}}");
        ok(&["start", &self.name]);
        self.follow_log(Some(&since));
    }

    pub fn exec(&self, arguments: &[&str]) -> Ended {
        let mut all = vec!["exec", &self.name];
        all.extend(arguments);
        docker(&all)
    }

    /// The output of a script inside that must succeed.
    pub fn shell(&self, script: &str) -> String {
        let ended = self.exec(&["/bin/sh", "-euc", script]);
        assert_eq!(ended.code, 0, "{script}: {}", ended.text);
        ended.out.trim().to_owned()
    }

    /// One command at Asterisk's console.
    pub fn asterisk(&self, command: &str) -> String {
        let ended = self.exec(&["asterisk", "-rx", command]);
        assert_eq!(ended.code, 0, "{command}: {}", ended.text);
        ended.out.trim().to_owned()
    }

    /// Writes into Asterisk's own database, below `test`.
    pub fn keep(&self, key: &str, value: &str) {
        let answer = self.asterisk(&format!("database put test {key} {value}"));
        assert!(answer.contains("Updated database successfully"), "{answer}");
    }

    pub fn status(&self) -> Value {
        let ended = self.exec(&["switchhook", "status", "--json"]);
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text))
    }

    /// The process id of a service inside, when it has one.
    pub fn pid_of(&self, service: &str) -> Option<i64> {
        self.status()["services"]
            .as_array()?
            .iter()
            .find(|found| found["name"] == service)?["pid"]
            .as_i64()
    }

    pub fn wait_healthy(&self) {
        until("health", || {
            let ended = self.exec(&["switchhook", "health"]);
            if ended.code == 0 {
                Ok(())
            } else {
                Err(ended.text)
            }
        });
    }

    pub fn inspect(&self, format: &str) -> String {
        ok(&["inspect", "--format", format, &self.name])
    }

    pub fn address4(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    pub fn address6(&self) -> String {
        self.inspect("{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}")
    }

    /// A phone's password, as its owner is shown it.
    pub fn password(&self, phone: &str) -> String {
        let ended = self.exec(&["switchhook", "phone", "show", phone, "--json"]);
        let shown: Value =
            serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text));
        let phones = shown["phones"].as_array();
        let password = phones.and_then(|phones| phones[0]["password"].as_str());
        password
            .unwrap_or_else(|| panic!("{}", ended.text))
            .to_owned()
    }

    pub fn signal(&self, signal: &str) {
        ok(&["kill", "--signal", signal, &self.name]);
    }

    /// Stops as the demo does, with patience for the drain, and returns the exit code.
    pub fn stop(&self) -> i32 {
        ok(&["stop", "--time", "60", &self.name]);
        self.exit_code()
    }

    /// Waits for the end of the container; the log is complete then.
    pub fn wait_exit(&self) -> i32 {
        ok(&["wait", &self.name]);
        self.log.wait_end();
        self.exit_code()
    }

    fn exit_code(&self) -> i32 {
        let state = self.inspect("{{.State.Status}} {{.State.ExitCode}}");
        let code = state.strip_prefix("exited ");
        code.unwrap_or_else(|| panic!("{state}")).parse().unwrap()
    }

    pub fn log_text(&self) -> String {
        self.log.all().join("\n")
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}\n---", self.name, self.log_text());
        }
        self.stop_reading();
        docker(&["rm", "--force", "--volumes", &self.name]);
    }
}
