//! The difference of two texts, line by line, in the manner of `diff -u`.
//!
//! It is for people: nothing applies it. It has no file names and no colours.
//! Invariant: no differences, no text.

use crate::asterisk::conf::Document;

/// Lines of agreement shown around a difference.
const CONTEXT: usize = 3;

/// The largest table of line pairs that is searched for the shortest difference; above it the middle is shown as replaced.
const MAX_PAIRS: usize = 4_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Same,
    Gone,
    New,
}

/// Compares two documents by their true text and shows both with their secrets masked.
#[must_use]
pub fn diff_masked(
    before: &Document,
    after: &Document,
    is_secret: impl Fn(&str) -> bool + Copy,
) -> String {
    let (true_old, true_new) = (before.to_string(), after.to_string());
    let (shown_old, shown_new) = (before.masked(is_secret), after.masked(is_secret));
    let old: Vec<(&str, &str)> = true_old.lines().zip(shown_old.lines()).collect();
    let new: Vec<(&str, &str)> = true_new.lines().zip(shown_new.lines()).collect();
    let script = script(&old, &new, |old, new| old.0 == new.0);
    render(
        &script
            .into_iter()
            .map(|(mark, line)| (mark, line.1))
            .collect::<Vec<_>>(),
    )
}

fn script<T: Copy>(old: &[T], new: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<(Mark, T)> {
    let head = old.iter().zip(new).take_while(|(a, b)| same(a, b)).count();
    let (old_rest, new_rest) = (
        old.get(head..).unwrap_or_default(),
        new.get(head..).unwrap_or_default(),
    );
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| same(a, b))
        .count();
    let old_middle = old_rest.get(..old_rest.len() - tail).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
    let mut script: Vec<(Mark, T)> = old
        .iter()
        .take(head)
        .map(|line| (Mark::Same, *line))
        .collect();
    script.extend(middle(old_middle, new_middle, &same));
    script.extend(
        old.iter()
            .skip(old.len() - tail)
            .map(|line| (Mark::Same, *line)),
    );
    script
}

/// The longest common subsequence, by the table of lengths.
fn middle<T: Copy>(old: &[T], new: &[T], same: &impl Fn(&T, &T) -> bool) -> Vec<(Mark, T)> {
    let width = new.len() + 1;
    let mut lengths = vec![
        0_u32;
        if old.len() * new.len() > MAX_PAIRS {
            0
        } else {
            (old.len() + 1) * width
        }
    ];
    let at = |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    if !lengths.is_empty() {
        for (i, a) in old.iter().enumerate().rev() {
            for (j, b) in new.iter().enumerate().rev() {
                let length = if same(a, b) {
                    at(&lengths, i + 1, j + 1) + 1
                } else {
                    at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
                };
                if let Some(cell) = lengths.get_mut(i * width + j) {
                    *cell = length;
                }
            }
        }
    }
    let (mut i, mut j, mut script) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if !lengths.is_empty() && same(a, b) => {
                script.push((Mark::Same, *a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), Some(_)) if at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                script.push((Mark::Gone, *a));
                i += 1;
            }
            (Some(a), None) => {
                script.push((Mark::Gone, *a));
                i += 1;
            }
            (_, Some(b)) => {
                script.push((Mark::New, *b));
                j += 1;
            }
            (None, None) => return script,
        }
    }
}

fn render(script: &[(Mark, &str)]) -> String {
    let near = |at: usize| {
        let around = script.get(at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(script.len()));
        around
            .unwrap_or_default()
            .iter()
            .any(|(mark, _)| *mark != Mark::Same)
    };
    let (mut text, mut old_line, mut new_line, mut inside) = (String::new(), 1, 1, false);
    for (at, (mark, line)) in script.iter().enumerate() {
        let shown = near(at);
        if shown && !inside {
            text.push_str(&format!("@@ -{old_line} +{new_line} @@\n"));
        }
        inside = shown;
        let sign = match mark {
            Mark::Same => ' ',
            Mark::Gone => '-',
            Mark::New => '+',
        };
        if shown {
            text.push(sign);
            text.push_str(line);
            text.push('\n');
        }
        old_line += usize::from(*mark != Mark::New);
        new_line += usize::from(*mark != Mark::Gone);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn diff(before: &str, after: &str) -> String {
        diff_masked(&Document::parse(before), &Document::parse(after), |_| false)
    }

    #[test]
    fn two_places_give_two_hunks() {
        insta::assert_snapshot!(diff(
            "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n",
            "a\nc\nd\ne\nf\ng\nh\ni\nj\nk\n"
        ));
    }

    proptest! {
        #[test]
        fn equal_texts_have_no_difference_and_others_have_one(a in "[ab\n]{0,20}", b in "[ab\n]{0,20}") {
            prop_assert_eq!(diff(&a, &a), "");
            let differ = !a.lines().eq(b.lines());
            prop_assert_eq!(!diff(&a, &b).is_empty(), differ);
        }
    }
}
