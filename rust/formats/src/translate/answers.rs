//! Tool calls and their answers, for dialects that refuse a call without one, an answer without a call, and an id that occurs twice.

use std::collections::HashSet;

use fairlead_ir::block::{ToolCall, ToolResult};
use fairlead_ir::{Origin, Severity, Text};

use super::{Job, plain_name};

/// What a dialect takes as the id of a call.
pub(crate) struct Ids {
    pub(crate) longest_bytes: usize,
    /// What it may hold beside letters and digits.
    pub(crate) signs: &'static [u8],
}

/// The calls of a conversation that wait for their answers.
pub(crate) struct Calls<'r> {
    ids: Ids,
    /// Ids as sent: each must occur once in a conversation.
    used_ids: HashSet<Vec<u8>>,
    open: Vec<Call<'r>>,
    /// All calls so far.
    count: usize,
}

struct Call<'r> {
    origin: Origin,
    id: &'r Text<'r>,
    name: &'r Text<'r>,
    sent: Text<'r>,
    answered: bool,
}

impl<'r> Calls<'r> {
    pub(crate) fn new(ids: Ids) -> Calls<'r> {
        Calls { ids, used_ids: HashSet::new(), open: Vec::new(), count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Opens a call; the id that is sent.
    pub(crate) fn open(&mut self, call: &'r ToolCall<'r>, origin: Origin) -> Text<'r> {
        let sent = self.unique_id(&call.id);
        self.open.push(Call { origin, id: &call.id, name: &call.name, sent: sent.clone(), answered: false });
        sent
    }

    /// An id that is allowed, made where there is none, and different from all before it.
    fn unique_id(&mut self, id: &'r Text<'r>) -> Text<'r> {
        const NUMBER_BYTES: usize = 10;
        self.count += 1;
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || self.ids.signs.contains(byte);
        let mut sent = match id.as_bytes() {
            [] => Text::owned(format!("call_{}", self.count).into_bytes()),
            bytes if bytes.len() <= self.ids.longest_bytes && bytes.iter().all(is_allowed) => id.borrowed(),
            _ => plain_name(id, self.ids.longest_bytes, false),
        };
        // Room for a number behind it.
        let first = sent.as_bytes()[..sent.as_bytes().len().min(self.ids.longest_bytes - NUMBER_BYTES)].to_vec();
        let mut again = 2;
        while !self.used_ids.insert(sent.as_bytes().to_vec()) {
            sent = Text::owned([&first[..], format!("_{again}").as_bytes()].concat());
            again += 1;
        }
        sent
    }

    /// The sent id of the open call that `result` answers. Without ids, calls of a name are answered in order.
    pub(crate) fn claim(&mut self, result: &ToolResult<'_>) -> Option<Text<'r>> {
        let mut open = self.open.iter_mut().filter(|call| !call.answered);
        let call = match (&result.id, &result.name) {
            (id, _) if !id.is_empty() => open.find(|call| call.id == id),
            (_, Some(name)) => open.find(|call| call.name == name),
            _ => open.next(),
        }?;
        call.answered = true;
        Some(call.sent.clone())
    }

    /// Closes all calls; the sent ids of those that got no answer and must get one of ours.
    pub(crate) fn close(&mut self, job: &mut Job<'_, '_>) -> Vec<Text<'r>> {
        let unanswered = self.open.drain(..).filter(|call| !call.answered);
        let reason = "the call has no result in the conversation; an error was put in its place";
        unanswered
            .map(|call| {
                job.losses.block(call.origin, Severity::Changed, reason);
                call.sent
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_ir::Raw;
    use fairlead_ir::block::Arguments;

    #[test]
    fn ids_are_allowed_and_occur_once() {
        let long = "x".repeat(20);
        let given = ["", "a", "a", "a.b", "a_2", &long, &long].map(|id| ToolCall {
            id: Text::owned(id.as_bytes().to_vec()),
            name: Text::word("f"),
            arguments: Arguments::Json(Raw::json(b"{}")),
        });
        let check = |signs, expected: [&str; 7]| {
            let mut calls = Calls::new(Ids { longest_bytes: 20, signs });
            let sent: Vec<Text<'_>> = given.iter().map(|call| calls.open(call, Origin::default())).collect();
            assert_eq!(sent, expected.map(|id| Text::owned(id.as_bytes().to_vec())));
        };
        check(b"_-", ["call_1", "a", "a_2", "a_b_e27bcb35", "a_2_2", &long, "xxxxxxxxxx_2"]);
        check(b"_.", ["call_1", "a", "a_2", "a.b", "a_2_2", &long, "xxxxxxxxxx_2"]);
    }
}
