//! Strings that are no text: images, sound and documents in base64, whose bytes say little about tokens; and sealed tokens of ours.

/// The strings of a text that are files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Their bytes, as written.
    pub bytes: u64,
    /// The tokens they likely are, by [`FILE_BYTES_PER_TOKEN`] and [`IMAGE_TOKENS`].
    pub tokens: u64,
    /// How many they are.
    pub count: u32,
}

/// Bytes of a file in base64 per token: sound and documents run near this.
pub const FILE_BYTES_PER_TOKEN: u64 = 512;

/// The most an image counts: providers scale large ones down.
pub const IMAGE_TOKENS: u64 = 2048;

/// What every sealed token begins with: base64 itself (of six bytes), of letters only, so that no JSON writer escapes it.
pub const TOKEN_START: &[u8; 8] = b"fAiRsEaL";

/// Adds such strings up as the scanner passes them.
#[derive(Debug, Default)]
pub(super) struct Media {
    files: Files,
    has_tokens: bool,
    /// The string that a slice's edge cut.
    cut: Option<Box<Cut>>,
}

/// What is known of a string whose end has not come.
#[derive(Debug)]
struct Cut {
    start: [u8; START_BYTES],
    start_bytes: usize,
    bytes: usize,
    is_base64: bool,
}

/// Shorter strings are not worth a look.
const FILE_BYTES: usize = 4 << 10;

/// How much of a string's start is looked at; a data URL's head has room in it.
const START_BYTES: usize = 128;

/// How much is looked at behind it, at several places of each slice.
const SAMPLE_BYTES: usize = 16;

/// Fewer different characters in the start are a line someone drew.
const DIFFERENT_CHARACTERS: u32 = 12;

impl Media {
    /// The slice ends inside a string, of which it holds this.
    pub(super) fn text_cut(&mut self, part: &[u8]) {
        self.cut.get_or_insert_with(|| Box::new(Cut::new())).take(part);
    }

    /// A string ends; the slice holds this of it, without the quotes.
    #[inline(always)]
    pub(super) fn text_ended(&mut self, part: &[u8]) {
        if part.len() >= FILE_BYTES || self.cut.is_some() {
            self.long_text_ended(part);
        } else {
            self.has_tokens |= part.starts_with(TOKEN_START);
        }
    }

    #[cold]
    fn long_text_ended(&mut self, part: &[u8]) {
        let mut text = self.cut.take().map_or_else(Cut::new, |cut| *cut);
        text.take(part);
        self.has_tokens |= text.start.starts_with(TOKEN_START);
        if let Some(tokens) = text.file_tokens() {
            self.files.bytes += text.bytes as u64;
            self.files.tokens += tokens;
            self.files.count += 1;
        }
    }

    /// All files so far.
    pub(super) fn files(&self) -> Files {
        self.files
    }

    /// Whether one of the strings so far begins as a sealed token does.
    pub(super) fn has_tokens(&self) -> bool {
        self.has_tokens
    }
}

impl Cut {
    fn new() -> Cut {
        Cut { start: [0; START_BYTES], start_bytes: 0, bytes: 0, is_base64: true }
    }

    fn take(&mut self, part: &[u8]) {
        let (start, rest) = part.split_at(part.len().min(START_BYTES - self.start_bytes));
        self.start[self.start_bytes..self.start_bytes + start.len()].copy_from_slice(start);
        self.start_bytes += start.len();
        self.bytes += part.len();
        self.is_base64 = self.is_base64 && samples(rest).all(|sample| sample.iter().all(is_base64));
    }

    /// The tokens of the file that the string is; `None` when it is text.
    fn file_tokens(&self) -> Option<u64> {
        let start = &self.start[..self.start_bytes];
        let (mime, data) = match start.strip_prefix(b"data:") {
            Some(url) => data_url(url)?,
            None => (&b""[..], start),
        };
        let different = data.iter().fold(0_u128, |seen, byte| seen | 1_u128 << (byte & 0x7f)).count_ones();
        let is_file = self.bytes >= FILE_BYTES && self.is_base64 && data.iter().all(is_base64) && different >= DIFFERENT_CHARACTERS;
        // A text in base64 is read as text.
        if !is_file || mime.starts_with(b"text/") {
            return None;
        }
        let tokens = (self.bytes as u64).div_ceil(FILE_BYTES_PER_TOKEN);
        let is_image = mime.starts_with(b"image/") || IMAGE_STARTS.iter().any(|magic| data.starts_with(magic));
        Some(if is_image { tokens.min(IMAGE_TOKENS) } else { tokens })
    }
}

