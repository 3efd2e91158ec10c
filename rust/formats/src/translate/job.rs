//! A request while it is written, for writers in several steps.

use fairlead_ir::{Losses, Param, Request, Severity};

use super::{Bridge, Target};

/// What every step looks at.
pub(crate) struct Job<'j, 'r> {
    pub(crate) request: &'r Request<'r>,
    pub(crate) target: &'j Target<'j>,
    /// The request was read from the target's dialect: nobody's words need translating.
    pub(crate) own: bool,
    pub(crate) losses: &'j mut Losses,
    pub(crate) bridge: &'j mut Bridge,
}

impl<'j, 'r> Job<'j, 'r> {
    pub(crate) fn new(request: &'r Request<'r>, target: &'j Target<'j>, losses: &'j mut Losses, bridge: &'j mut Bridge) -> Job<'j, 'r> {
        Job { request, target, own: request.source == target.dialect, losses, bridge }
    }

    pub(crate) fn lose(&mut self, param: Param, severity: Severity, reason: &'static str) {
        self.losses.param(param, self.request.source, severity, reason);
    }
}
