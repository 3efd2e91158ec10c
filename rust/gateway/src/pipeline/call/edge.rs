//! What a call may cost at most, how much of that is held, and how far its stream may go on that (`reliability.md` 3.3): a stream is cut where
//! what it has said comes to what was held for it, and no more can be.

use super::{Call, Choice};
use crate::pipeline::failure::Failure;
use crate::pipeline::intake::Intake;
use crate::pipeline::whole;
use bytes::Bytes;
use fairlead_formats::cut;
use fairlead_formats::request::{Facts, Purpose, Searches};
use fairlead_formats::tap::Tap;
use fairlead_ir::{Dialect, ErrorKind, Finish, NanoUsd, Tier};
use fairlead_ledger::hold::Hold;
use fairlead_ledger::reserve::{self, Bounds};
use fairlead_snapshot::{Parameters, Snapshot};
use std::cell::Cell;

/// Fewer tokens than these are not worth beginning a stream for, or going on with it.
const LEAST_TOKENS: u64 = 16;

/// What a request can come to.
pub(super) struct Ceiling<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) dialect: Dialect,
    pub(super) facts: &'a Facts,
    frames: &'a [Bytes],
    /// How often it lets its provider search the web; looked for where that costs.
    searches: Cell<Option<Searches>>,
    /// Most tokens that its prompt may have.
    pub(super) prompt_tokens: u64,
    pub(super) from_ms: u64,
    /// Nothing is left to an estimate.
    pub(super) is_strict: bool,
}

/// How long a reply is asked to be, whatever endpoint gives it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The token limit of each choice.
    tokens: Option<u64>,
    choices: u64,
}

impl Asked {
    pub(super) fn new(facts: &Facts) -> Asked {
        Asked { tokens: facts.max_completion_tokens, choices: facts.choices.max(1) }
    }

    /// Where a reply of the endpoint has to stop: at the limit that was asked for, or at the model's own.
    pub(super) fn most(self, choice: Choice, snapshot: &Snapshot) -> u64 {
        let asked = self.tokens.unwrap_or(u64::MAX);
        asked.min(own_limit(choice, snapshot).unwrap_or(u64::MAX)).saturating_mul(self.choices)
    }
}

/// The most completion tokens that a model gives at an endpoint, where that is known.
fn own_limit(choice: Choice, snapshot: &Snapshot) -> Option<u64> {
    choice.endpoint(snapshot).max_completion_tokens.or(choice.model(snapshot).max_completion_tokens)
}

/// How many tokens a completion may have, and who sees to it.
#[derive(Clone, Copy)]
struct Length {
    tokens: u64,
    /// The provider stops there: it was asked to, or is known to.
    is_certain: bool,
}

