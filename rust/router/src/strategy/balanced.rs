//! The default: a draw without putting back, in which each endpoint weighs the inverse square of what the request would cost there.

use super::{SHAKY, SOUND, health_group};
use crate::plan::Step;
use crate::random::Draws;

/// What costs less than this is free; a price of nothing would weigh infinitely much, and two of them would not share.
const LEAST_PICO: f64 = 1.0;

pub(super) fn place(steps: &mut [Step], draws: &mut Draws) {
    for step in steps {
        step.group = health_group(step);
        step.weight = step.expected_pico.max(LEAST_PICO).powi(-2);
        // After an outage only a growing share of the requests finds it among the sound ones.
        let share = f64::from(step.pulse.ramp) / f64::from(crate::health::FULL_SHARE);
        if step.group == SOUND && share < 1.0 && draws.unit() > share {
            step.group = SHAKY;
        }
        // Whoever is drawn first has the least of exponential waiting times: by weight, and so are those behind it.
        step.place = -draws.unit().ln() / step.weight;
    }
}
