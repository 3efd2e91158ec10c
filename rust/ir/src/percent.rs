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

/// The text that `encoded` stands for. What is no escape stands for itself, and bytes that are no UTF-8 become U+FFFD.
pub fn decode(encoded: &str) -> String {
    let mut plain = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, more)) = rest.split_first() {
        let escape = (byte == b'%').then(|| more.get(..2)).flatten();
        let digits = escape.and_then(|digits| std::str::from_utf8(digits).ok()).filter(|digits| !digits.starts_with('+'));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                plain.push(decoded);
                rest = &more[2..];
            }
            None => {
                plain.push(byte);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
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
