//! OpenAI's embeddings: vectors of length one that depend on the text alone.

use crate::ask::{Ask, BYTES_PER_TOKEN};
use crate::base64;
use crate::digest::fingerprint;
use crate::identity::scatter;
use crate::openai::{check, check_range, invalid};
use crate::reply::{Refusal, Reply, push, quoted};
use crate::shape::{Kind, Shape, closed};
use serde_json::Value;

const DEFAULT_DIMENSIONS: u64 = 256;
const MAX_DIMENSIONS: f64 = 4_096.0;
const MAX_INPUTS: usize = 2_048;

static ENTRY: Kind = Kind::Either(&[Kind::Text, Kind::Integer, Kind::List(&Kind::Integer)]);
static REQUEST: Shape = closed(
    &[
        ("model", Kind::Text),
        ("input", Kind::Either(&[Kind::Text, Kind::List(&ENTRY)])),
        ("dimensions", Kind::Integer),
        ("encoding_format", Kind::OneOf(&["float", "base64"])),
        ("user", Kind::Text),
        ("sim", Kind::Any),
    ],
    &["model", "input"],
);

/// Judges `body`, and counts its tokens.
pub(crate) fn read(body: &Value) -> Result<Ask<'static>, Refusal> {
    check(body, &REQUEST)?;
    check_range(body, "dimensions", 1.0, MAX_DIMENSIONS)?;
    let inputs = inputs(body);
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        return Err(invalid("input", &format!("expected between 1 and {MAX_INPUTS} inputs."), "invalid_value"));
    }
    if inputs.iter().any(|input| input.tokens == 0) {
        return Err(invalid("input", "input cannot be an empty string.", "invalid_value"));
    }
    Ok(Ask { prompt_tokens: inputs.iter().map(|input| input.tokens).sum(), ..Ask::default() })
}

struct Input {
    text: String,
    tokens: u64,
}

fn inputs(body: &Value) -> Vec<Input> {
    let of_text = |text: &str| Input { text: text.to_owned(), tokens: (text.len() as u64).div_ceil(BYTES_PER_TOKEN) };
    let of_tokens = |tokens: &[Value]| Input { text: Value::from(tokens).to_string(), tokens: tokens.len() as u64 };
    match body.get("input") {
        Some(Value::String(text)) => vec![of_text(text)],
        Some(Value::Array(entries)) if entries.first().is_some_and(Value::is_number) => vec![of_tokens(entries)],
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| match entry {
                Value::String(text) => of_text(text),
                Value::Array(tokens) => of_tokens(tokens),
                other => of_tokens(std::slice::from_ref(other)),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A list of embeddings.
pub(crate) fn unary(reply: &Reply<'_>) -> Vec<u8> {
    let dimensions = reply.request.get("dimensions").and_then(Value::as_u64).unwrap_or(DEFAULT_DIMENSIONS);
    let encoded = reply.request.get("encoding_format").is_some_and(|format| format == "base64");
    let mut out = br#"{"object":"list","data":["#.to_vec();
    for (index, input) in inputs(reply.request).iter().enumerate() {
        let vector = vector(&input.text, dimensions);
        let vector = if encoded { format!("\"{}\"", base64::encode(&bytes(&vector))) } else { format!("{vector:?}") };
        push(
            &mut out,
            format_args!(r#"{}{{"object":"embedding","index":{index},"embedding":{vector}}}"#, if index > 0 { "," } else { "" }),
        );
    }
    push(&mut out, format_args!(r#"],"model":{}"#, quoted(reply.model)));
    if let Some(usage) = reply.usage() {
        push(&mut out, format_args!(r#","usage":{{"prompt_tokens":{},"total_tokens":{}}}"#, usage.prompt, usage.prompt));
    }
    out.push(b'}');
    out
}

/// A direction drawn from the text.
fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let seed = fingerprint(text);
    let numbers: Vec<f64> = (0..dimensions).map(|index| (scatter(seed, index) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    numbers.iter().map(|number| (number / length) as f32).collect()
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_depend_on_the_text() {
        let (one, other) = (vector("a", 300), vector("b", 300));
        let length = |vector: &[f32]| vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>();
        assert!((length(&one) - 1.0).abs() < 1e-5 && one.len() == 300);
        assert!(one != other && one == vector("a", 300));
    }
}
