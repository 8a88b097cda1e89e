//! Sound: tones written to files, and the tones found in what was received.

use std::f64::consts::TAU;
use std::path::Path;

/// Samples a second of the telephone's narrow band.
pub const RATE: u32 = 8000;

/// Writes a WAV file, one channel of 16 bits, with a sine tone.
pub fn write_tone(path: &Path, hertz: f64, seconds: u32) {
    let samples = (0..RATE * seconds)
        .map(|index| (8000.0 * (TAU * hertz * f64::from(index) / f64::from(RATE)).sin()) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let length = u32::try_from(data.len()).unwrap();
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

/// The samples of such a file.
pub fn read_samples(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"data");
    let start = at.unwrap_or_else(|| panic!("no data in {}", path.display())) + 8;
    bytes[start..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// The share of the sound's energy that lies in one tone: 1.0 is a pure tone, silence has none. (Goertzel.)
pub fn share_of_tone(samples: &[i16], hertz: f64) -> f64 {
    let factor = 2.0 * (TAU * hertz / f64::from(RATE)).cos();
    let (mut one, mut two, mut energy) = (0.0, 0.0, 0.0);
    for sample in samples.iter().map(|sample| f64::from(*sample)) {
        let next = sample + factor * one - two;
        two = one;
        one = next;
        energy += sample * sample;
    }
    if energy == 0.0 {
        return 0.0;
    }
    let power = one * one + two * two - factor * one * two;
    2.0 * power / (energy * samples.len() as f64)
}

/// The tone that fills the last full second of a recording must be `wanted`, and not `unwanted`.
#[track_caller]
pub fn assert_hears(recording: &Path, wanted: f64, unwanted: f64) {
    let samples = read_samples(recording);
    let second = RATE as usize;
    assert!(
        samples.len() >= 2 * second,
        "{} samples only",
        samples.len()
    );
    // Of the last second and a half the first: the very end may be cut by the hang-up.
    let from = samples.len() - second * 3 / 2;
    let part = &samples[from..from + second];
    let (good, bad) = (share_of_tone(part, wanted), share_of_tone(part, unwanted));
    assert!(
        good > 0.8 && bad < 0.1,
        "{wanted} Hz has {good:.3} of the sound, {unwanted} Hz {bad:.3}"
    );
}

#[test]
fn a_tone_is_told_from_another_and_from_silence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tone.wav");
    write_tone(&path, 440.0, 2);
    assert_hears(&path, 440.0, 1000.0);
    let samples = read_samples(&path);
    assert!(share_of_tone(&samples, 1000.0) < 0.01);
    assert!(share_of_tone(&[0; 8000], 440.0) < 0.01);
}

/// Whether a whole second of the recording is this tone.
pub fn has_second_of(recording: &Path, hertz: f64) -> bool {
    let samples = read_samples(recording);
    let second = RATE as usize;
    let parts = samples.windows(second).step_by(second / 4);
    parts
        .into_iter()
        .any(|part| share_of_tone(part, hertz) > 0.8)
}
