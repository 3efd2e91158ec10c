//! Percent-encoding of URLs (RFC 3986, section 2).

/// Appends `text` percent-encoded: everything but letters, digits, `-._~` and the ASCII characters in `also`.
pub fn encode(text: &str, also: &[u8], out: &mut String) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || byte.is_ascii() && also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_cannot_hold_is_escaped() {
        let check = |text: &str, also: &[u8], expected: &str| {
            let mut out = String::from("/");
            encode(text, also, &mut out);
            assert_eq!(out, expected);
        };
        check("a-B.9_~", b"", "/a-B.9_~");
        check("vendor/model:0", b"", "/vendor%2Fmodel%3A0");
        check("vendor/model:0", b"/", "/vendor/model%3A0");
        check("é ?", b"", "/%C3%A9%20%3F");
        check("é", &[0xc3, 0xa9], "/%C3%A9");
    }
}
