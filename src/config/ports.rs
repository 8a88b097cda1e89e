//! A range of UDP ports for sound and pictures.
//!
//! Pure. Invariant: a range begins with an even port, ends with an odd one, and is large enough for a call.

/// Below this port only root listens on a host.
const LEAST: u16 = 1024;
/// A call has two legs, and each leg a port for RTP and one for RTCP.
const FEWEST: u32 = 4;
/// What would be in the way: SIP, and SIP over TLS.
const TAKEN: [u16; 2] = [5060, 5061];

/// From the first port to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Ports {
    /// What holds when nothing is named.
    pub const DEFAULT: Ports = Ports {
        first: 10_000,
        last: 10_099,
    };

    pub fn count(self) -> u32 {
        (u32::from(self.last) + 1).saturating_sub(u32::from(self.first))
    }

    /// How many calls of two legs it has room for.
    pub fn calls(self) -> u32 {
        self.count() / FEWEST
    }

    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Reads `10000-10099`.
///
/// # Errors
/// With what is wrong, in words.
pub fn ports(text: &str) -> Result<Ports, String> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        Some(Ports {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
        })
    });
    let ports = parsed.ok_or("it must be two ports, as in `10000-10099`")?;
    if ports.first < LEAST {
        return Err(format!("it must begin at {LEAST} or above"));
    }
    if ports.last <= ports.first {
        return Err("its end must be above its beginning".to_owned());
    }
    if ports.first % 2 == 1 || ports.last.is_multiple_of(2) {
        return Err(
            "it must begin with an even port and end with an odd one, for each stream takes such a pair"
                .to_owned(),
        );
    }
    if ports.count() < FEWEST {
        return Err(format!(
            "a call of two legs takes {FEWEST} ports, and there are {}",
            ports.count()
        ));
    }
    if let Some(port) = TAKEN.iter().find(|port| ports.contains(**port)) {
        return Err(format!("it holds {port}, which is SIP's"));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_counted() {
        let range = ports("10000-10099").unwrap();
        assert_eq!(range, Ports::DEFAULT);
        assert_eq!(
            (range.count(), range.calls(), range.to_string().as_str()),
            (100, 25, "10000-10099")
        );
        assert_eq!(ports("64000-65535").unwrap().count(), 1536);
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (text, why) in [
            ("10000", "two ports"),
            ("10000-x", "two ports"),
            ("10000-70001", "two ports"),
            ("1000-1099", "1024 or above"),
            ("10099-10000", "above its beginning"),
            ("10000-10000", "above its beginning"),
            ("10001-10100", "even port"),
            ("10000-10100", "even port"),
            ("10000-10001", "takes 4 ports"),
            ("5000-5099", "holds 5060"),
        ] {
            let error = ports(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
