//! What of a request only matters where there is something to choose: looked for when it is asked for, not while the body is scanned.

use std::borrow::Cow;

use fairlead_ir::Dialect;
use memchr::memchr_iter;
use memchr::memmem::Finder;
use std::sync::LazyLock;

use super::{Facts, Purpose};
use crate::json::walk::{Cursor, as_str, elements, members};
use crate::json::{Kind, Reject};
use crate::splice::gather;
use crate::{openai_chat, openai_responses};

/// A conversation that is longer than this is not looked through for pictures: it is sent, and who takes none says so.
const MOST_LOOKED_AT_BYTES: usize = 16 << 20;

/// The same of one whose pictures and sounds are counted for the record, while nobody waits for anything else.
const MOST_COUNTED_IN_BYTES: usize = 64 << 10;

/// What of a prompt is no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// Images, sounds, films and documents.
    pub all: u32,
    /// Of these, sounds; `None` where nobody has looked.
    pub sounds: Option<u32>,
}

/// How far into a conversation its beginning is looked for.
const MOST_OF_A_BEGINNING_BYTES: usize = 64 << 10;

impl Facts {
    /// The caller's name for what shares a prompt cache (`prompt_cache_key`); `frames` are the slices that were scanned.
    pub fn cache_key<F: AsRef<[u8]>>(&self, frames: &[F]) -> Option<String> {
        let index = match self.dialect {
            Dialect::OpenaiChat if self.is_generation() => openai_chat::request::CACHE_KEY,
            Dialect::OpenaiResponses => openai_responses::request::CACHE_KEY,
            _ => return None,
        };
        let (_, range) = self.body(frames).value(index).filter(|(kind, _)| *kind == Kind::String)?;
        as_str(&gather(frames, range)).map(Cow::into_owned).filter(|key| !key.is_empty())
    }

    /// The list of tools as it is written, if it is one of at most so many bytes; `frames` are the slices that were scanned.
    pub(crate) fn tools<'a, F: AsRef<[u8]>>(&'a self, frames: &'a [F], most_bytes: usize) -> Option<Cow<'a, [u8]>> {
        let range = self.body(frames).tools().filter(|range| self.has_tools && range.len() <= most_bytes)?;
        Some(gather(frames, range))
    }

    /// How the conversation begins: the first instruction, empty where it stands elsewhere, and the first message of anybody else, as they
    /// are written. Longer conversations begin with the same bytes.
    pub fn beginning<F: AsRef<[u8]>>(&self, frames: &[F]) -> (Vec<u8>, Vec<u8>) {
        let range = self.messages_range.clone();
        let text = gather(frames, range.start..range.end.min(range.start + MOST_OF_A_BEGINNING_BYTES));
        if text.first() != Some(&b'[') {
            return (Vec::new(), text.into_owned());
        }
        let mut instruction = Vec::new();
        for element in elements(&text).flatten() {
            let role = members(element.value).flatten().find(|member| member.is("role"));
            let role = role.and_then(|role| as_str(role.value).map(Cow::into_owned));
            if !matches!(role.as_deref(), Some("system" | "developer")) {
                return (instruction, element.value.to_vec());
            }
            if instruction.is_empty() {
                instruction = element.value.to_vec();
            }
        }
        // Messages that are longer than what is looked at: how they begin.
        (instruction, text[..text.len().min(MOST_OF_A_BEGINNING_BYTES / 16)].to_vec())
    }

    /// How many pictures, sounds, films and documents the conversation has; `frames` are the slices that were scanned. In a long one only
    /// files in base64 are counted.
    pub fn media<F: AsRef<[u8]>>(&self, frames: &[F]) -> Media {
        if !self.is_generation() || self.messages_range.is_empty() {
            return Media { all: 0, sounds: Some(0) };
        }
        if self.messages_range.len() > MOST_COUNTED_IN_BYTES {
            return Media { all: self.files().count, sounds: None };
        }
        let text = gather(frames, self.messages_range.clone());
        let (mut all, mut sounds) = (0, 0);
        // Most conversations have no parts at all.
        if self.dialect == Dialect::GeminiGenerate || TYPE_KEY.find(&text).is_some() {
            look(&text, &mut |modality| {
                all += 1;
                sounds += u32::from(modality == "audio");
            });
        }
        Media { all, sounds: Some(sounds) }
    }

