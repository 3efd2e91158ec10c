//! What a caller is told whose money, or whose budget, does not reach for a call.

use crate::pipeline::failure::Failure;
use fairlead_ir::{ErrorKind, Interval, NanoUsd};
use fairlead_ledger::account::Bound;
use fairlead_ledger::hold::Shortage;

/// 402: which bound, how much is left of it, what the call may cost, and the token limit that `fits`.
pub(super) fn refusal(shortage: &Shortage, wanted: NanoUsd, fits: Option<u64>, now_ms: u64) -> Failure {
    let left = shortage.left;
    let whose = shortage.kind.name();
    let (word, bound) = match left.bound {
        Bound::Credit(granted) => {
            ("insufficient_credits", format!("this {whose} has {} of credit left: {} were bought", usd(left.amount), usd(granted)))
        }
        Bound::Budget(budget) => {
            let interval = match budget.interval {
                Interval::Daily => "daily ",
                Interval::Weekly => "weekly ",
                Interval::Monthly => "monthly ",
                Interval::Total => "",
            };
            ("budget_exceeded", format!("this {whose} has {} left of its {interval}limit of {}", usd(left.amount), usd(budget.limit)))
        }
    };
    let held = if left.reserved > NanoUsd(0) {
        format!(", and {} are held for calls that are running", usd(left.reserved))
    } else {
        String::new()
    };
    let advice = match fits {
        Some(tokens) => format!("; max_tokens of {tokens} or less would fit"),
        None => again(left.bound, now_ms),
    };
    let message = format!("{bound} ({} were spent{held}); this call may cost {}{advice}", usd(left.spent), usd(wanted));
    Failure::new(ErrorKind::PaymentRequired, message).word(word)
}

/// What else helps.
fn again(bound: Bound, now_ms: u64) -> String {
    let Bound::Budget(budget) = bound else { return "; buy more credit".to_owned() };
    match budget.interval.end_ms(now_ms) {
        Some(end_ms) => format!("; it begins anew in {}", hours(end_ms.saturating_sub(now_ms))),
        None => "; raise the limit".to_owned(),
    }
}

fn hours(ms: u64) -> String {
    let minutes = ms.div_ceil(60_000);
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h", minutes.div_ceil(60)) }
}

/// An amount for people: exact.
fn usd(amount: NanoUsd) -> String {
    let mut text = Vec::with_capacity(16);
    amount.write(&mut text);
    format!("${}", String::from_utf8_lossy(&text))
}
