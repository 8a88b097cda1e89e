//! Fetches the media of messages, and keeps the files.
//!
//! A message is taken when it is on disk; its pictures are fetched afterwards, a few at once, and tried again for a minute or
//! two. Then the text goes to the phones in any case, with our link or the carrier's. Files lie in `media/ID/PLACE`. A file is
//! whole before it is in the books, and is out of the books before it is removed. Invariant: whatever ends the process, what
//! is in the books is fetched again or is there, and a file that no book knows is swept away.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Office;
use crate::sys::clock;
use crate::sys::file::{self, Owner};
use crate::sys::say::{INFO, WARNING, say};
use crate::web::Patience;
use crate::web::address::Address;
use crate::web::download::{Downloader, Got};
use crate::websms::config::{Config, Interface};
use crate::websms::media::{self, Allow};
use crate::websms::profile::MediaAuth;
use crate::websms::spool::{Due, Id, Media, MediaChange, MediaState};

/// Fetched at once: each may be as large as the largest.
const AT_ONCE: usize = 3;
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(30),
};
/// Between two looks for files that no message has.
const SWEEP: Duration = Duration::from_secs(60);
/// Without any event.
const LONGEST_WAIT: i64 = 60_000;
/// After the disk has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The name of this part in the daemon's status.
const PART: &str = "media";

/// Where a message's files are.
pub fn directory(office: &Office, id: Id) -> PathBuf {
    home(office).join(id.to_string())
}

fn home(office: &Office) -> PathBuf {
    office.paths.state().join("websms/media")
}

/// The links that go with a message's text, in order.
pub fn links(config: &Config, kept: &[Media], sources: &[String]) -> Vec<String> {
    // One that came before there were books of media has its carrier's links.
    if kept.is_empty() {
        return sources.to_vec();
    }
    let link = |of: &Media| match (&of.token, &config.store.media_url) {
        (Some(token), Some(url)) => media::link(url, token),
        _ => of.source.clone(),
    };
    kept.iter().map(link).collect()
}

/// Works off what is to be fetched, until the office closes.
pub async fn run(office: Arc<Office>) {
    let mut configs = office.configs();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fetcher = Fetcher {
        office: Arc::clone(&office),
        under_way: JoinSet::new(),
        busy: HashSet::new(),
        clients: [None, None],
    };
    let closed = office.closed();
    tokio::pin!(closed);
    loop {
        let wait = fetcher.look().await;
        tokio::select! {
            () = &mut closed => return,
            Some(done) = fetcher.under_way.join_next() => {
                if let Ok(change) = done {
                    fetcher.done(change).await;
                }
            }
            () = office.for_media.notified() => {}
            Ok(()) = configs.changed() => drop(configs.borrow_and_update()),
            () = office.to_sweep.notified() => sweep(&office).await,
            _ = sweeps.tick() => sweep(&office).await,
            () = sleep(wait) => {}
        }
    }
}

struct Fetcher {
    office: Arc<Office>,
    under_way: JoinSet<MediaChange>,
    busy: HashSet<(Id, u32)>,
    /// Made when first needed: for the public Internet, and for all addresses.
    clients: [Option<Downloader>; 2],
}

impl Fetcher {
    /// Begins what is due and has room; how long until the next.
    async fn look(&mut self) -> Duration {
        let longest = Duration::from_millis(LONGEST_WAIT.unsigned_abs());
        if self.office.config().store.media_url.is_none() || self.under_way.len() >= AT_ONCE {
            return longest;
        }
        let now = clock::unix_millis();
        let limit = u32::try_from(AT_ONCE * 2).unwrap_or(u32::MAX);
        let read = self.office.spool.read(move |reader| {
            Ok((
                reader.media_due(now, limit)?,
                reader.media_next()?,
                reader.media_bytes()?,
            ))
        });
        let (due, next, bytes) = match read.await {
            Ok(read) => read,
            Err(error) => {
                self.office.report(PART, Some(error.to_string()));
                return PAUSE;
            }
        };
        for due in due {
            let key = (due.id, due.media.place);
            if self.under_way.len() >= AT_ONCE || self.busy.contains(&key) {
                continue;
            }
            self.begin(due, bytes);
        }
        match next {
            // What is under way is due, too, and hides when another one is.
            _ if !self.under_way.is_empty() => PAUSE,
            Some(next) => {
                let wait = (next - now).clamp(1, LONGEST_WAIT);
                Duration::from_millis(wait.unsigned_abs())
            }
            None => longest,
        }
    }

