//! A whole reply of Converse.

use fairlead_ir::{Choice, Dialect, Kind, Origin, Raw, Response, Stop, Text};

use crate::bedrock_converse::wire::block::{Place, read_list};
use crate::bedrock_converse::wire::{read_usage, required, stop_reason, stop_sequence};
use crate::json::walk;
use crate::read::{Key, Malformed, Reader};
use crate::traits::Traits;

/// Reads the body of a reply; it is known to be JSON. What endpoints do differently concerns requests only.
pub(crate) fn decode<'a>(body: &'a [u8], _traits: &Traits) -> Result<Response<'a>, Malformed> {
    let mut reading = Reading { response: Response::new(Dialect::BedrockConverse), choice: None, word: None, fields: None };
    Reader::new(body).object(|key, reader| reading.take(&key, reader))?;
    reading.finish()
}

struct Reading<'a> {
    response: Response<'a>,
    choice: Option<Choice<'a>>,
    /// `stopReason`.
    word: Option<Text<'a>>,
    /// `additionalModelResponseFields`.
    fields: Option<Reader<'a>>,
}

impl<'a> Reading<'a> {
    fn take(&mut self, key: &Key<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let response = &mut self.response;
        match key.name() {
            "output" => self.choice = read_output(reader)?,
            "stopReason" => self.word = Some(reader.text()?),
            "usage" => response.usage = reader.optional(read_usage)?.flatten(),
            "serviceTier" => {
                response.service_tier = reader.peek("type");
                reader.skip()?;
            }
            "additionalModelResponseFields" => {
                self.fields = Some(reader.clone());
                let member = reader.member(key)?;
                response.rest.extend((!is_stop_sequence_alone(&member.value)).then_some(member));
            }
            // How long it took at the provider; whoever forwards the reply measures for itself.
            "metrics" => reader.skip()?,
            _ => response.rest.push(reader.member(key)?),
        }
        Ok(())
    }

    fn finish(self) -> Result<Response<'a>, Malformed> {
        let mut response = self.response;
        let mut choice = required(self.choice, "output")?;
        let called = choice.blocks.iter().any(|block| matches!(block.kind, Kind::ToolCall(_)));
        let native = required(self.word, "stopReason")?;
        let sequence = self.fields.as_ref().and_then(stop_sequence);
        choice.stop = Some(Stop { reason: stop_reason(native.as_bytes(), called), native, sequence, details: None });
        response.choices.push(choice);
        Ok(response)
    }
}

/// Whether the fields hold nothing but the stop sequence, which requests of ours ask for.
fn is_stop_sequence_alone(fields: &Raw<'_>) -> bool {
    let fields = fields.as_bytes();
    let alone = |object: &[u8], names: &[&str]| {
        walk::members(object).all(|member| member.is_ok_and(|member| names.iter().any(|name| member.is(name))))
    };
    let delta = walk::member(fields, "delta").ok().flatten();
    alone(fields, &["stop_sequence", "delta"]) && delta.is_none_or(|delta| alone(delta.value, &["stop_sequence"]))
}

fn read_output<'a>(reader: &mut Reader<'a>) -> Result<Option<Choice<'a>>, Malformed> {
    let mut choice = None;
    reader.object(|key, reader| match key.name() {
        "message" => reader.object(|key, reader| {
            if key.name() != "content" {
                return reader.skip();
            }
            let origin_of = |index| Origin::member("output.message").part("content", index);
            choice = Some(Choice { blocks: read_list(reader, Place::Assistant, origin_of)?, ..Choice::default() });
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    Ok(choice)
}
