//! What every measurement shares: the bar lines on the screen and the JSON file of results.

use std::path::Path;
use std::process::Command;

/// Collects the bars of one measurement.
pub struct Report {
    name: &'static str,
    bars: Vec<serde_json::Value>,
    rows: Vec<serde_json::Value>,
    notes: serde_json::Map<String, serde_json::Value>,
    short: bool,
}

// Each measurement uses what it needs of this.
#[allow(dead_code)]
impl Report {
    pub fn new(name: &'static str) -> Report {
        Report {
            name,
            bars: Vec::new(),
            rows: Vec::new(),
            notes: serde_json::Map::new(),
            short: false,
        }
    }

    /// Compares medians. Smaller is better.
    pub fn bar(&mut self, name: &str, unit: &str, ours: &[f64], peer: Option<&[f64]>, goal: f64) {
        let judged = (ours, 50.0);
        self.judge(name, unit, judged, peer.map(median), goal, peer);
    }

    /// Compares a percentile of ours with a figure of the peers.
    pub fn bar_at(
        &mut self,
        name: &str,
        unit: &str,
        ours: (&[f64], f64),
        peer: Option<f64>,
        goal: f64,
    ) {
        self.judge(name, unit, ours, peer, goal, None);
    }

    /// Prints `bar: NAME ours=VALUE peer=VALUE goal=VALUE ok|short`.
    fn judge(
        &mut self,
        name: &str,
        unit: &str,
        (ours, point): (&[f64], f64),
        peer: Option<f64>,
        goal: f64,
        peer_samples: Option<&[f64]>,
    ) {
        let value = percentile(ours, point);
        let ok = value <= goal;
        self.short |= !ok;
        let show = |v: f64| match v.abs() < 10.0 {
            true => format!("{v:.2}{unit}"),
            false => format!("{v:.1}{unit}"),
        };
        let shown = peer.map_or("-".to_owned(), show);
        let verdict = if ok { "ok" } else { "short" };
        println!(
            "bar: {name} ours={} peer={shown} goal={goal}{unit} {verdict}",
            show(value)
        );
        self.bars.push(serde_json::json!({
            "bar": name, "unit": unit, "ours": value, "peer": peer, "goal": goal, "ok": ok,
            "ours_samples": ours, "peer_samples": peer_samples,
        }));
    }

    /// A figure beside the bars: the 10th, 50th, 90th and 99th percentile and the largest.
    pub fn row(&mut self, row: &str, subject: &str, count: usize, points: [f64; 5]) {
        self.rows.push(serde_json::json!({
            "row": row, "subject": subject, "n": count, "p10_p50_p90_p99_max": points,
        }));
    }

    /// What else a reader must know: versions, scheduling.
    pub fn note(&mut self, name: &str, value: serde_json::Value) {
        self.notes.insert(name.to_owned(), value);
    }

    /// Of a measurement that was made in part only: nothing is written.
    pub fn verdict(self) -> std::process::ExitCode {
        std::process::ExitCode::from(u8::from(self.short))
    }

    /// Of a measurement that was made in part: written beside the other parts of the same revision, with its own date.
    pub fn join(mut self, part: &str) -> std::process::ExitCode {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("bench/results")
            .join(format!("{}.json", self.name));
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap_or_default();
        let is_same = kept["revision"] == revision();
        let list = |value: &serde_json::Value| match is_same {
            true => value.as_array().cloned().unwrap_or_default(),
            false => Vec::new(),
        };
        let keep =
            |old: Vec<serde_json::Value>, new: &mut Vec<serde_json::Value>, key: [&str; 2]| {
                let name = |value: &serde_json::Value| key.map(|key| value[key].clone());
                let others = old.into_iter();
                let others = others.filter(|old| new.iter().all(|new| name(new) != name(old)));
                let all: Vec<_> = others.chain(new.iter().cloned()).collect();
                *new = all;
            };
        keep(list(&kept["bars"]), &mut self.bars, ["bar", "unit"]);
        keep(list(&kept["rows"]), &mut self.rows, ["row", "subject"]);
        let mut parts = list(&kept["notes"]["parts"]);
        parts.retain(|known| known["part"] != part);
        parts.push(serde_json::json!({ "part": part, "date": date(), "load": load() }));
        self.note("parts", parts.into());
        self.finish()
    }

    /// Writes bench/results/NAME.json; the exit code says whether every bar held.
    pub fn finish(self) -> std::process::ExitCode {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let results = serde_json::json!({
            "schema": 1,
            "bench": self.name,
            "date": date(),
            "machine": format!("{}, {cores} cores, Linux {}", std::env::consts::ARCH, output("uname", &["-r"])),
            "load": load(),
            "revision": revision(),
            "notes": self.notes,
            "bars": self.bars,
            "rows": self.rows,
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

fn output(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output();
    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn date() -> String {
    output("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"])
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The commit; `dirty` where something else than results is not in it.
fn revision() -> String {
    let rest = ["--", ".", ":!bench/results"];
    let commit = output("git", &["describe", "--always", "--abbrev=12"]);
    let changes = output(
        "git",
        &[&["diff", "--name-only", "HEAD"], &rest[..]].concat(),
    );
    match changes.is_empty() {
        true => commit,
        false => commit + "-dirty",
    }
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// Between the two nearest samples where there is none at that point; 100 is the largest.
pub fn percentile(values: &[f64], point: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = last as f64 * point / 100.0;
    let (below, part) = (place.floor() as usize, place.fract());
    if part == 0.0 {
        return sorted[below];
    }
    sorted[below] + (sorted[below + 1] - sorted[below]) * part
}
