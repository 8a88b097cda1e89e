//! What services say on the notify socket (sd_notify(3)): one datagram to a list of assignments.
//!
//! Pure. The sender is a service, perhaps a hostile one: what is not understood is skipped, and no
//! number is taken without a bound. Invariant: the order of the datagram is kept.

use std::time::Duration;

/// The longest status line that is kept, in characters.
const LONGEST_STATUS: usize = 256;
/// The longest extension or watchdog interval that is taken: a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Ready,
    Reloading,
    Stopping,
    Status(String),
    Watchdog,
    /// `WATCHDOG=trigger`: it asks to be treated as if it had missed its watchdog.
    WatchdogTrigger,
    WatchdogInterval(Duration),
    ExtendTimeout(Duration),
    MainPid(i32),
    /// Keep the descriptors of this datagram, under `FDNAME` if one is given.
    StoreDescriptors,
    RemoveDescriptors,
    DescriptorName(String),
    Barrier,
}

/// Reads a datagram.
pub fn parse(datagram: &[u8]) -> Vec<Word> {
    let text = String::from_utf8_lossy(datagram);
    text.lines().filter_map(word).collect()
}

fn word(line: &str) -> Option<Word> {
    let (name, value) = line.split_once('=')?;
    let micros = || {
        value
            .parse()
            .ok()
            .map(|n| Duration::from_micros(n).min(LONGEST))
    };
    match (name, value) {
        ("READY", "1") => Some(Word::Ready),
        ("RELOADING", "1") => Some(Word::Reloading),
        ("STOPPING", "1") => Some(Word::Stopping),
        ("STATUS", _) => {
            let shown = value.chars().filter(|c| !c.is_control());
            Some(Word::Status(shown.take(LONGEST_STATUS).collect()))
        }
        ("WATCHDOG", "1") => Some(Word::Watchdog),
        ("WATCHDOG", "trigger") => Some(Word::WatchdogTrigger),
        ("WATCHDOG_USEC", _) => micros().map(Word::WatchdogInterval),
        ("EXTEND_TIMEOUT_USEC", _) => micros().map(Word::ExtendTimeout),
        ("MAINPID", _) => value.parse().ok().filter(|pid| *pid > 1).map(Word::MainPid),
        ("FDSTORE", "1") => Some(Word::StoreDescriptors),
        ("FDSTOREREMOVE", "1") => Some(Word::RemoveDescriptors),
        ("FDNAME", name) if is_descriptor_name(name) => Some(Word::DescriptorName(name.to_owned())),
        ("BARRIER", "1") => Some(Word::Barrier),
        _ => None,
    }
}

/// As in sd_pid_notify_with_fds(3): printable ASCII without a colon, at most 255 characters.
fn is_descriptor_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_a_list_of_assignments() {
        assert_eq!(
            parse(b"READY=1\nSTATUS=two calls\x1b\nNOISE=1\nWATCHDOG_USEC=2000000\n"),
            [
                Word::Ready,
                Word::Status("two calls".into()),
                Word::WatchdogInterval(Duration::from_secs(2))
            ]
        );
        assert_eq!(
            parse(b"MAINPID=1\nMAINPID=-4\nMAINPID=77"),
            [Word::MainPid(77)]
        );
        assert_eq!(
            parse(b"FDSTORE=1\nFDNAME=a:b\nFDNAME=calls"),
            [Word::StoreDescriptors, Word::DescriptorName("calls".into())]
        );
        assert_eq!(
            parse(b"EXTEND_TIMEOUT_USEC=99999999999999999"),
            [Word::ExtendTimeout(LONGEST)]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            for word in parse(&bytes) {
                if let Word::Status(text) = word {
                    proptest::prop_assert!(text.chars().count() <= LONGEST_STATUS);
                }
            }
        }

        /// Half words, whole words and noise: what comes out is bounded, and each line speaks for itself.
        #[test]
        fn any_assignments_are_bounded(
            lines in proptest::collection::vec(
                ("READY|RELOADING|STATUS|WATCHDOG|WATCHDOG_USEC|EXTEND_TIMEOUT_USEC|MAINPID|FDSTORE|FDNAME|BARRIER|X",
                 "1|0|-?[0-9]{1,24}|trigger|[ -~]{0,300}|\\PC{0,40}"), 0..12),
        ) {
            let texts: Vec<String> = lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let words = parse(texts.join("\n").as_bytes());
            for word in &words {
                match word {
                    Word::WatchdogInterval(time) | Word::ExtendTimeout(time) => proptest::prop_assert!(*time <= LONGEST),
                    Word::MainPid(pid) => proptest::prop_assert!(*pid > 1),
                    Word::DescriptorName(name) => proptest::prop_assert!(is_descriptor_name(name)),
                    Word::Status(text) => proptest::prop_assert!(!text.contains(char::is_control)),
                    _ => {}
                }
            }
            let single: Vec<Word> = texts.iter().flat_map(|text| parse(text.as_bytes())).collect();
            proptest::prop_assert_eq!(words, single);
        }
    }
}
