//! Reasoning continuity: the opaque state of thoughts returns to the provider that made it, byte for byte, through a client of another
//! dialect.
//!
//! Signatures, encrypted reasoning and thought signatures are state that its maker wants back, on the very block it came with, and that
//! every other model, account and provider refuses. On the way to a client of another dialect each is wrapped into a token
//! ([`Keeper::wrap`], [`Keeper::stream`]) that says who made it and where it stood. Clients send it back wherever their dialect carries
//! such things: behind its block, on another kind of block, in a list beside the message. [`Keeper::open`] puts it back on its block where
//! the request goes to its maker, and takes it out where it does not. Of clients that send back texts and calls only, a memory in RAM
//! knows what accompanied the calls.
//!
//! ```text
//! reply:    decode ─ wrap or stream ─ encode for the client        (only where its dialect is another one than the provider's)
//! request:  decode ─ open for the chosen endpoint ─ encode         (also within one dialect, where the body has a token in it)
//! ```
//!
//! Deliberately absent: clocks (time is passed in) and randomness (the nonce of a token is a keyed hash of what is in it). Nothing of it is
//! ever written to disk.

use std::fmt;
use std::sync::Arc;

use fairlead_ir::block::{Maker, Seal};
use fairlead_ir::{Delta, Event, Kind, Losses, Request, Response, Role, Text};

use memory::Memory;
use notes::{Notes, owned_maker};
use opening::Opening;
use slot::{Place, Shape, Slot};
use token::{Found, Sealer};

mod memory;
mod notes;
mod opening;
mod rebuild;
mod slot;
mod token;

/// How much is remembered of replies, for clients that send back nothing but texts and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the memory; a single turn may take an eighth. 0: nothing is remembered.
    pub memory_bytes: usize,
    /// How long a turn is remembered after it was used last.
    pub memory_ms: u64,
}

impl Default for Limits {
    /// 64 MiB, one hour.
    fn default() -> Limits {
        Limits { memory_bytes: 64 << 20, memory_ms: 3_600_000 }
    }
}

/// The server secret has fewer than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusableSecret;

impl fmt::Display for UnusableSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the server secret has fewer than {} bytes", token::LEAST_SECRET_BYTES)
    }
}

impl core::error::Error for UnusableSecret {}

/// Keeps the state of thoughts on its way through clients. A copy is the same keeper.
///
/// A `scope` is the caller's account: tokens and memories of one mean nothing in another. A [`Maker`] names who answers; two are the same
/// when their names are written the same.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sealer: Sealer,
    memory: Memory,
}

impl Keeper {
    /// A keeper whose tokens every keeper with the same secret opens; replicas share it.
    ///
    /// # Errors
    /// The secret has fewer than 32 bytes.
    pub fn new(secret: &[u8], limits: Limits) -> Result<Keeper, UnusableSecret> {
        Ok(Keeper(Arc::new(Shared { sealer: Sealer::new(secret)?, memory: Memory::new(limits) })))
    }

    /// Makes a request ready for `maker`, before it is encoded: what `maker` made becomes as it was, on the block it was on; what was
    /// remembered of turns that came without is put back; all other state is taken out. Returns what was taken out: state that is
    /// known to be another's is a hint, because only its maker can read it; state that cannot be read any more is a change.
    ///
    /// A state without our wrapping stays where the request is in the maker's dialect. `now_ms` is any clock that does not go back.
    pub fn open(&self, request: &mut Request<'_>, maker: &Maker<'_>, scope: u64, now_ms: u64) -> Losses {
        let (Shared { sealer, memory }, source) = (&*self.0, request.source);
        Opening { sealer, memory, maker, scope, now_ms, source, losses: Losses::new() }.run(request)
    }

