//! A request whose endpoints have no free credential waits for one, in a line in which API keys take turns, until its deadline.

use super::failure::Failure;
use super::intake::Intake;
use super::plan::{Journey, Leg};
use crate::worker::Worker;
use fairlead_formats::request::Facts;
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The first attempt. Waiting is no work of ours, so that the intake's grows by it.
///
/// # Errors
/// No credential became free in time.
pub(crate) async fn first(worker: &Worker, journey: &mut Journey, payer: u64, intake: &mut Intake) -> Result<Leg, Failure> {
    let now = Instant::now();
    // Who comes now does not overtake those who wait for the same.
    if !journey.board().queue().is_waited_for(journey.endpoints())
        && let Some(leg) = journey.first(worker.shared.routing_ms(now.into_std()))
    {
        return Ok(leg);
    }
    // Boxed: the rare case should not make every connection's task larger.
    let leg = Box::pin(wait(worker, journey, payer, now, &intake.facts)).await;
    intake.waited += now.elapsed();
    leg
}

async fn wait(worker: &Worker, journey: &mut Journey, payer: u64, since: Instant, facts: &Facts) -> Result<Leg, Failure> {
    let now_ms = || worker.shared.routing_ms(Instant::now().into_std());
    let most_ms = journey.board().snapshot().settings.timeouts.queue_ms;
    let deadline = since + Duration::from_millis(most_ms);
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
        let called = timeout_at(by_itself, poll_fn(|context| place.poll_called(context))).await.is_ok();
        let is_late = Instant::now() >= deadline || worker.shared.stopping();
        if !called && !is_late {
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
