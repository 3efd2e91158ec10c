//! Which endpoints may serve a request, in which order and in which dialects: what the request says made into what the router asks, and
//! its plan into choices. The dialect is chosen here: the router knows that an endpoint can be spoken to, not how.

mod rated;

use super::call::likely_prompt_tokens;
use super::decided;
use super::failure::{Failure, shown};
use super::head::Head;
use super::intake::Intake;
use super::passage::Passage;
use super::receipt::Receipt;
use super::repeat::Ended;
use super::telling::{self, Telling};
use crate::routes::Ask;
use crate::tenants::models::Admission;
use crate::tenants::{Chain, free_tier};
use crate::worker::Worker;
use bytes::Bytes;
use fairlead_formats::availability::AvailabilityCode;
use fairlead_formats::identity::Identity;
use fairlead_formats::request::{Facts, Purpose};
use fairlead_ir::{Dialect, ErrorKind, GenerationId, Manner, Tier};
use fairlead_limits::FreeTierLimits;
use fairlead_router::health::outcome::Class;
use fairlead_router::names::{self, Arm, Auto, NameError, NameErrorKind, Named, Pick, Sticky, Wanted};
use fairlead_router::{
    Attempt, Board, By, Conversation, Explanation, Members, Need, Now, Order, Pin, Pins, Reason, Recording, Run, Step, Told,
    Way as RouterWay, WishError, Wished, Wishes, is_shadowed,
};
use fairlead_snapshot::facts::{Names, Vocabulary};
use fairlead_snapshot::{Endpoint, Modalities, Model, Operation, Principal, Provider, Shadow, Snapshot, Target, did_you_mean};
use http::HeaderValue;
use rated::Rated;
use std::rc::Rc;
use std::sync::Arc;

/// An endpoint in a snapshot, as indexes, so that it can outlive the borrow, and the dialect it is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    model: usize,
    endpoint: usize,
    pub(crate) upstream: Dialect,
    /// What the endpoint is asked to do.
    pub(crate) operation: Operation,
    /// The preset would rather have the call refused than lose anything.
    pub(crate) strict: bool,
    /// The preset wants cache marks where the caller put none.
    pub(crate) automatic_cache: bool,
    /// The service tier that is asked for there because of where it goes: one that the endpoint sells beside the usual one.
    pub(crate) asks: Option<Tier>,
}

impl Choice {
    pub(crate) fn model(self, snapshot: &Snapshot) -> &Model {
        &snapshot.models[self.model]
    }

    pub(crate) fn endpoint(self, snapshot: &Snapshot) -> &Endpoint {
        &self.model(snapshot).endpoints[self.endpoint]
    }

    pub(crate) fn provider(self, snapshot: &Snapshot) -> &Provider {
        &snapshot.providers[self.endpoint(snapshot).provider]
    }

    /// What a reply from there says about itself.
    pub(crate) fn identity(self, snapshot: &Snapshot, manner: Manner, generation: GenerationId) -> Identity {
        let text = generation.text();
        let id = std::str::from_utf8(&text).unwrap_or_default();
        Identity::new(manner, id, &self.model(snapshot).id, &self.provider(snapshot).name, generation.unix_ms() / 1000)
    }

    /// Whether the endpoint is one tier by itself, as its tag says.
    pub(crate) fn is_a_tier(self, snapshot: &Snapshot) -> bool {
        Tier::from_word(self.endpoint(snapshot).region.as_bytes()).is_some_and(|tier| tier != Tier::Standard)
    }

    /// Where the request goes. `choose` found it there.
    pub(crate) fn target(self, snapshot: &Snapshot) -> Option<&Target> {
        self.endpoint(snapshot).target(self.upstream)
    }
}

