//! The two clocks: monotonic time for decisions, wall time for people.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

/// Monotonic time since it was started. It holds when that was on the machine's clock (clock_gettime(2),
/// CLOCK_MONOTONIC), so that another binary of the same process can go on with it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(monotonic())
    }

    /// One that was started at this moment of the machine's clock.
    pub fn since(began: Duration) -> Stopwatch {
        Stopwatch(began)
    }

    /// The moment of the machine's clock at which it was started.
    pub fn began(&self) -> Duration {
        self.0
    }

    pub fn elapsed(&self) -> Duration {
        monotonic().saturating_sub(self.0)
    }
}

fn monotonic() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it writes into the local. The clock is always there, so that it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
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

/// Nanoseconds since 1970 as a moment.
pub fn from_nanos(nanoseconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A moment as nanoseconds since 1970.
pub fn to_nanos(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos()).unwrap_or_default()
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
