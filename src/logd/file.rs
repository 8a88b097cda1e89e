//! The log in files: `switchhook.log`, renamed to `.1`, `.2`, … when it is full.
//!
//! One file for all services: their lines stay in the order in which they came, the disk space has one bound
//! (size × (count + 1)), and no service can choose a file's name. A thread of its own writes, for a disk can
//! hang (a network volume); what finds no room on the way to it is dropped and counted. Renames are
//! atomic, so that a reader sees either name. Invariant: no file grows beyond its size, and a line is in a
//! file whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::config::LogFiles;

/// Bytes that may wait for the disk.
const BOUND: usize = 1 << 20;

/// How long a disk that failed is left alone.
const REST: Duration = Duration::from_secs(10);

/// Lines on their way to the thread.
struct Batch {
    bytes: Vec<u8>,
    /// How many were dropped before these.
    lost: u64,
}

/// The near end: takes lines and never waits.
pub struct FileWriter {
    sender: Option<Sender<Batch>>,
    ended: Receiver<()>,
    pending: Vec<u8>,
    lost_here: u64,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
}

impl FileWriter {
    /// Starts the thread; `tell` is called there with `<severity>text` when something is wrong, or well again.
    pub fn start(
        settings: &LogFiles,
        tell: impl Fn(&str) + Send + 'static,
    ) -> io::Result<FileWriter> {
        let (sender, batches) = channel::<Batch>();
        let (end, ended) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let lost = Arc::new(AtomicU64::new(0));
        let mut files = Files::new(settings);
        let (their_waiting, their_lost) = (Arc::clone(&waiting), Arc::clone(&lost));
        std::thread::Builder::new()
            .name("log-file".to_owned())
            .spawn(move || {
                for batch in batches {
                    if let Some(text) = files.write(&batch.bytes, batch.lost, Instant::now()) {
                        tell(&text);
                    }
                    their_lost.store(files.lost, Ordering::Relaxed);
                    their_waiting.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
                }
                let _ = end.send(());
            })?;
        Ok(FileWriter {
            sender: Some(sender),
            ended,
            pending: Vec::new(),
            lost_here: 0,
            waiting,
            lost,
        })
    }

    /// Takes a line, with its end.
    pub fn add(&mut self, line: &str) {
        let waiting = self.waiting.load(Ordering::Relaxed) + self.pending.len();
        if waiting + line.len() > BOUND {
            // What came before the gap goes first, so that the number stands in its place.
            self.send();
            self.lost_here += 1;
        } else {
            if self.lost_here > 0 && !self.pending.is_empty() {
                self.send();
            }
            self.pending.extend_from_slice(line.as_bytes());
        }
    }

    /// Hands what was taken to the thread; called once in a turn.
    pub fn send(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let batch = Batch {
            bytes: std::mem::take(&mut self.pending),
            lost: std::mem::take(&mut self.lost_here),
        };
        self.waiting.fetch_add(batch.bytes.len(), Ordering::Relaxed);
        if let Some(sender) = &self.sender {
            let _ = sender.send(batch);
        }
    }

    /// Lines that are in no file.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.lost_here
    }

    /// Waits for the thread to write the rest, but not longer than `patience`.
    pub fn finish(&mut self, patience: Duration) {
        self.send();
        self.sender = None;
        let _ = self.ended.recv_timeout(patience);
    }
}

/// The far end: the files.
struct Files {
    directory: PathBuf,
    size: u64,
    count: u64,
    current: Option<(File, u64)>,
    /// Nothing is tried before; set after a failure that was told.
    rests_until: Option<Instant>,
    failing: bool,
    /// Lost since the last line that is in a file.
    untold: u64,
    lost: u64,
}

impl Files {
    fn new(settings: &LogFiles) -> Files {
        Files {
            directory: PathBuf::from(&settings.directory),
            size: settings.size,
            count: settings.count,
            current: None,
            rests_until: None,
            failing: false,
            untold: 0,
            lost: 0,
        }
    }

    /// Writes whole lines. What comes back is to be told: the first failure, or that it works again.
    fn write(&mut self, bytes: &[u8], lost_before: u64, now: Instant) -> Option<String> {
        self.lose(lost_before);
        if self.rests_until.is_some_and(|until| now < until) {
            self.lose(count_lines(bytes));
            return None;
        }
        let mut rest = bytes;
        match self.try_write(&mut rest) {
            Ok(told) => {
                self.rests_until = None;
                if std::mem::take(&mut self.failing) {
                    Some(format!(
                        "<5>the log file is written again; {told} lines are not in it"
                    ))
                } else {
                    None
                }
            }
            Err(error) => {
                self.current = None;
                self.rests_until = Some(now + REST);
                self.lose(count_lines(rest));
                if std::mem::replace(&mut self.failing, true) {
                    return None;
                }
                Some(format!(
                    "<4>cannot write the log file in `{}`: {error}; lines are lost there until it works again",
                    self.directory.display()
                ))
            }
        }
    }

