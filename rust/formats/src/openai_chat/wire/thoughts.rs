//! What a model thought, as OpenRouter spells it: a flat list of `reasoning_details`, read into blocks and written out of them.
//!
//! Entries of one block share an `index`. A signature stands on a `reasoning.text`, encrypted state in a `reasoning.encrypted`, a
//! thought signature of a tool call in a `reasoning.encrypted` with the call's id. One client merges neighbouring `reasoning.text`
//! entries whatever their index and keeps the first signature; between two of them, where the first is signed, stands therefore a
//! companion: the same signature again, as `reasoning.encrypted` under the same index. Whoever reads it knows it and steps over it.

use fairlead_ir::block::{Seal, Thought, ThoughtPart, ThoughtShape};
use fairlead_ir::{Block, Kind, Origin, Raw, Text};

use crate::json;
use crate::read::{Malformed, Reader};
use crate::text::join;
use crate::write::{Array, Object};

/// The format of what carries no state: clients keep it as it is.
pub(crate) const PLAIN: &str = "unknown";
/// The format of signed and redacted thoughts.
pub(crate) const SIGNED: &str = "anthropic-claude-v1";
/// The format of encrypted reasoning items.
pub(crate) const ENCRYPTED: &str = "openai-responses-v1";
/// The format of thought signatures.
pub(crate) const THOUGHT_SIGNATURE: &str = "google-gemini-v1";

/// One entry of the list.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) form: Form<'a>,
    /// Text, summary or data.
    pub(crate) text: Text<'a>,
    pub(crate) signature: Option<Text<'a>>,
    pub(crate) id: Option<Text<'a>>,
    pub(crate) format: Option<Text<'a>>,
    pub(crate) index: Option<u64>,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Form<'a> {
    Text,
    Summary,
    Encrypted,
    /// A type that nobody here knows, with all of the entry.
    Other(Text<'a>, Raw<'a>),
}

impl<'a> Entry<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
        if reader.kind()? != json::Kind::Object {
            return Err(Malformed::new("must be an object"));
        }
        let word = reader.peek("type").ok_or_else(|| Malformed::new("must have a type"))?;
        let form = match word.as_bytes() {
            b"reasoning.text" => Form::Text,
            b"reasoning.summary" => Form::Summary,
            b"reasoning.encrypted" => Form::Encrypted,
            _ => Form::Other(word, reader.clone().raw()?),
        };
        let mut entry = Entry { form, text: Text::EMPTY, signature: None, id: None, format: None, index: None };
        reader.object(|key, reader| entry.take(key.name(), reader))?;
        Ok(entry)
    }

    fn take(&mut self, key: &str, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let word = |reader: &mut Reader<'a>| Ok::<_, Malformed>(reader.optional(Reader::text)?.filter(|text| !text.is_empty()));
        match (key, &self.form) {
            (_, Form::Other(..)) => reader.skip()?,
            ("text", Form::Text) | ("summary", Form::Summary) | ("data", Form::Encrypted) => self.text = word(reader)?.unwrap_or_default(),
            ("signature", _) => self.signature = word(reader)?,
            ("id", _) => self.id = word(reader)?,
            ("format", _) => self.format = word(reader)?,
            ("index", _) => self.index = reader.optional(Reader::whole)?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Whether the block is hidden for safety: Anthropic's redacted thinking, which has neither id nor text.
    pub(crate) fn is_redacted(&self) -> bool {
        match &self.format {
            Some(format) if !format.is(PLAIN) => format.is(SIGNED),
            _ => self.id.is_none(),
        }
    }

    /// Whether it may be a tool call's: tied to its id.
    pub(crate) fn may_be_of_call(&self) -> bool {
        matches!(self.form, Form::Encrypted) && self.id.as_ref().is_some_and(|id| !id.as_bytes().starts_with(b"rs_"))
    }
}

/// Reads a whole list into blocks. Entries that may be a call's become thoughts with its id; [`settle`] moves them.
pub(crate) fn read_details<'a>(reader: &mut Reader<'a>, origin: Origin, path: &'static str) -> Result<Vec<Block<'a>>, Malformed> {
    let mut grouping = Grouping::default();
    reader.array(|at, reader| {
        grouping.take(Entry::read(reader)?, origin.part(path, at));
        Ok(())
    })?;
    grouping.flush();
    Ok(grouping.blocks)
}

/// Puts seals that carry a call's id where they belong: on the call.
pub(crate) fn settle<'a>(thoughts: &mut Vec<Block<'a>>, calls: &mut [Block<'a>]) {
    if calls.is_empty() {
        return;
    }
    thoughts.retain_mut(|block| {
        let Kind::Thought(Thought { parts, id: Some(id), .. }) = &block.kind else { return true };
        let of_call = calls.iter_mut().find(|call| matches!(&call.kind, Kind::ToolCall(call) if call.id == *id));
        match of_call.filter(|_| parts.is_empty()) {
            Some(call) => {
                call.seal = block.seal.take();
                false
            }
            None => true,
        }
    });
}

/// Entries on their way into blocks.
#[derive(Default)]
struct Grouping<'a> {
    blocks: Vec<Block<'a>>,
    /// The last block may go on.
    open: bool,
    index: Option<u64>,
    /// Texts of the part that is being read: clients send fragments back as they came.
    pieces: Vec<Text<'a>>,
    shape: ThoughtShape,
}

