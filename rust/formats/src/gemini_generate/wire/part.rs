//! Parts: one datum each, beside flags that may stand on any of them.

use fairlead_ir::block::{Arguments, Media, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Kind as BlockKind, Member, Origin, Raw, Text};

use super::media::{self, inner_name, prefixed, standard_base64, write_inner};
use crate::json::{Kind, walk};
use crate::read::{Key, Malformed, Reader};
use crate::text::unquote;
use crate::write::{Object, write_escaped};

/// A part as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) data: Data<'a>,
    pub(crate) signature: Option<Text<'a>>,
    /// Members that only this dialect knows; those inside the datum's object as `functionCall.name`.
    pub(crate) rest: Vec<Member<'a>>,
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data<'a> {
    Text(Text<'a>),
    Thought(Text<'a>),
    Media(Media<'a>),
    Call(Call<'a>),
    Result(Outcome<'a>),
    Opaque { word: Text<'a>, raw: Raw<'a> },
}

/// A `functionCall`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) id: Option<Text<'a>>,
    pub(crate) name: Option<Text<'a>>,
    /// Absent: the function takes none, or they come in fragments.
    pub(crate) arguments: Option<Arguments<'a>>,
    /// Vertex's pieces of arguments.
    pub(crate) fragments: Option<Raw<'a>>,
    /// More of the same call follows.
    pub(crate) continues: bool,
}

/// A `functionResponse`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome<'a> {
    pub(crate) id: Option<Text<'a>>,
    pub(crate) name: Option<Text<'a>>,
    pub(crate) content: Vec<Block<'a>>,
    pub(crate) is_error: bool,
}

/// The keys of data that are carried as they are, for naming them.
const OPAQUE: [&str; 6] = ["executableCode", "executable_code", "codeExecutionResult", "code_execution_result", "toolCall", "toolResponse"];

/// Reads the part that is next. `origin` is where it stands.
pub(crate) fn read<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Part<'a>, Malformed> {
    read_at(reader, origin, false)
}

fn read_at<'a>(reader: &mut Reader<'a>, origin: Origin, inside: bool) -> Result<Part<'a>, Malformed> {
    let mut draft = Draft { origin, inside, text: None, thought: false, signature: None, data: None, media: None, rest: Vec::new() };
    reader.object(|key, reader| draft.member(&key, reader))?;
    draft.finish()
}

/// A part while its members are read.
struct Draft<'a> {
    origin: Origin,
    /// It is a part of a function's answer, which holds no answers again.
    inside: bool,
    text: Option<Text<'a>>,
    thought: bool,
    signature: Option<Text<'a>>,
    data: Option<Data<'a>>,
    /// Key and value of the media as written.
    media: Option<Member<'a>>,
    rest: Vec<Member<'a>>,
}

impl<'a> Draft<'a> {
    fn member(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if reader.kind()? == Kind::Null {
            return reader.skip();
        }
        match key.name() {
            "text" => self.text = Some(reader.text()?),
            "thought" => self.thought = reader.flag()?,
            "thoughtSignature" | "thought_signature" => {
                self.signature = Some(standard_base64(reader.text()?)).filter(|text| !text.is_empty())
            }
            "functionCall" | "function_call" => {
                let call = read_call(reader, &mut self.rest)?;
                self.set(Data::Call(call))?;
            }
            "functionResponse" | "function_response" if !self.inside => {
                let outcome = read_outcome(reader, self.origin, &mut self.rest)?;
                self.set(Data::Result(outcome))?;
            }
            "inlineData" | "inline_data" => {
                self.media = Some(reader.clone().member(key)?);
                let media = media::read_inline(reader, &mut self.rest)?;
                self.set(Data::Media(media))?;
            }
            "fileData" | "file_data" => {
                self.media = Some(reader.clone().member(key)?);
                let media = media::read_file(reader, &mut self.rest)?;
                self.set(Data::Media(media))?;
            }
            _ => self.rest.push(reader.member(key)?),
        }
        Ok(())
    }

    fn set(&mut self, data: Data<'a>) -> Result<(), Malformed> {
        match self.data.replace(data) {
            None => Ok(()),
            Some(_) => Err(Malformed::new("is a second datum; a part holds one")),
        }
    }

