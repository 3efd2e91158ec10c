//! Everything that looks random: drawn from the seed and a number, so that a run can be repeated.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Scatters `number` under `seed` over all 64-bit values; different numbers never collide under one seed.
pub(crate) fn scatter(seed: u64, number: u64) -> u64 {
    let mut value = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// `prefix` and `length` letters and digits; the first eleven are unique to `number`, so `length` should not be less.
pub(crate) fn id(prefix: &str, length: usize, seed: u64, number: u64) -> String {
    let mut text = String::with_capacity(prefix.len() + length);
    text.push_str(prefix);
    let mut value = scatter(seed, number);
    for position in 0..length {
        // 62^11 > 2^64: the next letters need new bits.
        if position % 11 == 0 && position > 0 {
            value = scatter(value, number ^ position as u64);
        }
        text.push(char::from(BASE62.get((value % 62) as usize).copied().unwrap_or(b'0')));
        value = value / 62 + if position % 11 == 10 { value } else { 0 };
    }
    text
}

/// A UUID of version 4 that is unique to `number`.
pub(crate) fn uuid(seed: u64, number: u64) -> String {
    let (high, low) = (scatter(seed, number), scatter(!seed, number));
    let (first, second, third) = (high >> 32, high >> 16 & 0xffff, high & 0x0fff);
    let (fourth, fifth) = (low >> 48 & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{first:08x}-{second:04x}-4{third:03x}-{fourth:04x}-{fifth:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_seed_decides() {
        assert_eq!(id("chatcmpl-", 29, 7, 1), id("chatcmpl-", 29, 7, 1));
        assert_ne!(id("chatcmpl-", 29, 7, 1), id("chatcmpl-", 29, 8, 1));
    }

    #[test]
    fn uuids_have_their_form() {
        let text = uuid(1, 2);
        let parts: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{text}");
        assert!(text.get(14..15) == Some("4") && text != uuid(1, 3), "{text}");
    }

    proptest! {
        #[test]
        fn ids_are_unique_and_well_formed(seed: u64, first: u64, second: u64) {
            let text = id("msg_01", 22, seed, first);
            prop_assert_eq!(text.len(), 28);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            if first != second {
                prop_assert_ne!(text, id("msg_01", 22, seed, second));
            }
        }
    }
}
