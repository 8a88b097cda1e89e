//! A program that a service runs to its end: what it says is heard line by line, and there is a limit to its time.
//!
//! It leads a process group, which is ended with it. Invariant: whether it ends, takes too long or nobody waits any more,
//! no process of it and no zombie stays.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

use super::process::{self, Child, Launch, SetupError, SpawnError};
use crate::units::exit::Exit;

/// A longer line is heard in pieces of so many bytes.
const LONGEST_LINE: usize = 1000;
/// Of what it says no more than this is heard.
const MOST: usize = 64 << 10;

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("it cannot be started: {0}")]
    Setup(SetupError),
    #[error("it took longer than {} s", .0.as_secs())]
    TooLong(Duration),
    #[error("it cannot be waited for: {0}")]
    Wait(#[from] io::Error),
}

/// Runs a program; `hear` gets each line of its standard output and error.
///
/// # Errors
/// If it cannot be started, or takes longer than `limit`.
pub async fn run(
    program: &Path,
    arguments: &[&str],
    environment: Vec<(String, String)>,
    limit: Duration,
    mut hear: impl FnMut(&str),
) -> Result<Exit, ProgramError> {
    let deadline = Instant::now() + limit;
    let (output, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(io::Error::from)?;
    // The child's end waits for us as any pipe does.
    fcntl(&input, FcntlArg::F_SETFL(OFlag::empty())).map_err(io::Error::from)?;
    let launch = Launch {
        program: program.to_owned(),
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        environment,
        stdout: Some(input.as_fd().try_clone_to_owned()?),
        stderr: Some(input),
        ..Launch::default()
    };
    let child = Kept::new(process::spawn(&launch)?);
    drop(launch);
    let mut lines = Lines::new(output)?;
    let is_over = child.end();
    let mut is_over = std::pin::pin!(is_over);
    loop {
        tokio::select! {
            ended = &mut is_over => { ended?; break; }
            () = lines.hear(&mut hear) => {}
            () = sleep_until(deadline) => return Err(ProgramError::TooLong(limit)),
        }
    }
    lines.hear_rest(&mut hear);
    if let Some(Err(setup)) = process::read_outcome(child.0.outcome.as_fd()) {
        return Err(ProgramError::Setup(setup));
    }
    // Killed from outside, and waited for by somebody else: that cannot be told apart from here.
    let lost = || io::Error::from(io::ErrorKind::NotFound);
    Ok(child.take().ok_or_else(lost)?)
}

/// A child that is not left behind.
struct Kept(Child, std::cell::Cell<bool>);

impl Kept {
    fn new(child: Child) -> Kept {
        Kept(child, std::cell::Cell::new(false))
    }

    /// Until it has ended; its zombie stays.
    fn end(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let handle = process::ProcessHandle::open(self.0.pid);
        async move {
            #[allow(
                deprecated,
                reason = "its successor is unsafe, for descriptors that go away; an OwnedFd does not"
            )]
            let ended = AsyncFd::new(OwnedFd::from(handle?))?;
            ended.readable().await.map(|_| ())
        }
    }

    /// Ends what is left of its group and takes the zombie away.
    fn take(&self) -> Option<Exit> {
        if self.1.replace(true) {
            return None;
        }
        process::signal_group(self.0.pid, nix::libc::SIGKILL);
        process::wait_for(self.0.pid)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _: Option<Exit> = self.take();
    }
}

/// What it says, in lines.
struct Lines {
    from: pipe::Receiver,
    pending: Vec<u8>,
    heard: usize,
    is_open: bool,
}

impl Lines {
    fn new(from: OwnedFd) -> io::Result<Lines> {
        Ok(Lines {
            from: pipe::Receiver::from_owned_fd(from)?,
            pending: Vec::new(),
            heard: 0,
            is_open: true,
        })
    }