/// A request's way through the endpoints that may serve it: the router's plan, and how far along it the request is.
pub(crate) struct Journey {
    /// What the request is known by from here on.
    pub(crate) generation: GenerationId,
    /// The split whose name was asked for, and the arm that was drawn.
    pub(crate) arm: Option<Arm>,
    /// The presets that were named, as indexes into the snapshot's.
    pub(crate) presets: Vec<usize>,
    /// A copy of the request goes to a second model.
    pub(crate) shadow: Option<Box<Drawn>>,
    /// Of such a copy: the model whose request it is a copy of.
    pub(crate) shadow_of: Option<usize>,
    board: Arc<Board>,
    plan: fairlead_router::Plan,
    run: Run,
    need: Need,
    asked: Asked,
    /// `openrouter/free` was asked for.
    picks_free: bool,
    strict: bool,
    automatic_cache: bool,
    /// `provider.require_parameters`: rather refused than said in other words.
    pub(crate) require_parameters: bool,
    /// Whether tool calls are judged.
    pub(crate) judges_calls: bool,
    /// What `X-Fairlead-Explain` asked for.
    pub(crate) explanation: Option<HeaderValue>,
    /// What `X-OpenRouter-Metadata` asked for.
    pub(crate) telling: Option<Rc<Telling>>,
    /// Who pays for it; nobody for a call of the process's own.
    pub(crate) payers: Option<Arc<Chain>>,
    /// What it has taken of the caller's rates.
    pub(crate) passage: Option<Passage>,
    /// What it takes of the rates of models, where any have some.
    rated: Option<Box<Rated>>,
    /// Where whoever keeps the reply is told how it ended.
    pub(crate) ended: Option<Rc<Ended>>,
}

/// What a shadow's plan is made from. It is made once the caller's request is on its way.
pub(crate) struct Drawn {
    generation: GenerationId,
    board: Arc<Board>,
    wishes: Wished,
    need: Need,
    asked: Asked,
    seed: u64,
    of: usize,
    model: usize,
    automatic_cache: bool,
}

impl Drawn {
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }
}

/// Where an attempt goes. It holds its place there (a key's concurrency, a probe) until it is learned from or dropped.
pub(crate) struct Leg {
    pub(crate) choice: Choice,
    pub(crate) attempt: Attempt,
    /// It is at another model than the attempt before: what it has taken of that one's rates, if there are any.
    pub(crate) moved: Option<Option<Admission>>,
}

impl Leg {
    /// The credential, by its place.
    pub(crate) fn turn(&self) -> Option<u32> {
        u32::try_from(self.attempt.key).ok()
    }
}

impl Journey {
    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// A shadow's way: what the request wishes holds for it too, but it is nobody's conversation, so that it follows no pin and makes none.
    pub(crate) fn of_shadow(drawn: Drawn, intake: &Intake, now_ms: u64) -> Journey {
        let Drawn { generation, board, wishes, mut need, asked, seed, of, model, automatic_cache } = drawn;
        let models = [Named::model(model)];
        need.conversation = None;
        if board.inputs_matter(&models) {
            need.inputs = names_of(&intake.facts.inputs(&intake.frames));
        }
        let order = Order { wishes: &wishes, ..Order::model(&models, &need, seed) };
        let mut plan = fairlead_router::Plan::default();
        fairlead_router::decide(&board, &order, &mut Now(now_ms), |endpoint| way(endpoint, asked), &mut plan);
        Journey {
            generation,
            arm: None,
            presets: Vec::new(),
            shadow: None,
            shadow_of: Some(of),
            plan,
            run: Run::new(seed, 1),
            need,
            asked,
            picks_free: false,
            strict: false,
            automatic_cache,
            require_parameters: false,
            judges_calls: false,
            explanation: None,
            telling: None,
            payers: None,
            passage: None,
            rated: None,
            ended: None,
            board,
        }
    }

    /// What the router needs to know of the reply, but for what the reply itself tells: the conversation, whether a router picked the model, and
    /// where the conversation is pinned. `None` of one that is nobody's.
    pub(crate) fn conversation(&self) -> Option<Box<(Need, Told)>> {
        let told = || Told { through_router: self.plan.through_router, pinned: self.plan.pinned(), used_cache: false, cache_seconds: None };
        self.need.conversation.is_some().then(|| Box::new((self.need, told())))
    }

    /// The first attempt, with a key that is free.
    pub(crate) fn first(&mut self, now_ms: u64) -> Option<Leg> {
        let attempt = self.run.first(&self.board, &self.plan, &self.need, now_ms)?;
        self.leg(attempt, now_ms)
    }

    /// The first attempt, whatever providers said of their limits.
    pub(crate) fn first_regardless(&mut self, now_ms: u64) -> Option<Leg> {
        let attempt = self.run.first_regardless(&self.board, &self.plan, &self.need, now_ms)?;
        self.leg(attempt, now_ms)
    }

