//! Width and height of an image from the first bytes of its file.

/// Bytes of base64 that are decoded at first; enough for every format but JPEG, whose sizes stand behind its previews.
const FIRST: usize = 1 << 10;
/// And at most.
const MOST: usize = 96 << 10;

/// Width and height in pixels of a PNG, JPEG, GIF or WebP in base64, if they stand near its beginning.
pub(crate) fn of_base64(data: &str) -> Option<(u32, u32)> {
    of_file(&decoded(data, FIRST)).or_else(|| of_file(&decoded(data, MOST)))
}

/// The bytes that the first `most` characters of base64, plain or for URLs, stand for.
pub(crate) fn decoded(data: &str, most: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len().min(most) / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for digit in data.bytes().take(most) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\r' | b'\n' => continue,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn of_file(file: &[u8]) -> Option<(u32, u32)> {
    let (width, height) = match file {
        [0x89, b'P', b'N', b'G', ..] => (big(file, 16, 4)?, big(file, 20, 4)?),
        [b'G', b'I', b'F', b'8', ..] => (little(file, 6, 2)?, little(file, 8, 2)?),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(file)?,
        [0xff, 0xd8, ..] => jpeg(file)?,
        _ => return None,
    };
    (width > 0 && height > 0).then_some((width, height))
}

/// The three kinds of a first chunk: lossy, lossless, extended.
fn webp(file: &[u8]) -> Option<(u32, u32)> {
    match file.get(12..16)? {
        b"VP8 " => Some((little(file, 26, 2)? & 0x3fff, little(file, 28, 2)? & 0x3fff)),
        b"VP8L" => {
            let bits = little(file, 21, 4)?;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => Some((little(file, 24, 3)? + 1, little(file, 27, 3)? + 1)),
        _ => None,
    }
}

/// Goes from segment to segment to the start of a frame.
fn jpeg(file: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let &[0xff, marker] = file.get(at..)?.first_chunk()? else { return None };
        match marker {
            // Padding.
            0xff => at += 1,
            // A frame, whatever its coding; the three others in this range are tables.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => return Some((big(file, at + 7, 2)?, big(file, at + 5, 2)?)),
            // Without a length.
            0x01 | 0xd0..=0xd7 => at += 2,
            0xd9 | 0xda => return None,
            _ => at += 2 + big(file, at + 2, 2)? as usize,
        }
    }
}

fn big(file: &[u8], at: usize, bytes: usize) -> Option<u32> {
    Some(file.get(at..at + bytes)?.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

fn little(file: &[u8], at: usize, bytes: usize) -> Option<u32> {
    Some(file.get(at..at + bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decoded, of_base64, of_file};

    fn check(file: &[u8], size: Option<(u32, u32)>) {
        assert_eq!(of_file(file), size, "{file:?}");
        // What is cut short says nothing, and harms nobody.
        for end in 0..file.len() {
            assert!(of_file(&file[..end]).is_none_or(|found| Some(found) == size), "cut at {end}");
        }
    }

    #[test]
    fn sizes_stand_in_the_headers() {
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\0\0\0\x03\0\x08\x02", Some((1024, 768)));
        check(b"GIF89a\x40\x01\xf0\0", Some((320, 240)));
        check(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x20\x03\x58\x42", Some((800, 600)));
        check(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x1f\xc3\x95\0", Some((800, 600)));
        check(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x1f\x03\0\x57\x02\0", Some((800, 600)));
        check(b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xdb\0\x02\xff\xc2\0\x11\x08\x02\x58\x03\x20\x03", Some((800, 600)));
        check(b"\xff\xd8\xff\xda\0\x02\xff\xc0\0\x11\x08\x02\x58\x03\x20\x03", None);
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\x03\0", None);
        check(b"BM", None);
    }

    #[test]
    fn base64_is_decoded() {
        assert_eq!(decoded("SGVs\r\nbG8_-Q==", 100), b"Hello\x3f\xf9");
        assert_eq!(decoded("SGVsbG8=", 4), b"Hel");
        assert_eq!(of_base64("R0lGODlhQAHwAA=="), Some((320, 240)));
        assert_eq!(of_base64("https://example.com/a.png"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(start in prop::sample::select(vec![&b"\xff\xd8\xff"[..], b"\x89PNG", b"GIF8", b"RIFF\0\0\0\0WEBPVP8X", b""]), rest in prop::collection::vec(any::<u8>(), 0..80)) {
            of_file(&[start, &rest].concat());
        }
    }
}