    fn finish(mut self) -> Result<Part<'a>, Malformed> {
        let text = self.text.take();
        let data = match (self.data.take(), text) {
            // An image on the way to the one that is meant.
            (Some(Data::Media(_)), None) if self.thought => self.opaque(),
            (Some(data), text) if text.as_ref().is_none_or(Text::is_empty) => {
                if self.thought {
                    self.rest.push(Member { name: Text::word("thought"), value: Raw::json(b"true") });
                }
                data
            }
            (Some(_), _) => return Err(Malformed::new("holds a text and another datum; a part holds one")),
            (None, Some(text)) if self.thought => Data::Thought(text),
            (None, Some(text)) => Data::Text(text),
            // A signature may stand alone.
            (None, None) if self.rest.is_empty() && self.thought => Data::Thought(Text::EMPTY),
            (None, None) if self.rest.is_empty() => Data::Text(Text::EMPTY),
            (None, None) => self.opaque(),
        };
        Ok(Part { data, signature: self.signature, rest: self.rest })
    }

    /// The whole part but its signature, as one datum.
    fn opaque(&mut self) -> Data<'a> {
        let mut members = std::mem::take(&mut self.rest);
        if let Some(media) = self.media.take() {
            members.retain(|member| inner_name("inlineData", &member.name).or(inner_name("fileData", &member.name)).is_none());
            members.insert(0, media);
        }
        let known = |member: &&Member<'_>| OPAQUE.iter().any(|word| member.name.is(word));
        let word = members.iter().find(known).or(members.first()).map_or(Text::EMPTY, |member| member.name.clone());
        let mut raw = Vec::new();
        let mut object = Object::open(&mut raw);
        object.members(&members);
        if self.thought {
            object.flag("thought", true);
        }
        object.close();
        Data::Opaque { word, raw: Raw::owned(raw) }
    }
}

fn read_call<'a>(reader: &mut Reader<'a>, rest: &mut Vec<Member<'a>>) -> Result<Call<'a>, Malformed> {
    let mut call = Call::default();
    reader.object(|key, reader| {
        match (key.name(), reader.kind()?) {
            (_, Kind::Null) => reader.skip()?,
            ("id", _) => call.id = Some(reader.text()?).filter(|id| !id.is_empty()),
            ("name", _) => call.name = Some(reader.text()?).filter(|name| !name.is_empty()),
            ("args", Kind::Object) => call.arguments = Some(Arguments::Json(reader.raw()?)),
            // Some imitators write what OpenAI's dialects do.
            ("args", Kind::String) => call.arguments = Some(Arguments::Quoted(reader.text()?)),
            ("args", _) => return Err(Malformed::new("must be an object")),
            ("partialArgs" | "partial_args", _) => call.fragments = Some(reader.raw()?),
            ("willContinue" | "will_continue", _) => call.continues = reader.flag()?,
            (name, _) => rest.push(prefixed("functionCall", name, reader.raw()?)),
        }
        Ok(())
    })?;
    Ok(call)
}

fn read_outcome<'a>(reader: &mut Reader<'a>, origin: Origin, rest: &mut Vec<Member<'a>>) -> Result<Outcome<'a>, Malformed> {
    let mut outcome = Outcome::default();
    let mut media = Vec::new();
    reader.object(|key, reader| {
        match (key.name(), reader.kind()?) {
            (_, Kind::Null) => reader.skip()?,
            ("id", _) => outcome.id = Some(reader.text()?).filter(|id| !id.is_empty()),
            ("name", _) => outcome.name = Some(reader.text()?).filter(|name| !name.is_empty()),
            ("response", _) => (outcome.content, outcome.is_error) = read_answer(reader, origin)?,
            ("parts", _) => {
                media.clear();
                reader.array(|_, reader| {
                    let part = read_at(reader, origin, true)?;
                    media.push(block_of(part, origin).ok_or_else(|| Malformed::new("must be inlineData or fileData"))?);
                    Ok(())
                })?;
            }
            (name, _) => rest.push(prefixed("functionResponse", name, reader.raw()?)),
        }
        Ok(())
    })?;
    outcome.content.append(&mut media);
    Ok(outcome)
}

