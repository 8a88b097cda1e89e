//! Codecs: what the exchange hears and speaks, held against ffmpeg, which shares no code with our G.729 module and none of
//! our framing.

use std::path::PathBuf;

use serde_json::Value;

use crate::docker::{Network, Volume, run};
use crate::exchange::{Exchange, Recipe};
use crate::lines::until;
use crate::phone::{Family, Transport};
use crate::rtp::Sound;
use crate::sip::{self, Request};
use crate::speech::{delay, loudness, segmental_snr, spectral_distance};

/// Half a minute of a voice.
const SPEECH: &str = "demo-congrats";
/// Some seconds, for calls.
const SENTENCE: &str = "vm-intro";

/// An exchange with a directory in common with us, at /files.
struct Bench {
    exchange: Exchange,
    directory: tempfile::TempDir,
    _volume: Volume,
}

impl Bench {
    fn start(recipe: Recipe) -> Bench {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        // Asterisk's user writes there.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).unwrap();
        let option = format!("--volume={}:/files", directory.path().display());
        let volume = Volume::new();
        let exchange = recipe.option(&option).volume(&volume).start();
        Bench {
            exchange,
            directory,
            _volume: volume,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Has Asterisk convert one of its files, a path inside, to one of ours.
    fn convert(&self, from: &str, to: &str) {
        let answer = self
            .exchange
            .asterisk(&format!("file convert {from} /files/{to}"));
        assert!(answer.contains("Converted"), "{from} to {to}: {answer}");
    }

    fn prompt(name: &str) -> String {
        format!("/usr/share/asterisk/sounds/en/{name}.gsm")
    }

    /// What ffmpeg hears in a stream.
    fn decoded_by_ffmpeg(&self, format: &str, name: &str) -> Vec<i16> {
        let (from, to) = (self.path(name), self.path("ffmpeg.raw"));
        ffmpeg(&[
            "-f",
            format,
            "-i",
            &from.to_string_lossy(),
            "-f",
            "s16le",
            "-ar",
            "8000",
            &to.to_string_lossy(),
        ]);
        samples(&self.bytes("ffmpeg.raw"))
    }
}

fn ffmpeg(arguments: &[&str]) {
    let mut all = vec!["-hide_banner", "-loglevel", "error", "-y"];
    all.extend(arguments);
    let ended = run("ffmpeg", &all);
    assert_eq!(ended.code, 0, "{}", ended.text);
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// The frames in Asterisk's file of G.723.1: of each 4 bytes of time and 2 of length before it.
fn frames_of_g723(file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = file;
    while rest.len() >= 6 {
        let length = usize::from(u16::from_be_bytes([rest[4], rest[5]]));
        frames.push(rest[6..6 + length].to_vec());
        rest = &rest[6 + length..];
    }
    frames
}

/// The same file from frames.
fn file_of_g723(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for frame in frames {
        file.extend([0; 4]);
        file.extend(u16::try_from(frame.len()).unwrap().to_be_bytes());
        file.extend(frame);
    }
    file
}

/// Decibels, of speech that begins a little later in `heard` than in `reference`.
#[derive(Debug)]
struct Figures {
    snr: f64,
    distance: f64,
}

fn figures(reference: &[i16], heard: &[i16], most: usize) -> Figures {
    let shift = delay(reference, heard, most);
    let heard = &heard[shift..];
    let figures = Figures {
        snr: segmental_snr(reference, heard),
        distance: spectral_distance(reference, heard),
    };
    println!("delay {shift} samples, {figures:?}");
    figures
}

#[test]
fn the_full_image_transcodes_what_is_promised() {
    let volume = Volume::new();
    let exchange = Recipe::of("full").volume(&volume).start();
    let ended = exchange.exec(&["switchhook", "codecs", "--json"]);
    let told: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.text));
    assert_eq!(told["schema"], 1);
    for name in [
        "g729", "g723", "opus", "speex", "gsm", "g722", "ulaw", "alaw", "g726", "amr",
    ] {
        let found = told["codecs"].as_array().unwrap();
        let codec = found.iter().find(|codec| codec["name"] == name);
        let codec = codec.unwrap_or_else(|| panic!("no {name} in {told}"));
        assert!(
            codec["decodes"] == true && codec["encodes"] == true,
            "{codec}"
        );
    }
    let table = exchange.exec(&["switchhook", "codecs", "--measure"]);
    let line = table.out.lines().find(|line| line.starts_with("g729 "));
    let line = line.unwrap_or_else(|| panic!("{}", table.text));
    let cost: Vec<u32> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // A second of speech in less than a tenth of a second.
    assert!(
        cost.len() == 2 && cost.iter().all(|cost| (1..100_000).contains(cost)),
        "{line}"
    );
    assert!(table.out.contains("passed on"), "{}", table.out);

    exchange.exec(&["switchhook", "stop", "asterisk"]);
    let ended = exchange.exec(&["switchhook", "codecs"]);
    assert_eq!(ended.code, 2, "{}", ended.text);
    assert!(ended.text.contains("hint: "), "{}", ended.text);
}

#[test]
fn g729_keeps_speech_and_agrees_with_another_decoder() {
    let bench = Bench::start(Recipe::of("full"));
    bench.convert(&Bench::prompt(SPEECH), "speech.sln");
    bench.convert("/files/speech.sln", "speech.g729");
    bench.convert("/files/speech.g729", "heard.sln");
    let speech = samples(&bench.bytes("speech.sln"));
    let stream = bench.bytes("speech.g729");
    assert_eq!(stream.len(), speech.len() / 8, "10 bytes for 80 samples");

    // Encoding: what an independent decoder hears is the speech.
    let reference = bench.decoded_by_ffmpeg("g729", "speech.g729");
    let encoded = figures(&speech, &reference, 200);
    assert!(encoded.snr > 2.0 && encoded.distance < 5.0, "{encoded:?}");

    // Decoding: we hear what it hears.
    let heard = samples(&bench.bytes("heard.sln"));
    assert_eq!(heard.len(), reference.len());
    let decoded = figures(&reference, &heard, 0);
    assert!(decoded.snr > 20.0 && decoded.distance < 1.5, "{decoded:?}");

    // The figures would tell: one bit wrong in each frame, and frames out of step by a byte.
    let mut garbled = stream.clone();
    garbled
        .iter_mut()
        .step_by(10)
        .for_each(|byte| *byte ^= 0x10);
    std::fs::write(bench.path("garbled.g729"), &garbled).unwrap();
    let bad = figures(
        &speech,
        &bench.decoded_by_ffmpeg("g729", "garbled.g729"),
        200,
    );
    assert!(bad.snr < 2.0 && bad.distance > 5.0, "{bad:?}");
    std::fs::write(bench.path("garbled.g729"), &stream[1..]).unwrap();
    bench.convert("/files/garbled.g729", "garbled.sln");
    let bad = figures(&reference, &samples(&bench.bytes("garbled.sln")), 0);
    assert!(bad.snr < 5.0 && bad.distance > 5.0, "{bad:?}");
}

#[test]
fn g723_is_ffmpegs_to_the_bit_in_both_directions() {
    let bench = Bench::start(Recipe::of("full"));
    bench.convert(&Bench::prompt(SPEECH), "speech.sln");
    bench.convert("/files/speech.sln", "speech.g723");
    let speech = samples(&bench.bytes("speech.sln"));
    let frames = frames_of_g723(&bench.bytes("speech.g723"));
    assert_eq!(frames.len(), speech.len() / 240, "30 ms each");
    assert!(frames.iter().all(|frame| frame.len() == 24), "6.3 kbit/s");

    // Encoding: another build of the encoder gives the same frames.
    let (from, to) = (bench.path("speech.sln"), bench.path("ffmpeg.tco"));
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    let input = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", &from];
    let output = ["-c:a", "g723_1", "-b:a", "6300", "-f", "g723_1", &to];
    ffmpeg(&[input.as_slice(), &output].concat());
    let theirs = bench.bytes("ffmpeg.tco");
    let ours = frames.concat();
    assert_eq!(ours, theirs[..ours.len()]);

    // And what is heard in them is the speech.
    let reference = bench.decoded_by_ffmpeg("g723_1", "ffmpeg.tco");
    let encoded = figures(&speech, &reference, 300);
    assert!(encoded.snr > 6.0 && encoded.distance < 5.0, "{encoded:?}");

    // Decoding gives the same samples.
    bench.convert("/files/speech.g723", "heard.sln");
    let heard = samples(&bench.bytes("heard.sln"));
    assert_eq!(heard.len(), frames.len() * 240);
    assert!(
        heard == reference[..heard.len()],
        "{:?}",
        figures(&reference, &heard, 0)
    );

    let mut garbled = frames.clone();
    garbled.iter_mut().for_each(|frame| {
        frame[1] ^= 0x55;
        frame[2] ^= 0x55;
    });
    std::fs::write(bench.path("garbled.g723"), file_of_g723(&garbled)).unwrap();
    bench.convert("/files/garbled.g723", "garbled.sln");
    let bad = figures(&speech, &samples(&bench.bytes("garbled.sln")), 300);
    assert!(bad.snr < 4.0 && bad.distance > 5.0, "{bad:?}");
}

/// Numbers that are the same in each run (xorshift).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| (self.next() >> 24) as u8).collect()
    }
}