    /// The parameters that are sent, under OpenRouter's names; those that every endpoint takes, and those that nobody has a name for, are left out.
    pub fn parameters<F: AsRef<[u8]>>(&self, frames: &[F]) -> Vec<&'static str> {
        let text = gather(frames, 0..self.body_bytes);
        let mut sent = Vec::new();
        collect(&text, "", &mut sent);
        sent
    }

    /// What the prompt holds beside text, under OpenRouter's names.
    pub fn inputs<F: AsRef<[u8]>>(&self, frames: &[F]) -> Vec<&'static str> {
        let mut found = Vec::new();
        if self.messages_range.len() <= MOST_LOOKED_AT_BYTES {
            let conversation = gather(frames, self.messages_range.clone());
            if may_hold_media(&conversation) {
                look(&conversation, &mut |modality| {
                    if !found.contains(&modality) {
                        found.push(modality);
                    }
                });
            }
        }
        found
    }

    pub(super) fn is_generation(&self) -> bool {
        self.purpose == Purpose::Generate
    }
}

/// Members of requests, with the parents that they stand in, and what OpenRouter calls them.
#[rustfmt::skip]
const PARAMETERS: [(&str, &str); 43] = [
    ("temperature", "temperature"), ("top_p", "top_p"), ("top_k", "top_k"), ("min_p", "min_p"), ("top_a", "top_a"),
    ("frequency_penalty", "frequency_penalty"), ("presence_penalty", "presence_penalty"), ("repetition_penalty", "repetition_penalty"),
    ("max_tokens", "max_tokens"), ("max_completion_tokens", "max_completion_tokens"), ("logit_bias", "logit_bias"),
    ("logprobs", "logprobs"), ("top_logprobs", "top_logprobs"), ("prediction", "prediction"), ("seed", "seed"),
    ("response_format", "response_format"), ("stop", "stop"), ("tools", "tools"), ("tool_choice", "tool_choice"),
    ("parallel_tool_calls", "parallel_tool_calls"), ("include_reasoning", "include_reasoning"), ("reasoning", "reasoning"),
    ("reasoning_effort", "reasoning_effort"), ("web_search_options", "web_search_options"), ("verbosity", "verbosity"),
    // Responses.
    ("max_output_tokens", "max_tokens"), ("text.format", "structured_outputs"), ("text.verbosity", "verbosity"),
    // Messages.
    ("stop_sequences", "stop"), ("thinking", "reasoning"), ("output_config.effort", "reasoning"), ("output_config.format", "structured_outputs"),
    // Gemini.
    ("generationConfig.temperature", "temperature"), ("generationConfig.topP", "top_p"), ("generationConfig.topK", "top_k"),
    ("generationConfig.maxOutputTokens", "max_tokens"), ("generationConfig.stopSequences", "stop"), ("generationConfig.seed", "seed"),
    ("generationConfig.responseJsonSchema", "structured_outputs"), ("generationConfig.responseSchema", "structured_outputs"),
    ("generationConfig.thinkingConfig", "reasoning"), ("generationConfig.frequencyPenalty", "frequency_penalty"),
    ("generationConfig.presencePenalty", "presence_penalty"),
];

/// Members whose own members are parameters.
const PARENTS: [&str; 3] = ["text", "output_config", "generationConfig"];

/// The rest of a path behind its parent.
fn inside<'p>(path: &'p str, parent: &str) -> Option<&'p str> {
    if parent.is_empty() { Some(path) } else { path.strip_prefix(parent)?.strip_prefix('.') }
}

fn collect(object: &[u8], parent: &str, sent: &mut Vec<&'static str>) {
    for member in members(object).flatten().filter(|member| member.kind != Kind::Null) {
        if let Some((_, known)) = PARAMETERS.iter().find(|(path, _)| inside(path, parent).is_some_and(|name| member.is(name)))
            && !sent.contains(known)
        {
            sent.push(known);
        }
        if parent.is_empty()
            && let Some(within) = PARENTS.into_iter().find(|parent| member.is(parent))
            && member.kind == Kind::Object
        {
            collect(member.value, within, sent);
        }
    }
}

