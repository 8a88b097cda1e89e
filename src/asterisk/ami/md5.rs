//! MD5 (RFC 1321), for the manager's challenge only.
//!
//! Pure. It protects nothing by itself; Asterisk asks for it. The login goes over the loopback.

/// Shifts of the four rounds (RFC 1321, 3.4).
const SHIFTS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The digest as 32 small hexadecimal digits.
#[must_use]
pub fn hex(message: &[u8]) -> String {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
    let state = padded
        .chunks_exact(64)
        .fold([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], block);
    state
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn block(state: [u32; 4], bytes: &[u8]) -> [u32; 4] {
    let words: Vec<u32> = bytes
        .chunks_exact(4)
        .map(|word| word.iter().rev().fold(0, |sum, b| sum << 8 | u32::from(*b)))
        .collect();
    let [mut a, mut b, mut c, mut d] = state;
    for step in 0..64usize {
        let (mixed, word) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        // RFC 1321, 3.4: the integer part of 4294967296 times |sin(i)|, i in radians from 1.
        let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
        let shift = SHIFTS
            .get(step / 16)
            .and_then(|row| row.get(step % 4))
            .copied()
            .unwrap_or(0);
        let turned = a
            .wrapping_add(mixed)
            .wrapping_add(constant)
            .wrapping_add(words.get(word % 16).copied().unwrap_or(0))
            .rotate_left(shift)
            .wrapping_add(b);
        (a, b, c, d) = (d, turned, b, c);
    }
    let [e, f, g, h] = state;
    [
        e.wrapping_add(a),
        f.wrapping_add(b),
        g.wrapping_add(c),
        h.wrapping_add(d),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, A.5.
    #[test]
    fn the_test_suite_of_the_rfc() {
        for (message, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "c3fcd3d76192e4007dfb496cca67e13b",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(message.as_bytes()), digest);
        }
    }
}
