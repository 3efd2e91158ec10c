//! Where client and provider speak different dialects: the request on its way there, and its reply on the way back.
//!
//! A request whose own dialect the endpoint speaks stays on the byte path, but for five: a Gemini client that wants one JSON array instead of
//! events, a body that holds sealed reasoning of ours, which only we can open, one that a preset wants cache marks in, one in which a preset says
//! how to think or the form of the reply, which endpoints of one dialect say differently, and a chat of `/api/v1` with an endpoint that has other
//! words than OpenRouter.

use super::attempt::hashed_user;
use super::failure::{Failure, shown};
use super::intake::Intake;
use super::preset::Said;
use super::whole::aside;
use super::{Admitted, telling, tier};
use crate::routes::Ask;
use crate::worker::unix_ms;
use bytes::Bytes;
use fairlead_formats::error::{OwnWords, ProviderError};
use fairlead_formats::identity::Identity;
use fairlead_formats::request::{Purpose, Refusal, TierWord};
use fairlead_formats::text;
use fairlead_formats::tool_calls::{Offer, Watch};
use fairlead_formats::translate::dialects::{StreamDecoder, StreamEncoder};
use fairlead_formats::translate::seals::{Keeper, StreamKeeper};
use fairlead_formats::translate::streamed::StreamLosses;
use fairlead_formats::translate::{Bridge, Encoded, Face, Target, Wanted, completions, dialects, say_tier};
use fairlead_ir::block::Maker;
use fairlead_ir::request::Effort;
use fairlead_ir::traits::Traits;
use fairlead_ir::{Dialect, Elsewhere, ErrorKind, Losses, Manner, NanoUsd, Request, Response, Role, StopReason, Text, Tier, Usage};
use fairlead_ledger::settle::Bill;
use fairlead_snapshot::Operation;
use std::sync::Arc;

/// A request in the provider's dialect.
pub(crate) struct Translated {
    pub(crate) body: Bytes,
    pub(crate) losses: Losses,
    /// The credential that the body was written for.
    pub(crate) turn: u32,
    /// What its reply needs; nothing where that passes as it comes.
    pub(crate) back: Option<Box<Back>>,
}

/// What the reply of a translated request needs on its way back.
pub(crate) struct Back {
    upstream: Dialect,
    client: Dialect,
    purpose: Purpose,
    json_array: bool,
    traits: Traits,
    bridge: Arc<Bridge>,
    /// Who seals what the client carries for another dialect.
    sealing: Option<Sealing>,
}

/// Who keeps the state of thoughts, whose it is and for whom.
struct Sealing {
    keeper: Keeper,
    maker: Maker<'static>,
    scope: u64,
}

