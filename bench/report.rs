//! What every measurement shares: the bar lines on the screen and the JSON file of results.

use std::path::Path;
use std::process::Command;

/// Collects the bars of one measurement.
pub struct Report {
    name: &'static str,
    bars: Vec<serde_json::Value>,
    short: bool,
}

impl Report {
    pub fn new(name: &'static str) -> Report {
        Report {
            name,
            bars: Vec::new(),
            short: false,
        }
    }

    /// Prints `bar: NAME ours=VALUE peer=VALUE goal=VALUE ok|short`. Smaller is better.
    pub fn bar(&mut self, name: &str, unit: &str, ours: &[f64], peer: Option<&[f64]>, goal: f64) {
        let value = median(ours);
        let peer_value = peer.map(median);
        let ok = value <= goal;
        self.short |= !ok;
        let shown = peer_value.map_or("-".to_owned(), |v| format!("{v:.1}{unit}"));
        let verdict = if ok { "ok" } else { "short" };
        println!("bar: {name} ours={value:.1}{unit} peer={shown} goal={goal}{unit} {verdict}");
        self.bars.push(serde_json::json!({
            "bar": name, "unit": unit, "ours": value, "peer": peer_value, "goal": goal, "ok": ok,
            "ours_samples": ours, "peer_samples": peer,
        }));
    }

    /// Writes bench/results/NAME.json; the exit code says whether every bar held.
    pub fn finish(self) -> std::process::ExitCode {
        let output = |program: &str, arguments: &[&str]| {
            let out = Command::new(program).args(arguments).output();
            out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
                .unwrap_or_default()
        };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let results = serde_json::json!({
            "schema": 1,
            "bench": self.name,
            "date": output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
            "machine": format!("{}, {cores} cores, Linux {}", std::env::consts::ARCH, output("uname", &["-r"])),
            "load": load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            "revision": output("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            "bars": self.bars,
        });
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/results");
        let text = serde_json::to_string_pretty(&results).unwrap_or_default() + "\n";
        if let Err(error) = std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(directory.join(format!("{}.json", self.name)), text))
        {
            eprintln!("cannot write the results: {error}");
            return std::process::ExitCode::FAILURE;
        }
        std::process::ExitCode::from(u8::from(self.short))
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
