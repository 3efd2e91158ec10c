//! What a call has to do with the log of content: whether it is in there, and what of its reply goes in.

use super::{Call, Hit};
use crate::content::{Asking, Place, Recorder, bounds};
use crate::pipeline::Admitted;
use crate::pipeline::failure::Failure;
use crate::pipeline::intake::Intake;
use crate::pipeline::plan::Journey;
use crate::worker::Worker;
use bytes::Bytes;
use fairlead_formats::content::Form;
use fairlead_formats::request::Purpose;
use fairlead_ir::{Dialect, GenerationId};
use fairlead_snapshot::{Principal, Snapshot};

/// Records the call where its key or the settings say so. A shadow is the operator's own, and is not recorded.
pub(super) fn record(admitted: &Admitted<'_>, journey: &Journey, intake: &Intake) -> Option<Box<Recorder>> {
    let Admitted { worker, snapshot, principal, answers, .. } = *admitted;
    if !is_logged(principal, snapshot) || journey.shadow_of.is_some() {
        return None;
    }
    begin(worker, snapshot, principal, journey.generation, answers, intake)
}

/// Records what was asked for by a request that is answered with this reply, which another one got.
pub(super) fn record_hit(hit: &Hit<'_>, intake: &Intake) {
    let Hit { worker, snapshot, principal, ask, generation, copy, .. } = *hit;
    if !is_logged(principal, snapshot) {
        return;
    }
    let Some(mut recorder) = begin(worker, snapshot, principal, generation, ask.reply_dialect(), intake) else { return };
    if intake.facts.stream && ask.json_array {
        recorder.hears_array();
    }
    // Its figures and its id are other ones there; its words are the same.
    recorder.hear_whole(vec![copy.body.clone()]);
}

fn is_logged(principal: &Principal, snapshot: &Snapshot) -> bool {
    principal.content.unwrap_or(snapshot.settings.content)
}

#[cold]
fn begin(
    worker: &Worker,
    snapshot: &Snapshot,
    principal: &Principal,
    generation: GenerationId,
    answers: Dialect,
    intake: &Intake,
) -> Option<Box<Recorder>> {
    let place = Place {
        account: principal.account,
        key: principal.key,
        generation,
        bounds: bounds(snapshot),
        text_bytes: snapshot.settings.content_text_bytes as usize,
    };
    let purpose = intake.facts.purpose;
    let form = match (purpose, intake.facts.stream) {
        (Purpose::Completions, true) => Form::Completions,
        (Purpose::Completions, false) => Form::WholeCompletion,
        (_, true) => Form::Events(answers),
        (_, false) => Form::Whole(answers),
    };
    let asking = Asking { dialect: intake.facts.dialect, purpose, frames: intake.frames.clone(), form };
    worker.shared.content.get()?.record(place, asking)
}

impl Call {
    /// Bytes of a stream go to the client.
    #[inline]
    pub(crate) fn record_piece(&mut self, bytes: &Bytes) {
        if let Some(recorder) = &mut self.recorder {
            recorder.hear(bytes);
        }
    }

    /// What the client is told in place of a reply, or behind what it has of one.
    pub(crate) fn record_failure(&mut self, failure: &Failure) {
        let Some(mut recorder) = self.recorder.take() else { return };
        let previous = self.previous_errors();
        recorder.fail(&failure.message, failure.status(), &self.provider().name, failure.raw.as_deref(), &previous);
        self.recorder = Some(recorder);
    }
}