    /// How long until time alone could free a key for it; 0 where that is up to other requests.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> u64 {
        self.run.wait_ms(&self.board, &self.plan, &self.need, now_ms)
    }

    /// The endpoints that may serve it, by their ids.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = u64> {
        self.plan.steps.iter().map(|step| self.board.entry(step.entry).id)
    }

    /// Every key that could serve it is in use, and will be for so long, or nobody knows how long.
    pub(crate) fn full(&self, wait_ms: u64, facts: &Facts) -> Failure {
        // Where it is up to other requests, nobody knows.
        let wait_ms = wait_ms.max(1000);
        let seconds = telling::seconds(wait_ms);
        let message = format!("every key of every endpoint that may serve this is at its limit; try again in {seconds} s");
        let availability = telling::full(&self.board, &self.plan, telling::requested(facts), Some(wait_ms));
        let mut failure = Failure::new(ErrorKind::RateLimited, message).word("keys_at_their_limits").unavailable(Some(availability));
        failure.hints = vec![("retry-after", HeaderValue::from(seconds)), ("retry-after-ms", HeaderValue::from(wait_ms))];
        failure
    }

    /// The attempt in place of one that was never sent, which had taken that of its model's rates.
    pub(crate) fn instead(&mut self, unsent: Option<Option<Admission>>, now_ms: u64) -> Option<Leg> {
        self.keep_unsent(unsent);
        let attempt = self.run.instead(&self.board, &self.plan, &self.need, now_ms)?;
        self.leg(attempt, now_ms)
    }

    /// The attempt that follows one that failed so.
    pub(crate) fn next(&mut self, failed: Class, now_ms: u64) -> Option<Leg> {
        self.went_on();
        let attempt = self.run.next(&self.board, &self.plan, &self.need, failed, now_ms)?;
        self.leg(attempt, now_ms)
    }

    /// After how long without a first token another attempt may begin beside the current one.
    pub(crate) fn hedge_after_ms(&self, now_ms: u64) -> Option<u64> {
        self.run.hedge_after_ms(&self.board, &self.plan, now_ms)
    }

    /// The attempt beside the current one.
    pub(crate) fn beside(&mut self, now_ms: u64) -> Option<Leg> {
        self.went_on();
        let attempt = self.run.beside(&self.board, &self.plan, &self.need, now_ms)?;
        self.leg(attempt, now_ms)
    }

    /// The attempt beside the current one is over.
    pub(crate) fn rejoin(&mut self) {
        self.stayed();
        self.run.rejoin();
    }

    /// A failure before anything was sent, with what the caller wants to know of the routing.
    pub(crate) fn tell_with(&self, failure: Failure) -> Failure {
        let mut failure = failure.explained(self.explanation.clone());
        let unavailable = failure.routing.as_mut().and_then(|routing| routing.availability.as_mut());
        if let Some(unavailable) = unavailable.filter(|unavailable| unavailable.code == AvailabilityCode::ConstraintFiltered) {
            telling::add_removed(unavailable, &self.board, &self.plan);
        }
        match &self.telling {
            Some(telling) => telling.before_any(self.board.snapshot(), failure),
            None => failure,
        }
    }

    /// Whether another attempt may follow the current one.
    pub(crate) fn may_go_on(&self) -> bool {
        self.run.may_go_on(&self.board, &self.plan)
    }

    /// Whether another model may still be asked.
    pub(crate) fn may_change_model(&self) -> bool {
        self.run.may_change_model(&self.board, &self.plan)
    }

    /// The end user among whoever pays; 0 for none.
    pub(crate) fn end_user(&self) -> u64 {
        self.payers.as_ref().map_or(0, |payers| payers.end_user())
    }

    /// The model whose rates it has taken of; 0 for none.
    pub(crate) fn rated_model(&self) -> u64 {
        self.passage.as_ref().map_or(0, Passage::model)
    }

    /// What the plan prefers, whether or not its keys are free.
    pub(crate) fn best(&self) -> Option<Choice> {
        self.choices().next()
    }

    /// What its account may ask of free models, where what the plan prefers is one by its id or by the request's word (`:free`, `openrouter/free`),
    /// and that is limited.
    pub(crate) fn free_tier(&self) -> Option<FreeTierLimits> {
        let snapshot = self.board.snapshot();
        let limits = free_tier(&snapshot.settings)?;
        let step = self.plan.steps.iter().find(|step| !self.run.is_barred(self.board.entry(step.entry).model))?;
        let asks_for_free = self.picks_free || self.plan.variant(step).free;
        let is_free = asks_for_free || snapshot.models[self.board.entry(step.entry).model].id.ends_with(":free");
        is_free.then_some(limits)
    }

    /// Every choice that may come, for the reservation.
    pub(crate) fn choices(&self) -> impl Iterator<Item = Choice> + Clone {
        let may_come = |step: &&Step| !self.run.is_barred(self.board.entry(step.entry).model);
        self.plan.steps.iter().filter(may_come).map(|step| self.choice(step.entry, step.dialect))
    }

    fn leg(&mut self, attempt: Attempt, now_ms: u64) -> Option<Leg> {
        if self.rated.is_some() { self.rated_leg(attempt, now_ms) } else { Some(self.leg_of(attempt, None)) }
    }

    fn leg_of(&self, attempt: Attempt, moved: Option<Option<Admission>>) -> Leg {
        Leg { choice: self.choice(attempt.entry, attempt.dialect), attempt, moved }
    }

    fn choice(&self, entry: usize, upstream: Dialect) -> Choice {
        let entry = self.board.entry(entry);
        let (model, endpoint, asks) = (entry.model, entry.endpoint, entry.asks);
        let (strict, automatic_cache) = (self.strict, self.automatic_cache);
        let way = best_way(self.board.endpoint(entry), self.asked);
        let operation = way.map_or(self.asked.generation(), |(_, _, operation)| operation);
        Choice { model, endpoint, upstream, operation, strict, automatic_cache, asks }
    }
}

