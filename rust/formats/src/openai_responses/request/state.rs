//! What a request says of replies that are kept, and the same request where the gateway keeps them instead of the provider.

use std::borrow::Cow;

use super::{CONVERSATION, INCLUDE, PREVIOUS_RESPONSE, STORE, decode::INCLUDE_SEALS};
use crate::json::Kind;
use crate::json::walk::{as_str, elements, write_string};
use crate::request::{Body, MESSAGES, Refusal};
use crate::splice::{Edits, MemberEdits};

/// The longest id of a response, in bytes.
const MAX_ID_BYTES: usize = 256;

/// What a request says of replies that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The response that it goes on from.
    pub previous: Option<String>,
    /// Whether it belongs to a conversation that the provider keeps.
    pub conversation: bool,
    /// Whether its own reply may be kept: unless it says no.
    pub keeps: bool,
}

impl State {
    /// What of it depends on a reply that is kept somewhere: the member, where there is one.
    pub fn depends_on(&self) -> Option<&'static str> {
        match (&self.previous, self.conversation) {
            (Some(_), _) => Some("previous_response_id"),
            (None, true) => Some("conversation"),
            (None, false) => None,
        }
    }
}

/// How a request changes where the gateway keeps the replies.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// The items of the conversation so far, as they stand in an array, without its brackets.
    pub before: &'a [u8],
    /// The provider gets this dialect, so that it must be told to keep nothing.
    pub native: bool,
    /// The provider is asked to seal its thoughts into the reply: nobody else can bring them back.
    pub seals: bool,
}

/// Reads what the body says.
///
/// # Errors
/// A member is not of its type.
pub(crate) fn read<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Result<State, Refusal> {
    let keeps = match body.value(STORE) {
        Some((Kind::False, _)) => false,
        _ => {
            body.flag(STORE)?;
            true
        }
    };
    Ok(State {
        previous: body.short_text(PREVIOUS_RESPONSE, MAX_ID_BYTES)?,
        conversation: body.value(CONVERSATION).is_some_and(|(kind, _)| kind != Kind::Null),
        keeps,
    })
}

/// The whole body, with all items in `input` and nothing in it that somebody else would have to know or keep.
pub(crate) fn resume<F: AsRef<[u8]>>(body: &Body<'_, F>, resume: &Resume<'_>) -> Option<Vec<u8>> {
    let mut changes = MemberEdits::new(body.members());
    changes.set(MESSAGES, "input", joined(body, resume.before));
    changes.remove(PREVIOUS_RESPONSE);
    match resume.native {
        true => changes.set(STORE, "store", b"false".as_slice()),
        // Other dialects have no such thing, or another one.
        false => changes.remove(STORE),
    }
    if let Some(include) = included(body).filter(|_| resume.native && resume.seals) {
        changes.set(INCLUDE, "include", include);
    }
    let mut edits = Edits::new();
    changes.write(&mut edits).ok()?;
    let text = body.text(0..usize::MAX);
    let mut out = Vec::with_capacity(edits.result_len(text.len()));
    edits.apply(&text, &mut out).ok()?;
    Some(out)
}

