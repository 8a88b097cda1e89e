//! Block lists are fetched and kept: from the web with what changed since, or from a file.
//!
//! A copy of each lies in the state directory, so that a restart without a network has it; when the copy was last the
//! server's word is its file's time. Invariant: a fetch that fails leaves the copy as it is.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::surroundings;
use crate::autoban::blocklist::{LONGEST, Parsed, parse};
use crate::autoban::config::{Import, Origin};
use crate::sys::file::{Owner, make_directory, write_atomic};
use crate::web::address::Address;
use crate::web::{Client, Patience, Request};

/// Where the thread finds and keeps files.
#[derive(Debug, Clone)]
pub struct Places {
    /// Paths of the configuration are below it.
    pub root: PathBuf,
    pub lists: PathBuf,
}

/// How a copy begins.
const HEADER: &str = "# switchhook block list 1 ";
/// The first pause after a failure; it doubles up to that between two fetches.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// News of one import.
#[derive(Debug)]
pub struct Fetched {
    pub import: Import,
    /// Its content, and how long ago it was the source's; or why there is none.
    pub result: Result<Content, String>,
}

#[derive(Debug)]
pub struct Content {
    pub parsed: Arc<Parsed>,
    pub age: Duration,
    /// Of the copy in the state directory, not of the source.
    pub is_copy: bool,
    /// The source says that nothing changed.
    pub is_unchanged: bool,
}

/// What the server gave to ask by the next time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Marks {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Fetches all lists that are wanted, each at its own times, until the daemon is gone.
pub async fn serve(
    mut wanted: watch::Receiver<Vec<Import>>,
    news: mpsc::Sender<Fetched>,
    places: Places,
) {
    let mut tasks = JoinSet::new();
    while wanted.changed().await.is_ok() {
        tasks.shutdown().await;
        let imports = wanted.borrow_and_update().clone();
        forget_others(&places.lists, &imports);
        for import in imports {
            let fetcher = Fetcher {
                copy: places.lists.join(name(&import.from)),
                import,
                root: places.root.clone(),
                news: news.clone(),
                marks: Marks::default(),
                content: None,
            };
            tasks.spawn(fetcher.go_on());
        }
    }
}

struct Fetcher {
    import: Import,
    root: PathBuf,
    copy: PathBuf,
    news: mpsc::Sender<Fetched>,
    marks: Marks,
    /// The last content, for a server that says it is unchanged.
    content: Option<Arc<Parsed>>,
}

impl Fetcher {
    async fn go_on(mut self) {
        if let Some(content) = self.remember() {
            self.tell(Ok(content)).await;
        }
        let half = self.import.time / 2;
        let mut pause = FIRST_PAUSE.min(half);
        loop {
            let result = match self.import.from.clone() {
                Origin::File(path) => self.read(&path),
                Origin::Web(address) => self.fetch(&address).await,
            };
            let next = match result.is_ok() {
                true => {
                    pause = FIRST_PAUSE.min(half);
                    jittered(half)
                }
                false => {
                    let now = pause;
                    pause = (pause * 2).min(half);
                    jittered(now)
                }
            };
            self.tell(result).await;
            tokio::time::sleep(next).await;
        }
    }

    async fn tell(&self, result: Result<Content, String>) {
        let import = self.import.clone();
        // The daemon that would hear it may be at its end.
        let _ = self.news.send(Fetched { import, result }).await;
    }

    /// What an earlier process kept, if its time is not over.
    fn remember(&mut self) -> Option<Content> {
        let bytes = read_bounded(&self.copy, LONGEST + 4096).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let marks = serde_json::from_str(head.strip_prefix(HEADER)?).ok()?;
        let written = std::fs::metadata(&self.copy).and_then(|meta| meta.modified());
        // A clock that went back makes it new, not old.
        let age = written.ok()?.elapsed().unwrap_or_default();
        let parsed = parse(bytes.get(end + 1..)?, &surroundings::own_addresses()).ok()?;
        let parsed = Arc::new(parsed);
        (self.marks, self.content) = (marks, Some(Arc::clone(&parsed)));
        (age < self.import.time).then_some(Content {
            parsed,
            age,
            is_copy: true,
            is_unchanged: false,
        })
    }