impl<'a> Ceiling<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, dialect: Dialect, intake: &'a Intake, from_ms: u64, is_strict: bool) -> Ceiling<'a> {
        let facts = &intake.facts;
        let files = facts.files();
        let estimate = match is_strict {
            // A token is a byte at least; files cost what they are.
            true => intake.bytes.saturating_sub(files.bytes) + files.tokens,
            false => reserve::prompt_tokens(intake.bytes),
        };
        // Written as numbers, a prompt is as long as it is.
        let prompt_tokens = facts.prompt_tokens.unwrap_or(0).max(estimate);
        Ceiling { snapshot, dialect, facts, frames: &intake.frames, searches: Cell::new(None), prompt_tokens, from_ms, is_strict }
    }

    /// The most that the call may cost there.
    pub(super) fn cost(&self, choice: Choice) -> Option<NanoUsd> {
        self.cost_of(choice, self.length(choice).tokens)
    }

    fn cost_of(&self, choice: Choice, completion_tokens: u64) -> Option<NanoUsd> {
        let tiers = tiers(choice);
        reserve::ceiling(&choice.endpoint(self.snapshot).prices, &self.bounds(choice, &tiers, completion_tokens))
    }

    /// What a stream must have to begin: its prompt and a few tokens. More than it may cost where it cannot begin with less.
    pub(super) fn least(&self, choice: Choice) -> Option<NanoUsd> {
        let most = self.length(choice).tokens;
        let least = if self.may_be_cut(choice) { most.min(LEAST_TOKENS.saturating_mul(self.choices())) } else { most };
        self.cost_of(choice, least)
    }

    /// Whether cutting its reply short saves what is not said.
    fn may_be_cut(&self, choice: Choice) -> bool {
        self.facts.stream && self.facts.purpose != Purpose::Embeddings && choice.provider(self.snapshot).cancel_stops_billing
    }

    /// The most completion tokens that so much money buys, besides the prompt.
    pub(super) fn affordable(&self, choice: Choice, money: NanoUsd) -> Option<u64> {
        let tiers = tiers(choice);
        reserve::affordable(&choice.endpoint(self.snapshot).prices, &self.bounds(choice, &tiers, 0), money)
    }

    /// The token limit per choice that would fit into what is left, where another one would help.
    pub(super) fn fitting(&self, choices: impl Iterator<Item = Choice>, left: NanoUsd) -> Option<u64> {
        let fits = |choice| self.affordable(choice, left).filter(|tokens| *tokens < self.length(choice).tokens);
        choices.map(fits).min().flatten().map(|tokens| tokens / self.choices()).filter(|tokens| *tokens > 0)
    }

    /// Nothing bounds what the call may cost there: the provider writes for as long as it likes, and neither it nor we can be stopped.
    fn is_unbounded(&self, choice: Choice) -> bool {
        !self.length(choice).is_certain && !self.may_be_cut(choice)
    }

    /// # Errors
    /// A call whose key is strict has to say how long its reply may be, and how often its provider may search the web.
    pub(super) fn check_bounded(&self, mut choices: impl Iterator<Item = Choice> + Clone) -> Result<(), Failure> {
        if choices.clone().any(|choice| self.searches_unboundedly(choice)) {
            let message = "this key's budgets are strict, and what searching the web may cost is not known: name max_uses (Messages) or \
                           max_tool_calls (Responses), at a model whose context_length is known";
            return Err(Failure::new(ErrorKind::InvalidRequest, message).param(Some("tools")));
        }
        if !choices.any(|choice| self.is_unbounded(choice)) {
            return Ok(());
        }
        let message = "this key's budgets are strict, and how long the reply may be is not known: name max_tokens";
        Err(Failure::new(ErrorKind::InvalidRequest, message).param(Some("max_tokens")))
    }

    /// How far a stream may go on what is held for it; `None` where the provider stops before that.
    pub(super) fn edge(&self, choices: impl Iterator<Item = Choice> + Clone, hold: &Hold) -> Option<Box<Edge>> {
        if !self.facts.stream || !hold.is_bounded() {
            return None;
        }
        let lengths = || choices.clone().map(|choice| self.length(choice));
        let wanted = lengths().map(|length| length.tokens).min()?;
        let bought = choices.clone().filter_map(|choice| self.affordable(choice, hold.amount())).min()?;
        let is_cut_short = bought < wanted;
        if !is_cut_short && lengths().all(|length| length.is_certain) {
            return None;
        }
        let usual = self.snapshot.settings.reserve_completion_tokens.saturating_mul(self.choices());
        let asked = lengths().all(|length| length.is_certain).then(|| lengths().map(|length| length.tokens).max()).flatten();
        Some(Box::new(Edge {
            prompt_tokens: choices.clone().map(|choice| self.prompt_tokens_at(choice)).max()?,
            web_searches: choices.clone().map(|choice| self.web_searches(choice)).max()?,
            choices: u32::try_from(self.choices()).unwrap_or(u32::MAX),
            tokens: bought.min(wanted),
            most: asked.unwrap_or(u64::MAX),
            step: usual.max(1),
            told: is_cut_short.then(|| bought / self.choices()),
            is_strict: self.is_strict,
            is_over: false,
        }))
    }

    fn choices(&self) -> u64 {
        self.facts.choices.max(1)
    }

    fn bounds<'b>(&self, choice: Choice, tiers: &'b [Tier], completion_tokens: u64) -> Bounds<'b> {
        let tokens = (self.prompt_tokens_at(choice), completion_tokens);
        bounds(self.snapshot, tiers, tokens, self.web_searches(choice), self.from_ms)
    }

    /// How often its provider may search the web.
    fn searches(&self, choice: Choice) -> Searches {
        let endpoint = choice.endpoint(self.snapshot);
        if !self.is_strict && !endpoint.prices.charges_searches() {
            return Searches::None;
        }
        let asked = self.searches.get().unwrap_or_else(|| self.facts.searches(self.frames));
        self.searches.set(Some(asked));
        // A model that charges for searches and knows no tools searches unasked.
        let knows_no_tools = || endpoint.supported_parameters.is_some_and(|known| !known.contains(Parameters::TOOLS));
        if asked == Searches::None && endpoint.prices.charges_searches() && knows_no_tools() { Searches::Unbounded } else { asked }
    }

    /// The most searches that are held for.
    fn web_searches(&self, choice: Choice) -> u64 {
        match self.searches(choice) {
            Searches::None => 0,
            Searches::AtMost(most) => most,
            Searches::Unbounded => self.snapshot.settings.reserve_web_searches,
        }
    }

    /// What is found becomes a part of the prompt. Where nothing is left to an estimate, every search is followed by a prompt as long as there
    /// can be.
    fn prompt_tokens_at(&self, choice: Choice) -> u64 {
        if !self.is_strict {
            return self.prompt_tokens;
        }
        match (self.searches(choice), choice.endpoint(self.snapshot).context_tokens) {
            (Searches::AtMost(most), Some(context)) => self.prompt_tokens.max(context.saturating_mul(most.saturating_add(1))),
            _ => self.prompt_tokens,
        }
    }

    fn searches_unboundedly(&self, choice: Choice) -> bool {
        match self.searches(choice) {
            Searches::None => false,
            Searches::AtMost(_) => choice.endpoint(self.snapshot).context_tokens.is_none(),
            Searches::Unbounded => true,
        }
    }

    /// Most completion tokens the call may produce: what it asks for, else the model's own limit under `strict`, else the setting; never more
    /// than the model gives.
    fn length(&self, choice: Choice) -> Length {
        let most = own_limit(choice, self.snapshot);
        let usual = self.snapshot.settings.reserve_completion_tokens;
        let is_given_a_limit = choice.upstream == Dialect::AnthropicMessages && self.dialect != Dialect::AnthropicMessages;
        let (asked, is_certain) = match self.facts.max_completion_tokens {
            Some(asked) => (asked, true),
            // Messages must name a limit: translated to it, a request without one is sent the model's own, or what all models take.
            None if is_given_a_limit => (most.unwrap_or(usual).max(usual), most.is_some()),
            None if self.is_strict && most.is_some() => (u64::MAX, true),
            None => (usual, most.is_some_and(|most| most <= usual)),
        };
        Length { tokens: asked.min(most.unwrap_or(u64::MAX)).saturating_mul(self.choices()), is_certain }
    }
}

