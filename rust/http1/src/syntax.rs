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

/// Whether all of `text` may stand in a field value.
pub(crate) fn is_value(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((block, behind)) = rest.split_first_chunk::<8>() {
        if may_hold_control(*block) && !block.iter().all(|&byte| is_value_byte(byte)) {
            return false;
        }
        rest = behind;
    }
    match text.last_chunk::<8>() {
        // Once more what was looked at already, instead of what is left byte by byte.
        Some(block) => !may_hold_control(*block) || block.iter().all(|&byte| is_value_byte(byte)),
        None => rest.iter().all(|&byte| is_value_byte(byte)),
    }
}

/// Whether any of the bytes is below 0x20 or 0x7f; it may say so of bytes that are not.
fn may_hold_control(block: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let bytes = u64::from_ne_bytes(block);
    let below = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let deletes = bytes ^ (ONES * 0x7f);
    let delete = deletes.wrapping_sub(ONES) & !deletes;
    (below | delete) & (ONES * 0x80) != 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mostly what may stand in a value, so that the bytes around the others differ.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![8 => any::<u8>().prop_map(|byte| byte | 0x20), 1 => Just(b'\t'), 1 => any::<u8>()]
    }

    proptest! {
        #[test]
        fn values_are_judged_byte_by_byte(text in prop::collection::vec(byte(), 0..40)) {
            prop_assert_eq!(is_value(&text), text.iter().all(|&byte| is_value_byte(byte)));
        }
    }
}
