//! The real appliance of the random test: services that do what they are told, and a look at the process tree.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::model::{ENDLESS, End, Model, Operation, PLANS, Plan, Rest};
use crate::appliance::{Appliance, Root, wait_for};

/// A connection to the control socket that stays.
pub struct Control {
    stream: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Control {
    pub fn new(root: &Root) -> Control {
        let stream = UnixStream::connect(root.path("run/switchhook/control.sock")).unwrap();
        stream
            .set_read_timeout(Some(crate::appliance::PATIENCE))
            .unwrap();
        let answers = BufReader::new(stream.try_clone().unwrap());
        Control { stream, answers }
    }

    pub fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.stream, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: `{line}`"))
    }

    pub fn order(&mut self, command: &str, index: usize) -> Value {
        self.ask(&json!({"command": command, "service": PLANS[index].name}))
    }

    /// The services in the order of `PLANS`.
    pub fn status(&mut self) -> Vec<Value> {
        let status = self.ask(&json!({"command": "status"}));
        let services = status["services"].as_array().unwrap();
        let find = |plan: &Plan| services.iter().find(|service| service["name"] == plan.name);
        PLANS
            .iter()
            .map(|plan| find(plan).unwrap().clone())
            .collect()
    }
}

/// The real thing.
pub struct World<'a> {
    pub root: &'a Root,
    pub pid: i32,
    pub control: Control,
    /// Each service reads what it shall do from its pipe; held open, so that nobody blocks.
    pub orders: Vec<File>,
    /// An argument that only escaped processes of this test have; the service's number follows.
    pub mark: String,
}

impl World<'_> {
    fn lines(&self, file: &str, index: usize) -> Vec<String> {
        let text = self.root.read(&format!("{file}-{}", PLANS[index].name));
        text.lines().map(str::to_owned).collect()
    }

    pub fn carry_out(&mut self, index: usize, operation: Operation, model: &Model) {
        let pid = model.beliefs[index].pid;
        let kill_it = |pid: Option<i64>| {
            let pid = i32::try_from(pid.expect("it runs")).unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        };
        let mut order = |command: &str| {
            let reply = self.control.order(command, index);
            assert_eq!(reply["result"], "done", "{command}: {reply}");
        };
        match operation {
            Operation::Start => order("start"),
            Operation::Stop => order("stop"),
            Operation::Restart => order("restart"),
            Operation::Kill => order("kill"),
            Operation::Once => order("once"),
            Operation::Reload if PLANS[index].has_reload => order("reload"),
            Operation::Reload => {
                let reply = self.control.order("reload", index);
                assert_eq!(reply["result"], "refused", "{reply}");
            }
            Operation::Usr1 => {
                let name = PLANS[index].name;
                let signal = Signal::SIGUSR1 as i32;
                let request = json!({"command": "signal", "service": name, "signal": signal});
                assert_eq!(self.control.ask(&request)["result"], "done");
                // A shell that was just about to read sees the signal only after it: an order to do nothing.
                writeln!(self.orders[index]).unwrap();
            }
            Operation::Ends(End::Signal(Signal::SIGKILL)) => kill_it(pid),
            Operation::Ends(End::Signal(signal)) => {
                let name = signal.as_str().trim_start_matches("SIG");
                writeln!(self.orders[index], "kill -{name} $$").unwrap();
            }
            Operation::Ends(End::Code(code)) => {
                writeln!(self.orders[index], "exit {code}").unwrap();
            }
            Operation::Burst(times) => {
                let mut last = pid;
                kill_it(last);
                for _ in 1..times {
                    last = wait_for(
                        || {
                            self.control.status()[index]["pid"]
                                .as_i64()
                                .filter(|new| Some(*new) != last)
                        },
                        "no replacement in a burst",
                    )
                    .into();
                    kill_it(last);
                }
            }
            Operation::EndsAndStop => {
                kill_it(pid);
                order("stop");
            }
            Operation::EndsAndRestart => {
                kill_it(pid);
                order("restart");
            }
            Operation::StopAndStart => ["stop", "start"].into_iter().for_each(order),
            Operation::StartAndStop => ["start", "stop"].into_iter().for_each(order),
        }
    }

    /// Why the status is not what the model says, if it is not.
    fn difference(&self, model: &Model, status: &[Value]) -> Option<String> {
        model.beliefs.iter().zip(status).enumerate().find_map(|(index, (belief, service))| {
            let pid = service["pid"].as_i64();
            let restarts = service["restarts"].as_u64().unwrap();
            let is_new = !belief.changes || pid != belief.pid;
            let has_process = (belief.rest == Rest::Running) == pid.is_some();
            let is_counted = (belief.restarts.0..=belief.restarts.1).contains(&restarts);
            let reloads = self.lines("reloads", index).len();
            let signals = self.lines("signals", index).len();
            // Only then it listens to signals and orders, and has left its child behind.
            let is_armed = pid.is_none() || self.lines("armed", index).last() == pid.map(|p| p.to_string()).as_ref();
            let fits = service["state"] == belief.word()
                && is_new
                && has_process
                && is_counted
                && is_armed
                && service["up"] == (belief.is_up() && belief.word() != "waiting")
                && reloads == belief.reloads
                && signals == belief.signals;
            (!fits).then(|| {
                format!("{service}\n  is not {belief:?}\n  armed {is_armed}, reloads {reloads}, signals {signals}")
            })
        })
    }

    /// Why the process tree is not what the status says, if it is not: one main process for each running service,
    /// one escaped one where that belongs to it, and nothing else, above all no zombie.
    fn tree_difference(&self, status: &[Value]) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap();
        let children: BTreeSet<i64> = text
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect();
        let mut expected = BTreeSet::new();
        let is_escaped = |pid: &i64, index: usize| {
            let argument = format!("{}{index}", self.mark);
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word == argument.as_bytes())
        };
        for (index, service) in status.iter().enumerate() {
            let pid = service["pid"].as_i64();
            expected.extend(pid);
            let escaped: Vec<i64> = children
                .iter()
                .copied()
                .filter(|pid| is_escaped(pid, index))
                .collect();
            let allowed = usize::from(PLANS[index].escapes && pid.is_some());
            if escaped.len() != allowed {
                return Some(format!(
                    "{} escaped processes of {}",
                    escaped.len(),
                    PLANS[index].name
                ));
            }
            expected.extend(escaped);
        }
        (children != expected).then(|| format!("children {children:?} are not {expected:?}"))
    }

    /// Waits until the appliance has come to where the model says; then takes over what is left open.
    pub fn converges(&mut self, model: &mut Model, story: &str) {
        let until = std::time::Instant::now() + crate::appliance::PATIENCE;
        let status = loop {
            let status = self.control.status();
            let difference = self
                .difference(model, &status)
                .or_else(|| self.tree_difference(&status));
            let Some(difference) = difference else {
                break status;
            };
            assert!(std::time::Instant::now() < until, "{story}\n{difference}");
            std::thread::yield_now();
        };
        for (belief, service) in model.beliefs.iter_mut().zip(&status) {
            let restarts = service["restarts"].as_u64().unwrap();
            belief.restarts = (restarts, restarts);
            belief.pid = service["pid"].as_i64();
            belief.changes = false;
        }
    }
}

