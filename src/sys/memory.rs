//! Giving memory back that only the start needed.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Gives freed heap back (malloc_trim(3)) and unmaps the pages of our own code; what is still used comes back from the page cache at its next use, a
/// microsecond each (madvise(2), MADV_DONTNEED). After the start most of it is never run again: reading units and
/// environment, binding, the hooks.
pub fn give_back() {
    // SAFETY: glibc may be asked this at any time.
    unsafe { libc::malloc_trim(0) };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let exe = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let exe = exe.to_string_lossy();
    for (start, length) in maps.lines().filter_map(|line| code(line, &exe)) {
        if let Some(start) = NonZeroUsize::new(start) {
            // SAFETY: an executable mapping of a file that is never written to: its pages are the file's, and the
            // kernel brings them back when they are wanted.
            let _ = unsafe {
                madvise(
                    NonNull::<libc::c_void>::without_provenance(start),
                    length,
                    MmapAdvise::MADV_DONTNEED,
                )
            };
        }
    }
}

/// Start and length of a line of /proc/PID/maps that maps code of `exe` (proc(5)).
fn code(line: &str, exe: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp" && !exe.is_empty() && line.ends_with(exe);
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    is_code.then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_itself_is_given_back() {
        let exe = "/usr/bin/switchhook-init";
        let line = |flags: &str, path: &str| format!("1000-3000 {flags} 00001000 00:1f 7 {path}");
        assert_eq!(code(&line("r-xp", exe), exe), Some((0x1000, 0x2000)));
        assert_eq!(code(&line("r--p", exe), exe), None);
        assert_eq!(code(&line("rw-p", exe), exe), None);
        assert_eq!(code(&line("r-xp", "/usr/lib/libc.so.6"), exe), None);
        assert_eq!(code(&line("r-xp", ""), ""), None);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        give_back();
        assert_eq!("still here".len(), 10);
    }
}
