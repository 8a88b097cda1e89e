//! How many short messages a text costs (3GPP TS 23.038 and 23.040).
//!
//! Pure. Invariant: a text of n segments never has fewer than one that it begins with.

/// How a text goes over the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// Seven bits for each sign, fourteen for those of the extension.
    Gsm7,
    /// UTF-16.
    Ucs2,
}

/// What a text costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    pub alphabet: Alphabet,
    /// Signs of seven bits, or units of sixteen.
    pub units: usize,
    /// At least 1.
    pub count: usize,
}

/// The default alphabet, in the order of its codes; escape is left out.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// What takes an escape and a sign.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// Counts.
#[must_use]
pub fn count(text: &str) -> Segments {
    let seven: Option<Vec<usize>> = text.chars().map(septets).collect();
    let (alphabet, widths, alone, each) = match seven {
        Some(widths) => (Alphabet::Gsm7, widths, 160, 153),
        None => (
            Alphabet::Ucs2,
            text.chars().map(char::len_utf16).collect(),
            70,
            67,
        ),
    };
    let units = widths.iter().sum();
    let count = if units <= alone {
        1
    } else {
        parts(&widths, each)
    };
    Segments {
        alphabet,
        units,
        count,
    }
}

fn septets(sign: char) -> Option<usize> {
    match sign {
        _ if BASIC.contains(sign) => Some(1),
        _ if EXTENSION.contains(sign) => Some(2),
        _ => None,
    }
}

/// Neither an escape and its sign nor the halves of a surrogate pair are cut apart.
fn parts(widths: &[usize], each: usize) -> usize {
    let mut count = 1;
    let mut room = each;
    for width in widths {
        if *width > room {
            count += 1;
            room = each;
        }
        room -= width;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_edges() {
        for (text, alphabet, units, segments) in [
            (String::new(), Alphabet::Gsm7, 0, 1),
            ("a".repeat(160), Alphabet::Gsm7, 160, 1),
            ("a".repeat(161), Alphabet::Gsm7, 161, 2),
            ("a".repeat(306), Alphabet::Gsm7, 306, 2),
            ("a".repeat(307), Alphabet::Gsm7, 307, 3),
            ("€".repeat(80), Alphabet::Gsm7, 160, 1),
            // 76 of them in a part, one septet left over.
            ("€".repeat(153), Alphabet::Gsm7, 306, 3),
            ("é\n@Δ".to_owned(), Alphabet::Gsm7, 4, 1),
            ("ç".to_owned(), Alphabet::Ucs2, 1, 1),
            ("я".repeat(70), Alphabet::Ucs2, 70, 1),
            ("я".repeat(71), Alphabet::Ucs2, 71, 2),
            ("😀".repeat(35), Alphabet::Ucs2, 70, 1),
            ("😀".repeat(67), Alphabet::Ucs2, 134, 3),
        ] {
            assert_eq!(
                count(&text),
                Segments {
                    alphabet,
                    units,
                    count: segments
                },
                "{text}"
            );
        }
        assert_eq!(BASIC.chars().count(), 127);
    }

    proptest! {
        #[test]
        fn more_text_never_costs_less(text in "\\PC{0,200}", more in "\\PC{0,40}") {
            let whole = count(&format!("{text}{more}"));
            prop_assert!(whole.count >= count(&text).count);
            prop_assert!(whole.count <= whole.units.max(1));
        }
    }
}