/// What a decision is made from, beside the request.
pub(crate) struct Asking<'a> {
    /// Whether the key may use a model.
    pub(crate) allowed: &'a dyn Fn(&str) -> bool,
    pub(crate) account: u64,
    /// The caller's name for the conversation, from the head.
    pub(crate) session: Option<&'a str>,
    /// Everything random comes out of this.
    pub(crate) seed: u64,
    /// By the router's clock.
    pub(crate) now_ms: u64,
    /// The decision will be written down.
    pub(crate) is_kept: bool,
    /// When the request came, Unix milliseconds.
    pub(crate) unix_ms: u64,
}

/// A decision, with what it was made from.
pub(crate) struct Weighed {
    pub(crate) board: Arc<Board>,
    pub(crate) plan: fairlead_router::Plan,
    pub(super) wanted: Wanted,
    wishes: Wished,
    pub(super) need: Need,
    pub(super) asked: Asked,
    /// What the request wished itself, and what was read for the decision, where it will be written down.
    pub(super) said: Wished,
    pub(super) pin: Option<Pin>,
    pub(super) recording: Recording,
}

impl Weighed {
    pub(crate) fn prompt_tokens(&self) -> u64 {
        self.need.prompt_tokens
    }

    /// Whether it is worth knowing how sound the reply's tool calls are: another endpoint could be asked next time, or the order goes by it. Where
    /// there is no choice nobody would ever look.
    fn judges_calls(&self) -> bool {
        let exacto = || {
            let variants = self.wanted.models.iter().map(|named| named.variant.sort);
            variants.chain([self.wishes.sort.by]).any(|by| by == Some(By::Exacto))
        };
        self.need.has_tools && (self.plan.steps.iter().any(|step| self.board.has_rivals(step.entry)) || exacto())
    }

    fn telling(&self, facts: &Facts) -> Telling {
        let named = [&facts.model].into_iter().chain(&facts.fallback_models).find(|name| !name.is_empty());
        Telling::new(&self.board, &self.plan, &self.wanted, named.map_or("", String::as_str))
    }

    /// What to say where nothing can be tried.
    pub(crate) fn refusal(&self, purpose: Purpose) -> Failure {
        no_endpoint(&self.board, &self.plan, &self.wanted, purpose)
    }
}

