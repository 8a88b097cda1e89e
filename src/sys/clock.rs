//! The two clocks: monotonic time for decisions, wall time for people.

use std::time::{Duration, Instant};

use time::{OffsetDateTime, UtcOffset};

/// Monotonic time since it was started.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Now, as RFC 3339 in UTC with milliseconds.
pub fn wall_clock() -> String {
    text_of(OffsetDateTime::now_utc())
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
pub fn rfc3339(milliseconds: i64) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
    text_of(time.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

fn text_of(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{date}T{:02}:{:02}:{:02}.{:03}Z",
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

/// Now, in UTC.
pub fn wall_now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The offset of local time (TZ, /etc/localtime) at `moment`; UTC when it is not known.
pub fn local_offset(moment: OffsetDateTime) -> UtcOffset {
    let seconds: libc::time_t = moment.unix_timestamp();
    // SAFETY: both pointers are to locals; PID 1 and the commands have one thread, so that the zone
    // data that tzset(3) reads does not change meanwhile.
    let offset = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut local);
        local.tm_gmtoff
    };
    i32::try_from(offset)
        .ok()
        .and_then(|offset| UtcOffset::from_whole_seconds(offset).ok())
        .unwrap_or(UtcOffset::UTC)
}

/// Milliseconds since 1970.
pub fn unix_millis() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// Seconds since 1970.
pub fn unix_now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Waits. For commands between two questions only: PID 1 and the services wait for events.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where a command may wait"
)]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