/// How PNG, JPEG, GIF and WebP begin in base64.
const IMAGE_STARTS: [&[u8]; 5] = [b"iVBORw0KGgo", b"/9j/", br"\/9j\/", b"R0lGOD", b"UklGR"];

/// Media type and the beginning of the data in what follows `data:`.
fn data_url(url: &[u8]) -> Option<(&[u8], &[u8])> {
    let comma = memchr::memchr(b',', url)?;
    let (head, data) = (&url[..comma], &url[comma + 1..]);
    head.strip_suffix(b";base64").map(|mime| (mime, data))
}

/// A few bytes from several places.
fn samples(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = text.len().saturating_sub(SAMPLE_BYTES);
    (0..=8).map(move |eighth| &text[last / 8 * eighth..(last / 8 * eighth + SAMPLE_BYTES).min(text.len())])
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::{FILE_BYTES_PER_TOKEN, Files, IMAGE_TOKENS};
    use crate::json::Scanner;

    const BASE64: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9";

    /// The files in `{"a":[text],"b":"…"}`, however it is cut in two or three.
    fn check(text: &str, expected: Option<u64>) {
        let body = format!(r#"{{"a":["{text}"],"b":"short"}}"#);
        let expected = expected.map_or(Files::default(), |tokens| Files { bytes: text.len() as u64, tokens, count: 1 });
        let cuts = (0..body.len().min(300)).chain([body.len() / 2, body.len() - 15, body.len() - 1]);
        for cut in cuts {
            for second in [cut, cut + 1, cut + 100] {
                let mut scanner = Scanner::new(&["b"], 16);
                let (first, rest) = body.as_bytes().split_at(cut.min(body.len()));
                let (middle, last) = rest.split_at((second - cut).min(rest.len()));
                assert!([first, middle, last].into_iter().all(|part| scanner.feed(part).is_ok()));
                let files = scanner.finish().map(|members| members.files());
                assert_eq!(files, Ok(expected), "{} … cut at {cut} and {second}", &text[..text.len().min(20)]);
            }
        }
    }

    #[test]
    fn files_are_told_from_text() {
        let image = BASE64.repeat(100);
        let sound = format!("AAEC{}", BASE64.repeat(100));
        let tokens = |text: &str| Some((text.len() as u64).div_ceil(FILE_BYTES_PER_TOKEN));
        check(&image, tokens(&image));
        check(&sound, tokens(&sound));
        let url = format!("data:image/png;base64,{image}");
        check(&url, tokens(&url));
        let url = format!("data:application/pdf;base64,{sound}");
        check(&url, tokens(&url));
    }

    #[test]
    fn text_is_text_however_it_begins() {
        let words = "plain words of a long prompt ".repeat(1_000);
        check(&words, None);
        check(&format!("data:{words}"), None);
        check(&format!("data: {words}"), None);
        check(&format!("data:text/plain;base64,{}", BASE64.repeat(100)), None);
        check(&format!("{}\\n{words}", "=".repeat(200)), None);
        check(&"-".repeat(10_000), None);
        check(&format!("{}{words}", BASE64.repeat(2)), None);
        check(&BASE64.repeat(100)[..4_000], None);
        check(&"中文".repeat(4_000), None);
        check("", None);
    }

    /// Whether `{"a":["<text>"],"b":"short"}` has a token, however it is cut in two or three.
    fn check_token(text: &str, expected: bool) {
        let body = format!(r#"{{"a":["{text}"],"b":"short"}}"#);
        for cut in 0..body.len().min(40) {
            for second in cut..body.len().min(40) {
                let mut scanner = Scanner::new(&["b"], 16);
                let parts = [&body[..cut], &body[cut..second], &body[second..]];
                assert!(parts.into_iter().all(|part| scanner.feed(part.as_bytes()).is_ok()));
                assert_eq!(scanner.finish().map(|members| members.has_tokens()), Ok(expected), "{body} cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn tokens_are_seen_where_a_string_begins() {
        check_token("fAiRsEaL", true);
        check_token("fAiRsEaLxyz==", true);
        check_token(&format!("fAiRsEaL{}", BASE64.repeat(100)), true);
        check_token("xfAiRsEaL", false);
        check_token("fAiRsEal", false);
        check_token("fAiRsEa", false);
        check_token("", false);
    }

    #[test]
    fn a_large_image_counts_no_more_than_a_scaled_one() {
        let image = BASE64.repeat(30_000);
        let body = format!(r#"{{"a":"{image}"}}"#);
        let mut scanner = Scanner::new(&["b"], 16);
        assert!(scanner.feed(body.as_bytes()).is_ok());
        assert_eq!(scanner.finish().map(|members| members.files().tokens), Ok(IMAGE_TOKENS));
    }
}