/// Makes the plan, or says what stands in the way.
///
/// # Errors
/// A name or wish that cannot be meant, a model that is not there or not for this key, or no endpoint that satisfies the request.
pub(crate) fn choose(
    worker: &Worker,
    board: Arc<Board>,
    (principal, receipt): (&Principal, Option<&Rc<Receipt>>),
    head: &Head<'_>,
    intake: &Intake,
    ask: &Ask,
    generation: GenerationId,
) -> Result<Box<Journey>, Failure> {
    let notes = decided::notes(worker, &board, ask);
    let seed = u64::from(worker.turn()) << 32 | u64::from(worker.turn());
    let session = head.session.and_then(|session| std::str::from_utf8(session).ok());
    let now_ms = worker.shared.routing_ms(std::time::Instant::now());
    let (allowed, unix_ms) = (|model: &str| principal.may_use(model), generation.unix_ms());
    let asking = Asking { allowed: &allowed, account: principal.account, session, seed, now_ms, unix_ms, is_kept: notes.is_some() };
    let wants_explanation = head.wants_explanation()?;
    let weighed = weigh(board, &worker.shared.pins, &asking, intake, ask)?;
    if let Some(notes) = notes {
        decided::note(notes, generation, &weighed, principal.models(), &asking, &intake.facts);
    }
    let wants_metadata = ask.manner == Manner::Openrouter && head.wants_metadata();
    if wants_explanation && let Some(receipt) = receipt {
        receipt.explain(&Explanation::new(&weighed.board, &weighed.plan, seed));
    }
    let telling = wants_metadata.then(|| Rc::new(weighed.telling(&intake.facts)));
    let explanation = (wants_explanation && receipt.is_none()).then(|| shown_in_a_header(&weighed, seed)).flatten();
    if weighed.plan.steps.is_empty() {
        let requested = telling::requested(&intake.facts);
        let availability = telling::filtered(&weighed.board, &weighed.plan, requested);
        let refusal = weighed.refusal(ask.purpose).unavailable(Some(availability)).explained(explanation);
        return Err(match &telling {
            Some(telling) => telling.before_any(weighed.board.snapshot(), refusal),
            None => refusal,
        });
    }
    let judges_calls = weighed.judges_calls();
    let Weighed { board, plan, wanted, wishes, need, asked, .. } = *weighed;
    let run = Run::new(seed, u32::try_from(board.snapshot().settings.attempts.max(1)).unwrap_or(u32::MAX));
    let (strict, automatic_cache) = (wanted.strict_translation, wanted.automatic_cache);
    let require_parameters = wishes.require_parameters == Some(true);
    let first = board.entry(plan.steps[0].entry).model;
    let shadow = board.snapshot().models[first].shadow.filter(|shadow| ask.purpose != Purpose::CountTokens && is_shadowed(*shadow, seed));
    let shadow = shadow.map(|Shadow { model, .. }| {
        let board = board.clone();
        Box::new(Drawn { generation, board, wishes, need, asked, seed, of: first, model, automatic_cache })
    });
    // Boxed: it is handed on several times, and is large.
    Ok(Box::new(Journey {
        generation,
        arm: wanted.arm,
        presets: wanted.presets,
        shadow,
        shadow_of: None,
        plan,
        run,
        need,
        asked,
        picks_free: wanted.pick == Pick::Free,
        strict,
        automatic_cache,
        require_parameters,
        judges_calls,
        explanation,
        telling,
        payers: None,
        passage: None,
        rated: None,
        ended: None,
        board,
    }))
}

/// Filters and orders the endpoints that may serve a request. The plan may be empty.
pub(crate) fn weigh(board: Arc<Board>, pins: &Pins, asking: &Asking<'_>, intake: &Intake, ask: &Ask) -> Result<Box<Weighed>, Failure> {
    let (facts, frames, now_ms) = (&intake.facts, &intake.frames[..], asking.now_ms);
    let session = facts.session_id.as_deref().or(asking.session);
    let wrong_name = |error: NameError| {
        let availability = telling::unnamed(&error, facts);
        wrong_name(error, facts).unavailable(availability)
    };
    let plugins = facts.extension("plugins", frames);
    let auto = plugins.map(|plugins| Auto::read(&plugins)).transpose().map_err(wrong_wish)?;
    let request = names::Request { auto: auto.as_ref(), ..named(facts, session) };
    let wanted = names::resolve(&board, request, asking.allowed, asking.seed).map_err(wrong_name)?;
    let wishes = wishes(&board, intake, ask.manner)?;
    let said = if asking.is_kept { wishes.clone() } else { Wished::NONE };
    // Over those of its presets.
    let wishes = wanted.wishes(wishes);
    let asked = Asked::new(ask, facts);
    let has_choice = wanted.pick != Pick::Listed || wanted.models.len() > 1 || board.has_choice(wanted.models[0].model);
    let mut need = Need {
        prompt_tokens: likely_prompt_tokens(intake),
        max_tokens: facts.max_completion_tokens,
        has_tools: facts.has_tools,
        account: asking.account,
        unix_ms: asking.unix_ms,
        ..Need::tokens(0, None)
    };
    if has_choice {
        need.conversation = Some(conversation(facts, frames, session));
    }
    // It takes a reading of the whole conversation, so it is only made where it decides something.
    if wanted.pick != Pick::Listed || board.inputs_matter(&wanted.models) {
        need.inputs = names_of(&facts.inputs(frames));
    }
    if wanted.pick != Pick::Listed {
        // Of a model that is named, its provider says what it cannot do; of one that is picked nobody would understand it.
        need.outputs = names_of(&[if ask.purpose == Purpose::Embeddings { "embeddings" } else { "text" }]);
    }
    if wishes.require_parameters == Some(true) {
        need.parameters = names_of(&facts.parameters(frames));
    }
    let (pick, pool, models) = (&wanted.pick, &wanted.pool[..], &wanted.models[..]);
    let order = Order { pick, pool, models, wishes: &wishes, need: &need, pin: None, seed: asking.seed };
    let order = order.pinned(&board, pins, now_ms);
    let mut plan = fairlead_router::Plan::default();
    let mut recording = Recording::new(Now(now_ms), pick, &wishes, asking.is_kept);
    fairlead_router::decide(&board, &order, &mut recording, |endpoint| way(endpoint, asked), &mut plan);
    let pin = order.pin;
    // Boxed: it is handed on, and is large.
    Ok(Box::new(Weighed { board, plan, wanted, wishes, need, asked, said, pin, recording }))
}