/// The kinds of parts of chat, Responses, Messages and Gemini.
const PARTS: [(&str, &str); 11] = [
    ("image_url", "image"),
    ("input_image", "image"),
    ("image", "image"),
    ("input_audio", "audio"),
    ("audio", "audio"),
    ("file", "file"),
    ("input_file", "file"),
    ("document", "file"),
    ("video_url", "video"),
    ("input_video", "video"),
    ("video", "video"),
];

/// Members that hold a file by its media type, in either spelling.
const FILES: [&[u8]; 4] = [b"inlineData", b"inline_data", b"fileData", b"file_data"];

/// Where such a member's object says its media type: in the first of them that it has.
const MIME_TYPES: [&[u8]; 2] = [b"mimeType", b"mime_type"];

/// Whether any string ends as the name of a part or of a file's member does. One look at the quotes: most conversations are text alone. Quotes
/// inside a text are behind a backslash.
fn may_hold_media(text: &[u8]) -> bool {
    let words = || PARTS.iter().map(|(word, _)| word.as_bytes()).chain(FILES);
    memchr_iter(b'"', text).any(|at| {
        let before = &text[..at];
        matches!(before.last(), Some(b'a' | b'e' | b'l' | b'o' | b't')) && words().any(|word| before.ends_with(word))
    })
}

/// What says that a part of a message is something else than text, in the dialects that have a word for it.
static TYPE_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"type\""));

/// The kinds of parts in a conversation that was scanned: no deeper than the bodies that are taken.
fn look(conversation: &[u8], found: &mut impl FnMut(&'static str)) {
    // What cannot be read on has nothing more to be found.
    let _ = look_on(&mut Cursor::new(conversation), false, found);
}

/// One value on from there. Each is entered or skipped once, so that no byte is looked at more often where they are nested deeper.
fn look_on(cursor: &mut Cursor<'_>, is_file: bool, found: &mut impl FnMut(&'static str)) -> Result<(), Reject> {
    match cursor.kind()? {
        Kind::Array => {
            let mut level = cursor.enter(b'[')?;
            while cursor.next_element(&mut level)? {
                look_on(cursor, false, found)?;
            }
        }
        Kind::Object => look_at_members(cursor, is_file, found)?,
        _ => drop(cursor.skip()?),
    }
    Ok(())
}

/// The same of an object, which may be what a file's member holds.
fn look_at_members(cursor: &mut Cursor<'_>, is_file: bool, found: &mut impl FnMut(&'static str)) -> Result<(), Reject> {
    let mut awaits_mime = is_file;
    let mut level = cursor.enter(b'{')?;
    while let Some(name) = cursor.next_name(&mut level)? {
        let kind = cursor.kind()?;
        let is_mime = MIME_TYPES.contains(&&*name) && std::mem::take(&mut awaits_mime);
        let modality = match (&*name, kind) {
            (b"type", Kind::String) => of_part(cursor.skip()?),
            (_, Kind::String) if is_mime => as_str(cursor.skip()?).and_then(|mime| of_mime(&mime)),
            // What tools are given and give back may look like anything.
            (b"input" | b"arguments" | b"args", _) => {
                cursor.skip()?;
                None
            }
            _ => {
                look_on(cursor, kind == Kind::Object && FILES.contains(&&*name), found)?;
                None
            }
        };
        modality.into_iter().for_each(&mut *found);
    }
    Ok(())
}

fn of_part(kind: &[u8]) -> Option<&'static str> {
    let word = as_str(kind)?;
    PARTS.iter().find(|(part, _)| *part == word).map(|(_, modality)| *modality)
}

