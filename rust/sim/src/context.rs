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
    /// Who asks: the key, or what stands for it.
    pub(crate) credential: String,
}

impl Context<'_> {
    /// The account that asks.
    pub(crate) fn account(&self) -> Fingerprint {
        account(&self.credential)
    }

    /// Whether `seal` is from here, over `text` (`None`: over whatever it was).
    pub(crate) fn check_seal(&self, seal: &str, text: Option<&str>, prefix: Fingerprint) -> Result<(), Broken> {
        self.shared.sealer.check(provenance(self.dialect, self.persona, &self.credential, prefix), seal, text)
    }

    /// What of the prompt is cached; `key` is the caller's own name for the conversation, where the dialect has that.
    pub(crate) fn cache(&self, transcript: &Transcript, policy: Policy, key: &str) -> CacheUse {
        let mut scope = Trail::new();
        scope.text(&format!("{:?} {:016x} {} {}", self.dialect, self.account(), self.persona.model.name(), self.persona.family.name));
        scope.text(key);
        let used = self.shared.prompt_cache().visit(scope.fingerprint(), &transcript.boundaries, policy);
        let reports_writes = policy == Policy::Marked || self.persona.family.reports_cache_writes;
        if reports_writes { used } else { CacheUse { read: used.read, ..CacheUse::default() } }
    }
}

/// Where the seals of a call are made. `prefix` is everything before the turn that a seal stands in.
pub(crate) fn provenance(dialect: Dialect, persona: Persona, credential: &str, prefix: Fingerprint) -> Provenance {
    let Persona { model, family } = persona;
    let model = fingerprint(&format!("{}/{}", model.name(), family.name));
    Provenance { dialect, account: account(credential), model, prefix: if family.binds_prefix { prefix } else { 0 } }
}

/// The account behind a credential: all keys with the same text before the first dot are one account's.
pub(crate) fn account(credential: &str) -> Fingerprint {
    fingerprint(credential.split('.').next().unwrap_or_default())
}
