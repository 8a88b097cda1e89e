//! Names of addresses: reverse look-ups by the system's resolver, a few at a time and within a bound.
//!
//! For commands only: a look-up blocks its thread, and one that is late is left behind. What comes back was written by whoever owns the
//! address; it is a text to escape.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::clock::Stopwatch;

/// As many look-ups run at once.
const WORKERS: usize = 8;

/// The names that came within `patience`, by address; one without a name is left out.
#[must_use]
pub fn names_of(addresses: &[IpAddr], patience: Duration) -> HashMap<IpAddr, String> {
    let began = Stopwatch::start();
    let queue: Arc<Mutex<VecDeque<IpAddr>>> =
        Arc::new(Mutex::new(addresses.iter().copied().collect()));
    let (sender, answers) = mpsc::channel();
    for _ in 0..WORKERS.min(addresses.len()) {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        std::thread::spawn(move || {
            let next = || queue.lock().ok()?.pop_front();
            while let Some(address) = next() {
                if sender.send((address, name_of(address))).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut names = HashMap::new();
    while let Some(left) = patience.checked_sub(began.elapsed()) {
        match answers.recv_timeout(left) {
            Ok((address, Some(name))) => {
                names.insert(address, name);
            }
            Ok((_, None)) => {}
            // All are done, or the time is over.
            Err(_) => break,
        }
    }
    names
}

/// getnameinfo(3) with NI_NAMEREQD.
fn name_of(address: IpAddr) -> Option<String> {
    let address = SockaddrStorage::from(SocketAddr::new(address, 0));
    let mut name = [0u8; libc::NI_MAXHOST as usize];
    // SAFETY: both buffers live over the call and are given with their sizes.
    let failed = unsafe {
        libc::getnameinfo(
            address.as_ptr(),
            address.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if failed != 0 {
        return None;
    }
    let name = std::ffi::CStr::from_bytes_until_nul(&name).ok()?;
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_a_name_where_the_hosts_file_says_so() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let names = names_of(&[local], Duration::from_secs(20));
        if hosts.lines().any(|line| line.starts_with("127.0.0.1")) {
            assert!(hosts.contains(names.get(&local).unwrap().as_str()));
        }
        assert!(names_of(&[], Duration::ZERO).is_empty());
    }
}
