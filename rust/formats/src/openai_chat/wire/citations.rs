//! Sources that a reply's text cites: `annotations`.

use fairlead_ir::Text;
use fairlead_ir::block::Citation;

use crate::json;
use crate::read::{Malformed, Reader};
use crate::write::Object;

/// Reads a list of annotations. Of one that is no `url_citation`, only the whole is kept.
pub(crate) fn read_annotations<'a>(reader: &mut Reader<'a>) -> Result<Vec<Citation<'a>>, Malformed> {
    let mut citations = Vec::new();
    reader.optional(|reader| {
        reader.array(|_, reader| {
            citations.push(read_annotation(reader)?);
            Ok(())
        })
    })?;
    Ok(citations)
}

/// Reads one annotation.
pub(crate) fn read_annotation<'a>(reader: &mut Reader<'a>) -> Result<Citation<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let mut citation = Citation { url: None, title: None, quote: None, range: None, raw };
    let (mut start, mut end) = (None, None);
    reader.object(|key, reader| {
        if key.name() != "url_citation" || reader.kind()? != json::Kind::Object {
            return reader.skip();
        }
        reader.object(|key, reader| {
            match key.name() {
                "url" => citation.url = reader.optional(Reader::text)?,
                "title" => citation.title = reader.optional(Reader::text)?,
                "content" => citation.quote = reader.optional(Reader::text)?,
                "start_index" => start = reader.optional(Reader::whole)?,
                "end_index" => end = reader.optional(Reader::whole)?,
                _ => reader.skip()?,
            }
            Ok(())
        })
    })?;
    citation.range = start.zip(end);
    Ok(citation)
}

/// Writes a source with an address as a `url_citation`; `range` is the text that cites it, in characters of the whole reply.
pub(crate) fn write_annotation(citation: &Citation<'_>, url: &Text<'_>, range: (u64, u64), annotation: &mut Object<'_>) {
    annotation.text("type", "url_citation").object("url_citation", |inner| {
        inner.escaped("url", url).escaped("title", citation.title.as_ref().unwrap_or(&Text::EMPTY));
        inner.optional_escaped("content", citation.quote.as_ref());
        inner.number("start_index", range.0).number("end_index", range.1);
    });
}

/// Characters of an escaped text; an astral character written as two escapes counts two.
pub(crate) fn characters(text: &Text<'_>) -> u64 {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += match (byte, bytes.get(at + 1)) {
            (b'\\', Some(b'u')) => 6,
            (b'\\', _) => 2,
            _ => 1,
        };
        count += u64::from(byte & 0xc0 != 0x80);
    }
    count
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn annotations_are_read_and_written() {
        let list = r#"[{"type":"url_citation","url_citation":{"url":"https://e.org","title":"E","start_index":2,"end_index":5}},{"type":"file","file":{"hash":"x"}}]"#;
        let citations = read_annotations(&mut Reader::checked(list.as_bytes()).unwrap()).unwrap();
        assert_eq!((citations[0].range, citations[1].url.clone()), (Some((2, 5)), None));
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        write_annotation(&citations[0], citations[0].url.as_ref().unwrap(), (2, 5), &mut object);
        object.close();
        assert_eq!(out, citations[0].raw.as_bytes());
    }

    #[test]
    fn characters_are_counted_through_escapes() {
        for (text, count) in [("", 0), ("ab", 2), ("é\u{1f600}", 2), (r#"\n\"\\"#, 3), (r"\u00e9x", 2)] {
            assert_eq!(characters(&Text::word(text)), count, "{text}");
        }
    }
}
