//! Pictures, documents, films and sound: AWS names their formats by a word of its own instead of a MIME type.

use fairlead_ir::block::{Media, MediaClass, MediaSource};
use fairlead_ir::{Block, Kind, Member, Origin, Text};

use crate::read::{Malformed, Reader};
use crate::write::Object;

/// A format's word and its MIME types, the usual one first. Of several words for one type, the first is written.
type Formats = [(&'static str, &'static [&'static str])];

const IMAGES: &Formats =
    &[("png", &["image/png"]), ("jpeg", &["image/jpeg", "image/jpg"]), ("gif", &["image/gif"]), ("webp", &["image/webp"])];
const DOCUMENTS: &Formats = &[
    ("pdf", &["application/pdf"]),
    ("csv", &["text/csv"]),
    ("doc", &["application/msword"]),
    ("docx", &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"]),
    ("xls", &["application/vnd.ms-excel"]),
    ("xlsx", &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]),
    ("html", &["text/html"]),
    ("md", &["text/markdown"]),
    ("txt", &["text/plain"]),
];
const VIDEOS: &Formats = &[
    ("mp4", &["video/mp4"]),
    ("mov", &["video/quicktime"]),
    ("mkv", &["video/x-matroska"]),
    ("webm", &["video/webm"]),
    ("flv", &["video/x-flv"]),
    ("mpeg", &["video/mpeg"]),
    ("mpg", &["video/mpeg"]),
    ("wmv", &["video/x-ms-wmv"]),
    ("three_gp", &["video/3gpp"]),
];
const AUDIOS: &Formats = &[
    ("mp3", &["audio/mpeg", "audio/mp3"]),
    ("wav", &["audio/wav", "audio/x-wav", "audio/wave"]),
    ("opus", &["audio/opus"]),
    ("aac", &["audio/aac"]),
    ("flac", &["audio/flac", "audio/x-flac"]),
    ("mp4", &["audio/mp4"]),
    ("ogg", &["audio/ogg"]),
    ("mkv", &["audio/x-matroska"]),
    ("mka", &["audio/x-matroska"]),
    ("x-aac", &["audio/x-aac"]),
    ("m4a", &["audio/m4a", "audio/x-m4a"]),
    ("mpeg", &["audio/mpeg"]),
    ("mpga", &["audio/mpeg"]),
    ("pcm", &["audio/pcm", "audio/l16"]),
    ("webm", &["audio/webm"]),
];

const fn formats(class: MediaClass) -> &'static Formats {
    match class {
        MediaClass::Image => IMAGES,
        MediaClass::Document => DOCUMENTS,
        MediaClass::Audio => AUDIOS,
        MediaClass::Video => VIDEOS,
    }
}

/// The key of a block.
pub(crate) const fn word(class: MediaClass) -> &'static str {
    match class {
        MediaClass::Image => "image",
        MediaClass::Document => "document",
        MediaClass::Audio => "audio",
        MediaClass::Video => "video",
    }
}

/// The MIME type of a format.
pub(crate) fn mime_of(class: MediaClass, format: &[u8]) -> Option<&'static str> {
    formats(class).iter().find(|(word, _)| word.as_bytes() == format).and_then(|(_, mimes)| mimes.first().copied())
}

/// The format of a MIME type, whose letters' case, escapes and parameters do not matter.
pub(crate) fn format_of(class: MediaClass, mime: &Text<'_>) -> Option<&'static str> {
    let plain = |byte: &u8| *byte != b'\\';
    let mime: Vec<u8> = mime.as_bytes().iter().copied().filter(plain).take_while(|byte| *byte != b';').collect();
    let mime = mime.trim_ascii();
    let found = formats(class).iter().find(|(_, mimes)| mimes.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(mime)));
    match found {
        Some((word, _)) => Some(word),
        None if class == MediaClass::Document && mime.starts_with(b"text/") => Some("txt"),
        None => None,
    }
}

/// The format that the first bytes of a file in base64 or the ending of its name tell.
pub(crate) fn guess_format(class: MediaClass, base64: &[u8], name: Option<&Text<'_>>) -> Option<&'static str> {
    const STARTS: [(&[u8], &str); 6] =
        [(b"iVBOR", "png"), (b"/9j/", "jpeg"), (br"\/9j", "jpeg"), (b"R0lG", "gif"), (b"UklG", "webp"), (b"JVBER", "pdf")];
    let by_start = STARTS.iter().find(|(start, _)| base64.starts_with(start)).map(|(_, word)| *word);
    let ending = name.and_then(|name| name.as_bytes().rsplit(|byte| *byte == b'.').next().map(<[u8]>::to_ascii_lowercase));
    let words = || formats(class).iter().map(|(word, _)| *word);
    let by_ending = ending.and_then(|ending| words().find(|word| word.as_bytes() == ending));
    by_start.filter(|found| words().any(|word| word == *found)).or(by_ending)
}

/// Reads a block's media; `None` for a shape that nobody else knows.
pub(crate) fn read<'a>(class: MediaClass, reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    let (mut format, mut name, mut source, mut rest) = (None, None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "format" => format = reader.optional(Reader::text)?,
            "name" if class == MediaClass::Document => name = Some(reader.text()?),
            "source" => source = Some(read_source(class, reader)?),
            _ => rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    let source = super::required(source, "source")?;
    let mime = match &format {
        None => Text::EMPTY,
        Some(format) => match mime_of(class, format.as_bytes()) {
            Some(mime) => Text::word(mime),
            None => return Ok(None),
        },
    };
    let source = match source {
        Source::Bytes(data) => MediaSource::Base64 { mime, data },
        Source::S3(url) => MediaSource::Url { url, mime: Some(mime).filter(|mime| !mime.is_empty()) },
        Source::Plain(text) if format.is_none() || mime.is("text/plain") => MediaSource::Plain(text),
        Source::Plain(_) | Source::Unknown => return Ok(None),
    };
    let kind = Kind::Media(Media { class, source, detail: None, name });
    Ok(Some(Block { rest, ..Block::new(kind, origin) }))
}