impl<'a> Grouping<'a> {
    fn take(&mut self, entry: Entry<'a>, origin: Origin) {
        let goes_on = self.open && self.index == entry.index && self.fits(&entry);
        match entry.form {
            Form::Text => self.take_text(ThoughtShape::Full, entry, goes_on, origin),
            Form::Summary => self.take_text(ThoughtShape::Summary, entry, goes_on, origin),
            Form::Encrypted => self.take_data(entry, goes_on, origin),
            Form::Other(word, raw) => {
                self.flush();
                self.open = false;
                self.blocks.push(Block::new(Kind::Opaque { word, raw }, origin));
            }
        }
    }

    /// Whether the entry's id is that of the open block.
    fn fits(&self, entry: &Entry<'a>) -> bool {
        match self.blocks.last().map(|block| &block.kind) {
            Some(Kind::Thought(thought)) => entry.id.is_none() || thought.id.is_none() || thought.id == entry.id,
            _ => false,
        }
    }

    fn take_text(&mut self, shape: ThoughtShape, entry: Entry<'a>, goes_on: bool, origin: Origin) {
        let is_signed = self.blocks.last().is_some_and(|block| block.seal.is_some());
        if !goes_on || is_signed && !entry.text.is_empty() {
            self.begin(Thought { id: entry.id, ..Thought::default() }, entry.index, origin);
        }
        if self.shape != shape {
            self.flush();
            self.shape = shape;
        }
        if !entry.text.is_empty() {
            self.pieces.push(entry.text);
        }
        if let (Some(data), Some(block)) = (entry.signature, self.blocks.last_mut()) {
            block.seal = Some(Seal { data, maker: None });
        }
    }

    fn take_data(&mut self, entry: Entry<'a>, goes_on: bool, origin: Origin) {
        let seal = self.blocks.last().and_then(|block| block.seal.as_ref());
        if goes_on && seal.is_some_and(|seal| seal.data == entry.text) {
            return;
        }
        let of_call = entry.may_be_of_call() && entry.format.as_ref().is_some_and(|format| format.is(THOUGHT_SIGNATURE));
        if !goes_on || seal.is_some() || of_call {
            let redacted = entry.is_redacted();
            self.begin(Thought { id: entry.id.clone(), redacted, parts: Vec::new() }, entry.index, origin);
        }
        if let Some(block) = self.blocks.last_mut() {
            block.seal = Some(Seal { data: entry.text, maker: None });
            if let (Kind::Thought(thought), Some(id)) = (&mut block.kind, entry.id) {
                thought.id = Some(id);
            }
        }
        self.flush();
        self.open = false;
    }

    fn begin(&mut self, thought: Thought<'a>, index: Option<u64>, origin: Origin) {
        self.flush();
        self.blocks.push(Block::new(Kind::Thought(thought), origin));
        self.open = true;
        self.index = index;
    }

    /// Ends the part that is being read.
    fn flush(&mut self) {
        let text = match self.pieces.len() {
            0 => return,
            1 => self.pieces.pop().unwrap_or_default(),
            _ => join(&self.pieces, ""),
        };
        self.pieces.clear();
        if let Some(Kind::Thought(thought)) = self.blocks.last_mut().map(|block| &mut block.kind) {
            thought.parts.push(ThoughtPart { shape: self.shape, text });
        }
    }
}

