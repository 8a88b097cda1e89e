//! How near one recording of speech is to another, in figures.
//!
//! Two figures for two questions. The segmental signal-to-noise ratio compares samples, and tells whether two decoders of one
//! stream agree. The spectral distance compares what is heard, and tells what a codec has left of the original, which moves
//! every sample. Both look only at segments in which somebody speaks.

use std::f64::consts::TAU;

/// 20 ms.
const SEGMENT: usize = 160;
/// Segments below this (root of the mean square) are pauses.
const SPEAKING: f64 = 200.0;

fn energy(samples: &[i16]) -> f64 {
    samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum()
}

pub fn loudness(samples: &[i16]) -> f64 {
    (energy(samples) / samples.len().max(1) as f64).sqrt()
}

/// Decibels, the mean over the segments that speak, each held between -10 and 35 as is usual.
pub fn segmental_snr(reference: &[i16], heard: &[i16]) -> f64 {
    let pairs = reference
        .chunks_exact(SEGMENT)
        .zip(heard.chunks_exact(SEGMENT));
    let figures: Vec<f64> = pairs
        .filter(|(wanted, _)| loudness(wanted) > SPEAKING)
        .map(|(wanted, got)| {
            let noise: f64 = wanted
                .iter()
                .zip(got)
                .map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2))
                .sum();
            (10.0 * (energy(wanted) / noise.max(1.0)).log10()).clamp(-10.0, 35.0)
        })
        .collect();
    mean(&figures)
}

/// The first sample of `heard` that belongs to the first of `reference`: where the two agree best, at most `most` later.
pub fn delay(reference: &[i16], heard: &[i16], most: usize) -> usize {
    // Two seconds are enough to know.
    let reference = &reference[..reference.len().min(16_000)];
    let likeness = |shift: usize| -> f64 {
        let heard = heard.get(shift..).unwrap_or_default();
        let pairs = reference.iter().zip(heard);
        let product: f64 = pairs
            .map(|(one, other)| f64::from(*one) * f64::from(*other))
            .sum();
        product
            / energy(&heard[..heard.len().min(reference.len())])
                .sqrt()
                .max(1.0)
    };
    (0..=most)
        .max_by(|one, other| likeness(*one).total_cmp(&likeness(*other)))
        .unwrap_or(0)
}

/// Decibels by which the bands of the telephone differ, the mean over the segments that speak. Two recordings of the same
/// sentence by one voice are some 3 apart, a sentence and another more than 10.
pub fn spectral_distance(reference: &[i16], heard: &[i16]) -> f64 {
    let pairs = reference
        .chunks_exact(2 * SEGMENT)
        .zip(heard.chunks_exact(2 * SEGMENT));
    let figures: Vec<f64> = pairs
        .filter(|(wanted, _)| loudness(wanted) > SPEAKING)
        .map(|(wanted, got)| {
            let (wanted, got) = (bands(wanted), bands(got));
            let squares = wanted
                .iter()
                .zip(&got)
                .map(|(one, other)| (one - other).powi(2));
            (squares.sum::<f64>() / wanted.len() as f64).sqrt()
        })
        .collect();
    mean(&figures)
}

/// The level of each band of 200 Hz between 300 and 3300 Hz, in decibels, with a floor at the noise of a quiet line.
fn bands(samples: &[i16]) -> Vec<f64> {
    let length = samples.len() as f64;
    let windowed: Vec<f64> = samples
        .iter()
        .enumerate()
        .map(|(at, sample)| f64::from(*sample) * (0.5 - 0.5 * (TAU * at as f64 / length).cos()))
        .collect();
    let power = |hertz: f64| -> f64 {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (at, sample) in windowed.iter().enumerate() {
            let (sine, cosine) = (TAU * hertz * at as f64 / 8000.0).sin_cos();
            real += sample * cosine;
            imaginary -= sample * sine;
        }
        (real * real + imaginary * imaginary) / length
    };
    (0..15)
        .map(|band| {
            let start = 300.0 + 200.0 * f64::from(band);
            let total: f64 = (0..8).map(|bin| power(start + 25.0 * f64::from(bin))).sum();
            10.0 * (total + 10_000.0).log10()
        })
        .collect()
}

fn mean(figures: &[f64]) -> f64 {
    assert!(
        figures.len() >= 20,
        "nobody speaks: {} segments",
        figures.len()
    );
    figures.iter().sum::<f64>() / figures.len() as f64
}

#[test]
fn the_figures_tell_the_same_from_another() {
    let tone = |hertz: f64| -> Vec<i16> {
        (0..16_000)
            .map(|at| (8000.0 * (TAU * hertz * f64::from(at) / 8000.0).sin()) as i16)
            .collect()
    };
    let (one, other) = (tone(440.0), tone(1000.0));
    assert!(segmental_snr(&one, &one) > 34.0);
    assert!(segmental_snr(&one, &other) < 0.0);
    assert!(spectral_distance(&one, &one) < 0.1);
    assert!(spectral_distance(&one, &other) > 10.0);
    let late: Vec<i16> = [0; 37].iter().copied().chain(one.iter().copied()).collect();
    assert_eq!(delay(&one[..8000], &late, 100) % 18, 37 % 18);
}
