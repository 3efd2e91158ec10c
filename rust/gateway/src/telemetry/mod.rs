//! Counters, one set per worker, merged when somebody asks. A worker is the only writer of its set, so counting is a load and a store.

mod counters;
mod render;

pub(crate) use counters::Counters;
pub(crate) use render::{Gauges, render};