/// A provider may fall back to its usual tier, which may be dearer.
fn tiers(choice: Choice) -> [Tier; 2] {
    [choice.asks.unwrap_or_default(), Tier::Standard]
}

fn bounds<'b>(
    snapshot: &Snapshot,
    tiers: &'b [Tier],
    (prompt_tokens, completion_tokens): (u64, u64),
    web_searches: u64,
    from_ms: u64,
) -> Bounds<'b> {
    Bounds { prompt_tokens, completion_tokens, web_searches, tiers, from_ms, span_ms: snapshot.settings.timeouts.total_ms }
}

/// How far a stream may go.
pub(super) struct Edge {
    prompt_tokens: u64,
    web_searches: u64,
    choices: u32,
    /// Completion tokens that are held for.
    tokens: u64,
    /// What it was asked to stop at: held for that, it needs no more.
    most: u64,
    /// How many more are held for at a time.
    step: u64,
    /// The token limit that the caller is told of, where that is less than it asked for.
    told: Option<u64>,
    /// Bytes are counted, and nothing beyond the edge passes.
    is_strict: bool,
    /// It is beyond the edge: by one event, where it is not strict.
    is_over: bool,
}

impl Edge {
    /// Tokens of so many bytes of content: an estimate, or under `strict` the most that they can be.
    fn tokens_of(&self, content_bytes: u64) -> u64 {
        if self.is_strict { content_bytes } else { whole::estimate_tokens(content_bytes) }
    }

    /// The same the other way round.
    fn bytes_of(&self, tokens: u64) -> u64 {
        if self.is_strict { tokens } else { whole::estimated_bytes(tokens) }
    }
}