#[test]
fn nonsense_costs_neither_life_nor_memory() {
    let bench = Bench::start(Recipe::of("full"));
    let pid = bench.exchange.pid_of("asterisk");
    let mut chance = Chance(0x5157_4854);
    let resident = |bench: &Bench| -> u64 {
        let text = bench.exchange.shell(&format!(
            "awk '/^VmRSS/ {{ print $2 }}' /proc/{}/status",
            pid.unwrap()
        ));
        text.parse().unwrap()
    };
    // Frames of every kind, rate and content; each conversion opens and closes a translator of its own.
    let script = "for round in 1 2 3 4 5 6 7 8 9 10; do
         for pair in noise.g729:noise.sln noise.sln:again.g729 noise.g723:noise.sln noise.sln:again.g723; do
             asterisk -rx \"file convert /files/${pair%:*} /files/${pair#*:}\"
         done
     done";
    let mut before = 0;
    for round in 0..8 {
        std::fs::write(bench.path("noise.g729"), chance.bytes(4000)).unwrap();
        let frames: Vec<Vec<u8>> = (0..200)
            .map(|_| {
                let mut frame = chance.bytes(24);
                frame.truncate([24, 20, 4, 1][usize::from(frame[0] & 3)]);
                frame
            })
            .collect();
        std::fs::write(bench.path("noise.g723"), file_of_g723(&frames)).unwrap();
        let said = bench.exchange.shell(script);
        assert_eq!(said.matches("Converted").count(), 40, "{said}");
        assert_eq!(
            bench.bytes("noise.sln").len(),
            200 * 480,
            "each frame is 30 ms, whatever is in it"
        );
        // What is used once stays; what leaks goes on.
        if round == 1 {
            before = resident(&bench);
        }
    }
    let grown = resident(&bench).saturating_sub(before);
    println!("{grown} kB grown");
    assert!(grown < 150, "{grown} kB more after 240 conversions");
    assert_eq!(bench.exchange.pid_of("asterisk"), pid);
}