    /// Whose state the open tool calls at the end of the conversation have: sent elsewhere, the request loses it.
    pub fn maker_of(&self, request: &Request<'_>, scope: u64, now_ms: u64) -> Option<Maker<'static>> {
        let Shared { sealer, memory } = &*self.0;
        for turn in request.turns.iter().rev() {
            if turn.role != Role::Assistant {
                if turn.blocks.iter().any(|block| !matches!(block.kind, Kind::ToolResult(_))) {
                    return None;
                }
                continue;
            }
            let seals = turn.blocks.iter().rev().filter_map(|block| block.seal.as_ref());
            for seal in seals {
                if let Found::Token(opened) = sealer.open(scope, &seal.data) {
                    return Some(opened.maker);
                }
            }
            if let Some(remembered) = memory.get(scope, turn, now_ms) {
                return Some(remembered.maker.clone());
            }
        }
        None
    }

    /// Makes a reply of `maker` ready for a caller of another dialect, before it is encoded: every state becomes a token.
    pub fn wrap(&self, response: &mut Response<'_>, maker: &Maker<'_>, scope: u64, now_ms: u64) {
        for choice in &mut response.choices {
            let mut notes = Notes::default();
            choice.blocks.iter_mut().for_each(|block| notes.whole(block, maker, scope, &self.0));
            notes.commit(maker, scope, now_ms, &self.0);
        }
    }

    /// Marks the thoughts of a wrapped reply that have no state, for callers whose dialect has state of its own: sent to another provider they
    /// are recognised as nobody's there. For callers of [`Dialect::AnthropicMessages`] and [`Dialect::OpenaiResponses`].
    pub fn mark(&self, response: &mut Response<'_>, maker: &Maker<'_>, scope: u64) {
        for choice in &mut response.choices {
            let mut behind = Place::default();
            for block in &mut choice.blocks {
                let place = behind;
                behind.pass(block);
                if matches!(block.kind, Kind::Thought(_)) && block.seal.is_none() {
                    let slot = Slot { place, shape: Shape::of(block) };
                    block.seal = Some(Seal { data: self.0.sealer.seal(scope, maker, &slot, &Text::EMPTY), maker: None });
                }
            }
        }
    }

    /// The same for a reply of `maker` that comes in events.
    pub fn stream(&self, maker: &Maker<'_>, scope: u64) -> StreamKeeper {
        StreamKeeper { shared: Arc::clone(&self.0), maker: owned_maker(maker), scope, choices: Vec::new(), now_ms: 0 }
    }

    /// Bytes that the memory holds.
    pub fn memory_bytes(&self) -> usize {
        self.0.memory.bytes()
    }
}

/// Wraps the state in the events of one reply on their way to a caller of another dialect.
///
/// What accompanies calls is remembered when the reply ends, or when this is dropped: a client that has read its calls may leave.
#[derive(Debug)]
pub struct StreamKeeper {
    shared: Arc<Shared>,
    maker: Maker<'static>,
    scope: u64,
    choices: Vec<(u32, Notes)>,
    /// When the last event came.
    now_ms: u64,
}

impl StreamKeeper {
    /// The event as the caller's encoder takes it.
    pub fn event<'a>(&mut self, event: Event<'a>, now_ms: u64) -> Event<'a> {
        self.now_ms = now_ms;
        match event {
            Event::Open { choice, block, head } => {
                self.notes(choice).open(block, &head);
                Event::Open { choice, block, head }
            }
            Event::Delta { choice, block, delta } => Event::Delta { choice, block, delta: self.piece(choice, block, delta) },
            Event::Close { choice, block } => {
                let shared = Arc::clone(&self.shared);
                self.notes(choice).close(block, &shared);
                Event::Close { choice, block }
            }
            Event::End | Event::Fail { .. } => {
                self.commit();
                event
            }
            other => other,
        }
    }

    /// The mark of an open thought that has no state, as [`Keeper::mark`]: to be sent before it is closed.
    pub fn mark(&self, choice: u32, block: u32) -> Option<Text<'static>> {
        let (_, notes) = self.choices.iter().find(|(number, _)| *number == choice)?;
        Some(self.shared.sealer.seal(self.scope, &self.maker, &notes.stateless(block)?, &Text::EMPTY))
    }

    fn piece<'a>(&mut self, choice: u32, block: u32, delta: Delta<'a>) -> Delta<'a> {
        let at = self.place(choice);
        let StreamKeeper { shared, maker, scope, choices, .. } = self;
        let token = choices.get_mut(at).and_then(|(_, notes)| notes.piece(block, &delta, maker, *scope, shared));
        token.map_or(delta, Delta::Seal)
    }

    fn place(&mut self, choice: u32) -> usize {
        self.choices.iter().position(|(number, _)| *number == choice).unwrap_or_else(|| {
            self.choices.push((choice, Notes::default()));
            self.choices.len() - 1
        })
    }

    fn notes(&mut self, choice: u32) -> &mut Notes {
        let at = self.place(choice);
        &mut self.choices[at].1
    }

    fn commit(&mut self) {
        for (_, mut notes) in self.choices.drain(..) {
            notes.commit(&self.maker, self.scope, self.now_ms, &self.shared);
        }
    }
}

impl Drop for StreamKeeper {
    fn drop(&mut self) {
        self.commit();
    }
}
