//! The two programs of the exchange, which lie in one directory.

use std::path::{Path, PathBuf};

/// The file name of PID 1's program.
pub const INIT_PROGRAM: &str = "switchhook-init";
/// The file name of the program with the commands, which lies in the same directory.
pub const COMMAND_PROGRAM: &str = "switchhook";

/// The program of this name in the directory of the running one (proc(5), /proc/self/exe).
pub fn beside(name: &str) -> PathBuf {
    match std::env::current_exe() {
        Ok(this) => this.with_file_name(name),
        Err(_) => Path::new("/usr/bin").join(name),
    }
}
