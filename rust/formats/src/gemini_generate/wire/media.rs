//! Media: where the bytes are, and what kind they are of.

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Member, Raw, Text};
use memchr::memchr2;

use crate::read::{Malformed, Reader};
use crate::text::decode;
use crate::write::Object;

/// Where the Gemini API keeps files that were uploaded to it.
const FILES: &str = "https://generativelanguage.googleapis.com/";

/// Endings of addresses, and what they say.
const ENDINGS: [(&str, &str); 27] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("aiff", "audio/aiff"),
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpeg"),
    ("webm", "video/webm"),
    ("wmv", "video/wmv"),
];

/// How the base64 of well-known kinds of files begins.
const BEGINNINGS: [(&str, &str); 6] = [
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("JVBERi", "application/pdf"),
    ("SUQz", "audio/mpeg"),
    ("T2dnUw", "audio/ogg"),
];

/// Reads the value of `inlineData`.
pub(crate) fn read_inline<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Media<'a>, Malformed> {
    let (mut mime, mut data, mut name) = (Text::EMPTY, None, None);
    reader.object(|key, reader| {
        match key.name() {
            "mimeType" | "mime_type" => mime = reader.text()?,
            "data" => data = Some(standard_base64(reader.text()?)),
            "displayName" | "display_name" => name = reader.optional(Reader::text)?,
            _ => rest.push(prefixed("inlineData", key.name(), reader.raw()?)),
        }
        Ok(())
    })?;
    let data = data.ok_or_else(|| Malformed::new("has no \"data\""))?;
    Ok(Media { class: class_of(&mime), source: MediaSource::Base64 { mime, data }, detail: None, name })
}

/// Reads the value of `fileData`.
pub(crate) fn read_file<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Media<'a>, Malformed> {
    let (mut mime, mut uri, mut name) = (None, None, None);
    reader.object(|key, reader| {
        match key.name() {
            "mimeType" | "mime_type" => mime = reader.optional(Reader::text)?.filter(|mime| !mime.is_empty()),
            "fileUri" | "file_uri" => uri = Some(reader.text()?),
            "displayName" | "display_name" => name = reader.optional(Reader::text)?,
            _ => rest.push(prefixed("fileData", key.name(), reader.raw()?)),
        }
        Ok(())
    })?;
    let uri = uri.ok_or_else(|| Malformed::new("has no \"fileUri\""))?;
    let plain = decode(&uri).unwrap_or_default();
    let class = match &mime {
        Some(mime) => class_of(mime),
        None if is_film(&plain) => MediaClass::Video,
        None => class_of(&Text::word(mime_by_ending(&plain).unwrap_or_default())),
    };
    let is_upload = plain.starts_with(FILES) || !plain.contains(':');
    let source = if is_upload {
        rest.extend(mime.map(|mime| prefixed("fileData", "mimeType", quoted(&mime))));
        MediaSource::File(uri)
    } else {
        MediaSource::Url { url: uri, mime }
    };
    Ok(Media { class, source, detail: None, name })
}

/// Writes media as the data of a part; the reason when this dialect has no place for them. `own`: they were read from this dialect.
pub(crate) fn write(media: &Media<'_>, own: bool, rest: &[Member<'_>], part: &mut Object<'_>) -> Result<(), &'static str> {
    let name = media.name.as_ref().filter(|_| own);
    match &media.source {
        MediaSource::Base64 { mime, data } => part.object("inlineData", |inline| {
            match mime.is_empty() {
                true => inline.text("mimeType", mime_by_beginning(data).unwrap_or("application/octet-stream")),
                false => inline.escaped("mimeType", mime),
            };
            inline.escaped("data", data).optional_escaped("displayName", name);
            write_inner("inlineData", rest, inline);
        }),
        MediaSource::Url { url, mime } => part.object("fileData", |file| {
            let guessed = || mime_by_ending(&decode(url)?);
            match mime {
                Some(mime) => file.escaped("mimeType", mime),
                None => file.optional_text("mimeType", guessed().filter(|_| !own)),
            };
            file.escaped("fileUri", url).optional_escaped("displayName", name);
            write_inner("fileData", rest, file);
        }),
        MediaSource::File(uri) if own => part.object("fileData", |file| {
            file.escaped("fileUri", uri).optional_escaped("displayName", name);
            write_inner("fileData", rest, file);
        }),
        MediaSource::File(_) => return Err("a file uploaded to another provider means nothing to this one; send its bytes or an address"),
        MediaSource::Plain(text) => part.escaped("text", text),
    };
    Ok(())
}

/// A member of an object inside a part, as it is kept with the block: `inner.name`.
pub(crate) fn prefixed<'a>(inner: &str, name: &str, value: Raw<'a>) -> Member<'a> {
    let mut path = Vec::from(inner);
    path.push(b'.');
    // Quotes and the like in an unknown name would have to be escaped again.
    path.extend_from_slice(crate::text::escape(name).as_bytes());
    Member { name: Text::owned(path), value }
}

