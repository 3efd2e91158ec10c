//! A request on its way to one endpoint: what it goes on from put before it, written in the provider's dialect, its head made.

use super::attempt::Attempting;
use super::call::Call;
use super::failover::Standby;
use super::failure::Failure;
use super::intake::Intake;
use super::stateful::{self, Keeping, Resumed};
use super::translate::{self, Translated};
use super::{Admitted, Ask, Sending, Way, tier};
use fairlead_ir::{Dialect, Losses};
use tokio::time::Instant;

/// A request that an endpoint can be sent.
pub(crate) struct Prepared {
    /// Where it goes on from a conversation that is kept here. Boxed, as the other: most requests have neither.
    resumed: Option<Box<Resumed>>,
    translated: Option<Box<Translated>>,
}

/// The same with its head: an attempt, and what is to be known of it.
pub(crate) struct Ready {
    pub(crate) attempting: Attempting,
    pub(crate) entry: Entry,
}

/// What is to be known of an attempt once it is the call's.
pub(crate) struct Entry {
    way: Way,
    losses: Losses,
    keeping: Option<Box<Keeping>>,
    upstream: Dialect,
}

impl Prepared {
    /// Makes it for the endpoint that is chosen.
    ///
    /// # Errors
    /// The request is wrong, or cannot be said to this endpoint: then [`Failure::elsewhere`] tells so.
    pub(crate) async fn make(admitted: &Admitted<'_>, ask: &Ask, intake: &Intake) -> Result<Prepared, Failure> {
        translate::refuse_losses_of_presets(admitted, intake)?;
        let resumed = stateful::resume(admitted, ask, intake).await?;
        let translated = translate::request(admitted, ask, resumed.as_ref().map_or(intake, |resumed| &resumed.intake)).await?;
        Ok(Prepared { resumed, translated })
    }

    /// What is sent, and reserved for.
    pub(crate) fn intake<'a>(&'a mut self, original: &'a mut Intake) -> &'a mut Intake {
        self.resumed.as_mut().map_or(original, |resumed| &mut resumed.intake)
    }

    pub(crate) fn ready(self, admitted: &Admitted<'_>, ask: &Ask, original: &Intake, now: Instant) -> Result<Ready, Failure> {
        let Prepared { resumed, translated } = self;
        let intake = resumed.as_ref().map_or(original, |resumed| &resumed.intake);
        let attempting = Attempting::prepare(admitted, intake, translated.as_deref(), now)?;
        let withhold_usage = intake.facts.withhold_usage(ask.manner);
        let as_it_is = || (tier::loss(tier::word(admitted, intake), intake).unwrap_or_default(), None);
        let (mut losses, back) = translated.map_or_else(as_it_is, |translated| (translated.losses, translated.back));
        if let Some(said) = &original.said {
            losses.append(said.losses.clone());
        }
        let way = back.map_or(Way::Bytes { purpose: ask.purpose, withhold_usage }, Way::Translated);
        let keeping = resumed.and_then(|resumed| resumed.keeping);
        Ok(Ready { attempting, entry: Entry { way, losses, keeping, upstream: admitted.choice.upstream } })
    }
}

impl Ready {
    /// It is the call's attempt now; after it `standby` may follow.
    pub(crate) fn begin(self, call: &mut Call, standby: Option<Box<Standby>>) -> Sending {
        call.set_may_change_model(standby.as_ref().is_some_and(|standby| standby.leads_to_another_model()));
        let way = self.entry.enter(call);
        Sending { attempting: self.attempting, way, standby }
    }
}

impl Entry {
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// How the attempt's reply reaches the client.
    pub(crate) fn enter(self, call: &mut Call) -> Way {
        let Entry { way, losses, keeping, upstream } = self;
        if let Some(keeping) = keeping {
            call.keep(keeping);
        }
        call.note_upstream_dialect(upstream);
        call.note_losses(&losses);
        way
    }
}