/// The request as the provider shall get it; `None` where it gets the client's own bytes.
///
/// # Errors
/// The body breaks its dialect, asks for what cannot be said in the provider's, or is strict and would lose something.
pub(crate) async fn request(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Option<Box<Translated>>, Failure> {
    match natively(admitted, ask, intake)? {
        None => Ok(None),
        // Boxed: what passes as it is shall not carry the room for this.
        Some(natively) => Box::pin(written(admitted, ask, intake, natively)).await.map(Some),
    }
}

/// What has to be written anew, and whether it stays in its dialect; `None` passes as it is.
fn natively(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Option<bool>, Failure> {
    let natively = match ask.purpose {
        Purpose::Embeddings | Purpose::CountTokens => return Ok(None),
        Purpose::Completions => admitted.choice.operation == Operation::Completions,
        Purpose::Generate => {
            let is_spoken = admitted.choice.upstream == ask.dialect && ask.reply_dialect() == ask.dialect;
            is_spoken && !has_other_words(admitted, ask, intake)
        }
    };
    if intake.facts.is_threaded && (!natively || ask.manner == Manner::Openrouter) {
        return Err(no_thread());
    }
    if natively && !ask.json_array && !wants_marks(admitted) && !intake.facts.has_tokens() && !says_it_otherwise(admitted, ask, intake) {
        let lost = tier::loss(tier::word(admitted, intake), intake);
        return lost.filter(|_| admitted.is_strict()).map_or(Ok(None), |losses| refuse_losses(admitted, intake, &losses).map(|()| None));
    }
    Ok(Some(natively))
}

async fn written(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake, natively: bool) -> Result<Box<Translated>, Failure> {
    let job = Job::new(admitted, ask, intake)?;
    let (Encoded { body, losses, mut bridge }, maker, turn) = aside(intake.bytes as usize, move || job.run()).await??;
    // A form of reply that the model is given as a tool comes back as a call of it.
    let natively = natively && bridge.format_tool.is_none();
    // Who asks for chat in other words has no way to ask for the figures.
    bridge.include_usage |= ask.reply_dialect() != ask.dialect;
    if admitted.is_strict() {
        refuse_losses(admitted, intake, &losses)?;
    }
    let Admitted { worker, snapshot, principal, choice, .. } = *admitted;
    let back = (!natively || ask.json_array).then(|| {
        let sealing = Sealing { keeper: worker.shared.keeper.clone(), maker, scope: principal.account };
        Box::new(Back {
            upstream: choice.upstream,
            client: ask.reply_dialect(),
            purpose: ask.purpose,
            json_array: ask.json_array,
            traits: choice.endpoint(snapshot).traits,
            bridge: Arc::new(bridge),
            sealing: (!natively).then_some(sealing),
        })
    });
    Ok(Box::new(Translated { body: Bytes::from(body), losses, turn, back }))
}

/// Whether cache marks may have to be put into the body, and the endpoint takes them.
fn wants_marks(admitted: &Admitted<'_>) -> bool {
    let Admitted { snapshot, choice, .. } = *admitted;
    let Traits { cache_control_parts, cache_breakpoints, .. } = choice.endpoint(snapshot).traits;
    choice.automatic_cache && (choice.upstream == Dialect::AnthropicMessages || cache_control_parts || cache_breakpoints)
}

/// Whether a preset has put something into the body that this endpoint says in its own way.
fn says_it_otherwise(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> bool {
    let has_other_words = |said: &Said| said.has_other_words(ask.dialect, admitted.choice.endpoint(admitted.snapshot).traits);
    intake.said.as_deref().is_some_and(has_other_words)
}

/// Whether a client of OpenRouter's chat API would not be understood by the endpoint, or not understand it: in what is said of reasoning, or by lists
/// where it reads texts.
fn has_other_words(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> bool {
    if (ask.manner, ask.dialect) != (Manner::Openrouter, Dialect::OpenaiChat) {
        return false;
    }
    let Traits { openrouter_reasoning, reasoning_in, reasoning_content_in, reasoning_content_required, think_tags, content_lists, .. } =
        admitted.choice.endpoint(admitted.snapshot).traits;
    let endpoint_has = reasoning_in || reasoning_content_in || reasoning_content_required || think_tags;
    content_lists || !openrouter_reasoning && (endpoint_has || intake.facts.has_reasoning_object)
}

/// The provider's own conversations cannot go on where their replies get another form or another id. The word tells Anthropic's SDKs to send
/// the whole conversation from now on, which they do by themselves.
fn no_thread() -> Failure {
    let own = OwnWords { code: Some("thread_unsupported_request".to_owned()), ..OwnWords::default() };
    let message = "\"thread\" is not known here: send the whole conversation without it";
    let failure = Failure::new(ErrorKind::InvalidRequest, message).param(Some("thread")).elsewhere(Elsewhere::Endpoint);
    failure.own(own)
}

/// A translation, with all that it needs, so that it can run anywhere.
struct Job {
    client: Dialect,
    purpose: Purpose,
    body: Bytes,
    stream: bool,
    /// What stands for the end user, where that is not what the client says.
    user: Option<Option<String>>,
    upstream: Dialect,
    upstream_model: Arc<str>,
    traits: Traits,
    efforts: Vec<Effort>,
    max_output_tokens: Option<u64>,
    automatic_cache: bool,
    /// A preset has said how to think, or the form of the reply.
    reworded: bool,
    tier: TierWord,
    keeper: Keeper,
    provider: String,
    /// A name per credential, under which the state of thoughts is known.
    accounts: Arc<[String]>,
    turn: u32,
    /// Others have failed.
    turn_is_bound: bool,
    scope: u64,
}

impl Job {
    fn new(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Job, Failure> {
        let Admitted { worker, snapshot, principal, choice, .. } = *admitted;
        let endpoint = choice.endpoint(snapshot);
        let user = || intake.facts.user.as_deref().map(|user| hashed_user(worker, principal, user));
        let target = choice.target(snapshot).ok_or_else(|| Failure::new(ErrorKind::Internal, "the chosen endpoint has no target"))?;
        Ok(Job {
            client: ask.dialect,
            purpose: ask.purpose,
            body: join(&intake.frames),
            stream: intake.facts.stream,
            user: (ask.manner == Manner::Openrouter).then(user),
            upstream: choice.upstream,
            upstream_model: endpoint.upstream_model.clone(),
            traits: endpoint.traits,
            efforts: endpoint.efforts.clone(),
            max_output_tokens: endpoint.max_completion_tokens.or(choice.model(snapshot).max_completion_tokens),
            automatic_cache: choice.automatic_cache,
            reworded: intake.said.as_deref().is_some_and(Said::has_words_of_endpoints),
            tier: tier::word(admitted, intake),
            keeper: worker.shared.keeper.clone(),
            provider: choice.provider(snapshot).slug.clone(),
            accounts: target.credential_names.clone(),
            turn: admitted.turn.unwrap_or_else(|| worker.turn()),
            turn_is_bound: admitted.turn_is_bound,
            scope: principal.account,
        })
    }

    fn run(&self) -> Result<(Encoded, Maker<'static>, u32), Failure> {
        let mut request = match self.purpose {
            Purpose::Completions => completions::decode_request(&self.body),
            _ => dialects::decode_scanned_request(self.client, &self.body),
        }
        .map_err(refused)?;
        if nobody_speaks(&request) {
            return Err(refused(says_nothing(self.client)));
        }
        // Some dialects say it in the path.
        request.stream = self.stream;
        if let Some(user) = &self.user {
            request.labels.user = user.as_deref().map(text::escape);
        }
        let now_ms = unix_ms();
        let turn = self.turn_of(&request, now_ms);
        let maker = self.maker(turn as usize % self.accounts.len().max(1));
        let mut losses = self.keeper.open(&mut request, &maker, self.scope, now_ms);
        say_tier(&mut request, self.tier, &mut losses);
        let target = Target {
            dialect: self.upstream,
            model: &self.upstream_model,
            traits: self.traits,
            efforts: &self.efforts,
            max_output_tokens: self.max_output_tokens,
            automatic_cache: self.automatic_cache,
            reworded: self.reworded,
            speed: self.tier == TierWord::Asked(Tier::Fast) && self.upstream == Dialect::AnthropicMessages,
        };
        // Another dialect may have words for it.
        let encoded = dialects::encode_request(&request, &target);
        let mut encoded = encoded.map_err(|refusal| refused(refusal).elsewhere(Elsewhere::Endpoint))?;
        losses.append(std::mem::take(&mut encoded.losses));
        encoded.losses = losses;
        Ok((encoded, maker, turn))
    }

    /// Thoughts are bound to the account that made them: the credential that began a loop of tool calls goes on with it.
    fn turn_of(&self, request: &Request<'_>, now_ms: u64) -> u32 {
        if self.accounts.len() < 2 || self.turn_is_bound {
            return self.turn;
        }
        let made_by = self.keeper.maker_of(request, self.scope, now_ms);
        let place = made_by.and_then(|made_by| (0..self.accounts.len()).find(|place| self.maker(*place) == made_by));
        place.map_or(self.turn, |place| place as u32)
    }

    fn maker(&self, place: usize) -> Maker<'static> {
        let owned = |text: &str| text::escape(text).into_owned();
        Maker {
            dialect: self.upstream,
            provider: owned(&self.provider),
            account: owned(self.accounts.get(place).map_or("", String::as_str)),
            model: owned(&self.upstream_model),
        }
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.kind, refusal.message).param(refusal.param)
}

/// Nothing stands in the conversation. Where instructions have a place of their own, they are no part of it.
fn nobody_speaks(request: &Request<'_>) -> bool {
    let apart = matches!(request.source, Dialect::AnthropicMessages | Dialect::GeminiGenerate);
    request.turns.iter().all(|turn| turn.blocks.is_empty() || apart && turn.role == Role::System)
}

/// Every dialect's own provider refuses that; some of another dialect would answer it.
fn says_nothing(client: Dialect) -> Refusal {
    let param = match client {
        Dialect::OpenaiChat | Dialect::AnthropicMessages | Dialect::BedrockConverse => "messages",
        Dialect::OpenaiResponses => "input",
        Dialect::GeminiGenerate => "contents",
    };
    let message = format!("\"{param}\" is empty; send at least one message");
    Refusal { kind: ErrorKind::InvalidRequest, message, param: Some(param.into()) }
}

/// One piece of memory; a body that came as one is not copied.
pub(crate) fn join(frames: &[Bytes]) -> Bytes {
    match frames {
        [only] => only.clone(),
        frames => frames.concat().into(),
    }
}

/// Losses that a strict call is refused for, all of them named.
fn refuse_losses(admitted: &Admitted<'_>, intake: &Intake, losses: &Losses) -> Result<(), Failure> {
    let Some(grave) = grave(losses) else { return Ok(()) };
    let Admitted { snapshot, choice, .. } = *admitted;
    let message = format!(
        "no endpoint of {} takes this strict request whole: {} speaks {}, where this would be lost: {grave}",
        shown(&choice.model(snapshot).id),
        choice.provider(snapshot).name,
        choice.upstream.name(),
    );
    let availability = telling::strict(admitted, &intake.facts);
    Err(Failure::new(ErrorKind::NotFound, message).elsewhere(Elsewhere::Endpoint).unavailable(Some(availability)))
}

/// Refuses a strict call whose presets say what its dialect has no words for: no endpoint would hear of it.
///
/// # Errors
/// As it says.
pub(crate) fn refuse_losses_of_presets(admitted: &Admitted<'_>, intake: &Intake) -> Result<(), Failure> {
    let lost = intake.said.as_deref().filter(|_| admitted.is_strict()).and_then(|said| grave(&said.losses));
    let Some(grave) = lost else { return Ok(()) };
    let message = format!(
        "this strict request would lose what its preset says for it, because {} has no words for it: {grave}",
        admitted.dialect.name()
    );
    Err(Failure::new(ErrorKind::NotFound, message).param(Some("preset")))
}

/// What a strict call does not bear, so many of it named; `None`: nothing.
fn grave(losses: &Losses) -> Option<String> {
    const NAMED: usize = 20;
    let grave: Vec<String> = losses.as_slice().iter().filter(|loss| loss.severity.is_strict_refusal()).map(ToString::to_string).collect();
    let more = match grave.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!grave.is_empty()).then(|| grave[..grave.len().min(NAMED)].join("; ") + &more)
}

impl Back {
    /// Of a stream that stays in its dialect but is written anew.
    pub(crate) fn same(dialect: Dialect, traits: Traits) -> Back {
        let bridge = Arc::default();
        Back { upstream: dialect, client: dialect, purpose: Purpose::Generate, json_array: false, traits, bridge, sealing: None }
    }

    /// Of a stream that passes as it came, and whose end we may have to write. `include_usage`: a chat client asked for it.
    pub(crate) fn shadow(dialect: Dialect, purpose: Purpose, include_usage: bool, traits: Traits) -> Back {
        let mut bridge = Bridge::default();
        bridge.include_usage = include_usage;
        Back { purpose, bridge: Arc::new(bridge), ..Back::same(dialect, traits) }
    }

    /// The dialect of the provider's reply.
    pub(crate) fn upstream(&self) -> Dialect {
        self.upstream
    }

    /// Whether a stream goes out as one JSON array.
    pub(crate) fn is_json_array(&self) -> bool {
        self.json_array
    }

    /// A whole reply as the client shall see it, what was lost of it, and whether its calls of the tools on offer are sound. The bill's usage
    /// stands in for figures that the provider did not give, or that nobody can believe.
    ///
    /// # Errors
    /// It is no reply.
    pub(crate) fn reply(
        &self,
        body: &[u8],
        identity: &Identity,
        bill: &Bill,
        offer: Option<&Offer>,
    ) -> Result<(Vec<u8>, Losses, Option<bool>), ProviderError> {
        let read = dialects::decode_scanned_response(self.upstream, body, &self.traits);
        let mut response = read.map_err(|fault| ProviderError::garbage(&fault.to_string()))?;
        if let Some(failure) = self.untellable(&response) {
            return Err(failure);
        }
        let sound = offer.and_then(|offer| offer.judge_reply(&response, Some(&self.bridge)));
        if let Some(Sealing { keeper, maker, scope }) = &self.sealing {
            keeper.wrap(&mut response, maker, *scope, unix_ms());
            if self.marks_thoughts() {
                keeper.mark(&mut response, maker, *scope);
            }
        }
        response.usage = Some(response.usage.filter(Usage::is_credible).unwrap_or(bill.usage));
        let mut out = Vec::with_capacity(body.len() + 512);
        let losses = self.encode(&response, &Face { identity, bridge: &self.bridge }, bill.charged, &mut out);
        Ok((out, losses, sound))
    }

    /// A failure of the model that the client's dialect has no word for in a reply: a stream ends with an error there.
    fn untellable(&self, response: &Response<'_>) -> Option<ProviderError> {
        let stop = response.choices.first()?.stop.as_ref()?;
        let failed = self.client == Dialect::AnthropicMessages && self.upstream != self.client && stop.reason == StopReason::Failed;
        failed.then(|| {
            ProviderError::in_stream(
                ErrorKind::ProviderUnavailable,
                &Text::word("the model failed to finish its reply"),
                Some(&stop.native),
            )
        })
    }

    fn encode(&self, response: &Response<'_>, face: &Face<'_>, cost: NanoUsd, out: &mut Vec<u8>) -> Losses {
        match self.purpose {
            Purpose::Completions => completions::encode_response(response, face, Some(cost), out),
            _ => dialects::encode_response(self.client, response, face, Some(cost), out),
        }
    }

    /// Whether the client sends thoughts back in a dialect whose own providers know their own: those of others are marked.
    pub(crate) fn marks_thoughts(&self) -> bool {
        self.sealing.is_some() && matches!(self.client, Dialect::AnthropicMessages | Dialect::OpenaiResponses)
    }

    /// What a stream loses on its way, nothing so far.
    pub(crate) fn losses(&self) -> StreamLosses {
        StreamLosses::new(self.upstream, self.client)
    }

    /// What watches the calls of the tools on offer in a stream.
    pub(crate) fn watch(&self, offer: &Arc<Offer>) -> Box<Watch> {
        Box::new(Watch::new(offer.clone(), Some(self.bridge.clone())))
    }

    /// The two ends of a stream, and what is put between them.
    pub(crate) fn stream(&self, identity: Arc<Identity>) -> (StreamDecoder, Option<StreamKeeper>, StreamEncoder) {
        let wanted = Wanted { source: self.upstream, identity, bridge: self.bridge.clone(), json_array: self.json_array };
        let encoder = match self.purpose {
            Purpose::Completions => StreamEncoder::completions(wanted),
            _ => StreamEncoder::new(self.client, wanted),
        };
        let keeper = self.sealing.as_ref().map(|sealing| sealing.keeper.stream(&sealing.maker, sealing.scope));
        (StreamDecoder::new(self.upstream, self.traits), keeper, encoder)
    }
}