/// Writes those kept members that belong into the object `inner`, not into one inside it.
pub(crate) fn write_inner(inner: &str, rest: &[Member<'_>], object: &mut Object<'_>) {
    for member in rest {
        if let Some(name) = inner_name(inner, &member.name).filter(|name| !name.contains(&b'.')) {
            object.members(&[Member { name: Text::escaped(name), value: member.value.borrowed() }]);
        }
    }
}

/// The name inside the object `inner`, if the member belongs there.
pub(crate) fn inner_name<'n>(inner: &str, name: &'n Text<'_>) -> Option<&'n [u8]> {
    name.as_bytes().strip_prefix(inner.as_bytes())?.strip_prefix(b".")
}

/// The class of what `mime` names.
pub(crate) fn class_of(mime: &Text<'_>) -> MediaClass {
    let is = |prefix: &[u8]| mime.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    match () {
        () if is(b"image/") => MediaClass::Image,
        () if is(b"audio/") => MediaClass::Audio,
        () if is(b"video/") => MediaClass::Video,
        () => MediaClass::Document,
    }
}

/// Base64 in the standard alphabet, padded. Google takes the alphabet of addresses too, and its Python client writes nothing else, for
/// signatures as well; others take the standard one only. Text that is no base64 stays as it is.
pub(crate) fn standard_base64(text: Text<'_>) -> Text<'_> {
    let bytes = text.as_bytes();
    let foreign = memchr2(b'-', b'_', bytes).is_some();
    if !foreign && bytes.len().is_multiple_of(4) {
        return text;
    }
    let is_ours = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=');
    if bytes.is_empty() || bytes.len() % 4 == 1 || !bytes.iter().all(is_ours) {
        return text;
    }
    let mut standard: Vec<u8> = bytes
        .iter()
        .map(|byte| {
            if *byte == b'-' {
                b'+'
            } else if *byte == b'_' {
                b'/'
            } else {
                *byte
            }
        })
        .collect();
    while !standard.len().is_multiple_of(4) {
        standard.push(b'=');
    }
    Text::owned(standard)
}

fn quoted(text: &Text<'_>) -> Raw<'static> {
    let mut json = Vec::with_capacity(text.as_bytes().len() + 2);
    crate::write::write_escaped(&mut json, text);
    Raw::owned(json)
}

fn is_film(url: &str) -> bool {
    ["https://www.youtube.com/", "https://youtube.com/", "https://youtu.be/", "https://m.youtube.com/"]
        .iter()
        .any(|host| url.starts_with(host))
}

fn mime_by_ending(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    ENDINGS.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, mime)| *mime)
}

fn mime_by_beginning(base64: &Text<'_>) -> Option<&'static str> {
    // An escaped slash is a slash.
    let plain = decode(base64)?;
    let known = BEGINNINGS.iter().find(|(beginning, _)| plain.starts_with(beginning)).map(|(_, mime)| *mime);
    // RIFF files say in bytes 8 to 11 what they are; the last three of these are the fourth group.
    known.or_else(|| match (plain.starts_with("UklGR"), plain.get(12..16)?) {
        (true, "RUJQ") => Some("image/webp"),
        (true, "QVZF") => Some("audio/wav"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_either_alphabet_becomes_the_standard_one() {
        for (given, standard) in [
            ("", ""),
            ("aGk=", "aGk="),
            ("aGk", "aGk="),
            ("-_-_", "+/+/"),
            ("-_8", "+/8="),
            ("flt1.a-b", "flt1.a-b"),
            ("gAAAA", "gAAAA"),
            (r"\/9j", r"\/9j"),
        ] {
            assert_eq!(standard_base64(Text::word(given)), Text::word(standard), "{given}");
        }
    }

    #[test]
    fn kinds_are_told_from_names_and_bytes() {
        for (url, mime) in [
            ("https://a/b.PNG?x=1.pdf", Some("image/png")),
            ("https://a.jpg/b", None),
            ("gs://bucket/film.mp4", Some("video/mp4")),
            ("https://a/b", None),
        ] {
            assert_eq!(mime_by_ending(url), mime, "{url}");
        }
        for (data, mime) in [
            ("iVBORw0KGgoAAAA", Some("image/png")),
            (r"\/9j\/4AAQ", Some("image/jpeg")),
            ("UklGRiQAAABXQVZFZm10", Some("audio/wav")),
            ("UklGRiQAAABXRUJQVlA4", Some("image/webp")),
            ("AAAA", None),
        ] {
            assert_eq!(mime_by_beginning(&Text::word(data)), mime, "{data}");
        }
    }
}
