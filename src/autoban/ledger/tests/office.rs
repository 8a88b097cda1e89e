//! An office behind one address: who logs in there, who has a stale password, and who guesses.

use super::*;

/// A day of an office: a success each minute, and between them what `event` says of each second.
fn a_day_of_an_office(mut event: impl FnMut(i64) -> Vec<Meaning>) -> (Vec<Change>, usize) {
    let mut ledger = Ledger::new(Policy::default());
    let (mut changes, mut told) = (Vec::new(), 0);
    for second in 0..24 * 60 * 60 {
        let now = START + second * 1000;
        let login = (second % 60 == 0).then(|| success("203.0.113.9"));
        for meaning in login.into_iter().chain(event(second)) {
            let out = ledger.step(meaning, now);
            changes.extend(out.changes);
            let is_suspect = |note: &&Note| matches!(note, Note::TrustedSuspect { .. });
            told += out.notes.iter().filter(is_suspect).count();
        }
    }
    (changes, told)
}

#[test]
fn an_office_with_a_stale_phone_keeps_calling() {
    for pause in [1, 2, 20, 45] {
        let (changes, told) = a_day_of_an_office(|second| match second % pause {
            0 => vec![
                against("203.0.113.9", Grade::Strong, 1),
                against("203.0.113.9", Grade::Weak, 1),
            ],
            _ => vec![],
        });
        assert_eq!(changes, [], "every {pause} s");
        // Somebody has to look for that phone; once in a watch time is often enough to hear of it.
        assert!((1..=2 * 72).contains(&told), "every {pause} s: told {told}");
    }
}

#[test]
fn an_office_with_fifteen_stale_phones_keeps_calling() {
    let phone = |second: i64| u32::try_from(second % 15).unwrap();
    let (changes, _) = a_day_of_an_office(|second| match second % 4 {
        0 => vec![against("203.0.113.9", Grade::Strong, phone(second / 4))],
        _ => vec![],
    });
    assert_eq!(changes, []);
}

#[test]
fn forged_packets_do_not_make_a_guesser_of_a_stale_phone() {
    let (changes, _) = a_day_of_an_office(|second| {
        if second % 30 != 0 {
            return vec![];
        }
        let number = u32::try_from(second).unwrap();
        let forged = |n| against("203.0.113.9", Grade::Weak, number + n);
        let stale = against("203.0.113.9", Grade::Strong, 1);
        (2..22).map(forged).chain([stale]).collect()
    });
    assert_eq!(changes, []);
}

#[test]
fn what_can_be_forged_does_not_make_an_account_known() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.step(success("203.0.113.9"), START);
    let jailed = (1..=100).find(|account| {
        // First by UDP, so that the proven attempt would be a repeat.
        for grade in [Grade::Weak, Grade::Strong] {
            let out = ledger.step(against("203.0.113.9", grade, *account), START);
            if !out.changes.is_empty() {
                return true;
            }
        }
        false
    });
    assert_eq!(jailed, Some(16));
}

#[test]
fn who_guesses_one_password_in_a_hurry_is_jailed_though_trusted() {
    let mut ledger = Ledger::new(Policy::default());
    ledger.step(success("203.0.113.9"), START);
    let guess = against("203.0.113.9", Grade::Strong, 1);
    let jailed = (1..=10_000).find(|n| {
        let out = ledger.step(guess, START + n * 10);
        !out.changes.is_empty()
    });
    // One, 1200 repeats that weigh nothing, and then four for one: 116 more.
    assert_eq!(jailed, Some(1 + 1200 + 116));
}
