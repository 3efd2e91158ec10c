//! What a dialect's rules look at beside the body: who asks whom, with which headers, and what the simulator remembers of them.

use crate::Shared;
use crate::ask::Transcript;
use crate::cache::{CacheUse, Policy};
use crate::digest::{Fingerprint, Trail, fingerprint};
use crate::ledger::Dialect;
use crate::plan::Persona;
use crate::request::Request;
use crate::seal::{Broken, Provenance};

/// A request under judgement.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) request: &'a Request,
    pub(crate) dialect: Dialect,
    pub(crate) persona: Persona,
    /// Who asks, see [`account`].
    pub(crate) account: Fingerprint,
}

impl Context<'_> {
    /// Where seals of this call are made. `prefix` is everything before the turn that a seal stands in.
    pub(crate) fn provenance(&self, prefix: Fingerprint) -> Provenance {
        let Persona { model, family } = self.persona;
        let prefix = if family.binds_prefix { prefix } else { 0 };
        Provenance {
            dialect: self.dialect,
            account: self.account,
            model: fingerprint(&format!("{}/{}", model.name(), family.name)),
            prefix,
        }
    }

    /// Whether `seal` is from here, over `text` (`None`: over whatever it was).
    pub(crate) fn check_seal(&self, seal: &str, text: Option<&str>, prefix: Fingerprint) -> Result<(), Broken> {
        self.shared.sealer.check(self.provenance(prefix), seal, text)
    }

    /// What of the prompt is cached; `key` is the caller's own name for the conversation, where the dialect has that.
    pub(crate) fn cache(&self, transcript: &Transcript, policy: Policy, key: &str) -> CacheUse {
        let mut scope = Trail::new();
        scope.text(&format!("{:?} {:016x} {} {}", self.dialect, self.account, self.persona.model.name(), self.persona.family.name));
        scope.text(key);
        let used = self.shared.prompt_cache().visit(scope.fingerprint(), &transcript.boundaries, policy);
        let reports_writes = policy == Policy::Marked || self.persona.family.reports_cache_writes;
        if reports_writes { used } else { CacheUse { read: used.read, ..CacheUse::default() } }
    }
}

/// The account behind a credential: all keys with the same text before the first dot are one account's.
pub(crate) fn account(credential: &str) -> Fingerprint {
    fingerprint(credential.split('.').next().unwrap_or_default())
}
