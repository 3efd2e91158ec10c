//! Media as this dialect writes them: addresses, data addresses, bare base64, ids of uploaded files.

use fairlead_ir::Text;
use fairlead_ir::block::{Media, MediaClass, MediaSource};

use crate::read::{Malformed, Reader};
use crate::text::{decode, escape};

/// What of a media part is read: members that are no media's go to the caller.
#[derive(Default)]
pub(crate) struct Reading<'a> {
    url: Option<Text<'a>>,
    data: Option<Text<'a>>,
    file: Option<Text<'a>>,
    name: Option<Text<'a>>,
    detail: Option<Text<'a>>,
}

impl<'a> Reading<'a> {
    /// Takes the member `key` of an `input_image` or `input_file`; `false` when it is none of them.
    pub(crate) fn member(&mut self, key: &str, reader: &mut Reader<'a>) -> Result<bool, Malformed> {
        match key {
            "image_url" | "file_url" => self.url = reader.optional(Reader::text)?,
            "file_data" => self.data = reader.optional(Reader::text)?,
            "file_id" => self.file = reader.optional(Reader::text)?,
            "filename" => self.name = reader.optional(Reader::text)?,
            // `auto` is what holds without it.
            "detail" => self.detail = reader.optional(Reader::text)?.filter(|detail| !detail.is("auto")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The whole.
    pub(crate) fn media(self, class: MediaClass) -> Result<Media<'a>, Malformed> {
        let source = match (self.url, self.data, self.file) {
            (Some(url), _, _) => from_url(url),
            (None, Some(data), _) => match from_url(data) {
                MediaSource::Url { url, .. } => MediaSource::Base64 { mime: Text::EMPTY, data: url },
                source => source,
            },
            (None, None, Some(file)) => MediaSource::File(file),
            (None, None, None) => return Err(Malformed::new("names neither an address nor data nor a file")),
        };
        Ok(Media { class, source, detail: self.detail, name: self.name })
    }
}

/// Sound inside an `input_audio` part: `{data, format}`.
pub(crate) fn read_audio<'a>(reader: &mut Reader<'a>) -> Result<Media<'a>, Malformed> {
    let (mut data, mut format) = (None, None);
    reader.object(|key, reader| match key.name() {
        "data" => {
            data = Some(reader.text()?);
            Ok(())
        }
        "format" => {
            format = Some(reader.text()?);
            Ok(())
        }
        _ => reader.skip(),
    })?;
    let data = data.ok_or_else(|| Malformed::new("has no \"data\""))?;
    let mime = match format.as_ref().map(Text::as_bytes) {
        Some(b"wav") | None => Text::word("audio/wav"),
        Some(b"mp3") => Text::word("audio/mpeg"),
        Some(other) => Text::owned([b"audio/", other].concat()),
    };
    Ok(Media { class: MediaClass::Audio, source: MediaSource::Base64 { mime, data }, detail: None, name: None })
}

/// The `format` word of sound of this type; `None` when it is no sound.
pub(crate) fn audio_format<'t>(mime: &'t Text<'_>) -> Option<Text<'t>> {
    match mime.as_bytes() {
        b"audio/wav" | b"audio/x-wav" | b"audio/wave" | b"" => Some(Text::word("wav")),
        b"audio/mpeg" | b"audio/mp3" => Some(Text::word("mp3")),
        other => other.strip_prefix(b"audio/").map(Text::escaped),
    }
}

/// Base64 where the address is a data address, else the address.
pub(crate) fn from_url(url: Text<'_>) -> MediaSource<'_> {
    // `\/` is the only escape such an address could hold.
    let plain = if url.as_bytes().contains(&b'\\') { decode(&url).map(|plain| escape(&plain).into_owned()) } else { None };
    let url = plain.unwrap_or(url);
    match split(&url) {
        Some((mime, data)) => MediaSource::Base64 { mime, data },
        None => MediaSource::Url { url, mime: None },
    }
}

fn split<'a>(url: &Text<'a>) -> Option<(Text<'a>, Text<'a>)> {
    const SCHEME: &[u8] = b"data:";
    let bytes = url.as_bytes();
    if !bytes.get(..SCHEME.len())?.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let comma = memchr::memchr(b',', bytes)?;
    let about = &bytes[SCHEME.len()..comma];
    let about = about.strip_suffix(b";base64")?;
    let mime = about.split(|byte| *byte == b';').next().unwrap_or_default().len();
    Some((url.piece(SCHEME.len()..SCHEME.len() + mime), url.piece(comma + 1..bytes.len())))
}

/// Appends base64 as a data address, quotes included; without a type as it is.
pub(crate) fn write_data(out: &mut Vec<u8>, mime: &Text<'_>, data: &Text<'_>) {
    out.reserve(mime.as_bytes().len() + data.as_bytes().len() + 16);
    out.push(b'"');
    if !mime.is_empty() {
        out.extend_from_slice(b"data:");
        out.extend_from_slice(mime.as_bytes());
        out.extend_from_slice(b";base64,");
    }
    out.extend_from_slice(data.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn data_addresses_are_base64() {
        let check = |url: &'static str, mime: &'static str, data: &'static str| {
            assert_eq!(from_url(Text::word(url)), MediaSource::Base64 { mime: Text::word(mime), data: Text::word(data) }, "{url}");
        };
        check("data:image/png;base64,QUJD", "image/png", "QUJD");
        check("DATA:image/png;charset=x;base64,QUJD", "image/png", "QUJD");
        check(r"data:image\/png;base64,QU\/D", "image/png", "QU/D");
        check("data:;base64,QUJD", "", "QUJD");
        for url in ["https://example.org/a.png", "data:image/svg+xml,%3Csvg/%3E", "data:", "da", "file-1"] {
            assert_eq!(from_url(Text::word(url)), MediaSource::Url { url: Text::word(url), mime: None }, "{url}");
        }
    }

    #[test]
    fn data_addresses_are_written() {
        let check = |mime, expected: &str| {
            let mut out = Vec::new();
            write_data(&mut out, &Text::word(mime), &Text::word("QUJD"));
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        };
        check("image/png", r#""data:image/png;base64,QUJD""#);
        check("", r#""QUJD""#);
    }

    #[test]
    fn sounds_by_type_and_by_word() {
        for (word, mime) in [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("flac", "audio/flac")] {
            let json = format!(r#"{{"format":"{word}","data":"QUJD"}}"#);
            let MediaSource::Base64 { mime: read, .. } = read_audio(&mut Reader::new(json.as_bytes())).unwrap().source else { panic!() };
            assert_eq!(read, Text::word(mime));
            assert_eq!(audio_format(&read), Some(Text::word(word)));
        }
        assert_eq!(audio_format(&Text::word("image/png")), None);
    }
}
