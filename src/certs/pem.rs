//! Binary data in its armour of letters (RFC 7468).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes bytes as PEM (RFC 7468).
pub fn armour(out: &mut String, label: &str, der: &[u8]) {
    let text = STANDARD.encode(der);
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
}
