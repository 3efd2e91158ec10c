//! Which endpoint serves a request. One model, its first endpoint that speaks the client's dialect; fallbacks and balancing will
//! make this a list, and everything after it already takes the choice as given.

use super::failure::{Failure, shown};
use fairlead_formats::request::Facts;
use fairlead_ir::{Dialect, ErrorKind};
use fairlead_snapshot::{Endpoint, Found, Model, Principal, Provider, Snapshot};

/// An endpoint in a snapshot, as indexes, so that it can outlive the borrow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    model: usize,
    endpoint: usize,
}

impl Choice {
    pub(crate) fn model(self, snapshot: &Snapshot) -> &Model {
        &snapshot.models[self.model]
    }

    pub(crate) fn endpoint(self, snapshot: &Snapshot) -> &Endpoint {
        &self.model(snapshot).endpoints[self.endpoint]
    }

    pub(crate) fn provider(self, snapshot: &Snapshot) -> &Provider {
        &snapshot.providers[self.endpoint(snapshot).provider]
    }
}

/// Chooses, or says what stands in the way.
pub(crate) fn choose(snapshot: &Snapshot, principal: &Principal, facts: &Facts, dialect: Dialect) -> Result<Choice, Failure> {
    let Found { model, .. } = snapshot.find(&facts.model).ok_or_else(|| unknown_model(snapshot, &facts.model))?;
    let found = &snapshot.models[model];
    if !principal.may_use(&found.id) {
        let message = format!("this key may not use the model {}", shown(&found.id));
        return Err(Failure::new(ErrorKind::PermissionDenied, message).param(Some("model")));
    }
    match found.endpoints.iter().position(|endpoint| endpoint.target(dialect).is_some()) {
        Some(endpoint) => Ok(Choice { model, endpoint }),
        None => Err(wrong_dialect(found, dialect)),
    }
}

fn unknown_model(snapshot: &Snapshot, name: &str) -> Failure {
    let message = match snapshot.nearest(name) {
        Some(near) => format!("there is no model {}; did you mean \"{near}\"?", shown(name)),
        None => format!("there is no model {}; GET /api/v1/models lists them", shown(name)),
    };
    Failure::new(ErrorKind::ModelNotFound, message).param(Some("model"))
}

fn wrong_dialect(model: &Model, dialect: Dialect) -> Failure {
    let path = match dialect {
        Dialect::AnthropicMessages => "/v1/chat/completions",
        _ => "/v1/messages",
    };
    let spoken =
        Dialect::ALL.iter().any(|other| *other != dialect && model.endpoints.iter().any(|endpoint| endpoint.target(*other).is_some()));
    let hint = if spoken { format!("; call it at {path}") } else { String::new() };
    let message = format!(
        "no endpoint of {} speaks {}, and translation between dialects is not in this version{hint}",
        shown(&model.id),
        dialect.name()
    );
    Failure::new(ErrorKind::ModelNotFound, message).param(Some("model"))
}
