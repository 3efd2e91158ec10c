//! A request whose endpoints have no free credential waits for one, in a line in which API keys take turns, until its deadline.

use super::decided::Waiting;
use super::failure::Failure;
use super::plan::{Journey, Leg};
use crate::routes::Ask;
use crate::worker::Worker;
use fairlead_formats::request::Facts;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The first attempt, if a credential is free. Who comes now does not overtake those who wait for the same.
pub(crate) fn at_once(worker: &Worker, journey: &mut Journey) -> Option<Leg> {
    if journey.board().queue().is_waited_for(journey.endpoints()) {
        return None;
    }
    journey.first(worker.shared.routing_ms(Instant::now().into_std()))
}

/// The first attempt, once a credential has become free. Where it is waited for in vain, the log of decisions says so.
///
/// # Errors
/// None became free in time, or the process stops.
pub(crate) async fn in_line(worker: &Worker, journey: &mut Journey, payer: u64, ask: &Ask, facts: &Facts) -> Result<Leg, Failure> {
    let waiting = Waiting::new(worker, journey.board(), ask, journey.generation);
    let leg = stand_in_line(worker, journey, payer, facts).await?;
    waiting.end_well();
    Ok(leg)
}

async fn stand_in_line(worker: &Worker, journey: &mut Journey, payer: u64, facts: &Facts) -> Result<Leg, Failure> {
    let now_ms = || worker.shared.routing_ms(Instant::now().into_std());
    let most_ms = journey.board().snapshot().settings.timeouts.queue_ms;
    let deadline = Instant::now() + Duration::from_millis(most_ms);
    if journey.wait_ms(now_ms()) >= most_ms {
        return regardless(journey, now_ms(), facts);
    }
    let line = journey.board().queue().clone();
    let Some(place) = line.enter(payer, journey.endpoints().collect()) else { return Err(journey.full(journey.wait_ms(now_ms()), facts)) };
    // What was given back before this one stood in line called nobody.
    line.call_first();
    loop {
        let by_itself = match journey.wait_ms(now_ms()) {
            0 => deadline,
            wait_ms => deadline.min(Instant::now() + Duration::from_millis(wait_ms)),
        };
        let called = poll_fn(|context| if worker.shared.stopping() { Poll::Ready(()) } else { place.poll_called(context) });
        let was_called = timeout_at(by_itself, called).await.is_ok();
        if worker.shared.stopping() {
            return Err(Failure::draining());
        }
        let is_late = Instant::now() >= deadline;
        if !was_called && !is_late {
            // Time has freed a key. It is for whoever is first.
            line.call_first();
            continue;
        }
        if let Some(leg) = journey.first(now_ms()) {
            return Ok(leg);
        }
        if is_late {
            return regardless(journey, now_ms(), facts);
        }
        place.call_next();
    }
}

/// The last resort: what a provider said of its limits may be outdated. What is configured is not.
fn regardless(journey: &mut Journey, now_ms: u64, facts: &Facts) -> Result<Leg, Failure> {
    journey.first_regardless(now_ms).ok_or_else(|| journey.full(journey.wait_ms(now_ms), facts))
}
