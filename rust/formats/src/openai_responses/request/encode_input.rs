//! Writes turns as the items of `input`.

use std::collections::{HashSet, VecDeque};

use fairlead_ir::block::{
    Arguments, CacheTtl, Citation, Media, MediaClass, MediaSource, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult,
};
use fairlead_ir::{Block, Dialect, ErrorKind, Kind, Losses, Member, Origin, Raw, Request, Role, Severity, Text, Turn};

use super::decode::is_instructions;
use super::encode::{CACHE_TTLS, MAX_NAME_BYTES, sent_name};
use crate::openai_responses::wire::items::OF_MESSAGE;
use crate::openai_responses::wire::media::{audio_format, write_data};
use crate::openai_responses::wire::{is_minted, write_prefixed};
use crate::request::Refusal;
use crate::text;
use crate::translate::{Target, plain_name};
use crate::write::{Array, Object, write_escaped};

/// The turns of a request on their way to items.
pub(super) struct Input<'e, 'a> {
    request: &'e Request<'a>,
    target: &'e Target<'e>,
    own: bool,
    losses: &'e mut Losses,
    /// How many turns at the beginning are instructions.
    leading: usize,
    /// The ids of calls so far, as they were sent: an answer to none of them is refused.
    called: HashSet<Vec<u8>>,
    /// Calls that take free text.
    free: HashSet<Vec<u8>>,
    /// Calls whose ids are ours and that have no answer yet: name and id.
    minted: VecDeque<(Vec<u8>, String)>,
}

/// Where a message stands: what decides how its parts are written.
#[derive(Clone, Copy)]
struct Speaker<'t> {
    role: &'static str,
    assistant: bool,
    /// Goes before the first text.
    name: Option<&'t Text<'t>>,
}

impl<'e, 'a> Input<'e, 'a> {
    pub(super) fn new(request: &'e Request<'a>, target: &'e Target<'e>, losses: &'e mut Losses) -> Input<'e, 'a> {
        Input {
            request,
            target,
            own: request.source == Dialect::OpenaiResponses,
            losses,
            leading: request.leading_instructions(),
            called: HashSet::new(),
            free: HashSet::new(),
            minted: VecDeque::new(),
        }
    }

