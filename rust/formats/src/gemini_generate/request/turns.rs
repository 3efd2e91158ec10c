//! Puts together what clients take apart.
//!
//! Google's clients keep a streamed reply as one content per chunk and send it back so. Whoever made the reply wants it back as it was: one
//! turn, whose texts and thoughts are whole, the signature on what it came with. Providers check signatures against the exact text.

use fairlead_ir::block::Thought;
use fairlead_ir::{Block, Kind, Role, Text, Turn};

use crate::text::join;

/// The turns so far.
#[derive(Debug, Default)]
pub(super) struct Turns<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    /// Pieces that go on the text or thought of the last block.
    pieces: Vec<Text<'a>>,
}

impl<'a> Turns<'a> {
    /// Adds a content: of the model, it goes on the one before.
    pub(super) fn add(&mut self, turn: Turn<'a>) {
        let goes_on = turn.role == Role::Assistant && self.turns.last().is_some_and(|last| last.role == Role::Assistant);
        if !goes_on {
            self.end_text();
            self.turns.push(turn);
            return;
        }
        let mut blocks = turn.blocks.into_iter();
        // Parts of one content were apart from the start.
        if let Some(block) = blocks.next().and_then(|first| self.go_on(first)) {
            self.push(block);
        }
        blocks.for_each(|block| self.push(block));
        if let Some(last) = self.turns.last_mut() {
            last.rest.extend(turn.rest);
        }
    }

    /// Joins the pieces of the last block.
    pub(super) fn end_text(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let text = match self.turns.last_mut().and_then(|turn| turn.blocks.last_mut()).map(|block| &mut block.kind) {
            Some(Kind::Text { text, .. }) => text,
            Some(Kind::Thought(Thought { parts, .. })) => match parts.first_mut() {
                Some(part) => &mut part.text,
                None => return,
            },
            _ => return,
        };
        if !pieces.is_empty() {
            *text = join(std::iter::once(&*text).chain(&pieces), "");
        }
    }

    fn push(&mut self, block: Block<'a>) {
        self.end_text();
        if let Some(last) = self.turns.last_mut() {
            last.blocks.push(block);
        }
    }

    /// Takes a block that goes on the last one, or that says nothing; gives back any other.
    fn go_on(&mut self, block: Block<'a>) -> Option<Block<'a>> {
        let is_plain = |block: &Block<'_>| block.seal.is_none() && block.rest.is_empty();
        let last = self.turns.last_mut().and_then(|turn| turn.blocks.last_mut()).filter(|last| is_plain(last));
        match (last.map(|last| (&last.kind, &mut last.seal)), &block.kind) {
            (_, Kind::Text { text, .. }) if text.is_empty() && is_plain(&block) => None,
            (_, Kind::Thought(thought)) if thought.parts.is_empty() && is_plain(&block) => None,
            (Some((Kind::Text { .. }, _)), Kind::Text { text, .. }) if is_plain(&block) => {
                self.pieces.push(text.clone());
                None
            }
            (Some((Kind::Thought(last), _)), Kind::Thought(thought)) if is_plain(&block) && !last.parts.is_empty() => {
                self.pieces.extend(thought.parts.iter().map(|part| part.text.clone()));
                None
            }
            // A signature that came behind its thought.
            (Some((Kind::Thought(_), seal)), Kind::Thought(thought)) if thought.parts.is_empty() && block.rest.is_empty() => {
                *seal = block.seal;
                None
            }
            _ => Some(block),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use crate::gemini_generate::request::decode::decode;
    use fairlead_ir::Kind;

    fn check(contents: &str, expected: &str) {
        let body = format!(r#"{{"contents":[{contents}]}}"#);
        let read = decode(body.as_bytes()).unwrap();
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        let turns = read.turns.iter().map(|turn| {
            let blocks = turn.blocks.iter().map(|block| {
                let said = match &block.kind {
                    Kind::Text { text: said, .. } => text(said.as_bytes()),
                    Kind::Thought(thought) => {
                        format!("({})", thought.parts.iter().map(|part| text(part.text.as_bytes())).collect::<Vec<_>>().join("|"))
                    }
                    Kind::ToolCall(call) => text(call.name.as_bytes()) + "!",
                    other => panic!("{other:?}"),
                };
                said + &block.seal.as_ref().map_or(String::new(), |seal| format!("+{}", text(seal.data.as_bytes())))
            });
            format!("{:?}[{}]", turn.role, blocks.collect::<Vec<_>>().join(", "))
        });
        assert_eq!(turns.collect::<Vec<_>>().join(" "), expected, "{contents}");
    }

    fn model(parts: &str) -> String {
        format!(r#"{{"role":"model","parts":[{parts}]}}"#)
    }

    #[test]
    fn a_streamed_reply_comes_back_in_one_piece() {
        let chunks = [
            r#"{"text":"h","thought":true}"#,
            r#"{"text":"m","thought":true}"#,
            r#"{"text":"","thought":true,"thoughtSignature":"c2ln"}"#,
            r#"{"text":"a"}"#,
            r#"{"text":""}"#,
            r#"{"text":"b"},{"text":"c"}"#,
            r#"{"text":"d"}"#,
            r#"{"functionCall":{"name":"f"},"thoughtSignature":"c2ln"}"#,
            r#"{"text":""}"#,
        ];
        let contents = chunks.map(model).join(",");
        check(&contents, "Assistant[(hm)+c2ln, ab, cd, f!+c2ln]");
        check(
            &format!(r#"{contents},{{"parts":[{{"text":"x"}}]}},{{"parts":[{{"text":"y"}}]}}"#),
            "Assistant[(hm)+c2ln, ab, cd, f!+c2ln] User[x] User[y]",
        );
    }

    #[test]
    fn what_was_apart_stays_apart() {
        check(&model(r#"{"text":"a"},{"text":"b"}"#), "Assistant[a, b]");
        check(&[r#"{"text":"a","thoughtSignature":"c2ln"}"#, r#"{"text":"b"}"#].map(model).join(","), "Assistant[a+c2ln, b]");
        check(&[r#"{"text":"a"}"#, r#"{"text":"b","thoughtSignature":"c2ln"}"#].map(model).join(","), "Assistant[a, b+c2ln]");
        check(&[r#"{"text":"a"}"#, r#"{"text":"","thoughtSignature":"c2ln"}"#].map(model).join(","), "Assistant[a, +c2ln]");
        check(&[r#"{"text":"a"}"#, r#"{"text":"b","thought":true}"#].map(model).join(","), "Assistant[a, (b)]");
    }
}