    fn begin(&mut self, due: Due, bytes: u64) {
        let config = self.office.config();
        let interface = config
            .interfaces
            .iter()
            .find(|of| of.name() == due.interface);
        let way = Way::of(interface);
        let slot = usize::from(way.allow.private);
        let guard = match way.allow.private {
            true => |_| true,
            false => media::is_public,
        };
        let known = self.clients.get(slot).cloned().flatten();
        let client = known.map_or_else(|| Downloader::new(PATIENCE, guard), Ok);
        if let (Ok(client), Some(place)) = (&client, self.clients.get_mut(slot)) {
            *place = Some(client.clone());
        }
        let is_full = bytes >= config.store.media_quota;
        let problem = is_full.then(|| {
            "media are not kept: media_quota of [store] is used up; texts go out with the carrier's links".to_owned()
        });
        self.office.report(PART, problem);
        let office = Arc::clone(&self.office);
        self.busy.insert((due.id, due.media.place));
        self.under_way.spawn(async move {
            let fetched = match (client, is_full) {
                (_, true) => Err(Failed::for_good("media_quota is used up")),
                (Err(error), _) => Err(Failed::for_now(error.to_string())),
                (Ok(client), false) => fetch(&office, &client, &way, &due).await,
            };
            change(due, fetched)
        });
    }

    /// Writes it down. What the disk does not take is asked for again.
    async fn done(&mut self, change: MediaChange) {
        self.busy.remove(&(change.id, change.media.place));
        let (id, place) = (change.id, change.media.place);
        let (state, detail) = (change.media.state, change.media.detail.clone());
        if let Err(error) = self.office.spool.record_media(change).await {
            self.office.report(PART, Some(error.to_string()));
            sleep(PAUSE).await;
            return;
        }
        match state {
            MediaState::Waiting => {}
            MediaState::Stored => say(INFO, &format!("media {place} of message {id}: {detail}")),
            MediaState::Left => say(
                WARNING,
                &format!("media {place} of message {id} stay with the carrier: {detail}"),
            ),
        }
        self.office.for_phones.notify_one();
    }
}

/// How an interface's media are asked for.
struct Way {
    allow: Allow,
    authorization: Option<String>,
    hosts: Vec<String>,
}

impl Way {
    fn of(interface: Option<&Interface>) -> Way {
        let inbound = interface.and_then(|of| of.incoming.as_ref());
        let profile = inbound.and_then(|inbound| inbound.profile.as_ref());
        let incoming = profile.map(|named| &named.profile.incoming);
        let outbound = interface.and_then(|of| of.outgoing.as_ref());
        let secret = outbound.and_then(|outbound| outbound.secret.as_ref());
        let user = outbound.map_or("", |outbound| outbound.user.as_str());
        let authorization = secret.and_then(|secret| match incoming?.media_auth {
            MediaAuth::None => None,
            MediaAuth::Bearer => Some(format!("Bearer {}", secret.expose())),
            MediaAuth::Basic => {
                let pair = format!("{user}:{}", secret.expose());
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
        });
        Way {
            allow: inbound.map_or_else(Allow::default, |inbound| inbound.media_allow),
            authorization,
            hosts: incoming.map_or_else(Vec::new, |of| of.media_hosts.clone()),
        }
    }
}

/// Why it is not here.
struct Failed {
    detail: String,
    is_temporary: bool,
}

impl Failed {
    fn for_good(detail: impl Into<String>) -> Failed {
        Failed {
            detail: detail.into(),
            is_temporary: false,
        }
    }