    /// A reply that shall go on from given words starts anew here, which is told; where it is refused, so is the request.
    pub(super) fn refuse_prefill(&mut self) -> Result<(), Refusal> {
        let Some(last) = self.request.turns.last().filter(|turn| turn.role == Role::Assistant && !self.own) else { return Ok(()) };
        if !matches!(last.blocks.last(), Some(Block { kind: Kind::Text { .. }, .. })) {
            return Ok(());
        }
        if self.target.traits.no_prefill {
            let message = format!("\"{}\": the provider refuses a conversation that ends with the assistant", last.origin);
            return Err(Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(last.origin.to_string().into()) });
        }
        self.losses.block(last.origin, Severity::Changed, "the reply starts anew: the provider does not continue given words");
        Ok(())
    }

    /// What stands in `instructions`: what stood there, or a system prompt that is one text.
    pub(super) fn instructions(&self) -> Option<Text<'e>> {
        let turn = self.request.turns.first().filter(|_| self.has_instructions())?;
        match &turn.blocks.first()?.kind {
            Kind::Text { text, .. } => Some(text.borrowed()),
            _ => None,
        }
    }

    fn has_instructions(&self) -> bool {
        let Some(turn) = self.request.turns.first() else { return false };
        if self.own {
            return is_instructions(turn);
        }
        let marked = |block: &Block<'_>| block.cache.is_some() && self.target.traits.cache_breakpoints;
        turn.role.is_instruction()
            && turn.name.is_none()
            && matches!(turn.blocks.as_slice(), [block @ Block { kind: Kind::Text { text, .. }, rest, .. }] if rest.is_empty() && !text.is_empty() && !marked(block))
    }

    pub(super) fn write(&mut self, items: &mut Array<'_>) {
        let request = self.request;
        let skipped = usize::from(self.has_instructions());
        for (number, turn) in request.turns.iter().enumerate() {
            if number < skipped {
                turn.blocks.iter().for_each(|block| self.lose_mark(block));
                continue;
            }
            self.lose_turn_rest(turn);
            match turn.role {
                Role::System | Role::Developer => self.write_instruction(number, turn, items),
                Role::User => self.write_turn(number, turn, Speaker { role: "user", assistant: false, name: turn.name.as_ref() }, items),
                Role::Assistant => self.write_turn(number, turn, Speaker { role: "assistant", assistant: true, name: None }, items),
            }
        }
    }

    /// What a turn says beside its blocks has a place only in a message of this dialect.
    fn lose_turn_rest(&mut self, turn: &Turn<'_>) {
        if self.own {
            return;
        }
        self.losses.members(turn.origin, &turn.rest, Severity::Dropped, "messages of this provider have no such member");
        if turn.name.is_some() {
            let (severity, reason) = match turn.role {
                Role::User => (Severity::Changed, "messages of this provider have no name: it was put before the text"),
                _ => (Severity::Dropped, "messages of this provider have no name"),
            };
            self.losses.block(turn.origin.inside("name"), severity, reason);
        }
    }

    fn write_instruction(&mut self, number: usize, turn: &Turn<'_>, items: &mut Array<'_>) {
        let traits = self.target.traits;
        let role = match turn.role {
            _ if traits.no_system_role || traits.no_mid_system && number >= self.leading => {
                self.losses.block(turn.origin, Severity::Changed, "the provider takes no instructions here: it became a user's text");
                "user"
            }
            Role::Developer if !traits.no_developer_role => "developer",
            _ => "system",
        };
        self.write_turn(number, turn, Speaker { role, assistant: false, name: None }, items);
    }

    fn write_turn(&mut self, number: usize, turn: &Turn<'_>, mut speaker: Speaker<'_>, items: &mut Array<'_>) {
        let mut group: Vec<&Block<'_>> = Vec::new();
        let mut written = false;
        for (place, block) in turn.blocks.iter().enumerate() {
            if self.is_of_message(block) {
                if self.own && group.last().is_some_and(|before| item_of(before) != item_of(block)) {
                    written |= self.write_message(turn, &mut group, &mut speaker, items);
                }
                group.push(block);
                continue;
            }
            self.write_message(turn, &mut group, &mut speaker, items);
            written = true;
            self.write_item(number, place, block, items);
        }
        written |= self.write_message(turn, &mut group, &mut speaker, items);
        if !written && self.own && !speaker.assistant {
            items.object(|item| {
                item.text("type", "message").text("role", speaker.role).raw("content", b"[]").members(&turn.rest);
            });
        }
    }

    /// Whether a block is a part of a message rather than an item.
    fn is_of_message(&self, block: &Block<'_>) -> bool {
        match &block.kind {
            Kind::Text { .. } | Kind::Refusal(_) => true,
            // A picture that the provider made is an item.
            Kind::Media(_) => !self.own || item_of(block) != block.origin,
            Kind::Opaque { .. } => self.own && item_of(block) != block.origin,
            Kind::Thought(_) | Kind::ToolCall(_) | Kind::ToolResult(_) => false,
        }
    }

    /// Writes the blocks gathered as one message, if anything of them can be said.
    fn write_message(&mut self, turn: &Turn<'_>, group: &mut Vec<&Block<'_>>, speaker: &mut Speaker<'_>, items: &mut Array<'_>) -> bool {
        let blocks = std::mem::take(group);
        let Some(first) = blocks.first() else { return false };
        let rest: Vec<Member<'_>> = match speaker.assistant {
            true => first.rest.iter().filter_map(of_message).collect(),
            false => turn.rest.iter().map(|member| Member { name: member.name.borrowed(), value: member.value.borrowed() }).collect(),
        };
        let rest = if self.own { rest } else { Vec::new() };
        let name = speaker.name.take().filter(|_| !self.own);
        let mut content = Vec::new();
        if let [Block { kind: Kind::Text { text, citations }, cache, rest: own, .. }] = blocks.as_slice() {
            let plain =
                citations.is_empty() && (cache.is_none() || !self.takes_marks()) && own.iter().all(|member| of_message(member).is_some());
            if plain && !text.is_empty() {
                self.lose_mark(first);
                write_prefixed(&mut content, name, text);
            }
        }
        if content.is_empty() {
            let mut parts = Array::open(&mut content);
            let mut name = name;
            for block in &blocks {
                self.write_part(block, speaker.assistant, &mut name, &mut parts);
            }
            let none = parts.is_empty();
            parts.close();
            if none && !self.own {
                return false;
            }
        }
        items.object(|item| {
            item.text("type", "message").text("role", speaker.role).raw("content", &content).members(&rest);
        });
        true
    }

    fn write_part(&mut self, block: &Block<'_>, assistant: bool, name: &mut Option<&Text<'_>>, parts: &mut Array<'_>) {
        match &block.kind {
            Kind::Text { text, .. } if text.is_empty() && !self.own => {}
            Kind::Text { text, citations } => {
                let citations = self.kept_citations(block.origin, citations);
                parts.object(|part| {
                    part.text("type", if assistant { "output_text" } else { "input_text" });
                    write_prefixed(part.key("text"), name.take(), text);
                    if assistant {
                        part.array("annotations", |array| {
                            citations.iter().for_each(|citation| {
                                array.raw(citation.raw.as_bytes());
                            })
                        });
                    }
                    self.finish_part(block, assistant, part);
                });
            }
            Kind::Refusal(text) if assistant => {
                parts.object(|part| {
                    part.text("type", "refusal").escaped("refusal", text);
                    self.finish_part(block, assistant, part);
                });
            }
            Kind::Refusal(text) => {
                parts.object(|part| {
                    part.text("type", "input_text").escaped("text", text);
                });
            }
            Kind::Media(_) if assistant && !self.own => {
                self.losses.block(block.origin, Severity::Dropped, "the provider takes no media in what the assistant said");
            }
            Kind::Media(media) => self.write_media(block, media, parts),
            Kind::Opaque { raw, .. } => {
                parts.raw(raw.as_bytes());
            }
            // `is_of_message` and the content of results let nothing else through.
            Kind::Thought(_) | Kind::ToolCall(_) | Kind::ToolResult(_) => {}
        }
    }

    fn kept_citations<'c>(&mut self, origin: Origin, citations: &'c [Citation<'c>]) -> &'c [Citation<'c>] {
        if self.own || citations.is_empty() {
            return citations;
        }
        self.losses.block(origin, Severity::Hint, "the sources of what was said are not repeated");
        &[]
    }

    /// Cache mark and own members of a part.
    fn finish_part(&mut self, block: &Block<'_>, assistant: bool, part: &mut Object<'_>) {
        match block.cache {
            Some(mark) if self.takes_marks() && !assistant => {
                part.object("prompt_cache_breakpoint", |json| {
                    json.text("mode", "explicit")
                        .optional_text("ttl", mark.ttl.and_then(|ttl| ttl.nearest(&CACHE_TTLS)).map(CacheTtl::word));
                });
            }
            _ => self.lose_mark(block),
        }
        for member in &block.rest {
            if !self.own {
                self.lose_member(block.origin, member);
            } else if of_message(member).is_none() {
                part.members(std::slice::from_ref(member));
            }
        }
    }

    fn takes_marks(&self) -> bool {
        self.own || self.target.traits.cache_breakpoints
    }

    fn lose_mark(&mut self, block: &Block<'_>) {
        if block.cache.is_some() {
            self.losses.block(block.origin, Severity::Hint, "the provider takes no cache mark here; it caches by itself");
        }
    }

    fn lose_member(&mut self, origin: Origin, member: &Member<'_>) {
        self.losses.members(origin, std::slice::from_ref(member), Severity::Dropped, "the provider has no such member");
    }

    fn lose_rest(&mut self, block: &Block<'_>) {
        if !self.own {
            block.rest.iter().for_each(|member| self.lose_member(block.origin, member));
        }
    }

    fn write_media(&mut self, block: &Block<'_>, media: &Media<'_>, parts: &mut Array<'_>) {
        if let Some(reason) = self.why_not(media) {
            return self.losses.block(block.origin, Severity::Dropped, reason);
        }
        if let MediaSource::Plain(text) = &media.source {
            self.losses.block(block.origin, Severity::Changed, "a document of plain text became a text");
            parts.object(|part| {
                part.text("type", "input_text");
                let title = media.name.as_ref();
                write_prefixed(part.key("text"), title, text);
                self.finish_part(block, false, part);
            });
            return;
        }
        parts.object(|part| {
            match media.class {
                MediaClass::Image => self.write_image(media, part),
                MediaClass::Audio => write_audio(media, part),
                _ => self.write_file(media, part),
            }
            self.finish_part(block, false, part);
        });
    }

    /// Why media cannot be sent.
    fn why_not(&self, media: &Media<'_>) -> Option<&'static str> {
        let openai = matches!(self.request.source, Dialect::OpenaiResponses | Dialect::OpenaiChat);
        match (&media.source, media.class) {
            (_, MediaClass::Video) => Some("the provider takes no films"),
            (MediaSource::File(_), _) if !openai => Some("a file that was uploaded to another provider means nothing to this one"),
            (MediaSource::Url { url, .. }, _) if !self.own && !is_fetchable(url) => Some("the provider fetches https addresses only"),
            (MediaSource::Base64 { mime, .. }, MediaClass::Audio) if audio_format(mime).is_some() => None,
            (_, MediaClass::Audio) => Some("the provider takes sound in the request only"),
            _ => None,
        }
    }

    fn write_image(&self, media: &Media<'_>, part: &mut Object<'_>) {
        part.text("type", "input_image");
        match &media.source {
            MediaSource::Base64 { mime, data } => write_data(part.key("image_url"), mime, data),
            MediaSource::Url { url, .. } | MediaSource::Plain(url) => {
                part.escaped("image_url", url);
            }
            MediaSource::File(id) => {
                part.escaped("file_id", id);
            }
        }
        // Some servers insist on the member.
        part.escaped("detail", media.detail.as_ref().unwrap_or(&Text::word("auto")));
    }

    fn write_file(&self, media: &Media<'_>, part: &mut Object<'_>) {
        part.text("type", "input_file");
        match &media.source {
            MediaSource::Base64 { mime, data } => write_data(part.key("file_data"), mime, data),
            MediaSource::Url { url, .. } | MediaSource::Plain(url) => {
                part.escaped("file_url", url);
            }
            MediaSource::File(id) => {
                part.escaped("file_id", id);
            }
        }
        match (&media.name, &media.source) {
            (Some(name), _) => {
                part.escaped("filename", name);
            }
            // OpenAI tells the type of data by the name.
            (None, MediaSource::Base64 { .. }) if !self.own => {
                part.text("filename", "document.pdf");
            }
            (None, _) => {}
        }
        part.optional_escaped("detail", media.detail.as_ref());
    }

    fn write_item(&mut self, number: usize, place: usize, block: &Block<'_>, items: &mut Array<'_>) {
        self.lose_mark(block);
        match &block.kind {
            Kind::Thought(thought) => self.write_thought(number, place, block, thought, items),
            Kind::ToolCall(call) => self.write_call(number, place, block, call, items),
            Kind::ToolResult(result) => self.write_result(block, result, items),
            Kind::Opaque { raw, .. } if self.own => {
                items.raw(raw.as_bytes());
            }
            Kind::Opaque { word, .. } => {
                let reason = format!("the provider knows nothing like {}", String::from_utf8_lossy(word.as_bytes()));
                self.losses.block(block.origin, Severity::Dropped, reason);
            }
            Kind::Media(media) => {
                if let MediaSource::Base64 { mime, data } = &media.source {
                    items.object(|item| {
                        item.text("type", "image_generation_call").escaped("result", data);
                        if let Some(format) = mime.as_bytes().strip_prefix(b"image/").filter(|format| *format != b"png") {
                            item.escaped("output_format", &Text::escaped(format));
                        }
                        item.members(&block.rest);
                    });
                }
            }
            Kind::Text { .. } | Kind::Refusal(_) => {}
        }
    }

    /// Thoughts go back with their seal only: without one OpenAI refuses them, except where it kept them itself.
    fn write_thought(&mut self, number: usize, place: usize, block: &Block<'_>, thought: &Thought<'_>, items: &mut Array<'_>) {
        let traits = self.target.traits;
        let reads_thoughts = traits.reasoning_in || traits.reasoning_content_in || traits.reasoning_content_required;
        let is_kept = self.own && self.request.labels.store != Some(false) && thought.id.as_ref().is_some_and(|id| !is_minted(id));
        let is_read = reads_thoughts && !thought.parts.is_empty();
        if block.seal.is_none() && !is_kept && !is_read {
            let reason = "the provider takes back only thoughts that it sealed itself";
            return self.losses.block(block.origin, Severity::Hint, reason);
        }
        self.lose_rest(block);
        items.object(|item| {
            item.text("type", "reasoning");
            match &thought.id {
                Some(id) => {
                    item.escaped("id", id);
                }
                None if block.seal.is_none() => {
                    item.text("id", &format!("rs_{number}_{place}"));
                }
                None => {}
            }
            // OpenAI refuses content beside a seal: what it summarised may come back through a dialect that knows no summaries. Where our
            // own wrapping tells who sealed it, the parts are as they were.
            let all_summary = !self.own && block.seal.as_ref().is_some_and(|seal| seal.maker.is_none());
            let of =
                |is_summary| thought.parts.iter().filter(move |part| (all_summary || part.shape == ThoughtShape::Summary) == is_summary);
            item.array("summary", |array| write_thoughts(of(true), "summary_text", array));
            if of(false).next().is_some() {
                item.array("content", |array| write_thoughts(of(false), "reasoning_text", array));
            }
            item.optional_escaped("encrypted_content", block.seal.as_ref().map(|seal| &seal.data));
            if self.own {
                item.members(&block.rest);
            }
        });
    }

    fn write_call(&mut self, number: usize, place: usize, block: &Block<'_>, call: &ToolCall<'_>, items: &mut Array<'_>) {
        let id = self.id_of_call(number, place, call);
        self.lose_rest(block);
        items.object(|item| {
            let wraps = self.target.traits.no_custom_tools;
            let (word, given) = match call.arguments {
                Arguments::Free(_) if !wraps => ("custom_tool_call", "input"),
                _ => ("function_call", "arguments"),
            };
            item.text("type", word).escaped("call_id", &id).escaped("name", &sent_name(&call.name, self.own));
            match &call.arguments {
                Arguments::Json(value) => {
                    item.escaped(given, &text::quote(value));
                }
                Arguments::Quoted(text) if text.is_empty() && !self.own => {
                    item.text(given, "{}");
                }
                Arguments::Free(text) if wraps => {
                    let mut wrapped = Vec::new();
                    let mut json = Object::open(&mut wrapped);
                    json.escaped("input", text);
                    json.close();
                    item.escaped(given, &text::quote(&Raw::owned(wrapped)));
                }
                Arguments::Quoted(text) | Arguments::Free(text) => {
                    item.escaped(given, text);
                }
            }
            if self.own {
                item.members(&block.rest);
            }
        });
    }

    /// The id to send; from the call's place where it has none, shortened where OpenAI would refuse it.
    fn id_of_call(&mut self, number: usize, place: usize, call: &ToolCall<'_>) -> Text<'static> {
        let id = if call.id.is_empty() && !self.own {
            let id = format!("call_{number}_{place}");
            self.minted.push_back((call.name.as_bytes().to_vec(), id.clone()));
            Text::owned(id.into_bytes())
        } else {
            self.sent_id(&call.id)
        };
        if matches!(call.arguments, Arguments::Free(_)) {
            self.free.insert(id.as_bytes().to_vec());
        }
        if !self.own {
            self.called.insert(id.as_bytes().to_vec());
        }
        id
    }

    fn sent_id(&self, id: &Text<'_>) -> Text<'static> {
        if self.own || id.as_bytes().len() <= MAX_NAME_BYTES {
            id.clone().into_owned()
        } else {
            plain_name(id, MAX_NAME_BYTES, false).into_owned()
        }
    }

    fn id_of_result(&mut self, result: &ToolResult<'_>) -> Text<'static> {
        if !result.id.is_empty() || self.own {
            return self.sent_id(&result.id);
        }
        let same_name = |(name, _): &(Vec<u8>, String)| result.name.as_ref().is_some_and(|own| own.as_bytes() == name);
        let at = self.minted.iter().position(same_name).or(if self.minted.is_empty() { None } else { Some(0) });
        match at.and_then(|at| self.minted.remove(at)) {
            Some((_, id)) => Text::owned(id.into_bytes()),
            None => Text::EMPTY,
        }
    }

    fn write_result(&mut self, block: &Block<'_>, result: &ToolResult<'_>, items: &mut Array<'_>) {
        let id = self.id_of_result(result);
        self.lose_rest(block);
        let mut output = Vec::new();
        self.write_result_content(block, result, &mut output);
        if !self.own && !self.called.contains(id.as_bytes()) {
            self.losses.block(block.origin, Severity::Changed, "the answer to a call that was not made became a user's text");
            items.object(|item| {
                item.text("type", "message").text("role", "user").raw("content", &output);
            });
            return;
        }
        let free = (result.free || !self.own && self.free.contains(id.as_bytes())) && !self.target.traits.no_custom_tools;
        items.object(|item| {
            item.text("type", if free { "custom_tool_call_output" } else { "function_call_output" });
            if !(self.own && id.is_empty()) {
                item.escaped("call_id", &id);
            }
            if self.own {
                item.optional_escaped("name", result.name.as_ref());
            }
            item.raw("output", &output);
            if self.own {
                item.members(&block.rest);
            }
        });
    }

    fn write_result_content(&mut self, block: &Block<'_>, result: &ToolResult<'_>, out: &mut Vec<u8>) {
        let (error, nothing) = (Text::word("Error"), Text::EMPTY);
        if result.is_error {
            let reason = "the provider cannot be told that a tool failed: \"Error: \" was put before its answer";
            self.losses.block(block.origin, Severity::Changed, reason);
        }
        let mut name = Some(&error).filter(|_| result.is_error);
        match result.content.as_slice() {
            [] => write_escaped(out, name.unwrap_or(&nothing)),
            [inner @ Block { kind: Kind::Text { text, citations }, .. }]
                if citations.is_empty() && inner.rest.is_empty() && (inner.cache.is_none() || !self.takes_marks()) =>
            {
                self.lose_mark(inner);
                write_prefixed(out, name, text);
            }
            [Block { kind: Kind::Opaque { word, raw }, .. }] if word.is("json") => write_prefixed(out, name, &text::quote(raw)),
            blocks => {
                let mut parts = Array::open(out);
                for inner in blocks {
                    match &inner.kind {
                        Kind::Opaque { word, raw } if word.is("json") && !self.own => {
                            parts.object(|part| {
                                part.text("type", "input_text");
                                write_prefixed(part.key("text"), name.take(), &text::quote(raw));
                            });
                        }
                        Kind::Opaque { word, .. } if !self.own => {
                            let reason = format!("the provider knows nothing like {}", String::from_utf8_lossy(word.as_bytes()));
                            self.losses.block(inner.origin, Severity::Dropped, reason);
                        }
                        _ => self.write_part(inner, false, &mut name, &mut parts),
                    }
                }
                parts.close();
            }
        }
    }
}

/// Where the item of a block stood.
fn item_of(block: &Block<'_>) -> Origin {
    block.origin.inside("")
}

/// A member of the message that a block begins, under its own name.
fn of_message<'m>(member: &'m Member<'_>) -> Option<Member<'m>> {
    let name = member.name.as_bytes().strip_prefix(OF_MESSAGE.as_bytes())?;
    Some(Member { name: Text::escaped(name), value: member.value.borrowed() })
}

/// Without an address to fetch it from, media behind an address is nothing.
fn is_fetchable(url: &Text<'_>) -> bool {
    let url = url.as_bytes();
    [&b"http:"[..], b"https:", b"data:"]
        .iter()
        .any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

fn write_audio(media: &Media<'_>, part: &mut Object<'_>) {
    let MediaSource::Base64 { mime, data } = &media.source else { return };
    part.text("type", "input_audio").object("input_audio", |json| {
        json.escaped("data", data).escaped("format", &audio_format(mime).unwrap_or(Text::word("wav")));
    });
}

fn write_thoughts<'t>(parts: impl Iterator<Item = &'t ThoughtPart<'t>>, word: &str, array: &mut Array<'_>) {
    for part in parts {
        array.object(|json| {
            json.text("type", word).escaped("text", &part.text);
        });
    }
}