/// The items before, then those of the body. A text is a message of the user.
fn joined<F: AsRef<[u8]>>(body: &Body<'_, F>, before: &[u8]) -> Vec<u8> {
    let own = match body.value(MESSAGES) {
        Some((Kind::Array, range)) => Cow::Owned(body.text(range.start + 1..range.end - 1).trim_ascii().to_vec()),
        Some((Kind::String, range)) => {
            Cow::Owned([br#"{"type":"message","role":"user","content":"#.as_slice(), &body.text(range), b"}"].concat())
        }
        _ => Cow::Borrowed(b"".as_slice()),
    };
    let comma: &[u8] = if before.is_empty() || own.is_empty() { b"" } else { b"," };
    [b"[", before, comma, &own, b"]"].concat()
}

/// `include` with sealed thoughts in it. `None` where it has them, or is something that the provider shall judge.
fn included<F: AsRef<[u8]>>(body: &Body<'_, F>) -> Option<Vec<u8>> {
    let mut wanted = Vec::new();
    write_string(&mut wanted, INCLUDE_SEALS);
    let given = match body.value(INCLUDE) {
        None | Some((Kind::Null, _)) => return Some([b"[", wanted.as_slice(), b"]"].concat()),
        Some((Kind::Array, range)) => body.text(range),
        Some(_) => return None,
    };
    if elements(&given).flatten().any(|word| as_str(word.value).is_some_and(|word| word == INCLUDE_SEALS)) {
        return None;
    }
    let others = given[1..given.len() - 1].trim_ascii();
    let comma: &[u8] = if others.is_empty() { b"" } else { b"," };
    Some([b"[", others, comma, wanted.as_slice(), b"]"].concat())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::request::{Facts, RequestScan};
    use fairlead_ir::Dialect;
    use proptest::prelude::*;

    fn facts(body: &[u8]) -> Facts {
        let mut scan = RequestScan::new(Dialect::OpenaiResponses, 128);
        scan.feed(body).unwrap();
        scan.finish(&[body]).unwrap()
    }

    fn resumed(body: &str, resume: &Resume<'_>) -> serde_json::Value {
        let cut = body.len() / 2;
        let frames = [&body.as_bytes()[..cut], &body.as_bytes()[cut..]];
        serde_json::from_slice(&facts(body.as_bytes()).resume(&frames, resume).unwrap()).unwrap()
    }

    #[test]
    fn what_a_body_says() {
        let check = |members: &str, previous: Option<&str>, conversation, keeps, depends_on| {
            let body = format!(r#"{{"model":"m"{members}}}"#);
            let state = facts(body.as_bytes()).state(&[body.as_bytes()]).unwrap();
            assert_eq!(state, State { previous: previous.map(str::to_owned), conversation, keeps }, "{members}");
            assert_eq!(state.depends_on(), depends_on, "{members}");
        };
        check("", None, false, true, None);
        check(r#","store":null,"previous_response_id":null,"conversation":null"#, None, false, true, None);
        check(r#","store":true"#, None, false, true, None);
        check(r#","store":false,"previous_response_id":"resp_1""#, Some("resp_1"), false, false, Some("previous_response_id"));
        check(r#","conversation":{"id":"conv_1"}"#, None, true, true, Some("conversation"));
    }

    #[test]
    fn what_is_of_another_type_is_refused() {
        for (member, param) in [(r#""store":"no""#, "store"), (r#""previous_response_id":7"#, "previous_response_id")] {
            let body = format!(r#"{{"model":"m",{member}}}"#);
            assert_eq!(facts(body.as_bytes()).state(&[body.as_bytes()]).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn a_body_that_we_keep_asks_the_provider_for_nothing() {
        let check = |body: &str, before: &str, native, seals, expected: &str| {
            let resume = Resume { before: before.as_bytes(), native, seals };
            assert_eq!(resumed(body, &resume), serde_json::from_str::<serde_json::Value>(expected).unwrap(), "{body}");
        };
        let item = r#"{"role":"user","content":"one"}"#;
        let two = r#"{"type":"message","role":"user","content":"two \""}"#;
        check(
            r#"{"model":"m","input":"two \"","previous_response_id":"r","store":true}"#,
            item,
            true,
            true,
            &format!(r#"{{"model":"m","input":[{item},{two}],"store":false,"include":["reasoning.encrypted_content"]}}"#),
        );
        check(
            r#"{"model":"m","input":[ ],"include":["x"]}"#,
            item,
            true,
            true,
            &format!(r#"{{"model":"m","input":[{item}],"store":false,"include":["x","reasoning.encrypted_content"]}}"#),
        );
        check(r#"{"model":"m","include":[]}"#, "", true, false, r#"{"model":"m","include":[],"input":[],"store":false}"#);
        let asked = r#"{"model":"m","include":["reasoning.encrypted_content"],"input":[],"store":false}"#;
        check(asked, "", true, true, asked);
        check(
            &format!(r#"{{"model":"m","store":true,"input":[{item}]}}"#),
            "",
            false,
            true,
            &format!(r#"{{"model":"m","input":[{item}]}}"#),
        );
    }

    proptest! {
        /// However long a conversation is, the provider gets every item of it once and in its order.
        #[test]
        fn a_chain_is_the_whole_conversation(turns in prop::collection::vec((prop::collection::vec(0_u32..1000, 0..4), any::<bool>()), 1..8)) {
            let (mut before, mut expected) = (Vec::new(), Vec::new());
            for (numbers, as_text) in turns {
                let texts: Vec<String> = numbers.iter().map(|number| format!("said {number} \\\"")).collect();
                let message = |text: &String| serde_json::json!({"type": "message", "role": "user", "content": text});
                let input = match (as_text, texts.as_slice()) {
                    (true, [text, ..]) => {
                        expected.push(message(text));
                        serde_json::json!(text)
                    }
                    _ => {
                        expected.extend(texts.iter().map(message));
                        serde_json::json!(texts.iter().map(message).collect::<Vec<_>>())
                    }
                };
                let body = serde_json::json!({"model": "m", "input": input, "previous_response_id": "r"}).to_string();
                let sent = resumed(&body, &Resume { before: &before, native: true, seals: true });
                prop_assert_eq!(sent["input"].as_array().unwrap(), &expected);
                let said = serde_json::json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []});
                let response = serde_json::json!({"id": "r", "output": [&said]}).to_string();
                before = crate::conversation::items(sent["input"].to_string().as_bytes(), response.as_bytes(), true).unwrap();
                expected.push(said);
            }
        }
    }
}
