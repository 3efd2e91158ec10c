//! Reads a whole reply of this dialect.

use fairlead_ir::block::{Arguments, ToolCall};
use fairlead_ir::response::{Choice, Stop};
use fairlead_ir::{Block, Dialect, Kind as BlockKind, Member, Origin, Raw, Response, StopReason, Text};

use crate::gemini_generate::wire::grounding::{self, Cited, characters};
use crate::gemini_generate::wire::media::prefixed;
use crate::gemini_generate::wire::part::{self, Call, Data, Part};
use crate::gemini_generate::wire::{Figures, fingerprint, logprobs, made_id, stop_reason, unix_seconds};
use crate::json::Kind;
use crate::read::{Malformed, Reader};
use crate::text::decode as plain;
use crate::traits::Traits;

/// Reads a body that is known to be JSON. Nothing of this dialect's replies is ambiguous, so that no trait is asked.
///
/// # Errors
/// It is no reply: it has neither candidates nor a reason why there are none.
pub(crate) fn decode<'a>(body: &'a [u8], _traits: &Traits) -> Result<Response<'a>, Malformed> {
    let mut response = Response::new(Dialect::GeminiGenerate);
    let (mut candidates, mut blocked, mut figures) = (Vec::new(), None, Figures::default());
    Reader::new(body).object(|key, reader| {
        match (key.name(), reader.kind()?) {
            (_, Kind::Null) => reader.skip()?,
            ("responseId", _) => response.id = reader.text()?,
            ("modelVersion", _) => response.model = reader.text()?,
            ("createTime", _) => response.created_s = unix_seconds(reader.decoded()?.as_bytes()),
            ("usageMetadata", Kind::Object) => figures.merge(reader.raw()?.as_bytes()),
            ("candidates", _) => {
                candidates.clear();
                reader.array(|place, reader| {
                    candidates.push(Candidate::read(place, reader)?);
                    Ok(())
                })?;
            }
            ("promptFeedback", Kind::Object) => {
                let feedback = Feedback::read(reader)?;
                match feedback.reason {
                    Some(_) => blocked = Some(feedback),
                    None => response.rest.push(Member { name: Text::word("promptFeedback"), value: feedback.raw }),
                }
            }
            _ => response.rest.push(reader.member(&key)?),
        }
        Ok(())
    })?;
    figures.web_searches = candidates.iter().map(|candidate| candidate.searches).sum();
    response.usage = figures.usage();
    let seed = fingerprint(if response.id.is_empty() { body } else { response.id.as_bytes() });
    candidates.sort_by_key(|candidate| candidate.index);
    let mut ids = Ids { seed, number: 0 };
    for (index, candidate) in candidates.into_iter().enumerate() {
        response.rest.extend(candidate.rest.iter().map(|member| in_candidate(index, member)));
        response.choices.push(candidate.into_choice(index, &mut ids)?);
    }
    match blocked {
        _ if !response.choices.is_empty() => Ok(response),
        Some(feedback) => {
            response.choices.push(feedback.into_choice());
            Ok(response)
        }
        None => Err(Malformed::new("holds no candidates")),
    }
}

fn in_candidate<'a>(index: usize, member: &Member<'a>) -> Member<'a> {
    let name = [format!("candidates[{index}].").as_bytes(), member.name.as_bytes()].concat();
    Member { name: Text::owned(name), value: member.value.clone() }
}

/// Ids for calls without one, numbered over the whole reply.
struct Ids {
    seed: u64,
    number: u32,
}

impl Ids {
    fn next(&mut self) -> Text<'static> {
        let id = made_id(self.seed, self.number);
        self.number += 1;
        id
    }
}

/// Why the prompt got no answer.
pub(crate) struct Feedback<'a> {
    pub(crate) reason: Option<Text<'a>>,
    pub(crate) raw: Raw<'a>,
}

impl<'a> Feedback<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Feedback<'a>, Malformed> {
        let raw = reader.clone().raw()?;
        let unspecified = |word: &Text<'_>| word.is_empty() || word.is("BLOCK_REASON_UNSPECIFIED") || word.is("BLOCKED_REASON_UNSPECIFIED");
        let reason = reader.peek("blockReason").filter(|word| !unspecified(word));
        reader.skip()?;
        Ok(Feedback { reason, raw })
    }

    fn into_choice(self) -> Choice<'a> {
        let native = self.reason.unwrap_or(Text::EMPTY);
        let stop = Stop { reason: StopReason::ContentFilter, native, sequence: None, details: Some(self.raw) };
        Choice { blocks: Vec::new(), stop: Some(stop), logprobs: None }
    }
}

/// A candidate as read.
struct Candidate<'a> {
    index: u64,
    parts: Vec<Part<'a>>,
    finish: Option<Text<'a>>,
    message: Option<Raw<'a>>,
    cited: Vec<Cited<'a>>,
    searches: u64,
    logprobs: Option<Raw<'a>>,
    rest: Vec<Member<'a>>,
}