/// What the request calls the models, and who asks.
pub(super) fn named<'a>(facts: &'a Facts, session: Option<&'a str>) -> names::Request<'a> {
    names::Request {
        model: &facts.model,
        models: &facts.fallback_models,
        preset: facts.preset.as_deref(),
        sticky: session.or(facts.user.as_deref()).map(Sticky::Name),
        auto: None,
    }
}

/// Longer ones are cut to what fits into a header: the first choices are the ones to know.
const MOST_EXPLAINED: usize = 12;

fn shown_in_a_header(weighed: &Weighed, seed: u64) -> Option<HeaderValue> {
    let mut explanation = Explanation::new(&weighed.board, &weighed.plan, seed);
    explanation.candidates.truncate(MOST_EXPLAINED);
    explanation.removed.truncate(MOST_EXPLAINED);
    let text: String =
        serde_json::to_string(&explanation).ok()?.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect();
    HeaderValue::from_str(&text).ok()
}

/// What the request wishes itself.
fn wishes(board: &Board, intake: &Intake, manner: Manner) -> Result<Wished, Failure> {
    // On `/v1` the word may be the provider's own.
    if manner == Manner::Openrouter
        && let Some(word) = intake.facts.unknown_tier(&intake.frames)
    {
        let known = || ["auto"].into_iter().chain(Tier::ALL.map(Tier::name));
        let message = format!("is none of {}{}", known().collect::<Vec<_>>().join(", "), did_you_mean(known(), &word));
        return Err(
            Failure::new(ErrorKind::InvalidRequest, format!("\"service_tier\": {} {message}", shown(&word))).param(Some("service_tier"))
        );
    }
    let (provider, route) = (intake.facts.said("provider", &intake.frames), intake.facts.extension("route", &intake.frames));
    let tier = intake.facts.tier;
    if provider.is_none() && route.is_none() {
        return Ok(tier.map_or(Wished::NONE, |tier| Wishes { tier: Some(tier), ..Wishes::NONE }.into()));
    }
    let members = Members { provider: provider.as_deref(), route: route.as_deref() };
    fairlead_router::read(members, board).map(|said| Wishes { tier, ..said }.into()).map_err(wrong_wish)
}

fn wrong_wish(error: WishError) -> Failure {
    Failure::new(ErrorKind::InvalidRequest, format!("\"{}\": {}", error.path, error.message)).param(Some(error.path))
}

fn wrong_name(error: NameError, facts: &Facts) -> Failure {
    let kind = match error.kind {
        NameErrorKind::Unknown | NameErrorKind::NotFree => ErrorKind::ModelNotFound,
        NameErrorKind::Senseless => ErrorKind::InvalidRequest,
        NameErrorKind::Forbidden => ErrorKind::PermissionDenied,
    };
    let position = match error.path.strip_prefix("models.") {
        Some(position) => position.parse().ok().map(|position: usize| position + usize::from(facts.model_is_listed)),
        None => (facts.model_is_listed && error.path == "model").then_some(0),
    };
    let path = position.map(|position| format!("models[{position}]"));
    Failure::new(kind, error.message).param(Some(path.unwrap_or(error.path)))
}

/// What the request belongs to: by the caller's name for it, else by how it begins.
fn conversation(facts: &Facts, frames: &[Bytes], session: Option<&str>) -> Conversation {
    if let Some(name) = session {
        return Conversation::named(name);
    }
    if let Some(key) = facts.cache_key(frames) {
        return Conversation::named(&key);
    }
    let (instruction, first) = facts.beginning(frames);
    Conversation::begun(&instruction, &first)
}

fn names_of<V: Vocabulary>(names: &[&'static str]) -> Names<V> {
    names.iter().filter_map(|name| Names::one(name)).fold(Names::NONE, Names::with)
}

/// What is asked of an endpoint, as far as the dialect depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) purpose: Purpose,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) thinks_with_tools: bool,
}

