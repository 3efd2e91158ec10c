//! Which bytes may stand where (RFC 9110 5.5 and 5.6.2).

/// Whether `byte` may stand in a token: header names, methods.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// Whether `text` is a token: at least one byte, all of them token bytes.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Whether `byte` may stand in a field value: tab, visible ASCII, space, and anything from 0x80 up.
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    (byte >= 0x20 && byte != 0x7f) || byte == b'\t'
}

/// Whether all of `text` may stand in a field value. Folds instead of stopping early, so that it runs in vectors.
pub(crate) fn is_value(text: &[u8]) -> bool {
    text.iter().fold(true, |valid, &byte| valid & is_value_byte(byte))
}

/// Whether `byte` is optional white space.
pub(crate) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

static TOKEN_BYTES: [bool; 256] = token_bytes();

const fn token_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let candidate = byte as u8;
        table[byte] = candidate.is_ascii_alphanumeric()
            || matches!(candidate, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
}
