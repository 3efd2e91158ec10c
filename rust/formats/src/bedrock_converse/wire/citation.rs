//! Sources that a text cites.

use fairlead_ir::Text;
use fairlead_ir::block::Citation;

use crate::read::{Malformed, Reader};
use crate::text::join;
use crate::write::Object;

/// Reads a citation of a whole reply or of a stream: they are alike.
pub(crate) fn read<'a>(reader: &mut Reader<'a>) -> Result<Citation<'a>, Malformed> {
    let raw = reader.clone().raw()?;
    let (mut title, mut source, mut url, mut quotes) = (None, None, None, Vec::new());
    reader.object(|key, reader| {
        match key.name() {
            "title" => title = reader.optional(Reader::text)?,
            "source" => source = reader.optional(Reader::text)?,
            "sourceContent" => {
                reader.optional(|reader| {
                    reader.array(|_, reader| {
                        quotes.extend(reader.peek("text"));
                        reader.skip()
                    })
                })?;
            }
            "location" => url = reader.optional(web_address)?.flatten(),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let is_address = |text: &Text<'_>| text.as_bytes().starts_with(b"http");
    let quote = match &quotes[..] {
        [] => None,
        [quote] => Some(quote.clone()),
        several => Some(join(several, "")),
    };
    Ok(Citation { url: url.or(source.filter(is_address)), title, quote, range: None, raw })
}

/// `location.web.url`. The other locations are places in documents of the request.
fn web_address<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Malformed> {
    let mut url = None;
    reader.object(|key, reader| {
        if key.name() == "web" {
            url = reader.peek("url");
        }
        reader.skip()
    })?;
    Ok(url)
}

/// Writes a citation that another dialect wrote.
pub(crate) fn write(citation: &Citation<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.optional_escaped("title", citation.title.as_ref()).optional_escaped("source", citation.url.as_ref());
    if let Some(quote) = &citation.quote {
        object.array("sourceContent", |list| {
            list.object(|content| {
                content.escaped("text", quote);
            });
        });
    }
    if let Some(url) = &citation.url {
        object.object("location", |location| {
            location.object("web", |web| {
                web.escaped("url", url);
            });
        });
    }
    object.close();
}
