//! Parts of messages, read: texts, pictures, sound, films, files, and the chunks that Mistral puts where others have a string.

use std::borrow::Cow;

use fairlead_ir::block::{CacheMark, CacheTtl, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Kind, Member, Origin, Text};

use super::leftover;
use crate::json;
use crate::read::{Key, Malformed, Reader};
use crate::text::{decode, escape};
use crate::write::write_escaped;

/// Reads what stands under `content`: nothing, a string or a list of parts. Texts without a text are nothing. `path` is its place in
/// what `origin` stands for.
pub(crate) fn read_content<'a>(reader: &mut Reader<'a>, origin: Origin, path: &'static str) -> Result<Vec<Block<'a>>, Malformed> {
    match reader.kind()? {
        json::Kind::Null => reader.skip().map(|()| Vec::new()),
        json::Kind::String => {
            let text = reader.text()?;
            Ok(if text.is_empty() { Vec::new() } else { vec![Block::text(text, origin.inside(path))] })
        }
        json::Kind::Array => {
            let mut blocks = Vec::new();
            reader.array(|at, reader| {
                blocks.extend(read_part(reader, origin.part(path, at))?);
                Ok(())
            })?;
            Ok(blocks)
        }
        _ => Err(Malformed::new("must be a string or an array of parts")),
    }
}

/// Reads one part; `None` for a text without text.
fn read_part<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Block<'a>>, Malformed> {
    match reader.kind()? {
        json::Kind::Object => {}
        // Some clients put bare strings into the list.
        json::Kind::String => return Ok(Some(Block::text(reader.text()?, origin)).filter(|block| !is_nothing(block))),
        _ => return Err(Malformed::new("must be an object")),
    }
    let word = reader.peek("type").ok_or_else(|| Malformed::new("must have a type"))?;
    let mut part = Part { cache: None, seal: None, rest: Vec::new() };
    let kind = match word.as_bytes() {
        b"text" => part.text(reader, "text", |text| Kind::Text { text, citations: Vec::new() })?,
        b"refusal" => part.text(reader, "refusal", Kind::Refusal)?,
        b"image_url" => part.url(reader, "image_url", MediaClass::Image)?,
        b"video_url" | b"input_video" => part.url(reader, "video_url", MediaClass::Video)?,
        b"input_audio" => part.audio(reader)?,
        b"file" => part.file(reader)?,
        b"thinking" => part.thinking(reader)?,
        _ => Kind::Opaque { word, raw: reader.raw()? },
    };
    let block = Block { kind, cache: part.cache, seal: part.seal, origin, rest: part.rest };
    Ok(Some(block).filter(|block| !is_nothing(block)))
}

fn is_nothing(block: &Block<'_>) -> bool {
    let no_text = matches!(&block.kind, Kind::Text { text, .. } | Kind::Refusal(text) if text.is_empty());
    no_text && block.cache.is_none() && block.rest.is_empty()
}

/// A wish to cache, in Anthropic's words (`cache_control`) or OpenAI's (`prompt_cache_breakpoint`), which mean the same.
pub(crate) fn read_cache_mark(reader: &mut Reader<'_>) -> Result<Option<CacheMark>, Malformed> {
    let mut mark = CacheMark::default();
    let given = reader.optional(|reader| {
        reader.object(|key, reader| {
            if key.name() == "ttl" {
                mark.ttl = reader.optional(read_ttl)?;
                return Ok(());
            }
            reader.skip()
        })
    })?;
    Ok(given.map(|()| mark))
}

fn read_ttl(reader: &mut Reader<'_>) -> Result<CacheTtl, Malformed> {
    let word = reader.decoded()?;
    CacheTtl::from_word(word.as_bytes()).ok_or_else(|| Malformed::new("must be 5m, 30m, 1h or 12h"))
}

/// What parts have in common, while one is read.
struct Part<'a> {
    cache: Option<CacheMark>,
    seal: Option<Seal<'a>>,
    rest: Vec<Member<'a>>,
}

