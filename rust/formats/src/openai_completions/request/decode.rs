//! A completions request into the canonical representation: its prompt is what a user says, everything else is chat's.
//!
//! A limit that is not given stays so: the 16 tokens that OpenAI's old models wrote by default would leave nothing of a reply of
//! a model that thinks.

use fairlead_ir::{Block, Origin, Param, Request, Role, Text, Turn};

use crate::json::Kind;
use crate::openai_chat::request::decode::Reading;
use crate::read::{Key, Malformed, Reader};

/// Members that ask for what only a chat has.
const OF_CHAT: [&str; 10] = [
    "messages",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "parallel_tool_calls",
    "web_search_options",
    "modalities",
    "audio",
    "top_logprobs",
];

/// Reads a body that is known to be JSON.
///
/// # Errors
/// The path of the first member that has the wrong type, or asks for something that cannot be done through chat: another one than
/// the first prompt, tokens, a suffix, the prompt's echo, the best of several replies.
pub(crate) fn decode<'a>(body: &'a [u8]) -> Result<Request<'a>, Malformed> {
    let (mut reading, mut own) = (Reading::default(), Own::default());
    Reader::new(body).object(|key, reader| if own.take(&key, reader)? { Ok(()) } else { reading.member(key, reader) })?;
    own.settle(reading.settle()?)
}

/// What chat does not have.
#[derive(Default)]
struct Own<'a> {
    prompt: Option<(Text<'a>, Origin)>,
    logprobs: Option<u64>,
    best_of: Option<u64>,
}

impl<'a> Own<'a> {
    /// Takes a member that is no chat request's; `false` where it is one.
    fn take(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<bool, Malformed> {
        match key.name() {
            "prompt" => self.prompt = Some(read_prompt(reader)?),
            "logprobs" => self.logprobs = reader.optional(Reader::whole)?,
            "best_of" => self.best_of = reader.optional(Reader::whole)?,
            "suffix" => {
                let suffix = reader.optional(Reader::text)?;
                refuse(suffix.is_some_and(|suffix| !suffix.is_empty()), "the model is served through chat, which only goes on at the end")?;
            }
            "echo" => {
                let echo = reader.optional(Reader::flag)?;
                refuse(echo == Some(true), "the model is served through chat, which does not repeat the prompt")?;
            }
            name if OF_CHAT.contains(&name) => return Err(Malformed::new("is not known in completions; use chat completions")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn settle(self, mut request: Request<'a>) -> Result<Request<'a>, Malformed> {
        let (text, origin) = self.prompt.ok_or_else(|| not_one_text().in_member("prompt"))?;
        request.turns = vec![Turn { blocks: vec![Block::text(text, origin)], ..Turn::new(Role::User, origin) }];
        let choices = request.sampling.choices.unwrap_or(1);
        let several = self.best_of.is_some_and(|best_of| best_of > choices);
        refuse(several, "the model is served through chat, which does not choose among replies")
            .map_err(|fault| fault.in_member("best_of"))?;
        if let Some(alternatives) = self.logprobs {
            request.sampling.logprobs = Some(true);
            request.sampling.top_logprobs = Some(alternatives);
            // One member says what two say in chat.
            request.spelt.push((Param::TopLogprobs, "logprobs"));
        }
        Ok(request)
    }
}

fn refuse(asked: bool, reason: &str) -> Result<(), Malformed> {
    if asked { Err(Malformed::new(format!("cannot be done here: {reason}; leave it out"))) } else { Ok(()) }
}

fn not_one_text() -> Malformed {
    Malformed::new("must be a string, or an array of one string")
}

/// One text, alone or in an array.
fn read_prompt<'a>(reader: &mut Reader<'a>) -> Result<(Text<'a>, Origin), Malformed> {
    match reader.kind()? {
        Kind::String => Ok((reader.text()?, Origin::member("prompt"))),
        Kind::Array => read_only_prompt(reader),
        _ => Err(not_one_text()),
    }
}

fn read_only_prompt<'a>(reader: &mut Reader<'a>) -> Result<(Text<'a>, Origin), Malformed> {
    let mut prompt = None;
    reader.array(|at, reader| match reader.kind()? {
        Kind::String if prompt.is_none() => {
            prompt = Some((reader.text()?, Origin::item("prompt", at)));
            Ok(())
        }
        Kind::String => refuse(true, "the model is served through chat, which answers one prompt at a time"),
        Kind::Number | Kind::Array => Err(Malformed::new("must be text: tokens mean nothing to the model that serves this")),
        _ => Err(Malformed::new("must be a string")),
    })?;
    prompt.ok_or_else(not_one_text)
}
