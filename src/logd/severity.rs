//! Severities by number, as syslog(3) and RFC 5424 have them.

/// Severities of RFC 5424, section 6.2.1; the smaller, the worse.
pub const EMERGENCY: u8 = 0;
pub const ERROR: u8 = 3;
pub const WARNING: u8 = 4;
pub const NOTICE: u8 = 5;
pub const INFO: u8 = 6;
pub const DEBUG: u8 = 7;
