//! Names of signals and their numbers on Linux (signal(7), x86 and Arm).

/// SIGTERM.
pub const TERM: i32 = 15;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of `SIGTERM`, `TERM`, `SIGRTMIN+3` or `15`.
pub fn number(name: &str) -> Result<i32, String> {
    let bad = || format!("`{name}` is not a signal such as SIGTERM");
    if let Ok(number) = name.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(bad())
        };
    }
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    // The C libraries keep the first two real-time signals for themselves.
    if let Some(above) = bare.strip_prefix("RTMIN") {
        let above: i32 = match above.strip_prefix('+') {
            Some(digits) => digits.parse().map_err(|_| bad())?,
            None if above.is_empty() => 0,
            None => return Err(bad()),
        };
        return above
            .checked_add(34)
            .filter(|n| (34..=64).contains(n))
            .ok_or_else(bad);
    }
    NAMES
        .iter()
        .position(|known| *known == bare)
        .and_then(|index| i32::try_from(index + 1).ok())
        .ok_or_else(bad)
}

/// The name without `SIG`, as systemd puts it into `$EXIT_STATUS`; a real-time signal by its number.
pub fn name(number: i32) -> String {
    let index = usize::try_from(number - 1).ok();
    let known = index.and_then(|index| NAMES.get(index));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        assert_eq!(number("SIGTERM"), Ok(15));
        assert_eq!(number("USR1"), Ok(10));
        assert_eq!(number("SYS"), Ok(31));
        assert_eq!(number("SIGRTMIN+3"), Ok(37));
        assert_eq!(number("9"), Ok(9));
        for bad in [
            "SIGNOTHING",
            "0",
            "65",
            "RTMIN+99",
            "RTMIN-1",
            "RTMIN+-3",
            "RTMIN+2147483647",
            "",
        ] {
            assert!(number(bad).is_err(), "{bad}");
        }
    }
}