impl Asked {
    fn new(ask: &Ask, facts: &Facts) -> Asked {
        Asked { purpose: ask.purpose, dialect: ask.dialect, stream: facts.stream, thinks_with_tools: facts.thinks_with_tools }
    }

    const fn generation(self) -> Operation {
        if self.stream { Operation::Stream } else { Operation::Generate }
    }
}

/// How well an endpoint suits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AsAsked,
    Translated,
    Reluctant,
}

/// How an endpoint would be spoken to, as the router asks it.
pub(super) fn way(endpoint: &Endpoint, asked: Asked) -> Option<RouterWay> {
    best_way(endpoint, asked).map(|(way, dialect, _)| RouterWay { dialect, reluctant: way == Way::Reluctant })
}

/// Whether the endpoint does this kind of work, as far as is known what it gives.
fn does(endpoint: &Endpoint, purpose: Purpose) -> bool {
    let gives = endpoint.output_modalities;
    gives.is_empty()
        || match purpose {
            Purpose::Embeddings => gives.contains(Modalities::EMBEDDINGS),
            Purpose::Completions | Purpose::Generate | Purpose::CountTokens => !gives.without(Modalities::NO_CHAT).is_empty(),
        }
}

/// The best way to ask an endpoint, if there is one.
fn best_way(endpoint: &Endpoint, asked: Asked) -> Option<(Way, Dialect, Operation)> {
    if !does(endpoint, asked.purpose) {
        return None;
    }
    let generation = asked.generation();
    let (dialect, operation) = match asked.purpose {
        Purpose::Embeddings => (Dialect::OpenaiChat, Operation::Embeddings),
        Purpose::Completions => (Dialect::OpenaiChat, Operation::Completions),
        Purpose::Generate | Purpose::CountTokens => (asked.dialect, generation),
    };
    // Tried last, so that the provider says itself what it will not take.
    let takes = |dialect| !(dialect == Dialect::OpenaiChat && asked.thinks_with_tools && endpoint.traits.no_thinking_chat_tools);
    let serves = |dialect, operation| {
        let known = operation != Operation::Completions || endpoint.traits.native_completions;
        known && endpoint.target(dialect).is_some_and(|target| target.request_line(operation).is_some())
    };
    let as_asked = serves(dialect, operation);
    if as_asked && takes(dialect) {
        return Some((Way::AsAsked, dialect, operation));
    }
    if asked.purpose != Purpose::Embeddings {
        let other = fidelity(asked.dialect).into_iter().find(|dialect| takes(*dialect) && serves(*dialect, generation));
        if let Some(dialect) = other {
            return Some((Way::Translated, dialect, generation));
        }
    }
    as_asked.then_some((Way::Reluctant, dialect, operation))
}

/// Dialects in the order in which they keep most of what a client of `dialect` says.
const fn fidelity(dialect: Dialect) -> [Dialect; 5] {
    use Dialect::{AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};
    match dialect {
        OpenaiChat => [OpenaiChat, OpenaiResponses, AnthropicMessages, GeminiGenerate, BedrockConverse],
        OpenaiResponses => [OpenaiResponses, OpenaiChat, AnthropicMessages, GeminiGenerate, BedrockConverse],
        AnthropicMessages => [AnthropicMessages, BedrockConverse, OpenaiResponses, GeminiGenerate, OpenaiChat],
        GeminiGenerate => [GeminiGenerate, OpenaiResponses, AnthropicMessages, BedrockConverse, OpenaiChat],
        BedrockConverse => [BedrockConverse, AnthropicMessages, OpenaiResponses, GeminiGenerate, OpenaiChat],
    }
}