    /// Writes all of `rest`, which then is what is not written. Gives the number of lost lines that it told.
    fn try_write(&mut self, rest: &mut &[u8]) -> io::Result<u64> {
        let told = self.untold;
        if told > 0 {
            let line = format!("[{told} lines are missing here: they could not be written]\n");
            self.append(line.as_bytes())?;
            self.untold = 0;
        }
        while !rest.is_empty() {
            let room = self.room()?;
            let fitting = rest
                .get(..usize::try_from(room).unwrap_or(usize::MAX))
                .unwrap_or(rest);
            let end = match fitting.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                // A line that does not fit any more begins the next file.
                None => rest
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(rest.len(), |first| first + 1),
            };
            let (now, later) = rest.split_at(end);
            self.append(now)?;
            *rest = later;
        }
        Ok(told)
    }

    /// Appends all of `bytes` or nothing of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.room()? < length {
            self.rotate()?;
        }
        let limit = self.size;
        let (file, size) = self.open()?;
        if let Err(error) = file.write_all(bytes) {
            // Half a line would join with the next one.
            let _ = file.set_len(*size);
            return Err(error);
        }
        *size += length;
        debug_assert!(*size <= limit || *size == length);
        Ok(())
    }

    fn room(&mut self) -> io::Result<u64> {
        let limit = self.size;
        let (_, size) = self.open()?;
        Ok(limit.saturating_sub(*size))
    }

    /// The current file. One that was removed behind our back is made anew.
    fn open(&mut self) -> io::Result<&mut (File, u64)> {
        let removed = match &self.current {
            Some((file, _)) => file.metadata()?.nlink() == 0,
            None => true,
        };
        if removed {
            self.current = None;
            std::fs::create_dir_all(&self.directory)?;
        }
        let path = self.path(0);
        match &mut self.current {
            Some(current) => Ok(current),
            empty => Ok(empty.insert(open(&path)?)),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.current = None;
        // More than are kept now may be there from a time with a larger number.
        let mut beyond = self.count;
        while std::fs::remove_file(self.path(beyond)).is_ok() {
            beyond += 1;
        }
        for number in (0..self.count).rev() {
            match std::fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(match number {
            0 => "switchhook.log".to_owned(),
            _ => format!("switchhook.log.{number}"),
        })
    }

    fn lose(&mut self, lines: u64) {
        self.untold += lines;
        self.lost += lines;
    }
}

/// Opens for appending; a last line that was not ended, by a crash, is ended.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        let mut last = [0u8];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path, size: u64, count: u64) -> Files {
        Files::new(&LogFiles {
            directory: directory.display().to_string(),
            size,
            count,
        })
    }

    fn all(files: &Files) -> String {
        (0..=files.count + 2)
            .rev()
            .filter_map(|number| std::fs::read_to_string(files.path(number)).ok())
            .collect()
    }

    #[test]
    fn no_file_grows_beyond_its_size_and_the_last_lines_are_kept_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 100, 3);
        let lines: Vec<String> = (0..100).map(|i| format!("line number {i}\n")).collect();
        for few in lines.chunks(7) {
            assert_eq!(
                files.write(few.concat().as_bytes(), 0, Instant::now()),
                None
            );
        }
        for number in 0..=3 {
            let length = std::fs::metadata(files.path(number)).unwrap().len();
            assert!(length <= 100, "{number}: {length}");
        }
        assert!(!files.path(4).exists());
        let kept = all(&files);
        assert!(
            kept.len() > 250 && lines.concat().ends_with(&kept),
            "{kept}"
        );
    }

    #[test]
    fn a_disk_that_fails_is_told_once_tried_again_and_its_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("log");
        std::fs::write(&inside, "a file where the directory should be").unwrap();
        let mut files = files(&inside, 1000, 3);
        let start = Instant::now();
        let told = files.write(b"one\ntwo\n", 0, start).unwrap();
        assert!(told.starts_with("<4>cannot write the log file"), "{told}");
        assert_eq!(files.write(b"three\n", 1, start), None);
        assert_eq!(files.write(b"four\n", 0, start + REST), None, "told twice");
        std::fs::remove_file(&inside).unwrap();
        let told = files.write(b"five\n", 0, start + 3 * REST).unwrap();
        assert!(told.contains("5 lines are not in it"), "{told}");
        assert_eq!(
            all(&files),
            "[5 lines are missing here: they could not be written]\nfive\n"
        );
        assert_eq!(files.lost, 5);
    }

    #[test]
    fn half_a_line_from_a_crash_is_ended_and_a_removed_file_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 1000, 3);
        std::fs::write(files.path(0), "half").unwrap();
        files.write(b"one\n", 0, Instant::now());
        assert_eq!(all(&files), "half\none\n");
        std::fs::remove_file(files.path(0)).unwrap();
        files.write(b"two\n", 0, Instant::now());
        assert_eq!(all(&files), "two\n");
    }

    #[test]
    fn what_was_added_is_written_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let settings = LogFiles {
            directory: dir.path().display().to_string(),
            size: 1 << 20,
            count: 1,
        };
        let mut writer = FileWriter::start(&settings, |_| {}).unwrap();
        writer.add("a\n");
        writer.add("b\n");
        writer.finish(Duration::from_secs(30));
        let text = std::fs::read_to_string(dir.path().join("switchhook.log")).unwrap();
        assert_eq!((text.as_str(), writer.lost()), ("a\nb\n", 0));
    }
}