    fn for_now(detail: impl Into<String>) -> Failed {
        Failed {
            detail: detail.into(),
            is_temporary: true,
        }
    }
}

/// What is on disk.
struct Kept {
    token: String,
    kind: &'static str,
    bytes: u64,
}

async fn fetch(office: &Office, client: &Downloader, way: &Way, due: &Due) -> Result<Kept, Failed> {
    let (content_type, body) = download(client, way, &due.media.source).await?;
    let (kind, _) =
        media::kind(&content_type, &body).map_err(|e| Failed::for_good(e.to_string()))?;
    let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let id = due.id;
    let others = office.spool.read(move |reader| reader.media(id)).await;
    let others = others.map_err(|error| Failed::for_now(error.to_string()))?;
    let sum: u64 = others.iter().map(|of| of.bytes).sum();
    if sum.saturating_add(bytes) > media::LARGEST_ALL {
        return Err(Failed::for_good(
            "the media of this message are too large together",
        ));
    }
    let directory = directory(office, id);
    let path = directory.join(due.media.place.to_string());
    let written = tokio::task::spawn_blocking(move || keep(&directory, &path, &body)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Failed::for_now(error)),
        Err(error) => return Err(Failed::for_now(error.to_string())),
    }
    let token = token().map_err(|error| Failed::for_now(error.to_string()))?;
    Ok(Kept { token, kind, bytes })
}

async fn download(
    client: &Downloader,
    way: &Way,
    source: &str,
) -> Result<(String, Vec<u8>), Failed> {
    let mut url = source.to_owned();
    for _ in 0..=media::HOPS {
        if !media::may_be_asked(&url, way.allow) {
            return Err(Failed::for_good(
                "its address is not https; `media_allow = http` would allow it",
            ));
        }
        let address = Address::parse(&url);
        let address =
            address.ok_or_else(|| Failed::for_good("that is no address of a web server"))?;
        let may = media::may_have_credentials(&url, &way.hosts);
        let authorization = way.authorization.as_deref().filter(|_| may);
        let got = client.get(&address, authorization, media::LARGEST).await;
        match got {
            Ok(Got::File { content_type, body }) => return Ok((content_type, body)),
            Ok(Got::Moved(location)) => {
                url = media::target(&url, &location)
                    .ok_or_else(|| Failed::for_good("it is moved to no address"))?;
            }
            Err(error) => {
                let detail = error.to_string();
                let detail = detail.lines().next().unwrap_or_default().to_owned();
                return Err(Failed {
                    is_temporary: error.is_temporary(),
                    detail,
                });
            }
        }
    }
    Err(Failed::for_good("it is moved again and again"))
}

fn keep(directory: &Path, path: &Path, body: &[u8]) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o750).create(directory);
    made.map_err(|error| error.to_string())?;
    let owner = Owner::Keep {
        new_file_mode: 0o640,
    };
    file::write_atomic(path, body, owner).map_err(|error| error.to_string())
}

/// What nobody can guess.
fn token() -> io::Result<String> {
    let mut bytes = [0; 24];
    getrandom::getrandom(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn change(due: Due, fetched: Result<Kept, Failed>) -> MediaChange {
    let now = clock::unix_millis();
    let mut of = due.media;
    of.tries = of.tries.saturating_add(1);
    let mut next = None;
    match fetched {
        Ok(kept) => {
            of.state = MediaState::Stored;
            of.detail = format!("{}, {} bytes", kept.kind, kept.bytes);
            (of.token, of.bytes) = (Some(kept.token), kept.bytes);
            of.kind = Some(kept.kind.to_owned());
        }
        Err(failed) => {
            of.state = match failed.is_temporary && of.tries < media::TRIES {
                true => MediaState::Waiting,
                false => MediaState::Left,
            };
            next = Some(now + media::pause(of.tries));
            of.detail = failed.detail;
        }
    }
    MediaChange {
        id: due.id,
        at: now,
        next,
        media: of,
    }
}

/// Removes the files of messages that are gone, or that lost their media.
pub async fn sweep(office: &Office) {
    let home = home(office);
    let listed = tokio::task::spawn_blocking(move || -> io::Result<Vec<(Option<Id>, PathBuf)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(home)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            found.push((name.and_then(|name| name.parse().ok()), path));
        }
        Ok(found)
    });
    // Without media there is no directory.
    let Ok(Ok(listed)) = listed.await else {
        return;
    };
    for (id, path) in listed {
        let Some(id) = id else {
            continue;
        };
        let has = office.spool.read(move |reader| reader.has_files(id)).await;
        if has == Ok(false) {
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
            if let Ok(Err(error)) = removed {
                say(WARNING, &format!("files of message {id} stay: {error}"));
            }
        }
    }
}