fn of_mime(mime: &str) -> Option<&'static str> {
    match mime.split('/').next()? {
        "image" => Some("image"),
        "audio" => Some("audio"),
        "video" => Some("video"),
        "text" => None,
        _ => Some("file"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use crate::request::{Facts, RequestScan};
    use fairlead_ir::Dialect::{self, AnthropicMessages, GeminiGenerate, OpenaiChat, OpenaiResponses};

    fn facts(dialect: Dialect, body: &str) -> Facts {
        let mut scan = match dialect {
            GeminiGenerate => RequestScan::addressed(dialect, 64, crate::request::Address { model: "m".to_owned(), stream: false }),
            _ => RequestScan::new(dialect, 64),
        };
        scan.feed(body.as_bytes()).unwrap();
        scan.finish(&[body.as_bytes()]).unwrap()
    }

    #[test]
    fn media_are_counted() {
        let check = |dialect, messages: &str, all, sounds| {
            let name = if dialect == GeminiGenerate { "contents" } else { "messages" };
            let body = format!(r#"{{"model":"m","max_tokens":9,"{name}":{messages}}}"#);
            let found = facts(dialect, &body).media(&[body.as_bytes()]);
            assert_eq!((found.all, found.sounds), (all, sounds), "{}", &messages[..messages.len().min(200)]);
        };
        check(OpenaiChat, r#"[{"role":"user","content":"an image, of \"type\":\"image\""}]"#, 0, Some(0));
        let image = r#"{"type":"image_url","image_url":{"url":"x"}}"#;
        let sound = r#"{"type":"input_audio","input_audio":{"data":""}}"#;
        check(OpenaiChat, &format!(r#"[{{"role":"user","content":[{image},{sound},{image},{{"type":"text","text":"a"}}]}}]"#), 3, Some(1));
        let result = r#"[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image"}]},{"type":"document"}]}]"#;
        check(AnthropicMessages, result, 2, Some(0));
        let parts = r#"[{"parts":[{"inline_data":{"mime_type":"audio/mp3","data":""}},{"text":"image"}]}]"#;
        check(GeminiGenerate, parts, 1, Some(1));
        // In a long one nobody looks for more than files.
        let file = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9".repeat(1000);
        check(
            OpenaiChat,
            &format!(r#"[{{"role":"user","content":[{image},{{"type":"image_url","image_url":{{"url":"{file}"}}}}]}}]"#),
            1,
            None,
        );
    }

    fn check_parameters(dialect: Dialect, body: &str, expected: &[&str]) {
        assert_eq!(facts(dialect, body).parameters(&[body.as_bytes()]), expected, "{body}");
    }

    /// As deep as the settings may allow, and the same when the words are escaped, or stand in a file's own object.
    #[test]
    fn media_are_counted_however_deep_they_are() {
        let check = |depth: usize, part: &str, all| {
            let content = format!("{}{part}{}", "[".repeat(depth), "]".repeat(depth));
            let body = format!(r#"{{"contents":[{{"parts":{content}}}]}}"#);
            let address = crate::request::Address { model: "m".to_owned(), stream: false };
            let mut scan = RequestScan::addressed(GeminiGenerate, 1_000, address);
            scan.feed(body.as_bytes()).unwrap();
            let facts = scan.finish(&[body.as_bytes()]).unwrap();
            assert_eq!(facts.media(&[body.as_bytes()]).all, all, "{part} {depth} deep");
        };
        for depth in [1, 100, 200, 900] {
            check(depth, r#"{"type":"image"},{"type":"text"}"#, 1);
            check(depth, r#"{"\u0074ype":"im\u0061ge"}"#, 1);
            check(depth, r#"{"inlineData":{"data":"","mimeType":"audio/mp3","mime_type":"image/png"}}"#, 1);
            check(depth, r#"{"fileData":{"mimeType":null,"inline_data":{"mime_type":"image/png","x":{"type":"file"}}}}"#, 2);
            check(depth, r#"{"mimeType":"image/png","args":{"type":"image"},"inlineData":[{"mimeType":"image/png"}]}"#, 0);
        }
    }

    #[test]
    fn parameters_have_one_name() {
        check_parameters(OpenaiChat, r#"{"model":"m","messages":[],"seed":1,"top_p":null,"tools":[{}],"new":1}"#, &["seed", "tools"]);
        check_parameters(
            OpenaiResponses,
            r#"{"model":"m","input":"a","max_output_tokens":3,"text":{"format":{},"verbosity":"low"}}"#,
            &["max_tokens", "structured_outputs", "verbosity"],
        );
        check_parameters(
            AnthropicMessages,
            r#"{"model":"m","max_tokens":3,"messages":[],"thinking":{"type":"adaptive"},"stop_sequences":["a"]}"#,
            &["max_tokens", "reasoning", "stop"],
        );
        check_parameters(GeminiGenerate, r#"{"contents":[],"generationConfig":{"topK":3,"seed":4}}"#, &["top_k", "seed"]);
    }

    fn check_inputs(dialect: Dialect, messages: &str, expected: &[&str]) {
        let name = if dialect == GeminiGenerate { "contents" } else { "messages" };
        let body = format!(r#"{{"model":"m","max_tokens":1,"{name}":{messages}}}"#);
        assert_eq!(facts(dialect, &body).inputs(&[body.as_bytes()]), expected, "{body}");
    }

    #[test]
    fn what_a_prompt_holds_is_found() {
        check_inputs(OpenaiChat, r#"[{"role":"user","content":"an image_url, \"type\":\"image\""}]"#, &[]);
        check_inputs(
            OpenaiChat,
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"x"}}]}]"#,
            &["image"],
        );
        check_inputs(
            OpenaiChat,
            r#"[{"role":"user","content":[{"type":"input_audio"},{"type":"file"},{"type":"file"}]}]"#,
            &["audio", "file"],
        );
        check_inputs(
            AnthropicMessages,
            r#"[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image"}]},{"type":"document"}]}]"#,
            &["image", "file"],
        );
        check_inputs(AnthropicMessages, r#"[{"role":"assistant","content":[{"type":"tool_use","input":{"type":"image"}}]}]"#, &[]);
        check_inputs(
            GeminiGenerate,
            r#"[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":""}},{"fileData":{"mimeType":"application/pdf"}}]}]"#,
            &["video", "file"],
        );
        check_inputs(GeminiGenerate, r#"[{"parts":[{"inline_data":{"mime_type":"audio/mp3","data":""}},{"text":"image"}]}]"#, &["audio"]);
        check_inputs(OpenaiChat, r#"[{"role":"user","content":"say \\\"image\\\" or image"},{"role":"tool","name":"file"}]"#, &[]);
    }

    #[test]
    fn a_longer_conversation_begins_alike() {
        let body =
            |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"system","content":"s"}},{{"role":"user","content":"q"}}{more}]}}"#);
        let beginning = |body: String| facts(OpenaiChat, &body).beginning(&[body.as_bytes()]);
        let short = beginning(body(""));
        assert_eq!(short, (br#"{"role":"system","content":"s"}"#.to_vec(), br#"{"role":"user","content":"q"}"#.to_vec()));
        assert_eq!(beginning(body(r#",{"role":"assistant","content":"a"}"#)), short);
        let long = |more: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}{more}]}}"#, "a".repeat(100_000));
        let (instruction, first) = beginning(long(""));
        assert_eq!((instruction.len(), first.len()), (0, 4096));
        assert_eq!(beginning(long(r#",{"role":"assistant","content":"a"}"#)).1, first);
        let text = r#"{"model":"m","input":"a text"}"#;
        assert_eq!(facts(OpenaiResponses, text).beginning(&[text.as_bytes()]), (Vec::new(), b"\"a text\"".to_vec()));
    }

    #[test]
    fn cache_keys_and_tools() {
        let check = |dialect, body: &str, key: Option<&str>, tools| {
            let facts = facts(dialect, body);
            assert_eq!((facts.cache_key(&[body.as_bytes()]).as_deref(), facts.has_tools), (key, tools), "{body}");
        };
        check(OpenaiChat, r#"{"model":"m","messages":[],"prompt_cache_key":"k","tools":[ ]}"#, Some("k"), false);
        check(OpenaiResponses, r#"{"model":"m","input":"a","prompt_cache_key":"k","tools":[{"type":"x"}]}"#, Some("k"), true);
        check(AnthropicMessages, r#"{"model":"m","max_tokens":1,"messages":[],"prompt_cache_key":"k","tools":[{}]}"#, None, true);
        check(OpenaiChat, r#"{"model":"m","messages":[],"prompt_cache_key":7}"#, None, false);
        check(GeminiGenerate, r#"{"contents":[],"tools":[{"functionDeclarations":[]}]}"#, None, true);
    }
}
