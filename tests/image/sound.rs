//! The sound of the host: a real PulseAudio server with a sink that leads nowhere, whose monitor hears what the console plays.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::demo::Demo;
use crate::docker::{Ended, run};
use crate::exchange::Recipe;
use crate::lines::until;
use crate::media::share_of_tone;
use crate::speech::{delay, loudness, spectral_distance};

const PROMPT: &str = "vm-intro";

/// The user's server; it ends with the test.
struct Server {
    directory: tempfile::TempDir,
    process: Child,
}

impl Server {
    fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display();
        let socket = format!("module-native-protocol-unix socket={place}/native auth-anonymous=1");
        // Of its own: nothing of a server that this machine's user may have.
        let process = Command::new("pulseaudio")
            .args([
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
            ])
            .args(["--disallow-exit", "--log-level=error"])
            .args(["--load", "module-null-sink sink_name=probe rate=48000"])
            .args(["--load", "module-null-source source_name=quiet"])
            .args([
                "--load",
                "module-sine-source source_name=voice frequency=440",
            ])
            .args(["--load", &socket])
            .env("HOME", directory.path())
            .env("XDG_RUNTIME_DIR", directory.path())
            .env_remove("PULSE_SERVER")
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run pulseaudio, is it installed? {e}"));
        let server = Server { directory, process };
        until("the sound server", || {
            let ended = server.pactl(&["info"]);
            if ended.code == 0 {
                Ok(())
            } else {
                Err(ended.text)
            }
        });
        server.listen_to("quiet");
        server
    }

    fn address(&self) -> String {
        format!("unix:{}/native", self.directory.path().display())
    }

    /// What the console hears from its next call on.
    fn listen_to(&self, source: &str) {
        let ended = self.pactl(&["set-default-source", source]);
        assert_eq!(ended.code, 0, "{}", ended.text);
    }

    fn pactl(&self, words: &[&str]) -> Ended {
        let server = format!("--server={}", self.address());
        let mut arguments = vec![server.as_str()];
        arguments.extend(words);
        run("pactl", &arguments)
    }

    /// Records what the sink is given, until the value is dropped.
    fn record(&self, path: PathBuf) -> Recorder {
        let process = Command::new("parec")
            .arg(format!("--server={}", self.address()))
            .args([
                "--device=probe.monitor",
                "--format=s16le",
                "--rate=8000",
                "--channels=1",
            ])
            .args(["--latency-msec=50", "--raw"])
            .stdout(std::fs::File::create(&path).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let recorder = Recorder { process, path };
        until("the recorder", || {
            if recorder.samples().is_empty() {
                Err("nothing yet".to_owned())
            } else {
                Ok(())
            }
        });
        recorder
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Recorder {
    process: Child,
    path: PathBuf,
}

impl Recorder {
    fn samples(&self) -> Vec<i16> {
        samples(&self.path)
    }

    /// From the first sound on.
    fn spoken(&self) -> Vec<i16> {
        let all = self.samples();
        let quiet = all
            .chunks(80)
            .take_while(|part| loudness(part) < 30.0)
            .count();
        all[(quiet * 80).saturating_sub(800).min(all.len())..].to_vec()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn samples(path: &Path) -> Vec<i16> {
    std::fs::read(path)
        .unwrap()
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// Plays the prompt on the console; decibels between it and what was heard, and how many times as loud that was.
fn play(server: &Server, demo: &Demo, prompt: &[i16]) -> (f64, f64) {
    let recorder = server.record(demo.path("heard.raw"));
    let played = demo.make("sound_5", &[("PROMPT", PROMPT)]);
    assert_eq!(played.code, 0, "{}", played.text);
    until("the end of the prompt", || {
        let heard = recorder.spoken();
        let tail = &heard[heard.len().saturating_sub(8000)..];
        if heard.len() > prompt.len() + 8000 && loudness(tail) < 30.0 {
            Ok(())
        } else {
            Err(format!("{} samples", heard.len()))
        }
    });
    let heard = recorder.spoken();
    let shift = delay(&prompt[..8000], &heard, heard.len() - prompt.len());
    let heard = &heard[shift..shift + prompt.len()];
    let figures = (
        spectral_distance(prompt, heard),
        loudness(heard) / loudness(prompt),
    );
    println!(
        "delay {shift}, distance {:.2} dB, loudness {:.2}",
        figures.0, figures.1
    );
    figures
}

#[test]
fn a_prompt_played_on_the_console_arrives_at_the_sound_server() {
    let server = Server::start();
    // It runs before there is any way to the sound.
    let demo = Demo::start(Recipe::of("full"));
    let address = server.address();
    let environment = [("PULSE_SERVER", address.as_str())];

    let enabled = demo.make("sound_enable", &environment);
    assert_eq!(enabled.code, 0, "{}", enabled.text);
    assert!(
        enabled.out.contains("Loaded chan_console"),
        "{}",
        enabled.text
    );
    assert!(enabled.out.contains("pulse"), "{}", enabled.text);

    // Asterisk's own samples of the prompt, to compare with.
    demo.exchange.asterisk(&format!(
        "file convert /usr/share/asterisk/sounds/en/{PROMPT}.gsm /run/asterisk/prompt.sln"
    ));
    let text = demo
        .exchange
        .shell("base64 /run/asterisk/prompt.sln | tr -d '\\n'");
    use base64::Engine as _;
    let prompt = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    let prompt: Vec<i16> = prompt
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();

    // The second time as well as the first: one that is started anew may begin otherwise.
    for _ in 0..2 {
        let (distance, ratio) = play(&server, &demo, &prompt);
        assert!(distance < 4.0, "{distance:.2} dB: that is not the prompt");
        assert!((0.5..2.0).contains(&ratio), "{ratio:.2} times as loud");
    }

    // Each check is heard.
    for word in ["sound_1", "sound_2", "sound_3", "sound_4"] {
        let recorder = server.record(demo.path("heard.raw"));
        let made = demo.make(word, &[("PROMPT", PROMPT)]);
        assert_eq!(made.code, 0, "make {word}: {}", made.text);
        until(word, || {
            let heard = recorder.samples();
            let loud = heard
                .chunks(800)
                .filter(|part| loudness(part) > 100.0)
                .count();
            if loud >= 5 {
                Ok(())
            } else {
                Err(format!("{loud} loud parts of {}", heard.len() / 800))
            }
        });
        // The server's own buffer runs dry before the next begins.
        until("silence", || {
            let heard = recorder.samples();
            let tail = &heard[heard.len().saturating_sub(4000)..];
            if loudness(tail) < 1.0 {
                Ok(())
            } else {
                Err("still sounding".to_owned())
            }
        });
    }

    // The console calls the echo test, and hears what the microphone does. A second call is like the first.
    server.listen_to("voice");
    for _ in 0..2 {
        let recorder = server.record(demo.path("heard.raw"));
        let dialled = demo.make("sound_6", &[]);
        assert_eq!(dialled.code, 0, "{}", dialled.text);
        until("one's own voice", || {
            let heard = recorder.samples();
            let tail = &heard[heard.len().saturating_sub(4000)..];
            match share_of_tone(tail, 440.0) {
                share if share > 0.8 => Ok(()),
                share => Err(format!("{share:.2} of the sound is that tone")),
            }
        });
        let channels = demo.exchange.asterisk("core show channels concise");
        assert!(channels.contains("Console/"), "{channels}");
        demo.exchange.asterisk("console hangup");
        until("the end of the call", || {
            let channels = demo.exchange.asterisk("core show channels concise");
            if channels.contains("Console/") {
                Err(channels)
            } else {
                Ok(())
            }
        });
    }

    let disabled = demo.make("sound_disable", &environment);
    assert_eq!(disabled.code, 0, "{}", disabled.text);
    assert!(!demo.path("pulse/socket").exists());
    let modules = server.pactl(&["list", "short", "modules"]);
    assert!(!modules.out.contains("pulse/socket"), "{}", modules.out);
    demo.exchange.wait_healthy();
    let again = demo.make("sound_1", &[]);
    assert_ne!(again.code, 0, "sound without a way: {}", again.text);
}

#[test]
fn without_a_sound_server_one_sentence_says_so() {
    let demo = Demo::start(Recipe::of("full"));
    let ended = demo.make("sound_enable", &[("PULSE_SERVER", "unix:/nowhere")]);
    assert_ne!(ended.code, 0);
    assert!(
        ended.text.contains("no sound server of yours answers"),
        "{}",
        ended.text
    );
    assert!(!ended.text.contains("chan_console"), "{}", ended.text);
}