    fn read(&mut self, path: &str) -> Result<Content, String> {
        let path = self.root.join(path.trim_start_matches('/'));
        let text = read_bounded(&path, LONGEST)?;
        self.take(&text, Marks::default())
    }

    async fn fetch(&mut self, address: &Address) -> Result<Content, String> {
        let mut headers = Vec::new();
        if self.content.is_some() {
            let (etag, since) = (self.marks.etag.clone(), self.marks.last_modified.clone());
            headers.extend(etag.map(|etag| ("if-none-match", etag)));
            headers.extend(since.map(|since| ("if-modified-since", since)));
        }
        let request = Request {
            address,
            headers,
            body: None,
            most: LONGEST,
        };
        let client = Client::new(Patience::default()).map_err(|e| e.to_string())?;
        let answer = client.ask(request).await.map_err(|e| e.to_string())?;
        if answer.status != 304 {
            let marks = Marks {
                etag: answer.etag,
                last_modified: answer.last_modified,
            };
            return self.take(&answer.body, marks);
        }
        let Some(parsed) = self.content.clone() else {
            return Err(format!(
                "{address}: it says `unchanged` to who knows nothing"
            ));
        };
        self.confirm();
        Ok(Content {
            parsed,
            age: Duration::ZERO,
            is_copy: false,
            is_unchanged: true,
        })
    }

    /// Takes a text from the source.
    fn take(&mut self, text: &[u8], marks: Marks) -> Result<Content, String> {
        let parsed = parse(text, &surroundings::own_addresses()).map_err(|e| e.to_string())?;
        let parsed = Arc::new(parsed);
        let was = self.content.replace(Arc::clone(&parsed));
        let is_unchanged = was.is_some_and(|was| was == parsed);
        self.marks = marks;
        self.keep(text);
        Ok(Content {
            parsed,
            age: Duration::ZERO,
            is_copy: false,
            is_unchanged,
        })
    }

    /// A disk that fails costs the copy alone, and is told with the journal.
    fn keep(&self, text: &[u8]) {
        let marks = serde_json::to_string(&self.marks).unwrap_or_default();
        let mut bytes = format!("{HEADER}{marks}\n").into_bytes();
        bytes.extend_from_slice(text);
        if let Some(directory) = self.copy.parent() {
            let _ = make_directory(directory, 0o750);
        }
        let owner = Owner::Keep {
            new_file_mode: 0o640,
        };
        let _ = write_atomic(&self.copy, &bytes, owner);
    }

    /// The copy is the source's word again.
    fn confirm(&self) {
        if let Ok(file) = File::options().append(true).open(&self.copy) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
}

fn read_bounded(path: &Path, most: usize) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("cannot read `{}`: {e}", path.display());
    // A pipe without a writer would make it wait for ever.
    let mut open = OpenOptions::new();
    let file = open.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(cannot)?;
    let is_file = file.metadata().map_err(cannot)?.is_file();
    if !is_file {
        return Err(format!("`{}` is no file", path.display()));
    }
    let mut bytes = Vec::new();
    let mut some = file.take(most as u64 + 1);
    some.read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() > most {
        true => Err(format!("`{}` is longer than {most} bytes", path.display())),
        false => Ok(bytes),
    }
}

/// A tenth more or less, so that not everybody asks a server at the same moment.
fn jittered(time: Duration) -> Duration {
    let mut random = [0u8; 2];
    let _ = getrandom::getrandom(&mut random);
    let part = u32::from(u16::from_le_bytes(random)) * 200 / 65_536;
    time * (900 + part) / 1000
}

/// The copy's name says nothing of an address that may hold a secret.
fn name(from: &Origin) -> String {
    let text = match from {
        Origin::Web(address) => address.exposed(),
        Origin::File(path) => path,
    };
    let sum = digest(&SHA256, text.as_bytes());
    let hex = sum.as_ref().iter().take(8);
    hex.map(|byte| format!("{byte:02x}")).collect::<String>() + ".list"
}

/// Removes the copies of lists that nobody wants any more.
fn forget_others(directory: &Path, imports: &[Import]) {
    let wanted: HashSet<String> = imports.iter().map(|import| name(&import.from)).collect();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_ours = |name: &str| name.ends_with(".list") && !wanted.contains(name);
        if name.to_str().is_some_and(is_ours) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