impl<'a> Candidate<'a> {
    fn read(place: usize, reader: &mut Reader<'a>) -> Result<Candidate<'a>, Malformed> {
        let mut candidate = Candidate {
            index: 0,
            parts: Vec::new(),
            finish: None,
            message: None,
            cited: Vec::new(),
            searches: 0,
            logprobs: None,
            rest: Vec::new(),
        };
        reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                (_, Kind::Null) => reader.skip()?,
                ("index", _) => candidate.index = reader.whole()?,
                ("content", _) => candidate.parts = read_parts(place, reader)?,
                ("finishReason", _) => candidate.finish = Some(reader.text()?).filter(|word| !word.is_empty()),
                ("finishMessage", Kind::String) => candidate.message = Some(reader.raw()?),
                ("logprobsResult", Kind::Object) => candidate.logprobs = Some(logprobs::read(reader)?),
                ("groundingMetadata", Kind::Object) => {
                    candidate.rest.push(reader.clone().member(&key)?);
                    let grounding = grounding::read(reader)?;
                    candidate.searches = grounding.searches;
                    candidate.cited.extend(grounding.cited);
                }
                ("citationMetadata", Kind::Object) => {
                    candidate.rest.push(reader.clone().member(&key)?);
                    candidate.cited.extend(grounding::read_recited(reader)?);
                }
                _ => candidate.rest.push(reader.member(&key)?),
            }
            Ok(())
        })?;
        Ok(candidate)
    }

    fn into_choice(self, index: usize, ids: &mut Ids) -> Result<Choice<'a>, Malformed> {
        let origin = Origin::item("candidates", index);
        let (mut blocks, mut places) = (Vec::new(), Vec::new());
        for (number, part) in self.parts.into_iter().enumerate() {
            let block = block_of(part, origin.part("content.parts", number), ids)?;
            places.push(blocks.len());
            if !is_nothing(&block) {
                blocks.push(block);
            }
        }
        for cited in self.cited {
            cite(cited, &places, &mut blocks);
        }
        let calls = blocks.iter().any(|block| matches!(block.kind, BlockKind::ToolCall(_)));
        let stop = self.finish.map(|native| {
            let reason = match stop_reason(native.as_bytes()) {
                // Calls end with `STOP`.
                StopReason::End if calls => StopReason::ToolCalls,
                reason => reason,
            };
            Stop { reason, native, sequence: None, details: self.message }
        });
        Ok(Choice { blocks, stop, logprobs: self.logprobs })
    }
}

fn read_parts<'a>(place: usize, reader: &mut Reader<'a>) -> Result<Vec<Part<'a>>, Malformed> {
    let (origin, mut parts) = (Origin::item("candidates", place), Vec::new());
    reader.object(|key, reader| match (key.name(), reader.kind()?) {
        ("parts", Kind::Array) => reader.array(|number, reader| {
            parts.push(part::read(reader, origin.part("content.parts", number))?);
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(parts)
}

fn block_of<'a>(part: Part<'a>, origin: Origin, ids: &mut Ids) -> Result<Block<'a>, Malformed> {
    let unexpected = || Malformed::new("holds the answer of a function").in_member("candidates");
    let Part { data: Data::Call(call), signature, rest } = part else {
        return part::block_of(part, origin).ok_or_else(unexpected);
    };
    let Call { id, name, arguments, fragments, .. } = call;
    let name = name.ok_or_else(|| Malformed::new("holds a call without a name").in_member("candidates"))?;
    let id = id.unwrap_or_else(|| ids.next());
    let arguments = arguments.unwrap_or(Arguments::Json(Raw::json(b"{}")));
    let empty = Part { data: Data::Text(Text::EMPTY), signature, rest };
    let mut block = part::block_of(empty, origin).ok_or_else(unexpected)?;
    block.rest.extend(fragments.map(|fragments| prefixed("functionCall", "partialArgs", fragments)));
    Ok(Block { kind: BlockKind::ToolCall(ToolCall { id, name, arguments }), ..block })
}

/// An empty text or thought says nothing unless it carries something.
fn is_nothing(block: &Block<'_>) -> bool {
    let is_empty = match &block.kind {
        BlockKind::Text { text, .. } => text.is_empty(),
        BlockKind::Thought(thought) => thought.parts.is_empty(),
        _ => false,
    };
    is_empty && block.seal.is_none() && block.rest.is_empty()
}

/// Puts a citation to the text that it is about.
fn cite<'a>(cited: Cited<'a>, places: &[usize], blocks: &mut [Block<'a>]) {
    let named = places.get(cited.part).copied().filter(|place| blocks.get(*place).is_some_and(is_text));
    let Some(place) = named.or_else(|| blocks.iter().rposition(is_text)) else { return };
    if let Some(Block { kind: BlockKind::Text { text, citations }, .. }) = blocks.get_mut(place) {
        let range = cited.bytes.filter(|_| plain(text).is_some()).and_then(|bytes| characters(text, bytes));
        citations.push(fairlead_ir::block::Citation { range, ..cited.citation });
    }
}

fn is_text(block: &Block<'_>) -> bool {
    matches!(block.kind, BlockKind::Text { .. })
}
