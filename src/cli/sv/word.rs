//! The words of sv(8) and what they mean. As in runit, the first letter is enough for what does not wait, and
//! whatever follows it is not looked at: `upx` is `up`, and `dance` is `down`.

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Status,
    Up,
    Down,
    Once,
    Restart,
    /// Restart, but only what runs.
    TryRestart,
    Check,
    Signal(i32),
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    Nothing,
    Up,
    Down,
    /// In service, unless there is no process at all.
    UpIfAlive,
    /// Another process than before, and up; or down for good.
    Again,
    /// Runs its last time, or has.
    Once,
}

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub action: Action,
    pub goal: Goal,
    /// Waits for its goal and reports, also without `-v`.
    pub waits: bool,
    /// SIGKILL when the time is over.
    pub force: bool,
}

/// `None`: sv(8) does not know it.
pub fn parse(text: &str) -> Option<Word> {
    let with = |waits, force| {
        move |action, goal| Word {
            action,
            goal,
            waits,
            force,
        }
    };
    let (plain, waiting, forced) = (with(false, false), with(true, false), with(true, true));
    let signal = |number| plain(Action::Signal(number), Goal::Nothing);
    Some(match text {
        "start" => waiting(Action::Up, Goal::Up),
        "stop" | "shutdown" => waiting(Action::Down, Goal::Down),
        "restart" => waiting(Action::Restart, Goal::Again),
        "reload" => waiting(Action::Signal(libc::SIGHUP), Goal::Nothing),
        "try-restart" => waiting(Action::TryRestart, Goal::Again),
        "check" => waiting(Action::Check, Goal::UpIfAlive),
        "force-stop" | "force-shutdown" => forced(Action::Down, Goal::Down),
        "force-restart" => forced(Action::Restart, Goal::Again),
        "force-reload" => forced(Action::TryRestart, Goal::Again),
        _ => match text.chars().next()? {
            's' => plain(Action::Status, Goal::Nothing),
            'u' => plain(Action::Up, Goal::Up),
            'd' | 'e' | 'x' => plain(Action::Down, Goal::Down),
            'o' => plain(Action::Once, Goal::Once),
            'D' | 'E' | 'X' => forced(Action::Down, Goal::Down),
            'T' => forced(Action::TryRestart, Goal::Again),
            't' => signal(libc::SIGTERM),
            'p' => signal(libc::SIGSTOP),
            'c' => signal(libc::SIGCONT),
            'h' => signal(libc::SIGHUP),
            'a' => signal(libc::SIGALRM),
            'i' => signal(libc::SIGINT),
            'q' => signal(libc::SIGQUIT),
            'k' => signal(libc::SIGKILL),
            '1' => signal(libc::SIGUSR1),
            '2' => signal(libc::SIGUSR2),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_manual_is_known() {
        let words = "status up down once exit start stop restart shutdown reload try-restart check force-stop \
                     force-reload force-restart force-shutdown pause cont hup alarm interrupt quit 1 2 term kill";
        for text in words.split_whitespace() {
            assert!(parse(text).is_some(), "{text}");
        }
        assert_eq!(parse("rest"), None);
        assert_eq!(parse("force"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_first_letter_is_enough_where_nothing_is_waited_for() {
        assert_eq!(parse("upx"), parse("up"));
        assert_eq!(parse("dance"), parse("down"));
        assert_eq!(parse("shu"), parse("status"));
        assert_ne!(parse("sto"), parse("stop"));
    }
}