impl Call {
    /// How far its stream may go: bytes of content, and tokens as the provider counts them.
    pub(crate) fn edge(&self) -> Option<(u64, u64)> {
        self.edge.as_ref().filter(|edge| edge.tokens < edge.most).map(|edge| (edge.bytes_of(edge.tokens), edge.tokens))
    }

    /// The choices of the reply, where it may have to be cut.
    pub(crate) fn choices(&self) -> u32 {
        self.edge.as_ref().map_or(1, |edge| edge.choices)
    }

    /// The token limit that its money buys, where that is less than was asked for.
    pub(crate) fn budget_tokens(&self) -> Option<u64> {
        self.edge.as_ref()?.told
    }

    /// The stream has come to its edge, and goes on if more can be held for it: how far from now on. `None`: it is cut here.
    pub(crate) fn go_on(&mut self, tap: &Tap, ends: bool) -> Option<(u64, u64)> {
        let (content_bytes, counted) = (tap.content_bytes(), tap.usage().map_or(0, |usage| usage.completion_tokens));
        self.may_say(content_bytes, counted, ends)
    }

    /// The same with `content_bytes` of content, of which the provider has counted so many tokens.
    pub(crate) fn may_say(&mut self, content_bytes: u64, counted: u64, ends: bool) -> Option<(u64, u64)> {
        const NOWHERE: (u64, u64) = (u64::MAX, u64::MAX);
        let Some(edge) = &self.edge else { return Some(NOWHERE) };
        let said = edge.tokens_of(content_bytes).max(counted);
        self.hold_more(said);
        let edge = self.edge.as_mut()?;
        if edge.tokens >= edge.most {
            return Some(NOWHERE);
        }
        if said <= edge.tokens {
            edge.is_over = false;
            return Some((edge.bytes_of(edge.tokens), edge.tokens));
        }
        if edge.is_strict || edge.is_over && !ends {
            return None;
        }
        // One event over: what comes next is asked for again.
        edge.is_over = true;
        Some((content_bytes, said))
    }

    /// Holds more, for `said` tokens and another step, or for as many as there is money for.
    fn hold_more(&mut self, said: u64) {
        let before = self.reserved;
        let now = tokio::time::Instant::now();
        self.extend_hold(said, now);
        if self.reserved > before {
            self.note_hold(now);
        }
    }

    fn extend_hold(&mut self, said: u64, now: tokio::time::Instant) {
        let (Some(edge), Some(hold)) = (&mut self.edge, &mut self.hold) else { return };
        let tiers = tiers(self.choice);
        let prices = &self.choice.endpoint(&self.snapshot).prices;
        let bounds = |tokens| bounds(&self.snapshot, &tiers, (edge.prompt_tokens, tokens), edge.web_searches, self.started_at_ms);
        let missing = |tokens: u64| {
            let cost = reserve::ceiling(prices, &bounds(tokens.min(edge.most)))?;
            Some(NanoUsd((cost.0 - hold.amount().0).max(0)))
        };
        let least = missing(said.saturating_add(LEAST_TOKENS));
        let (Some(least), Some(most)) = (least, missing(said.saturating_add(edge.step))) else { return };
        // What is held may be enough for more: it was held for the dearest endpoint.
        if most > NanoUsd(0) {
            let before = hold.amount();
            if hold.extend(least, most, self.worker.unix_ms_at(now)).is_ok() {
                let more = NanoUsd(hold.amount().0 - before.0);
                self.reserved = NanoUsd(self.reserved.0.saturating_add(more.0));
                self.worker.counters.reserved_nanousd.add(more.0.unsigned_abs());
            }
        }
        let bought = reserve::affordable(prices, &bounds(0), hold.amount()).unwrap_or(0);
        edge.tokens = edge.tokens.max(bought.min(edge.most).min(said.saturating_add(edge.step)));
    }

    /// The reply is cut: its client has had so many bytes of content, and gets no more.
    pub(crate) fn cut(&mut self, content_bytes: u64) {
        self.is_cut = true;
        self.seen.completion_tokens_estimate = whole::estimate_tokens(content_bytes);
    }

    /// How the record says that it ended, and in whose words.
    pub(super) fn ending(&self) -> (&str, &str) {
        match self.is_cut {
            true => (Finish::Length.name(), cut::WORD),
            false => (self.finish.map_or("", Finish::name), &self.native_finish),
        }
    }
}
