//! Service tiers on the way out: what an endpoint is asked for, given what the client asks for and where the request goes.
//!
//! An endpoint that sells tiers is several choices, each at its own price, and the router picks among them. What was picked is what is
//! asked for. Nothing is changed where the client's own words already say so, and on `/v1` where nothing is known of the endpoint's tiers.

use super::Admitted;
use super::intake::Intake;
use fairlead_formats::request::{NoTier, TierWord};
use fairlead_ir::{Dialect, Losses, Manner, Severity, Tier};

/// What becomes of the tier that the client asks for.
pub(crate) fn word(admitted: &Admitted<'_>, intake: &Intake) -> TierWord {
    let asked = intake.facts.tier.filter(|tier| *tier != Tier::Standard);
    match (asked, admitted.choice.asks) {
        (None, None) => TierWord::Kept,
        (Some(asked), Some(asks)) if asked == asks && admitted.choice.upstream == admitted.dialect => TierWord::Kept,
        (_, Some(asks)) => TierWord::Asked(asks),
        (Some(asked), None) if sells(admitted, asked) => TierWord::Removed(NoTier::PassedOver),
        (Some(_), None) if is_unknown_here(admitted, intake) => TierWord::Removed(NoTier::NotSold),
        (Some(_), None) => TierWord::Kept,
    }
}

/// Whether the endpoint could have been asked for the tier.
fn sells(admitted: &Admitted<'_>, asked: Tier) -> bool {
    let Admitted { snapshot, choice, .. } = *admitted;
    let mut tiers = choice.endpoint(snapshot).prices.tiers();
    tiers.any(|tier| tier.is_as_good_as(asked) && tier.word(choice.upstream).is_some())
}

/// Whether the usual tier is meant although another one is asked for: of an endpoint that sells tiers, those are all that it sells.
/// A provider that names its own cost knows best what it sells; so does whoever runs an endpoint that is a tier by itself.
fn is_unknown_here(admitted: &Admitted<'_>, intake: &Intake) -> bool {
    let Admitted { snapshot, choice, manner, .. } = *admitted;
    let sells_tiers = choice.endpoint(snapshot).prices.tiers().next().is_some();
    let is_ours_to_say = manner == Manner::Openrouter || intake.said.as_deref().is_some_and(|said| said.has_tier);
    sells_tiers || is_ours_to_say && !choice.provider(snapshot).reports_cost && !choice.is_a_tier(snapshot)
}

/// The loss of a tier that is taken out of a body that is not translated otherwise.
pub(crate) fn loss(word: TierWord, intake: &Intake) -> Option<Losses> {
    let TierWord::Removed(why) = word else { return None };
    let mut losses = Losses::new();
    let path = match (intake.facts.dialect, intake.facts.tier) {
        (Dialect::AnthropicMessages, Some(Tier::Fast)) => "speed",
        (Dialect::GeminiGenerate, _) => "serviceTier",
        _ => "service_tier",
    };
    losses.at(path.to_owned(), Severity::Changed, why.reason());
    Some(losses)
}
