//! Ids of tool calls that belong to one call only. Some hosts give all calls of a reply the same one, and a client that answers them by id
//! could not say which answer is whose.

use std::collections::BTreeSet;

use fairlead_ir::{Event, Head, Kind, Response, Text};

/// The ids of the calls of one reply so far, by choice.
#[derive(Debug, Default)]
pub(super) struct CallIds(BTreeSet<(u32, Vec<u8>)>);

impl CallIds {
    /// The event, whose call has an id of its own.
    pub(super) fn event<'a>(&mut self, event: Event<'a>) -> Event<'a> {
        match event {
            Event::Open { choice, block, head: Head::ToolCall { id, name, free } } => {
                Event::Open { choice, block, head: Head::ToolCall { id: self.own(choice, id), name, free } }
            }
            other => other,
        }
    }

    /// Gives every call of a whole reply an id of its own.
    pub(super) fn whole(response: &mut Response<'_>) {
        let mut ids = CallIds::default();
        for (choice, number) in response.choices.iter_mut().zip(0..) {
            for block in &mut choice.blocks {
                if let Kind::ToolCall(call) = &mut block.kind {
                    call.id = ids.own(number, std::mem::take(&mut call.id));
                }
            }
        }
    }

    /// The id as it is where no call of that choice has it, else one made from it.
    fn own<'a>(&mut self, choice: u32, id: Text<'a>) -> Text<'a> {
        if self.0.insert((choice, id.as_bytes().to_vec())) {
            return id;
        }
        let made = |number: usize| [id.as_bytes(), format!("_{number}").as_bytes()].concat();
        // One of so many more candidates than there are ids is free.
        let free = (2..=self.0.len() + 2).map(made).find(|made| self.0.insert((choice, made.clone())));
        match free {
            Some(made) => Text::owned(made),
            None => id,
        }
    }
}