/// What a function answered: its `output` or `error` where that is text, everything else as the object it is.
fn read_answer<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<(Vec<Block<'a>>, bool), Malformed> {
    let whole = reader.clone().raw()?;
    let (mut members, mut output, mut error, mut is_error) = (0_usize, None, None, false);
    reader.object(|key, reader| {
        members += 1;
        match key.name() {
            "output" => output = texts(reader, origin)?,
            "error" => {
                is_error = true;
                error = texts(reader, origin)?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let content = match (members, output.or(error)) {
        (0, _) => Vec::new(),
        (1, Some(texts)) => texts,
        _ => vec![Block::new(BlockKind::Opaque { word: Text::word("json"), raw: whole }, origin)],
    };
    Ok((content, is_error))
}

/// A text, or a list of nothing but texts.
fn texts<'a>(reader: &mut Reader<'a>, origin: Origin) -> Result<Option<Vec<Block<'a>>>, Malformed> {
    match reader.kind()? {
        Kind::String => Ok(Some(vec![Block::text(reader.text()?, origin)])),
        Kind::Array => {
            let (mut texts, mut only) = (Vec::new(), true);
            reader.array(|_, reader| match reader.kind()? {
                Kind::String => {
                    texts.push(Block::text(reader.text()?, origin));
                    Ok(())
                }
                _ => {
                    only = false;
                    reader.skip()
                }
            })?;
            Ok(Some(texts).filter(|texts| only && texts.len() > 1))
        }
        _ => {
            reader.skip()?;
            Ok(None)
        }
    }
}

/// The part as a block. `None` for calls and results, which need an id from around them.
pub(crate) fn block_of(part: Part<'_>, origin: Origin) -> Option<Block<'_>> {
    let kind = match part.data {
        Data::Text(text) => BlockKind::Text { text, citations: Vec::new() },
        Data::Thought(text) => {
            // The texts that are shown of thoughts are summaries, Google says.
            let parts = if text.is_empty() { Vec::new() } else { vec![ThoughtPart { shape: ThoughtShape::Summary, text }] };
            BlockKind::Thought(Thought { parts, redacted: false, id: None })
        }
        Data::Media(media) => BlockKind::Media(media),
        Data::Opaque { word, raw } => BlockKind::Opaque { word, raw },
        Data::Call(_) | Data::Result(_) => return None,
    };
    let seal = part.signature.map(|data| Seal { data, maker: None });
    Some(Block { seal, rest: part.rest, ..Block::new(kind, origin) })
}

/// Writes a text, or a thought, as a part.
pub(crate) fn write_text(text: &Text<'_>, thought: bool, seal: Option<&Text<'_>>, rest: &[Member<'_>], out: &mut Vec<u8>) {
    let mut part = Object::open(out);
    part.escaped("text", text);
    if thought {
        part.flag("thought", true);
    }
    finish(seal, rest, part);
}

/// Writes a call as a part. Without a name for the id none is written. Says whether the arguments were an object.
pub(crate) fn write_call(
    id: Option<&Text<'_>>,
    name: &Text<'_>,
    arguments: &Arguments<'_>,
    seal: Option<&Text<'_>>,
    rest: &[Member<'_>],
    out: &mut Vec<u8>,
) -> bool {
    let mut part = Object::open(out);
    let mut whole = true;
    part.object("functionCall", |call| {
        call.optional_escaped("id", id).escaped("name", name);
        whole = write_arguments(arguments, call.key("args"));
        write_inner("functionCall", rest, call);
    });
    finish(seal, rest, part);
    whole
}

/// Writes media as a part; the reason when there is no place for them.
pub(crate) fn write_media(
    media: &Media<'_>,
    own: bool,
    seal: Option<&Text<'_>>,
    rest: &[Member<'_>],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let mut part = Object::open(out);
    media::write(media, own, rest, &mut part)?;
    finish(seal, rest, part);
    Ok(())
}

/// Writes what only this dialect knows, as it was read.
pub(crate) fn write_opaque(raw: &Raw<'_>, seal: Option<&Text<'_>>, rest: &[Member<'_>], out: &mut Vec<u8>) {
    let Some(inside) = raw.as_bytes().trim_ascii().strip_suffix(b"}") else { return };
    if seal.is_none() && rest.is_empty() {
        out.extend_from_slice(raw.as_bytes());
        return;
    }
    out.extend_from_slice(inside);
    let mut more = Vec::new();
    let part = Object::open(&mut more);
    finish(seal, rest, part);
    if inside.trim_ascii() != b"{" && more != b"{}" {
        out.push(b',');
    }
    out.extend_from_slice(&more[1..]);
}

fn finish(seal: Option<&Text<'_>>, rest: &[Member<'_>], mut part: Object<'_>) {
    part.optional_escaped("thoughtSignature", seal);
    for member in rest.iter().filter(|member| !member.name.as_bytes().contains(&b'.')) {
        part.members(std::slice::from_ref(member));
    }
    part.close();
}

/// Writes arguments as the object this dialect wants; what is none stands in one, and the answer is `false`.
pub(crate) fn write_arguments(arguments: &Arguments<'_>, out: &mut Vec<u8>) -> bool {
    let is_object = |raw: &Raw<'_>| raw.as_bytes().starts_with(b"{");
    match arguments {
        Arguments::Json(raw) if is_object(raw) => out.extend_from_slice(raw.as_bytes()),
        Arguments::Json(raw) => {
            wrap("_raw", raw.as_bytes(), out);
            return false;
        }
        Arguments::Quoted(text) if text.as_bytes().trim_ascii().is_empty() => out.extend_from_slice(b"{}"),
        Arguments::Quoted(text) => match unquote(text) {
            Some(raw) if is_object(&raw) => out.extend_from_slice(raw.as_bytes()),
            _ => {
                wrap_text("_raw", text, out);
                return false;
            }
        },
        Arguments::Free(text) => wrap_text("input", text, out),
    }
    true
}

fn wrap(key: &str, value: &[u8], out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.raw(key, value);
    object.close();
}

fn wrap_text(key: &str, text: &Text<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.escaped(key, text);
    object.close();
}

/// The object that `response` of a function's answer is, from its texts and values.
pub(crate) fn write_answer(content: &[&Block<'_>], is_error: bool, out: &mut Vec<u8>) {
    let key = if is_error { "error" } else { "output" };
    match content {
        [] if !is_error => out.extend_from_slice(b"{}"),
        [] => wrap_text(key, &Text::word("failed"), out),
        [Block { kind: BlockKind::Opaque { raw, .. }, .. }] if stands_alone(raw, is_error) => out.extend_from_slice(raw.as_bytes()),
        [block] => {
            let mut object = Object::open(out);
            write_value(block, object.key(key));
            object.close();
        }
        several => {
            let mut object = Object::open(out);
            object.array(key, |array| several.iter().for_each(|block| write_value(block, array.element())));
            object.close();
        }
    }
}

/// Whether the object says by itself what it is: an `error` in it makes it one.
fn stands_alone(raw: &Raw<'_>, is_error: bool) -> bool {
    raw.as_bytes().starts_with(b"{") && walk::member(raw.as_bytes(), "error").ok().flatten().is_some() == is_error
}

fn write_value(block: &Block<'_>, out: &mut Vec<u8>) {
    match &block.kind {
        BlockKind::Text { text, .. } | BlockKind::Refusal(text) => write_escaped(out, text),
        BlockKind::Opaque { raw, .. } => out.extend_from_slice(raw.as_bytes()),
        BlockKind::Media(Media { source: MediaSource::Plain(text), .. }) => write_escaped(out, text),
        _ => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_they_are_errors() {
        let text = || Block::text(Text::word("a"), Origin::default());
        let json = |raw: &'static str| {
            Block::new(BlockKind::Opaque { word: Text::word("json"), raw: Raw::json(raw.as_bytes()) }, Origin::default())
        };
        let check = |content: &[Block<'_>], is_error: bool, expected: &str| {
            let mut out = Vec::new();
            write_answer(&content.iter().collect::<Vec<_>>(), is_error, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        };
        check(&[], false, "{}");
        check(&[], true, r#"{"error":"failed"}"#);
        check(&[text()], false, r#"{"output":"a"}"#);
        check(&[text(), text()], true, r#"{"error":["a","a"]}"#);
        check(&[json(r#"{"x":1}"#)], false, r#"{"x":1}"#);
        check(&[json(r#"{"x":1}"#)], true, r#"{"error":{"x":1}}"#);
        check(&[json(r#"{"error":1}"#)], true, r#"{"error":1}"#);
        check(&[json(r#"{"error":1}"#)], false, r#"{"output":{"error":1}}"#);
        check(&[json("5"), text()], false, r#"{"output":[5,"a"]}"#);
    }
}
