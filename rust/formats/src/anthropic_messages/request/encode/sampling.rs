//! How tokens are chosen: little of it is left on newer models.

use fairlead_ir::{Param, Severity, Text};

use super::Job;
use crate::text::is_blank;
use crate::translate::sampling::{lose_unknown, number};
use crate::write::Object;

/// Writes what the model takes; `thinks` leaves less.
pub(super) fn write(job: &mut Job<'_, '_>, thinks: bool, body: &mut Object<'_>) {
    write_temperature(job, thinks, body);
    write_top_p(job, thinks, body);
    if let Some(top_k) = &job.request.sampling.top_k {
        match () {
            () if job.target.traits.no_sampling => refuse(job, Param::TopK),
            () if thinks => job.lose(Param::TopK, Severity::Dropped, WHILE_THINKING),
            () => {
                body.raw("top_k", top_k.as_bytes());
            }
        }
    }
    write_stop(job, body);
    lose_unknown(job, "this provider's models do not know it");
}

const WHILE_THINKING: &str = "the model does not take it while it thinks";

fn refuse(job: &mut Job<'_, '_>, param: Param) {
    job.lose(param, Severity::Dropped, "the model does not take sampling parameters");
}

fn write_temperature(job: &mut Job<'_, '_>, thinks: bool, body: &mut Object<'_>) {
    let Some(raw) = &job.request.sampling.temperature else { return };
    let degrees = number(raw);
    match () {
        () if job.target.traits.no_sampling => refuse(job, Param::Temperature),
        () if thinks && degrees != 1.0 => job.lose(Param::Temperature, Severity::Dropped, WHILE_THINKING),
        () if degrees > 1.0 => {
            job.lose(Param::Temperature, Severity::Changed, "the highest temperature is 1");
            body.raw("temperature", b"1");
        }
        () => {
            body.raw("temperature", raw.as_bytes());
        }
    }
}

fn write_top_p(job: &mut Job<'_, '_>, thinks: bool, body: &mut Object<'_>) {
    const LEAST_WHILE_THINKING: f64 = 0.95;
    let Some(raw) = &job.request.sampling.top_p else { return };
    let share = number(raw);
    match () {
        // All of it is what is taken anyway; many callers say so.
        () if share == 1.0 && !job.own => {}
        () if job.target.traits.no_sampling => refuse(job, Param::TopP),
        () if thinks && share < LEAST_WHILE_THINKING => job.lose(Param::TopP, Severity::Dropped, WHILE_THINKING),
        () if job.request.sampling.temperature.is_some() && !job.own => {
            job.lose(Param::TopP, Severity::Dropped, "the model takes either this or a temperature");
        }
        () => {
            body.raw("top_p", raw.as_bytes());
        }
    }
}

fn write_stop(job: &mut Job<'_, '_>, body: &mut Object<'_>) {
    let stop = &job.request.sampling.stop;
    if stop.is_empty() {
        return;
    }
    if job.target.traits.no_stop {
        return job.lose(Param::Stop, Severity::Dropped, "the model knows no stop sequences");
    }
    let usable: Vec<&Text<'_>> = stop.iter().filter(|text| !is_blank(text)).collect();
    if usable.len() < stop.len() {
        job.lose(Param::Stop, Severity::Dropped, "stop sequences of white space are not taken");
    }
    if !usable.is_empty() {
        body.array("stop_sequences", |list| {
            usable.into_iter().for_each(|text| {
                list.escaped(text);
            });
        });
    }
}