/// One call in one codec: the exchange plays a sentence, then listens.
struct Call {
    heard_by_phone: Vec<Vec<u8>>,
    heard_by_exchange: Vec<i16>,
}

struct Wire {
    codec: &'static str,
    payload_type: u8,
    name: &'static str,
    /// Samples in a packet.
    samples: u32,
}

const G729: Wire = Wire {
    codec: "g729",
    payload_type: 18,
    name: "G729",
    samples: 160,
};
const G723: Wire = Wire {
    codec: "g723",
    payload_type: 4,
    name: "G723",
    samples: 240,
};

fn bench_with(wire: &Wire, network: &Network) -> Bench {
    let bench = Bench::start(Recipe::of("full").network(network));
    let codec = wire.codec;
    bench.exchange.shell(&format!(
        "cd /srv/etc/asterisk
         sed -i 's/^\\[tpl_phone\\].*/&\\nendpoint\\/allow = !all,{codec}/' pjsip_endpoint.conf
         cat >>extensions_local.conf <<'END'
[dp_entry_call_inout](+)
exten => 777,1,Answer()
 same => n,Set(JITTERBUFFER(fixed)=default)
 same => n,Playback({SENTENCE})
 same => n,Record(/files/record.sln,0,15,q)
 same => n,Hangup()
END
         asterisk -rx 'module reload res_pjsip.so' >/dev/null
         asterisk -rx 'dialplan reload' >/dev/null"
    ));
    // A reload goes on after its command has ended.
    until("the phone's codec and the extension", || {
        let endpoint = bench.exchange.asterisk("pjsip show endpoint alice");
        let dialplan = bench
            .exchange
            .asterisk("dialplan show 777@dp_entry_call_inout");
        let allowed = format!("({codec})");
        if endpoint.contains(&allowed) && dialplan.contains("Record(") {
            Ok(())
        } else {
            Err(format!("{endpoint}\n{dialplan}"))
        }
    });
    bench
}