/// Nothing is left to try: what stands in the way.
fn no_endpoint(board: &Board, plan: &fairlead_router::Plan, wanted: &Wanted, purpose: Purpose) -> Failure {
    if let (Some(Reason::NoDialect) | None, [only]) = (plan.main_reason(), &wanted.models[..]) {
        let Model { id, endpoints, .. } = &board.snapshot().models[only.model];
        let does_any = |purpose| endpoints.iter().any(|endpoint| does(endpoint, purpose));
        let what = match purpose {
            Purpose::Embeddings => "turns texts into vectors: send them to a model whose output is embeddings",
            _ if does_any(purpose) => "can be spoken to in any dialect",
            _ if does_any(Purpose::Embeddings) => "writes replies: it turns texts into vectors, at POST /embeddings",
            _ => "writes replies",
        };
        let message = format!("no endpoint of {} {what}", shown(id));
        return Failure::new(ErrorKind::ModelNotFound, message).param(Some("model"));
    }
    let message = match (plan.removed.is_empty() && wanted.pick != Pick::Listed, wanted.pool.is_empty()) {
        (true, true) => "there is no model here that this key may use, so none can be picked".to_owned(),
        (true, false) => "none of the models may be picked: change allowed_models or excluded_models of the plugin auto-router".to_owned(),
        _ => plan.refusal(board),
    };
    Failure::new(ErrorKind::NotFound, message).word("no_endpoints")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_formats::request::RequestScan;

    /// A model with an endpoint that speaks these dialects.
    fn snapshot(dialects: &[&str], quirks: &[&str]) -> Snapshot {
        let list = |words: &[&str]| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(",");
        let bases = Dialect::ALL.map(|dialect| format!("\"{}\":\"http://p.test/v1\"", dialect.name())).join(",");
        let (dialects, quirks) = (list(dialects), list(quirks));
        let endpoint = format!(
            r#"{{"id":1,"provider":"p","upstream_model":"m","dialects":[{dialects}],"quirks":[{quirks}],"price":{{"prompt":1,"completion":1}}}}"#
        );
        let json = format!(
            r#"{{"version":1,"providers":[{{"slug":"p","name":"P","dialects":{{{bases}}}}}],"models":[{{"id":"a/b","endpoints":[{endpoint}]}}]}}"#
        );
        Snapshot::from_json(json.as_bytes()).unwrap()
    }

    fn facts(dialect: Dialect, body: &str) -> Facts {
        let mut scan = RequestScan::new(dialect, 64);
        scan.feed(body.as_bytes()).unwrap();
        scan.finish(&[body.as_bytes()]).unwrap()
    }

    fn check(snapshot: &Snapshot, purpose: Purpose, dialect: Dialect, members: &str, expected: Option<(Way, Dialect, Operation)>) {
        let ask = Ask { purpose, dialect, manner: Manner::Native, address: None, json_array: false, answers: None };
        let facts = facts(dialect, &format!(r#"{{"model":"a/b","messages":[]{members}}}"#));
        let way = best_way(&snapshot.models[0].endpoints[0], Asked::new(&ask, &facts));
        assert_eq!(way, expected, "{purpose:?} {dialect:?} {members}");
    }

    #[test]
    fn the_clients_dialect_goes_first_then_what_keeps_most() {
        use Dialect::{AnthropicMessages, BedrockConverse, GeminiGenerate, OpenaiChat, OpenaiResponses};
        use Operation::{Completions, Embeddings, Generate, Stream};
        use Way::{AsAsked, Reluctant, Translated};
        let both = snapshot(&["gemini_generate", "bedrock_converse"], &[]);
        check(&both, Purpose::Generate, OpenaiChat, "", Some((Translated, GeminiGenerate, Generate)));
        check(&both, Purpose::Generate, AnthropicMessages, r#","max_tokens":1"#, Some((Translated, BedrockConverse, Generate)));
        check(&both, Purpose::Embeddings, OpenaiChat, "", None);
        check(&both, Purpose::Completions, OpenaiChat, "", Some((Translated, GeminiGenerate, Generate)));
        let chat = snapshot(&["openai_chat"], &[]);
        check(&chat, Purpose::Generate, OpenaiChat, r#","stream":true"#, Some((AsAsked, OpenaiChat, Stream)));
        check(&chat, Purpose::Embeddings, OpenaiChat, "", Some((AsAsked, OpenaiChat, Embeddings)));
        check(&chat, Purpose::Completions, OpenaiChat, "", Some((Translated, OpenaiChat, Generate)));
        let native = snapshot(&["openai_chat"], &["native_completions"]);
        check(&native, Purpose::Completions, OpenaiChat, "", Some((AsAsked, OpenaiChat, Completions)));
        let tools = r#","tools":[{"type":"function"}]"#;
        let picky = snapshot(&["openai_chat", "openai_responses"], &["no_thinking_chat_tools"]);
        check(&picky, Purpose::Generate, OpenaiChat, "", Some((AsAsked, OpenaiChat, Generate)));
        check(&picky, Purpose::Generate, OpenaiChat, tools, Some((Translated, OpenaiResponses, Generate)));
        // Where nobody else is left, the provider says itself what it will not take.
        let alone = snapshot(&["openai_chat"], &["no_thinking_chat_tools"]);
        check(&alone, Purpose::Generate, OpenaiChat, tools, Some((Reluctant, OpenaiChat, Generate)));
    }
}
