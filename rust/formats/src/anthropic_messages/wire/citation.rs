//! Citations of a text.

use fairlead_ir::Text;
use fairlead_ir::block::Citation;

use crate::read::{Malformed, Reader};
use crate::write::Object;

pub(crate) fn read_list<'a>(reader: &mut Reader<'a>) -> Result<Vec<Citation<'a>>, Malformed> {
    let mut citations = Vec::new();
    reader.array(|_, reader| {
        citations.push(read(reader)?);
        Ok(())
    })?;
    Ok(citations)
}

/// Reads a citation of any kind. Places inside the cited source say nothing elsewhere and stay in its `raw`.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Citation<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let (mut url, mut title, mut quote) = (None, None, None);
    reader.object(|key, reader| {
        let slot = match key.name() {
            "url" | "source" => &mut url,
            "title" | "document_title" => &mut title,
            "cited_text" => &mut quote,
            _ => return reader.skip(),
        };
        *slot = reader.optional(Reader::text)?;
        Ok(())
    })?;
    Ok(Citation { url, title, quote, range: None, raw })
}

/// Writes a citation; `own`: it was read from this dialect. Of another dialect's only what names an address has a spelling here.
/// `false` when nothing was written.
pub(crate) fn write(citation: &Citation<'_>, own: bool, out: &mut Vec<u8>) -> bool {
    if own {
        out.extend_from_slice(citation.raw.as_bytes());
        return true;
    }
    let Some(url) = &citation.url else { return false };
    let mut object = Object::open(out);
    object.text("type", "web_search_result_location").escaped("cited_text", citation.quote.as_ref().unwrap_or(&Text::EMPTY));
    object.escaped("url", url);
    match &citation.title {
        Some(title) => object.escaped("title", title),
        None => object.raw("title", b"null"),
    };
    // Anthropic's handle on its own search result: typed clients want the member.
    object.text("encrypted_index", "");
    object.close();
    true
}

/// Whether [`write`] would write it.
pub(crate) fn is_writable(citation: &Citation<'_>, own: bool) -> bool {
    own || citation.url.is_some()
}