fn call(
    bench: &Bench,
    network: &Network,
    wire: &Wire,
    payloads: &[Vec<u8>],
    is_lost: impl Fn(usize) -> bool,
) -> Call {
    let mut sound = Sound::listen(&network.host4);
    let scenario = sip::SOUND
        .replace("@PORT@", &sound.port().to_string())
        .replace("@TYPE@", &wire.payload_type.to_string())
        .replace("@NAME@", wire.name);
    let password = bench.exchange.password("alice");
    let request = Request {
        user: "alice",
        password: &password,
        to: "777",
        transport: Transport::Udp,
        family: Family::Four,
    };
    let heard_by_phone = std::thread::scope(|scope| {
        let talk = scope.spawn(|| sip::play(&bench.exchange, network, &request, &scenario));
        let heard = sound.receive(wire.payload_type);
        // A call without sound ends with what sipp says of it.
        if !heard.is_empty() {
            sound.send(wire.payload_type, payloads, wire.samples, is_lost);
        }
        talk.join().unwrap().unwrap_or_else(|e| panic!("{e}"));
        heard
    });
    Call {
        heard_by_phone,
        heard_by_exchange: samples(&bench.bytes("record.sln")),
    }
}

#[test]
fn a_call_in_g729_carries_speech_both_ways_over_lost_and_odd_packets() {
    let network = Network::new();
    let bench = bench_with(&G729, &network);
    bench.convert(&Bench::prompt(SENTENCE), "speech.sln");
    bench.convert("/files/speech.sln", "speech.g729");
    let speech = samples(&bench.bytes("speech.sln"));
    let stream = bench.bytes("speech.g729");
    // Two frames in a packet.
    let packets: Vec<Vec<u8>> = stream.chunks_exact(20).map(<[u8]>::to_vec).collect();

    let whole = call(&bench, &network, &G729, &packets, |_| false);
    std::fs::write(bench.path("phone.g729"), whole.heard_by_phone.concat()).unwrap();
    let heard = figures(&speech, &bench.decoded_by_ffmpeg("g729", "phone.g729"), 400);
    assert!(heard.snr > 2.0 && heard.distance < 5.0, "{heard:?}");
    let reference = bench.decoded_by_ffmpeg("g729", "speech.g729");
    let heard = figures(&reference, &whole.heard_by_exchange, 4000);
    assert!(heard.snr > 15.0 && heard.distance < 2.0, "{heard:?}");

    // One packet of ten is lost: time goes on, and no hole is left where somebody spoke.
    let lost = |at: usize| at % 10 == 7;
    let holes = call(&bench, &network, &G729, &packets, lost);
    concealed(&whole.heard_by_exchange, &holes.heard_by_exchange);

    // Odd lengths, silence descriptors and noise among speech: the call lives.
    let mut chance = Chance(0x0729);
    let odd: Vec<Vec<u8>> = packets
        .iter()
        .enumerate()
        .map(|(at, packet)| match at % 5 {
            0 => [packet.as_slice(), &chance.bytes(2)].concat(),
            1 => chance.bytes(at % 31 + 1),
            2 => chance.bytes(300),
            _ => packet.clone(),
        })
        .collect();
    let pid = bench.exchange.pid_of("asterisk");
    let noise = call(&bench, &network, &G729, &odd, |_| false);
    assert!(loudness(&noise.heard_by_exchange) > 100.0);
    assert_eq!(bench.exchange.pid_of("asterisk"), pid);
}