/// Whether a thought's seal is written as encrypted data rather than as a signature.
pub(crate) fn is_encrypted(id: bool, redacted: bool, shape: Option<ThoughtShape>) -> bool {
    id || redacted || shape == Some(ThoughtShape::Summary)
}

/// Writes whole lists.
#[derive(Default)]
pub(crate) struct Details<'t> {
    index: u64,
    /// The last entry's signature, when it is a signed `reasoning.text`.
    signed: Option<(u64, &'t Text<'t>)>,
}

impl<'t> Details<'t> {
    /// The entries of one thought; `show`: with its texts.
    pub(crate) fn thought(&mut self, thought: &'t Thought<'t>, seal: Option<&'t Seal<'t>>, show: bool, entries: &mut Array<'_>) {
        let index = self.index;
        self.index += 1;
        let shown: &[ThoughtPart<'_>] = if show { &thought.parts } else { &[] };
        let encrypted = is_encrypted(thought.id.is_some(), thought.redacted, thought.parts.last().map(|part| part.shape));
        let format = match seal {
            None => PLAIN,
            Some(_) if encrypted && !thought.redacted => ENCRYPTED,
            Some(_) => SIGNED,
        };
        let mut signature = seal.filter(|_| !encrypted).map(|seal| &seal.data);
        let (last, earlier) = match shown.split_last() {
            Some((last, earlier)) => (Some(last), earlier),
            None => (None, shown),
        };
        for part in earlier {
            self.text(part, None, thought, (format, index), entries);
        }
        if let Some(last) = last {
            self.text(last, signature.take(), thought, (format, index), entries);
        }
        if let Some(signature) = signature {
            let nothing = ThoughtPart { shape: ThoughtShape::Full, text: Text::EMPTY };
            self.text(&nothing, Some(signature), thought, (format, index), entries);
        }
        if let Some(seal) = seal.filter(|_| encrypted) {
            self.signed = None;
            entries.object(|entry| write_data(&seal.data, thought.id.as_ref(), format, index, entry));
        }
    }

    fn text(
        &mut self,
        part: &ThoughtPart<'_>,
        signature: Option<&'t Text<'t>>,
        thought: &Thought<'_>,
        (format, index): (&str, u64),
        entries: &mut Array<'_>,
    ) {
        let is_summary = part.shape == ThoughtShape::Summary;
        if let Some((index, signature)) = self.signed.take().filter(|_| !is_summary) {
            entries.object(|entry| write_data(signature, None, SIGNED, index, entry));
        }
        entries.object(|entry| {
            let (word, key) = if is_summary { ("reasoning.summary", "summary") } else { ("reasoning.text", "text") };
            entry.text("type", word);
            if !part.text.is_empty() {
                entry.escaped(key, &part.text);
            }
            entry.optional_escaped("signature", signature).optional_escaped("id", thought.id.as_ref());
            entry.text("format", format).number("index", index);
        });
        self.signed = signature.map(|signature| (index, signature));
    }

    /// The seal of something that is no thought: of the call with this id, or of a text.
    pub(crate) fn loose(&mut self, seal: &Seal<'_>, call: Option<&Text<'_>>, entries: &mut Array<'_>) {
        let index = self.index;
        self.index += 1;
        self.signed = None;
        entries.object(|entry| write_data(&seal.data, call, THOUGHT_SIGNATURE, index, entry));
    }
}

/// The members of an encrypted entry.
pub(crate) fn write_data(data: &Text<'_>, id: Option<&Text<'_>>, format: &str, index: u64, entry: &mut Object<'_>) {
    entry.text("type", "reasoning.encrypted").escaped("data", data).optional_escaped("id", id);
    entry.text("format", format).number("index", index);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn thought(
        id: Option<&'static str>,
        redacted: bool,
        parts: &[(ThoughtShape, &'static str)],
        seal: Option<&'static str>,
    ) -> Block<'static> {
        let parts = parts.iter().map(|(shape, text)| ThoughtPart { shape: *shape, text: Text::word(text) }).collect();
        let mut block = Block::new(Kind::Thought(Thought { parts, redacted, id: id.map(Text::word) }), Origin::default());
        block.seal = seal.map(|data| Seal { data: Text::word(data), maker: None });
        block
    }

    fn read(list: &str) -> Vec<Block<'_>> {
        let mut blocks = read_details(&mut Reader::checked(list.as_bytes()).unwrap(), Origin::default(), "").unwrap();
        blocks.iter_mut().for_each(|block| block.origin = Origin::default());
        blocks
    }

    fn written(blocks: &[Block<'_>]) -> String {
        let mut out = Vec::new();
        let mut entries = Array::open(&mut out);
        let mut details = Details::default();
        for block in blocks {
            match &block.kind {
                Kind::Thought(thought) => details.thought(thought, block.seal.as_ref(), true, &mut entries),
                _ => details.loose(block.seal.as_ref().unwrap(), None, &mut entries),
            }
        }
        entries.close();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn blocks_survive_the_list() {
        use ThoughtShape::{Full, Summary};
        for (blocks, protects) in [
            (vec![thought(None, false, &[(Full, "hm")], None)], "a plain thought"),
            (vec![thought(None, false, &[(Full, "hm")], Some("sig"))], "a signed thought"),
            (vec![thought(None, false, &[], Some("sig"))], "a signed thought without text"),
            (vec![thought(None, true, &[], Some("blob"))], "a redacted thought"),
            (vec![thought(Some("rs_1"), false, &[(Summary, "so"), (Full, "hm")], Some("blob"))], "an item with summary and text"),
            (vec![thought(Some("rs_1"), false, &[], Some("blob"))], "an item without text"),
            (
                vec![thought(None, false, &[(Full, "a")], Some("s1")), thought(None, false, &[(Full, "b")], Some("s2"))],
                "two signed thoughts in a row",
            ),
            (
                vec![
                    thought(None, false, &[(Full, "a")], Some("s1")),
                    thought(None, true, &[], Some("x")),
                    thought(None, false, &[(Full, "b")], None),
                ],
                "a redacted thought between two",
            ),
        ] {
            let list = written(&blocks);
            assert_eq!(read(&list), blocks, "{protects}: {list}");
        }
    }

    #[test]
    fn two_signed_texts_are_kept_apart_for_clients_that_merge() {
        let list = written(&[
            thought(None, false, &[(ThoughtShape::Full, "a")], Some("s1")),
            thought(None, false, &[(ThoughtShape::Full, "b")], Some("s2")),
        ]);
        let expected = concat!(
            r#"[{"type":"reasoning.text","text":"a","signature":"s1","format":"anthropic-claude-v1","index":0},"#,
            r#"{"type":"reasoning.encrypted","data":"s1","format":"anthropic-claude-v1","index":0},"#,
            r#"{"type":"reasoning.text","text":"b","signature":"s2","format":"anthropic-claude-v1","index":1}]"#,
        );
        assert_eq!(list, expected);
    }

    #[test]
    fn fragments_are_joined() {
        use ThoughtShape::{Full, Summary};
        let check = |list: &str, blocks: Vec<Block<'static>>| assert_eq!(read(list), blocks, "{list}");
        check(
            r#"[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","text":"b","index":0},{"type":"reasoning.text","signature":"s","index":0}]"#,
            vec![thought(None, false, &[(Full, "ab")], Some("s"))],
        );
        check(
            r#"[{"type":"reasoning.summary","summary":"so","index":0},{"type":"reasoning.encrypted","data":"x","id":"rs_1","index":0}]"#,
            vec![thought(Some("rs_1"), false, &[(Summary, "so")], Some("x"))],
        );
        check(
            r#"[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","text":"b","index":1}]"#,
            vec![thought(None, false, &[(Full, "a")], None), thought(None, false, &[(Full, "b")], None)],
        );
        // No client keeps a signature apart from its text without an index.
        check(
            r#"[{"type":"reasoning.text","text":"a","signature":"s"},{"type":"reasoning.text","text":"b","signature":null,"format":null}]"#,
            vec![thought(None, false, &[(Full, "a")], Some("s")), thought(None, false, &[(Full, "b")], None)],
        );
        check("[]", vec![]);
    }

    #[test]
    fn what_is_no_entry_is_a_fault() {
        for (list, problem) in [
            (r#"[1]"#, r#""[0]" must be an object"#),
            (r#"[{"text":"a"}]"#, r#""[0]" must have a type"#),
            (r#"[{"type":"reasoning.text","text":1}]"#, r#""[0].text" must be a string"#),
        ] {
            let fault = read_details(&mut Reader::checked(list.as_bytes()).unwrap(), Origin::default(), "").unwrap_err();
            assert_eq!(fault.to_string(), problem);
        }
    }
}