impl<'a> Part<'a> {
    /// A member that is not the part's own.
    fn other(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        match key.name() {
            "type" => reader.skip()?,
            "cache_control" | "prompt_cache_breakpoint" => self.cache = read_cache_mark(reader)?.or(self.cache),
            _ => keep_unknown(key, reader, &mut self.rest)?,
        }
        Ok(())
    }

    fn text(&mut self, reader: &mut Reader<'a>, name: &str, kind: impl FnOnce(Text<'a>) -> Kind<'a>) -> Result<Kind<'a>, Malformed> {
        let mut text = None;
        reader.object(|key, reader| {
            if key.name() != name {
                return self.other(&key, reader);
            }
            text = Some(reader.text()?);
            Ok(())
        })?;
        text.map(kind).ok_or_else(|| missing(name))
    }

    fn url(&mut self, reader: &mut Reader<'a>, name: &'static str, class: MediaClass) -> Result<Kind<'a>, Malformed> {
        let mut media = None;
        let mut inner = Vec::new();
        reader.object(|key, reader| match key.name() {
            "image_url" | "video_url" | "input_video" => {
                media = Some(read_url(reader, class, &mut inner)?);
                Ok(())
            }
            _ => self.other(&key, reader),
        })?;
        leftover::keep(name, &inner, &mut self.rest);
        media.map(Kind::Media).ok_or_else(|| missing(name))
    }

    fn audio(&mut self, reader: &mut Reader<'a>) -> Result<Kind<'a>, Malformed> {
        let (mut data, mut mime) = (None, Text::EMPTY);
        let mut inner = Vec::new();
        reader.object(|key, reader| {
            if key.name() != "input_audio" {
                return self.other(&key, reader);
            }
            reader.object(|key, reader| {
                match key.name() {
                    "data" => data = Some(reader.text()?),
                    "format" => mime = audio_mime(&reader.decoded()?),
                    _ => keep_unknown(&key, reader, &mut inner)?,
                }
                Ok(())
            })
        })?;
        leftover::keep("input_audio", &inner, &mut self.rest);
        let data = data.ok_or_else(|| missing("input_audio.data"))?;
        // Some clients send a whole data address.
        let source = match source_of(data) {
            MediaSource::Url { url, .. } => MediaSource::Base64 { mime, data: url },
            source => source,
        };
        Ok(Kind::Media(Media { class: MediaClass::Audio, source, detail: None, name: None }))
    }

    fn file(&mut self, reader: &mut Reader<'a>) -> Result<Kind<'a>, Malformed> {
        let (mut data, mut id, mut name) = (None, None, None);
        let mut inner = Vec::new();
        reader.object(|key, reader| {
            if key.name() != "file" {
                return self.other(&key, reader);
            }
            reader.object(|key, reader| {
                match key.name() {
                    "file_data" | "file_url" => data = reader.optional(Reader::text)?.or(data.take()),
                    "file_id" => id = reader.optional(Reader::text)?,
                    "filename" => name = reader.optional(Reader::text)?,
                    _ => keep_unknown(&key, reader, &mut inner)?,
                }
                Ok(())
            })
        })?;
        leftover::keep("file", &inner, &mut self.rest);
        let source = match (data, id) {
            (Some(data), _) => file_source(data),
            (None, Some(id)) => MediaSource::File(id),
            (None, None) => return Err(Malformed::new("must have file_data or file_id").in_member("file")),
        };
        let class = match &source {
            MediaSource::Base64 { mime, .. } => class_of(mime),
            _ => MediaClass::Document,
        };
        Ok(Kind::Media(Media { class, source, detail: None, name }))
    }

    /// Mistral's chunk: a list of chunks that hold what was thought.
    fn thinking(&mut self, reader: &mut Reader<'a>) -> Result<Kind<'a>, Malformed> {
        let mut thought = Thought::default();
        reader.object(|key, reader| match key.name() {
            "thinking" => {
                for block in read_content(reader, Origin::default(), "thinking")? {
                    if let Kind::Text { text, .. } = block.kind {
                        thought.parts.push(ThoughtPart { shape: ThoughtShape::Full, text });
                    }
                }
                Ok(())
            }
            "signature" => {
                self.seal = reader.optional(Reader::text)?.filter(|text| !text.is_empty()).map(|data| Seal { data, maker: None });
                Ok(())
            }
            // Says whether the thought is complete; in a message it is.
            "closed" => reader.skip(),
            _ => self.other(&key, reader),
        })?;
        Ok(Kind::Thought(thought))
    }
}

fn missing(name: &str) -> Malformed {
    Malformed::new(format!("must have {name}"))
}

/// Keeps a member that nobody knows, unless it is `null`, which asks for nothing.
pub(crate) fn keep_unknown<'a>(key: &Key<'a>, reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<(), Malformed> {
    if reader.kind()? == json::Kind::Null {
        return reader.skip();
    }
    rest.push(reader.member(key)?);
    Ok(())
}

/// What an `image_url` or `video_url` holds: an object, or with many clients the address itself.
pub(crate) fn read_url<'a>(reader: &mut Reader<'a>, class: MediaClass, rest: &mut Vec<Member<'a>>) -> Result<Media<'a>, Malformed> {
    let media = |url, detail| Media { class, source: source_of(url), detail, name: None };
    if reader.kind()? == json::Kind::String {
        return Ok(media(reader.text()?, None));
    }
    let (mut url, mut detail) = (None, None);
    reader.object(|key, reader| {
        match key.name() {
            "url" => url = Some(reader.text()?),
            "detail" => detail = reader.optional(Reader::text)?,
            _ => keep_unknown(&key, reader, rest)?,
        }
        Ok(())
    })?;
    url.map(|url| media(url, detail)).ok_or_else(|| missing("url"))
}

/// Inside the address itself (`data:image/png;base64,…`), or behind it.
pub(crate) fn source_of(url: Text<'_>) -> MediaSource<'_> {
    // No address begins with more than this before its data.
    const HEAD_BYTES: usize = 256;
    const MARK: &[u8] = b";base64,";
    let bytes = url.as_bytes();
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    if head.get(..5).is_none_or(|scheme| !scheme.eq_ignore_ascii_case(b"data:")) {
        return MediaSource::Url { url, mime: None };
    }
    match memchr::memmem::find(head, MARK) {
        Some(mark) => {
            let mime = normal(url.piece(5..mark));
            MediaSource::Base64 { mime, data: url.piece(mark + MARK.len()..bytes.len()) }
        }
        None => MediaSource::Url { url, mime: None },
    }
}

/// A word without needless escapes: PHP writes `image\/png`.
fn normal(word: Text<'_>) -> Text<'_> {
    if !word.as_bytes().contains(&b'\\') {
        return word;
    }
    match decode(&word) {
        Some(plain) => escape(&plain).into_owned(),
        None => word,
    }
}

fn file_source(data: Text<'_>) -> MediaSource<'_> {
    match source_of(data) {
        // Bare base64: a colon is in no base64, and in every address.
        MediaSource::Url { url, .. } if !url.as_bytes().contains(&b':') => MediaSource::Base64 { mime: Text::EMPTY, data: url },
        source => source,
    }
}

fn class_of(mime: &Text<'_>) -> MediaClass {
    match mime.as_bytes() {
        [b'i', b'm', b'a', b'g', b'e', b'/', ..] => MediaClass::Image,
        [b'a', b'u', b'd', b'i', b'o', b'/', ..] => MediaClass::Audio,
        [b'v', b'i', b'd', b'e', b'o', b'/', ..] => MediaClass::Video,
        _ => MediaClass::Document,
    }
}

/// The MIME type of one of OpenAI's audio formats: `audio/` with the word behind it, which Gemini takes as well.
fn audio_mime(format: &str) -> Text<'static> {
    escape(&format!("audio/{format}")).into_owned()
}

/// OpenAI's word for an audio format.
pub(crate) fn audio_format(mime: &Text<'_>) -> Cow<'static, str> {
    let mime = decode(mime).unwrap_or_default();
    let essence = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "" => "wav".into(),
        "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav".into(),
        "audio/mpeg" | "audio/mpeg3" => "mp3".into(),
        "audio/mp4" | "audio/x-m4a" => "m4a".into(),
        other => other.strip_prefix("audio/").unwrap_or(other).to_owned().into(),
    }
}

/// The MIME type of a picture that came without one, told by its first bytes.
fn image_mime(data: &Text<'_>) -> &'static str {
    match data.as_bytes() {
        [b'i', b'V', b'B', b'O', b'R', ..] => "image/png",
        [b'R', b'0', b'l', b'G', b'O', b'D', ..] => "image/gif",
        [b'U', b'k', b'l', b'G', b'R', ..] => "image/webp",
        _ => "image/jpeg",
    }
}

/// Appends the address of media as a JSON string: their own, or one that holds the bytes. `false` when there is none: a file, a text.
pub(crate) fn write_address(media: &Media<'_>, out: &mut Vec<u8>) -> bool {
    match &media.source {
        MediaSource::Url { url, .. } => write_escaped(out, url),
        MediaSource::Base64 { mime, data } => {
            out.extend_from_slice(b"\"data:");
            match (mime.is_empty(), media.class) {
                (false, _) => out.extend_from_slice(mime.as_bytes()),
                (true, MediaClass::Image) => out.extend_from_slice(image_mime(data).as_bytes()),
                (true, MediaClass::Document) => out.extend_from_slice(b"application/pdf"),
                (true, MediaClass::Audio) => out.extend_from_slice(b"audio/wav"),
                (true, MediaClass::Video) => out.extend_from_slice(b"video/mp4"),
            }
            out.extend_from_slice(b";base64,");
            out.extend_from_slice(data.as_bytes());
            out.push(b'"');
        }
        MediaSource::File(_) | MediaSource::Plain(_) => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(content: &str) -> Vec<Kind<'_>> {
        let mut reader = Reader::checked(content.as_bytes()).unwrap();
        read_content(&mut reader, Origin::default(), "content").unwrap().into_iter().map(|block| block.kind).collect()
    }

    fn fault(content: &str) -> String {
        read_content(&mut Reader::checked(content.as_bytes()).unwrap(), Origin::default(), "content").unwrap_err().to_string()
    }

    fn media<'a>(class: MediaClass, source: MediaSource<'a>, detail: Option<&'a str>, name: Option<&'a str>) -> Vec<Kind<'a>> {
        vec![Kind::Media(Media { class, source, detail: detail.map(Text::word), name: name.map(Text::word) })]
    }

    fn base64<'a>(mime: &'a str, data: &'a str) -> MediaSource<'a> {
        MediaSource::Base64 { mime: Text::word(mime), data: Text::word(data) }
    }

    fn url(url: &str) -> MediaSource<'_> {
        MediaSource::Url { url: Text::word(url), mime: None }
    }

    #[test]
    fn pictures_in_every_spelling() {
        use MediaClass::{Image, Video};
        let check = |content: &str, expected: Vec<Kind<'_>>| assert_eq!(read(content), expected, "{content}");
        check(
            r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]"#,
            media(Image, base64("image/png", "AA=="), Some("low"), None),
        );
        check(r#"[{"type":"image_url","image_url":"https://e.org/a.png"}]"#, media(Image, url("https://e.org/a.png"), None, None));
        check(
            r#"[{"image_url":{"url":"data:image\/png;base64,A\/=="},"type":"image_url"}]"#,
            media(Image, base64("image/png", r"A\/=="), None, None),
        );
        check(
            r#"[{"type":"image_url","image_url":{"url":"DATA:image/gif;base64,AA=="}}]"#,
            media(Image, base64("image/gif", "AA=="), None, None),
        );
        check(r#"[{"type":"image_url","image_url":{"url":"data:text/plain,hi"}}]"#, media(Image, url("data:text/plain,hi"), None, None));
        check(r#"[{"type":"video_url","video_url":{"url":"https://e.org/a.mp4"}}]"#, media(Video, url("https://e.org/a.mp4"), None, None));
        check(
            r#"[{"type":"input_video","input_video":{"url":"https://e.org/a.mp4"}}]"#,
            media(Video, url("https://e.org/a.mp4"), None, None),
        );
    }

    #[test]
    fn files_and_sound() {
        use MediaClass::{Audio, Document, Image};
        let check = |content: &str, expected: Vec<Kind<'_>>| assert_eq!(read(content), expected, "{content}");
        check(
            r#"[{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVB="}}]"#,
            media(Document, base64("application/pdf", "JVB="), None, Some("a.pdf")),
        );
        check(r#"[{"type":"file","file":{"file_data":"JVB=","filename":null}}]"#, media(Document, base64("", "JVB="), None, None));
        check(r#"[{"type":"file","file":{"file_data":"https://e.org/a.pdf"}}]"#, media(Document, url("https://e.org/a.pdf"), None, None));
        check(
            r#"[{"type":"file","file":{"file_data":"data:image/png;base64,AA=="}}]"#,
            media(Image, base64("image/png", "AA=="), None, None),
        );
        check(r#"[{"type":"file","file":{"file_id":"file-1"}}]"#, media(Document, MediaSource::File(Text::word("file-1")), None, None));
        check(
            r#"[{"type":"input_audio","input_audio":{"data":"AA==","format":"mp3"}}]"#,
            media(Audio, base64("audio/mp3", "AA=="), None, None),
        );
        check(
            r#"[{"type":"input_audio","input_audio":{"data":"data:audio/ogg;base64,AA==","format":"ogg"}}]"#,
            media(Audio, base64("audio/ogg", "AA=="), None, None),
        );
    }

    #[test]
    fn audio_formats_have_many_names() {
        for (mime, format) in
            [("", "wav"), ("audio/x-wav", "wav"), ("audio/mpeg", "mp3"), ("audio/MP3", "mp3"), ("audio/ogg; codecs=opus", "ogg")]
        {
            assert_eq!(audio_format(&Text::word(mime)), format, "{mime}");
        }
    }

    #[test]
    fn chunks_of_mistral() {
        let content = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}],"closed":true},{"type":"text","text":"a"},{"type":"reference","reference_ids":[1]}]"#;
        let thought = Thought { parts: vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word("hm") }], ..Thought::default() };
        let kinds = read(content);
        assert_eq!(kinds[0], Kind::Thought(thought));
        assert_eq!(kinds[1], Kind::Text { text: Text::word("a"), citations: Vec::new() });
        assert!(matches!(&kinds[2], Kind::Opaque { word, .. } if word.is("reference")));
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        for content in ["null", r#""""#, "[]", r#"[{"type":"text","text":""}]"#, r#"[""]"#] {
            assert_eq!(read(content), vec![], "{content}");
        }
        assert_eq!(read(r#"[{"type":"text","text":"","cache_control":{"type":"ephemeral"}}]"#).len(), 1);
    }

    #[test]
    fn faults_name_their_place() {
        for (content, expected) in [
            ("1", "the body must be a string or an array of parts"),
            ("[1]", r#""[0]" must be an object"#),
            (r#"[{}]"#, r#""[0]" must have a type"#),
            (r#"[{"type":"text"}]"#, r#""[0]" must have text"#),
            (r#"[{"type":"text","text":null}]"#, r#""[0].text" must be a string"#),
            (r#"[{"type":"image_url","image_url":{}}]"#, r#""[0].image_url" must have url"#),
            (r#"[{"type":"file","file":{}}]"#, r#""[0].file" must have file_data or file_id"#),
            (r#"[{"type":"text","text":"a","cache_control":{"ttl":"2h"}}]"#, r#""[0].cache_control.ttl" must be 5m, 30m, 1h or 12h"#),
        ] {
            assert_eq!(fault(content), expected, "{content}");
        }
    }
}