#[test]
fn a_call_in_g723_carries_speech_both_ways_over_lost_and_odd_packets() {
    let network = Network::new();
    let bench = bench_with(&G723, &network);
    bench.convert(&Bench::prompt(SENTENCE), "speech.sln");
    bench.convert("/files/speech.sln", "speech.g723");
    let speech = samples(&bench.bytes("speech.sln"));
    let packets = frames_of_g723(&bench.bytes("speech.g723"));

    let whole = call(&bench, &network, &G723, &packets, |_| false);
    std::fs::write(bench.path("phone.tco"), whole.heard_by_phone.concat()).unwrap();
    let heard = figures(
        &speech,
        &bench.decoded_by_ffmpeg("g723_1", "phone.tco"),
        600,
    );
    assert!(heard.snr > 6.0 && heard.distance < 5.0, "{heard:?}");
    std::fs::write(bench.path("speech.tco"), packets.concat()).unwrap();
    let reference = bench.decoded_by_ffmpeg("g723_1", "speech.tco");
    let heard = figures(&reference, &whole.heard_by_exchange, 4000);
    assert!(heard.snr > 15.0 && heard.distance < 2.0, "{heard:?}");

    let lost = |at: usize| at % 10 == 7;
    let holes = call(&bench, &network, &G723, &packets, lost);
    concealed(&whole.heard_by_exchange, &holes.heard_by_exchange);

    let mut chance = Chance(0x0723);
    let odd: Vec<Vec<u8>> = packets
        .iter()
        .enumerate()
        .map(|(at, packet)| match at % 5 {
            0 => [packet.as_slice(), &chance.bytes(4)].concat(),
            1 => chance.bytes(at % 31 + 1),
            2 => chance.bytes(300),
            _ => packet.clone(),
        })
        .collect();
    let pid = bench.exchange.pid_of("asterisk");
    let noise = call(&bench, &network, &G723, &odd, |_| false);
    assert!(loudness(&noise.heard_by_exchange) > 100.0);
    assert_eq!(bench.exchange.pid_of("asterisk"), pid);
}

/// With packets lost a recording is as long as without, and has hardly more silent segments.
fn concealed(whole: &[i16], holes: &[i16]) {
    let shift = delay(&whole[..16_000], holes, 4000) as i64;
    let lengths = (whole.len() as i64, holes.len() as i64 - shift);
    assert!(
        (lengths.0 - lengths.1).abs() < lengths.0 / 30,
        "{lengths:?} samples: time was lost with the packets"
    );
    let quiet = |samples: &[i16]| {
        samples
            .chunks(80)
            .filter(|part| loudness(part) < 30.0)
            .count()
    };
    let (before, after) = (quiet(whole), quiet(holes));
    println!("quiet segments: {before} without loss, {after} with");
    assert!(
        after <= before + before / 10 + 5,
        "{before} and {after}: holes were left"
    );
}