/// Where media are.
pub(crate) enum Source<'a> {
    /// In base64, here.
    Bytes(Text<'a>),
    /// An address of S3.
    S3(Text<'a>),
    /// A document's text.
    Plain(Text<'a>),
    /// Another shape.
    Unknown,
}

fn read_source<'a>(class: MediaClass, reader: &mut Reader<'a>) -> Result<Source<'a>, Malformed> {
    let (mut source, mut members) = (Source::Unknown, 0);
    reader.object(|key, reader| {
        members += 1;
        source = match key.name() {
            "bytes" => Source::Bytes(reader.text()?),
            "s3Location" => read_s3(reader)?,
            "text" if class == MediaClass::Document => Source::Plain(reader.text()?),
            _ => {
                reader.skip()?;
                Source::Unknown
            }
        };
        Ok(())
    })?;
    Ok(if members == 1 { source } else { Source::Unknown })
}

fn read_s3<'a>(reader: &mut Reader<'a>) -> Result<Source<'a>, Malformed> {
    let (mut uri, mut alone) = (None, true);
    reader.object(|key, reader| {
        match key.name() {
            "uri" => uri = Some(reader.text()?),
            _ => {
                alone = false;
                reader.skip()?;
            }
        }
        Ok(())
    })?;
    Ok(uri.filter(|_| alone).map_or(Source::Unknown, Source::S3))
}

/// Writes a block of media.
pub(crate) fn write(
    class: MediaClass,
    format: Option<&str>,
    name: Option<&Text<'_>>,
    source: &Source<'_>,
    rest: &[Member<'_>],
    out: &mut Vec<u8>,
) {
    let mut block = Object::open(out);
    block.object(word(class), |object| {
        object.optional_text("format", format).optional_escaped("name", name);
        object.object("source", |object| match source {
            Source::Bytes(data) => {
                object.escaped("bytes", data);
            }
            Source::S3(uri) => {
                object.object("s3Location", |location| {
                    location.escaped("uri", uri);
                });
            }
            Source::Plain(text) => {
                object.escaped("text", text);
            }
            Source::Unknown => {}
        });
        object.members(rest);
    });
    block.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_types_go_both_ways() {
        for class in [MediaClass::Image, MediaClass::Document, MediaClass::Audio, MediaClass::Video] {
            for (word, mimes) in formats(class) {
                assert_eq!(mime_of(class, word.as_bytes()), mimes.first().copied());
                for mime in *mimes {
                    let back = format_of(class, &Text::word(mime));
                    assert_eq!(back.and_then(|word| mime_of(class, word.as_bytes())), mimes.first().copied(), "{word} {mime}");
                }
            }
        }
        for (class, mime, format) in [
            (MediaClass::Image, r"image\/PNG", Some("png")),
            (MediaClass::Image, "image/jpg; q=1", Some("jpeg")),
            (MediaClass::Image, "image/tiff", None),
            (MediaClass::Document, "text/x-python", Some("txt")),
            (MediaClass::Document, "application/zip", None),
            (MediaClass::Audio, "audio/mpeg", Some("mp3")),
        ] {
            assert_eq!(format_of(class, &Text::word(mime)), format, "{mime}");
        }
    }

    #[test]
    fn a_format_is_guessed_within_its_class() {
        let check = |class, base64: &str, name: Option<&'static str>, format: Option<&str>| {
            assert_eq!(guess_format(class, base64.as_bytes(), name.map(Text::word).as_ref()), format, "{base64} {name:?}");
        };
        check(MediaClass::Image, "iVBORw0KGgo=", None, Some("png"));
        check(MediaClass::Image, "JVBERi0=", None, None);
        check(MediaClass::Document, "JVBERi0=", Some("a.docx"), Some("pdf"));
        check(MediaClass::Document, "UEsDBA==", Some("Report.DOCX"), Some("docx"));
        check(MediaClass::Document, "AAAA", Some("notes"), None);
    }
}
