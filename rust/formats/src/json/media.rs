//! Strings that are files, not text: images, sound and documents in base64. Their bytes say little about tokens.

/// Adds up the bytes of such strings as the scanner passes them.
#[derive(Debug, Default)]
pub(super) struct Media {
    bytes: usize,
    /// Of the string that a slice's edge cut: how long it is so far, and whether it began like a file, if that can be said yet.
    cut: Option<(usize, Option<bool>)>,
}

/// Shorter strings are not worth a look.
const FILE_BYTES: usize = 4 << 10;

/// How much of a string is looked at.
const START_BYTES: usize = 64;

impl Media {
    /// The slice ends inside a string, of which it holds this.
    pub(super) fn text_cut(&mut self, part: &[u8]) {
        let (before, is_file) = self.cut.unwrap_or_default();
        let is_file = is_file.or_else(|| (part.len() >= START_BYTES).then(|| begins_like_a_file(part)));
        self.cut = Some((before + part.len(), is_file));
    }

    /// A string ends; the slice holds this of it, without the quotes.
    #[inline(always)]
    pub(super) fn text_ended(&mut self, part: &[u8]) {
        if part.len() >= FILE_BYTES || self.cut.is_some() {
            self.long_text_ended(part);
        }
    }

    #[cold]
    fn long_text_ended(&mut self, part: &[u8]) {
        let (before, is_file) = self.cut.take().unwrap_or_default();
        let bytes = before + part.len();
        if bytes >= FILE_BYTES && is_file.unwrap_or_else(|| begins_like_a_file(part)) {
            self.bytes += bytes;
        }
    }

    /// The bytes of all files.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// `data:` or so many characters of base64 without a space between them, which no language has.
fn begins_like_a_file(text: &[u8]) -> bool {
    let start = text.get(..START_BYTES).unwrap_or(text);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=' | b'\\');
    start.starts_with(b"data:") || start.len() == START_BYTES && start.iter().all(is_base64)
}

#[cfg(test)]
mod tests {
    use crate::json::Scanner;

    /// The bytes of files in `{"a":[text],"b":"…"}`, whatever the cuts.
    fn check(text: &str, expected: usize) {
        let body = format!(r#"{{"a":["{text}"],"b":"short"}}"#);
        for cut in [0, 7, 200, body.len() / 2, body.len() - 1] {
            let mut scanner = Scanner::new(&["b"], 16);
            let (first, second) = body.as_bytes().split_at(cut.min(body.len()));
            assert!(scanner.feed(first).and_then(|()| scanner.feed(second)).is_ok());
            let media_bytes = scanner.finish().map(|members| members.media_bytes());
            assert_eq!(media_bytes, Ok(expected), "{} … cut at {cut}", &text[..text.len().min(20)]);
        }
    }

    #[test]
    fn files_are_told_from_text() {
        let base64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9".repeat(100);
        check(&base64, base64.len());
        check(&format!("data:image/png;base64,{base64}"), base64.len() + 22);
        check(&base64[..4_000], 0);
        check(&"plain words of a long prompt ".repeat(1_000), 0);
        check(&"中文".repeat(4_000), 0);
        check("", 0);
    }
}
