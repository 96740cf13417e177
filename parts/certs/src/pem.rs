use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Characters of a line (RFC 7468, section 2).
const LINE: usize = 64;

/// The text form of a certificate or key.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(LINE) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