    /// Waits for more and hears it; for ever when there will be none.
    async fn hear(&mut self, hear: &mut impl FnMut(&str)) {
        if !self.is_open || self.from.readable().await.is_err() {
            return std::future::pending().await;
        }
        self.read(hear);
    }

    /// Hears what is there and waits for nothing.
    fn hear_rest(&mut self, hear: &mut impl FnMut(&str)) {
        while self.is_open && self.read(hear) {}
        self.tell(hear);
    }

    /// Whether there was something.
    fn read(&mut self, hear: &mut impl FnMut(&str)) -> bool {
        let mut piece = [0; 1024];
        let count = match self.from.try_read(&mut piece) {
            Ok(0) => {
                self.is_open = false;
                return false;
            }
            Ok(count) => count,
            Err(_) => return false,
        };
        self.heard += count;
        if self.heard > MOST {
            return true;
        }
        for &byte in piece.iter().take(count) {
            match byte {
                b'\n' => self.tell(hear),
                byte => self.pending.push(byte),
            }
            if self.pending.len() >= LONGEST_LINE {
                self.tell(hear);
            }
        }
        true
    }

    fn tell(&mut self, hear: &mut impl FnMut(&str)) {
        if !self.pending.is_empty() {
            hear(&String::from_utf8_lossy(&self.pending));
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_there(pid: i32) -> bool {
        process::children().contains(&nix::unistd::Pid::from_raw(pid))
    }

    fn shell(script: &str, limit: Duration) -> (Result<Exit, ProgramError>, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut heard = Vec::new();
        let environment = vec![("A".to_owned(), "b c".to_owned())];
        let arguments = ["-c", script, "sh", "x y"];
        let hear = |line: &str| heard.push(line.to_owned());
        let ended = runtime.block_on(run(
            Path::new("/bin/sh"),
            &arguments,
            environment,
            limit,
            hear,
        ));
        (ended, heard)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn its_lines_are_heard_and_its_end_is_told() {
        let (ended, heard) = shell("echo $A $1; echo two >&2; printf end; exit 3", LONG);
        assert_eq!(ended.unwrap(), Exit::Code(3));
        assert_eq!(heard, ["b c x y", "two", "end"]);
        assert_eq!(shell("kill -9 $$", LONG).0.unwrap(), Exit::Signal(9));
    }

    #[test]
    fn one_that_takes_too_long_is_ended() {
        let (ended, _) = shell("sleep 600", Duration::from_millis(50));
        assert!(matches!(ended, Err(ProgramError::TooLong(_))), "{ended:?}");
    }

    /// Waits until a process has ended; one that was killed needs a moment.
    fn is_gone(pid: &str) {
        let began = std::time::Instant::now();
        let runs = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            status.is_ok_and(|text| !text.contains(") Z "))
        };
        while runs() {
            assert!(began.elapsed() < LONG, "{pid} runs on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_nobody_waits_for_is_ended_with_its_children() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let pids = runtime.block_on(async {
            let arguments = ["-c", "sleep 600 & echo $! $$; wait"];
            let hear = move |line: &str| sender.send(line.to_owned()).unwrap();
            tokio::select! {
                ended = run(Path::new("/bin/sh"), &arguments, vec![], LONG, hear) => panic!("{ended:?}"),
                pids = heard.recv() => pids.unwrap(),
            }
        });
        for pid in pids.split(' ') {
            assert!(!is_there(pid.parse().unwrap()), "its zombie stays");
            is_gone(pid);
        }
    }

    #[test]
    fn one_that_leaves_a_child_with_its_pipe_behind_ends_all_the_same() {
        let (ended, heard) = shell("sleep 600 & echo here", LONG);
        assert_eq!(ended.unwrap(), Exit::Code(0));
        assert_eq!(heard, ["here"]);
    }

    #[test]
    fn one_that_is_no_program_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let ended = runtime.block_on(run(Path::new("/nowhere/x"), &[], vec![], LONG, |_| {}));
        assert!(matches!(ended, Err(ProgramError::Setup(_))), "{ended:?}");
    }
}
