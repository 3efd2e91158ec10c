//! What a call has to do with the log of content: whether it is in there, and what of its reply goes in.

use super::Call;
use crate::content::{Asking, Place, Recorder, bounds};
use crate::pipeline::Admitted;
use crate::pipeline::failure::Failure;
use crate::pipeline::intake::Intake;
use crate::pipeline::plan::Journey;
use bytes::Bytes;
use fairlead_formats::content::Form;
use fairlead_formats::request::Purpose;

/// Records the call where its key or the settings say so. A shadow is the operator's own, and is not recorded.
pub(super) fn record(admitted: &Admitted<'_>, journey: &Journey, intake: &Intake) -> Option<Box<Recorder>> {
    let Admitted { snapshot, principal, .. } = *admitted;
    if !principal.content.unwrap_or(snapshot.settings.content) {
        return None;
    }
    begin(admitted, journey, intake)
}

#[cold]
fn begin(admitted: &Admitted<'_>, journey: &Journey, intake: &Intake) -> Option<Box<Recorder>> {
    let Admitted { worker, snapshot, principal, answers, .. } = *admitted;
    let content = worker.shared.content.get().filter(|_| journey.shadow_of.is_none())?;
    let place = Place {
        account: principal.account,
        key: principal.key,
        generation: journey.generation,
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
    content.record(place, Asking { dialect: intake.facts.dialect, purpose, frames: intake.frames.clone(), form })
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
