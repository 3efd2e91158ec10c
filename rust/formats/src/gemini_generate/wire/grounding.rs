//! Sources that a reply cites: `groundingMetadata` and `citationMetadata`, whose places count bytes where ours count characters.

use fairlead_ir::Text;
use fairlead_ir::block::Citation;

use crate::json::Kind;
use crate::read::{Malformed, Reader};
use crate::text::decode;
use crate::write::{Array, Object};

/// What a candidate's grounding says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grounding<'a> {
    /// Web searches that were run.
    pub(crate) searches: u64,
    pub(crate) cited: Vec<Cited<'a>>,
}

/// A citation, and where its words stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cited<'a> {
    /// Which part of the content.
    pub(crate) part: usize,
    /// First byte of the part's text, and the one behind the last.
    pub(crate) bytes: Option<(u64, u64)>,
    pub(crate) citation: Citation<'a>,
}

/// Which words rest on which sources.
#[derive(Default)]
struct Support<'a> {
    part: u64,
    start: u64,
    end: Option<u64>,
    quote: Option<Text<'a>>,
    sources: Vec<u64>,
}

/// Reads a `groundingMetadata`.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Grounding<'a>, Malformed> {
    let (mut searches, mut sources, mut supports) = (0, Vec::new(), Vec::new());
    reader.object(|key, reader| match (key.name(), reader.kind()?) {
        ("webSearchQueries", Kind::Array) => reader.array(|_, reader| {
            searches += u64::from(!reader.text()?.is_empty());
            Ok(())
        }),
        ("groundingChunks", Kind::Array) => reader.array(|_, reader| {
            sources.push(read_source(reader)?);
            Ok(())
        }),
        ("groundingSupports", Kind::Array) => reader.array(|_, reader| {
            supports.push(read_support(reader)?);
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    let mut cited = Vec::new();
    for support in &supports {
        for source in support.sources.iter().filter_map(|index| sources.get(usize::try_from(*index).ok()?)) {
            cited.push(Cited {
                part: usize::try_from(support.part).unwrap_or(usize::MAX),
                bytes: support.end.map(|end| (support.start, end)),
                citation: Citation { quote: support.quote.clone(), ..source.clone() },
            });
        }
    }
    if supports.is_empty() {
        cited.extend(sources.into_iter().map(|citation| Cited { part: 0, bytes: None, citation }));
    }
    Ok(Grounding { searches, cited })
}

fn read_source<'a>(reader: &mut Reader<'a>) -> Result<Citation<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let (mut url, mut title) = (None, None);
    reader.object(|_, reader| match reader.kind()? {
        // `web`, `retrievedContext`, `maps`: they name their source in the same way.
        Kind::Object => reader.object(|key, reader| match (key.name(), reader.kind()?) {
            ("uri", Kind::String) => {
                url = Some(reader.text()?);
                Ok(())
            }
            ("title", Kind::String) => {
                title = Some(reader.text()?);
                Ok(())
            }
            _ => reader.skip(),
        }),
        _ => reader.skip(),
    })?;
    Ok(Citation { url, title, quote: None, range: None, raw })
}

fn read_support<'a>(reader: &mut Reader<'a>) -> Result<Support<'a>, Malformed> {
    let mut support = Support::default();
    reader.object(|key, reader| match (key.name(), reader.kind()?) {
        ("segment", Kind::Object) => reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("partIndex", Kind::Number) => support.part = reader.whole()?,
                ("startIndex", Kind::Number) => support.start = reader.whole()?,
                ("endIndex", Kind::Number) => support.end = Some(reader.whole()?),
                ("text", Kind::String) => support.quote = Some(reader.text()?),
                _ => reader.skip()?,
            }
            Ok(())
        }),
        ("groundingChunkIndices", Kind::Array) => reader.array(|_, reader| {
            support.sources.push(reader.whole()?);
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(support)
}

/// Reads a `citationMetadata`: what the reply repeats word by word.
pub(crate) fn read_recited<'a>(reader: &mut Reader<'a>) -> Result<Vec<Cited<'a>>, Malformed> {
    let mut cited = Vec::new();
    reader.object(|key, reader| match (key.name(), reader.kind()?) {
        ("citations" | "citationSources", Kind::Array) => reader.array(|_, reader| {
            let (raw, mut start, mut end) = (reader.clone().raw()?, 0, None);
            let mut citation = Citation { url: None, title: None, quote: None, range: None, raw };
            reader.object(|key, reader| {
                match (key.name(), reader.kind()?) {
                    ("startIndex", Kind::Number) => start = reader.whole()?,
                    ("endIndex", Kind::Number) => end = Some(reader.whole()?),
                    ("uri", Kind::String) => citation.url = Some(reader.text()?),
                    ("title", Kind::String) => citation.title = Some(reader.text()?),
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            cited.push(Cited { part: 0, bytes: end.map(|end| (start, end)), citation });
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(cited)
}

/// The characters that these bytes of the text are. `None` where they cut one or lie outside.
pub(crate) fn characters(text: &Text<'_>, (start, end): (u64, u64)) -> Option<(u64, u64)> {
    let plain = decode(text)?;
    let place = |byte: u64| Some(plain.get(..usize::try_from(byte).ok()?)?.chars().count() as u64);
    Some((place(start)?, place(end)?))
}

/// The bytes that these characters of the text are.
pub(crate) fn bytes(text: &Text<'_>, (start, end): (u64, u64)) -> Option<(u64, u64)> {
    let plain = decode(text)?;
    let place = |character: u64| {
        let ends = std::iter::once(0).chain(plain.char_indices().map(|(at, character)| at + character.len_utf8()));
        ends.into_iter().nth(usize::try_from(character).ok()?).map(|byte| byte as u64)
    };
    Some((place(start)?, place(end)?))
}

/// Whether characters and bytes of a text are the same: all of it is ASCII, as far as the escapes tell.
pub(crate) fn is_plain(text: &Text<'_>) -> bool {
    text.as_bytes().is_ascii() && memchr::memmem::find(text.as_bytes(), b"\\u").is_none()
}

/// Collects citations of another dialect for one candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Sources as they are written, each once.
    sources: Vec<Vec<u8>>,
    /// Elements of `groundingSupports` with commas.
    supports: Vec<u8>,
}

impl Collected {
    /// Adds a citation of the text in part number `part`; `bytes` is its place in there.
    pub(crate) fn add(&mut self, part: usize, bytes: Option<(u64, u64)>, citation: &Citation<'_>) {
        let source = self.source(citation);
        if !self.supports.is_empty() {
            self.supports.push(b',');
        }
        let mut support = Object::open(&mut self.supports);
        support.object("segment", |segment| {
            if part > 0 {
                segment.number("partIndex", part as u64);
            }
            if let Some((start, end)) = bytes {
                segment.number("startIndex", start).number("endIndex", end);
            }
            segment.optional_escaped("text", citation.quote.as_ref());
        });
        support.raw("groundingChunkIndices", format!("[{source}]").as_bytes());
        support.close();
    }

    fn source(&mut self, citation: &Citation<'_>) -> usize {
        let mut source = Vec::new();
        let mut object = Object::open(&mut source);
        object.object(if citation.url.is_some() { "web" } else { "retrievedContext" }, |inner| {
            inner.optional_escaped("uri", citation.url.as_ref()).optional_escaped("title", citation.title.as_ref());
        });
        object.close();
        self.sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }

    /// Writes `groundingMetadata`, or nothing when nothing was cited.
    pub(crate) fn write(&self, candidate: &mut Object<'_>) {
        if self.sources.is_empty() {
            return;
        }
        candidate.object("groundingMetadata", |grounding| {
            grounding.array("groundingChunks", |chunks: &mut Array<'_>| {
                self.sources.iter().for_each(|source| {
                    chunks.raw(source);
                });
            });
            let supports = grounding.key("groundingSupports");
            supports.push(b'[');
            supports.extend_from_slice(&self.supports);
            supports.push(b']');
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_ir::Raw;

    #[test]
    fn places_count_bytes_here_and_characters_there() {
        let text = Text::escaped("gr\u{fc}n \\u00fc\\n".as_bytes());
        for (given, expected) in [((0, 5), Some((0, 4))), ((5, 9), Some((4, 7))), ((0, 3), None), ((0, 2), Some((0, 2))), ((3, 99), None)] {
            assert_eq!(characters(&text, given), expected, "{given:?}");
        }
        assert_eq!(bytes(&text, (4, 7)), Some((5, 9)));
        assert_eq!(bytes(&text, (0, 8)), None);
        assert!(is_plain(&Text::word(r"a\n")) && !is_plain(&text) && !is_plain(&Text::word(r"\u00fc")));
    }

    #[test]
    fn what_is_written_reads_back() {
        let source =
            |url| Citation { url: Some(Text::word(url)), title: Some(Text::word("T")), quote: None, range: None, raw: Raw::json(b"{}") };
        let mut collected = Collected::default();
        let quoted = Citation { quote: Some(Text::word("words")), ..source("https://a") };
        collected.add(0, Some((1, 6)), &quoted);
        collected.add(2, None, &source("https://b"));
        collected.add(0, Some((7, 9)), &source("https://a"));
        let mut out = Vec::new();
        let mut candidate = Object::open(&mut out);
        collected.write(&mut candidate);
        candidate.close();
        let expected = concat!(
            r#"{"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a","title":"T"}},{"web":{"uri":"https://b","title":"T"}}],"#,
            r#""groundingSupports":[{"segment":{"startIndex":1,"endIndex":6,"text":"words"},"groundingChunkIndices":[0]},"#,
            r#"{"segment":{"partIndex":2},"groundingChunkIndices":[1]},{"segment":{"startIndex":7,"endIndex":9},"groundingChunkIndices":[0]}]}}"#
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        let inner = &out[br#"{"groundingMetadata":"#.len()..out.len() - 1];
        let read = read(&mut Reader::new(inner)).unwrap();
        let places: Vec<_> = read.cited.iter().map(|cited| (cited.part, cited.bytes, cited.citation.url.clone())).collect();
        let url = |url| Some(Text::word(url));
        assert_eq!(places, [(0, Some((1, 6)), url("https://a")), (2, None, url("https://b")), (0, Some((7, 9)), url("https://a"))]);
        assert_eq!(read.cited[0].citation.quote, Some(Text::word("words")));
    }
}