pub fn lay_out(root: &Root, mark: &str) -> Vec<File> {
    let mut orders = Vec::new();
    for (index, plan) in PLANS.iter().enumerate() {
        let file = |what: &str| {
            root.path(&format!("{what}-{}", plan.name))
                .display()
                .to_string()
        };
        let (pipe, armed, signals) = (file("orders"), file("armed"), file("signals"));
        nix::unistd::mkfifo(
            &PathBuf::from(&pipe),
            nix::sys::stat::Mode::from_bits_truncate(0o600),
        )
        .unwrap();
        orders.push(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(&pipe)
                .unwrap(),
        );
        let escape = match plan.escapes {
            true => format!("(setsid sleep {mark}{index} &)\n"),
            false => String::new(),
        };
        let script = match plan.notifies {
            false => format!(
                "trap 'echo x >> {signals}' USR1\nexec 3<>{pipe}\n{escape}echo $$ >> {armed}\n\
                 while :; do read order <&3 && eval \"$order\"; done"
            ),
            true => format!(
                "exec perl -e '{}'",
                [
                    "use Socket; sub note { open(my $f, \">>\", $_[0]); print $f \"$_[1]\\n\" }",
                    &format!("$SIG{{USR1}} = sub {{ note(\"{signals}\", \"x\") }};"),
                    &format!("open(my $orders, \"+<\", \"{pipe}\"); note(\"{armed}\", $$);"),
                    "socket(my $s, AF_UNIX, SOCK_DGRAM, 0); send($s, \"READY=1\", 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET}));",
                    "while (1) { my $order = \"\"; while (sysread($orders, my $c, 1)) { last if $c eq \"\\n\"; $order .= $c }",
                    "exit $1 if $order =~ /^exit (\\d+)/; kill $1, $$ if $order =~ /^kill -(\\w+)/ }",
                ]
                .join(" ")
            ),
        };
        let after: String = plan
            .after
            .iter()
            .map(|other| format!("After={}.service\n", PLANS[*other].name))
            .collect();
        let reload = match plan.has_reload {
            true => {
                let script = root.script(
                    &format!("bin/{}-reload", plan.name),
                    &format!("echo x >> {}", file("reloads")),
                );
                format!("ExecReload={}\n", script.display())
            }
            false => String::new(),
        };
        let limit = if plan.backs_off { "" } else { ENDLESS };
        let directives = format!(
            "[Unit]\n{after}{limit}[Service]\n{}\n{reload}",
            plan.directives
        );
        root.service(plan.name, &directives, &script);
    }
    orders
}

pub fn start<'a>(
    root: &'a Root,
    it: &mut Appliance<'_>,
    mark: String,
    orders: Vec<File>,
) -> World<'a> {
    it.is_ready();
    World {
        root,
        pid: it.pid().as_raw(),
        control: Control::new(root),
        orders,
        mark,
    }
}
