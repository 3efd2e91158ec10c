//! Who pays and who is limited: accounts, teams, users and keys by their stable ids. A reload and a change of a key replace what is written
//! about them; what they have spent, what their calls hold back, and how full their buckets are lives on here.
//!
//! After a restart it is read again: what was spent exactly; of rates, what generations that began in the last minute took of them counts as
//! taken just now, so that nobody has a fresh burst.

pub(crate) mod end_users;
pub(crate) mod models;

use arc_swap::ArcSwap;
use end_users::{Before, EndUsers, Remembered, Stranger};
use fairlead_ir::{Interval, NanoUsd};
use fairlead_journal::{Recent, Unapplied};
use fairlead_ledger::Scopes;
use fairlead_ledger::account::{Allowance, Broken, Budget, Spent};
use fairlead_ledger::hold::{Kind, Scope};
use fairlead_limits::{FreeTier, FreeTierLimits, Gate, Rate, RateLimits};
use fairlead_snapshot::wire::{self, BudgetInterval, ScopeKind};
use fairlead_snapshot::{KeyHasher, Settings, SnapshotError};
use foldhash::fast::RandomState;
use models::Models;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One of them.
pub(crate) struct Tenant {
    pub(crate) scope: Arc<Scope>,
    /// Whether there is anything to ask `gate` for.
    is_limited: AtomicBool,
    pub(crate) gate: Gate,
    /// What holds for each of its end users, where it says so.
    end_users: Mutex<Option<Arc<EndUsers>>>,
}

/// What accounts may ask of free models; `None`: that is not limited.
pub(crate) fn free_tier(settings: &Settings) -> Option<FreeTierLimits> {
    settings.free_tier.map(|free| FreeTierLimits {
        requests_per_minute: free.requests_per_minute,
        requests_per_day: free.requests_per_day,
        requests_per_day_with_credits: free.requests_per_day_with_credits,
        credits_threshold: NanoUsd(free.credits_threshold_nanousd),
    })
}

/// Everybody who pays for a key's calls, and whose limits hold for them: account, team, user, key.
pub(crate) struct Chain {
    pub(crate) scopes: Arc<[Arc<Scope>]>,
    tenants: Box<[Arc<Tenant>]>,
}

impl Chain {
    fn of(tenants: Box<[Arc<Tenant>]>) -> Chain {
        Chain { scopes: tenants.iter().map(|tenant| tenant.scope.clone()).collect(), tenants }
    }

    /// The end user's id, where it has limits of its own.
    pub(crate) fn end_user(&self) -> u64 {
        self.scopes.last().filter(|scope| scope.kind == Kind::EndUser).map_or(0, |scope| scope.id)
    }

    /// Those whose rates have to be asked, with their places; with the account, where its free requests have to be.
    pub(crate) fn limited(&self, with_account: bool) -> impl Iterator<Item = (usize, &Tenant)> {
        let tenants = self.tenants.iter().map(Arc::as_ref).enumerate();
        tenants.filter(move |(_, tenant)| tenant.is_limited.load(Ordering::Relaxed) || (with_account && tenant.scope.kind == Kind::Account))
    }

    /// Those at these places, a bit for each.
    pub(crate) fn at_places(&self, places: u8) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().map(Arc::as_ref).enumerate().filter(move |(place, _)| places & 1 << place != 0).map(|(_, tenant)| tenant)
    }
}

impl Tenant {
    fn new(kind: Kind, id: u64) -> Tenant {
        let scope = Arc::new(Scope::new(kind, id));
        Tenant { scope, is_limited: AtomicBool::new(false), gate: Gate::default(), end_users: Mutex::new(None) }
    }

    fn change(&self, limits: &Limits, now_ns: u64) {
        self.scope.books().allow(limits.allowance.clone());
        let mut rates = self.gate.rates();
        rates.limit(&limits.rates, now_ns);
        rates.bought = limits.bought;
        self.is_limited.store(limits.rates.is_limited(), Ordering::Relaxed);
    }

    /// Takes what was taken of its rates before this start.
    fn resume(&self, recent: Recent, now_ns: u64) {
        self.gate.rates().resume(recent.requests, recent.tokens, now_ns);
    }

    fn resume_free(&self, limits: &FreeTierLimits, (day, minute): (u64, u64), now_ms: u64) {
        let mut free = FreeTier::new(limits);
        free.day.charge(day, now_ms);
        free.minute.charge(minute, now_ms.saturating_mul(1_000_000));
        self.gate.rates().free = Some(Box::new(free));
    }

    /// Other limits for its end users; who has none any more forgets them.
    fn change_end_users(&self, limits: Option<(Limits, bool)>) {
        let mut own = self.end_users.lock();
        match limits {
            None => *own = None,
            Some((limits, is_required)) => {
                own.get_or_insert_with(|| Arc::new(EndUsers::new((self.scope.kind, self.scope.id)))).change(limits, is_required);
            }
        }
    }
}

/// What a delta says of a scope, checked.
#[derive(Clone, Default)]
pub(crate) struct Limits {
    allowance: Allowance,
    rates: RateLimits,
    bought: NanoUsd,
}

/// As many calls at a time, requests and tokens per minute as a delta says.
fn rates(
    path: impl Fn(&str) -> String,
    rpm: Option<u64>,
    tpm: Option<u64>,
    places: Option<NonZeroU32>,
) -> Result<RateLimits, SnapshotError> {
    let rate = |name: &str, units: Option<u64>| {
        units.map(Rate::per_minute).transpose().map_err(|error| SnapshotError::new(path(name), format!("{error}")))
    };
    Ok(RateLimits { requests: rate("rpm", rpm)?, tokens: rate("tpm", tpm)?, places })
}

fn budget(budget: &wire::Budget) -> Budget {
    Budget {
        interval: match budget.interval {
            BudgetInterval::Day => Interval::Daily,
            BudgetInterval::Week => Interval::Weekly,
            BudgetInterval::Month => Interval::Monthly,
            BudgetInterval::Total => Interval::Total,
        },
        limit: NanoUsd(budget.limit_nanousd),
        soft: budget.soft,
    }
}

impl Limits {
    fn read(scope: &wire::Scope) -> Result<Limits, SnapshotError> {
        let path = |name: &str| format!("scopes.{}.{}.{name}", kind(scope.kind).name(), scope.id);
        Ok(Limits {
            allowance: Allowance { budgets: scope.budgets.iter().map(budget).collect(), granted: scope.granted_nanousd.map(NanoUsd) },
            rates: rates(path, scope.rpm, scope.tpm, scope.max_concurrency)?,
            bought: NanoUsd(scope.bought_nanousd),
        })
    }

    /// Those of its end users, and whether requests have to name one.
    fn read_end_users(scope: &wire::Scope) -> Result<Option<(Limits, bool)>, SnapshotError> {
        let Some(each) = &scope.end_user else { return Ok(None) };
        let path = |name: &str| format!("scopes.{}.{}.end_user.{name}", kind(scope.kind).name(), scope.id);
        if each.budget.as_ref().is_some_and(|budget| budget.interval == BudgetInterval::Total) {
            return Err(SnapshotError::new(
                path("budget.interval"),
                "end users are not remembered for ever: day, week or month".to_owned(),
            ));
        }
        let allowance = Allowance { budgets: each.budget.iter().map(budget).collect(), granted: None };
        let rates = rates(path, each.rpm, each.tpm, each.max_concurrency)?;
        Ok(Some((Limits { allowance, rates, bought: NanoUsd(0) }, each.required)))
    }
}

fn kind(kind: ScopeKind) -> Kind {
    match kind {
        ScopeKind::Account => Kind::Account,
        ScopeKind::Team => Kind::Team,
        ScopeKind::User => Kind::User,
        ScopeKind::Key => Kind::Key,
    }
}

/// Where a record has the ids of each kind.
const PLACES: [(usize, Kind); 4] =
    [(Scopes::ACCOUNT, Kind::Account), (Scopes::TEAM, Kind::Team), (Scopes::USER, Kind::User), (Scopes::KEY, Kind::Key)];

const SHARDS: usize = 64;

type Chains = HashMap<u64, Arc<Chain>, RandomState>;

/// All of them. Requests find their key's chain without a lock; a delta copies the shards it touches.
pub(crate) struct Tenants {
    chains: [ArcSwap<Chains>; SHARDS],
    known: Mutex<Known>,
    pub(crate) models: Arc<Models>,
    /// Somebody limits their end users.
    limits_end_users: AtomicBool,
    /// What end users had spent before this start who have not been seen since.
    end_users_before: Mutex<Before>,
}

#[derive(Default)]
struct Known {
    tenants: HashMap<(Kind, u64), Arc<Tenant>>,
    /// Those that have limits.
    limited: HashSet<(Kind, u64)>,
    /// Those that limit their end users.
    with_end_users: HashSet<(Kind, u64)>,
}

impl Known {
    fn get(&mut self, kind: Kind, id: u64) -> Arc<Tenant> {
        self.tenants.entry((kind, id)).or_insert_with(|| Arc::new(Tenant::new(kind, id))).clone()
    }
}

impl Default for Tenants {
    fn default() -> Tenants {
        Tenants {
            chains: std::array::from_fn(|_| ArcSwap::from_pointee(Chains::default())),
            known: Mutex::default(),
            models: Arc::new(Models::new()),
            limits_end_users: AtomicBool::new(false),
            end_users_before: Mutex::default(),
        }
    }
}

impl Tenants {
    /// Who pays for this key's calls.
    pub(crate) fn chain(&self, key: u64) -> Option<Arc<Chain>> {
        self.chains[shard_of(key)].load().get(&key).cloned()
    }

    /// Puts a delta in force. Keys that it deletes keep their chains until [`Tenants::forget`].
    ///
    /// # Errors
    /// A limit is none; nothing is changed then.
    pub(crate) fn apply(&self, delta: &wire::KeyDelta, now_ms: u64) -> Result<(), SnapshotError> {
        let changes: Result<Vec<_>, _> = delta
            .scopes
            .iter()
            .map(|scope| Ok(((kind(scope.kind), scope.id), Limits::read(scope)?, Limits::read_end_users(scope)?)))
            .collect();
        let changes = changes?;
        let now_ns = now_ms.saturating_mul(1_000_000);
        let mut known = self.known.lock();
        if delta.replace {
            let listed: HashSet<_> = changes.iter().map(|(id, ..)| *id).collect();
            let gone: Vec<_> = known.limited.difference(&listed).copied().collect();
            for (kind, id) in gone {
                let tenant = known.get(kind, id);
                tenant.change(&Limits::default(), now_ns);
                tenant.change_end_users(None);
                known.limited.remove(&(kind, id));
                known.with_end_users.remove(&(kind, id));
            }
        }
        for ((kind, id), limits, end_users) in changes {
            let tenant = known.get(kind, id);
            tenant.change(&limits, now_ns);
            known.limited.insert((kind, id));
            match end_users {
                Some(_) => known.with_end_users.insert((kind, id)),
                None => known.with_end_users.remove(&(kind, id)),
            };
            tenant.change_end_users(end_users);
        }
        self.limits_end_users.store(!known.with_end_users.is_empty(), Ordering::Relaxed);
        let mut changed: HashMap<usize, Chains> = HashMap::new();
        for key in &delta.upsert {
            let shard = shard_of(key.id);
            let chains = changed.entry(shard).or_insert_with(|| self.chains[shard].load().as_ref().clone());
            chains.insert(key.id, Arc::new(chain(&mut known, key)));
        }
        self.store(changed);
        Ok(())
    }

    /// After the keys are not known any more.
    pub(crate) fn forget(&self, keys: &[u64]) {
        let _known = self.known.lock();
        let mut changed: HashMap<usize, Chains> = HashMap::new();
        for key in keys {
            let shard = shard_of(*key);
            changed.entry(shard).or_insert_with(|| self.chains[shard].load().as_ref().clone()).remove(key);
        }
        self.store(changed);
    }

    /// What was spent and taken before anything was counted here, with what the journal holds beyond it. After the first delta, whose rates it
    /// is taken of, and after the first snapshot.
    pub(crate) fn resume(&self, spending: &wire::Spending, unapplied: &[Unapplied], free_tier: Option<&FreeTierLimits>) {
        let mut sums: HashMap<(Kind, u64), [i64; 4]> = HashMap::new();
        let mut recents: HashMap<(Kind, u64), Recent> = HashMap::new();
        let mut frees: HashMap<u64, (u64, u64)> = HashMap::new();
        for scope in &spending.scopes {
            sums.insert((kind(scope.kind), scope.id), [scope.day, scope.week, scope.month, scope.total]);
        }
        for &wire::ScopeRecent { kind: of, id, requests, tokens } in &spending.recent {
            recents.insert((kind(of), id), Recent { requests, tokens, ..Recent::default() });
        }
        for account in &spending.free {
            frees.insert(account.id, (account.day, account.minute));
        }
        for more in unapplied {
            let Some((_, kind)) = PLACES.into_iter().find(|(place, _)| *place == more.scope) else { continue };
            let recent = recents.entry((kind, more.id)).or_default();
            recent.requests += more.recent.requests;
            recent.tokens = recent.tokens.saturating_add(more.recent.tokens);
            if kind == Kind::Account {
                let (day, minute) = frees.entry(more.id).or_default();
                *day += if more.day_start_ms >= Interval::Daily.start_ms(spending.at_ms) { more.free_requests } else { 0 };
                *minute += more.recent.free_requests;
            }
            let sums = sums.entry((kind, more.id)).or_default();
            for (sum, interval) in sums.iter_mut().zip([Interval::Daily, Interval::Weekly, Interval::Monthly, Interval::Total]) {
                if more.day_start_ms >= interval.start_ms(spending.at_ms) {
                    *sum = sum.saturating_add(more.charged.0);
                }
            }
        }
        self.models.resume(&spending.models, unapplied, spending.at_ms);
        *self.end_users_before.lock() = end_users::before(spending, unapplied);
        let mut known = self.known.lock();
        for ((kind, id), [day, week, month, total]) in sums {
            let spent = Spent::resume([NanoUsd(day), NanoUsd(week), NanoUsd(month)], NanoUsd(total), spending.at_ms);
            known.get(kind, id).scope.books().resume(spent);
        }
        for ((kind, id), recent) in recents {
            known.get(kind, id).resume(recent, spending.at_ms.saturating_mul(1_000_000));
        }
        if let Some(limits) = free_tier {
            for (account, taken) in frees.into_iter().filter(|(_, taken)| *taken != (0, 0)) {
                known.get(Kind::Account, account).resume_free(limits, taken, spending.at_ms);
            }
        }
    }

    /// Who pays for a call of this chain that names `user`: with the end user, where the narrowest of key, user, team and account that says
    /// anything of its end users limits them.
    pub(crate) fn with_end_user(
        &self,
        chain: Arc<Chain>,
        user: Option<&str>,
        (hasher, most): (&KeyHasher, usize),
        now_ms: u64,
    ) -> Result<Arc<Chain>, Stranger> {
        if !self.limits_end_users.load(Ordering::Relaxed) {
            return Ok(chain);
        }
        let Some(of) = chain.tenants.iter().rev().find_map(|tenant| tenant.end_users.lock().clone()) else { return Ok(chain) };
        let known = Remembered { hasher, before: &self.end_users_before };
        Ok(match of.find(user, &known, most, now_ms)? {
            Some(user) => Arc::new(Chain::of(chain.tenants.iter().cloned().chain([user]).collect())),
            None => chain,
        })
    }

    /// Holds everybody's books against the other side of every entry (`reliability.md` 3.2): whose are wrong, and how.
    pub(crate) fn audit(&self, now_ms: u64) -> Vec<(Kind, u64, Broken)> {
        let mut tenants: Vec<Arc<Tenant>> = self.known.lock().tenants.values().cloned().collect();
        let end_users: Vec<_> = tenants.iter().filter_map(|tenant| tenant.end_users.lock().clone()).collect();
        tenants.extend(end_users.iter().flat_map(|of| of.all()));
        let broken = |tenant: &Arc<Tenant>| {
            let broken = tenant.scope.books().audit(now_ms).err()?;
            Some((tenant.scope.kind, tenant.scope.id, broken))
        };
        tenants.iter().filter_map(broken).collect()
    }

    /// How many requests to free models an account has in a day, and how many of them it has made today.
    pub(crate) fn free_requests(&self, account: u64, limits: &FreeTierLimits, now_ms: u64) -> (u64, u64) {
        let Some(tenant) = self.known.lock().tenants.get(&(Kind::Account, account)).cloned() else {
            return (limits.per_day(NanoUsd(0)), 0);
        };
        let rates = tenant.gate.rates();
        (limits.per_day(rates.bought), rates.free.as_ref().map_or(0, |free| free.day.used(now_ms)))
    }

    /// What a scope has spent in the day, the week, the month and in total, and what is reserved.
    pub(crate) fn spending(&self, kind: Kind, id: u64, now_ms: u64) -> [NanoUsd; 5] {
        let Some(tenant) = self.known.lock().tenants.get(&(kind, id)).cloned() else { return [NanoUsd(0); 5] };
        let books = tenant.scope.books();
        let within = |interval| books.spent().within(interval, now_ms);
        [within(Interval::Daily), within(Interval::Weekly), within(Interval::Monthly), within(Interval::Total), books.reserved()]
    }

    fn store(&self, changed: HashMap<usize, Chains>) {
        for (shard, chains) in changed {
            self.chains[shard].store(Arc::new(chains));
        }
    }
}

fn chain(known: &mut Known, key: &wire::Key) -> Chain {
    let payers = [(Kind::Account, key.account), (Kind::Team, key.team), (Kind::User, key.user), (Kind::Key, key.id)];
    let tenants: Box<[Arc<Tenant>]> = payers.into_iter().filter(|(_, id)| *id != 0).map(|(kind, id)| known.get(kind, id)).collect();
    Chain::of(tenants)
}

/// A short name for something that the database has no id for: not to be guessed or hit by whoever does not know the server's secret. Never 0,
/// and an integer of SQL.
fn short_id(hasher: &KeyHasher, parts: &[&[u8]]) -> u64 {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(part);
        text.push(0);
    }
    let hash = hasher.hash(&text);
    u64::from_le_bytes(std::array::from_fn(|at| hash[at])) >> 1 | 1
}

fn shard_of(key: u64) -> usize {
    key as usize % SHARDS
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use fairlead_ledger::Scopes as Places;

    const DAY_MS: u64 = 86_400_000;
    const NOW_MS: u64 = 20_454 * DAY_MS + 12 * 3_600_000;

    #[test]
    fn a_start_takes_what_was_taken_before_by_the_database_and_by_the_journal() {
        let delta = r#"{"epoch":1,"seq":1,"upsert":[{"id":3,"hash":"","account":1,"team":2}],"scopes":[
            {"kind":"account","id":1,"bought_nanousd":10},{"kind":"team","id":2,"tpm":1000},{"kind":"key","id":3,"rpm":10,"tpm":500}]}"#;
        let spending = format!(
            r#"{{"at_ms":{NOW_MS},"scopes":[],"free":[{{"id":1,"day":12,"minute":2}}],"recent":[
                {{"kind":"team","id":2,"requests":9,"tokens":400}},{{"kind":"key","id":3,"requests":4,"tokens":700}}]}}"#
        );
        let unapplied = |scope, id, day_start_ms, free_requests, recent: [u64; 3]| {
            let [requests, tokens, free_requests_of_the_minute] = recent;
            let recent = Recent { requests, tokens, free_requests: free_requests_of_the_minute };
            Unapplied { scope, id, day_start_ms, charged: NanoUsd(0), free_requests, recent }
        };
        let today = NOW_MS - NOW_MS % DAY_MS;
        let journal = [
            unapplied(Places::ACCOUNT, 1, today, 5, [3, 60, 1]),
            unapplied(Places::ACCOUNT, 1, today - DAY_MS, 30, [0; 3]),
            unapplied(Places::TEAM, 2, today, 5, [3, 50, 1]),
            unapplied(Places::KEY, 3, today, 5, [3, 50, 1]),
        ];
        let limits = FreeTierLimits {
            requests_per_minute: NonZeroU32::new(20).unwrap(),
            requests_per_day: 50,
            requests_per_day_with_credits: 1000,
            credits_threshold: NanoUsd(10),
        };
        let tenants = Tenants::default();
        tenants.apply(&serde_json::from_str(delta).unwrap(), NOW_MS).unwrap();
        tenants.resume(&serde_json::from_str(&spending).unwrap(), &journal, Some(&limits));
        let now_ns = NOW_MS * 1_000_000;
        let left = |kind, id| {
            let tenant = tenants.known.lock().get(kind, id);
            let rates = tenant.gate.rates();
            [rates.requests, rates.tokens].map(|bucket| bucket.map(|bucket| (bucket.remaining(now_ns), bucket.debt(now_ns))))
        };
        assert_eq!(left(Kind::Team, 2), [None, Some((550, 0))]);
        assert_eq!(left(Kind::Key, 3), [Some((3, 0)), Some((0, 250))], "a debt is one still");
        assert_eq!(tenants.free_requests(1, &limits, NOW_MS), (1000, 17), "yesterday's are none of today's");
        assert_eq!(tenants.free_requests(1, &limits, NOW_MS + DAY_MS), (1000, 0));
        assert_eq!(tenants.free_requests(9, &limits, NOW_MS), (50, 0));
        let account = tenants.known.lock().get(Kind::Account, 1);
        assert_eq!(account.gate.rates().free.as_ref().unwrap().minute.remaining(now_ns), 17);
    }

    fn hasher() -> KeyHasher {
        KeyHasher::new(b"secret")
    }

    fn apply(tenants: &Tenants, seq: u64, scopes: &str) {
        let delta = format!(r#"{{"epoch":1,"seq":{seq},"upsert":[{{"id":3,"hash":"","account":1,"team":2}}],"scopes":[{scopes}]}}"#);
        tenants.apply(&serde_json::from_str(&delta).unwrap(), NOW_MS).unwrap();
    }

    /// Whose call it is that names `user`; with room for two.
    fn named(tenants: &Tenants, user: Option<&str>, now_ms: u64) -> Result<Arc<Chain>, Stranger> {
        tenants.with_end_user(tenants.chain(3).unwrap(), user, (&hasher(), 2), now_ms)
    }

    #[test]
    fn end_users_are_the_narrowest_ones_that_are_limited() {
        let tenants = Tenants::default();
        apply(&tenants, 1, r#"{"kind":"account","id":1,"rpm":5}"#);
        assert_eq!(named(&tenants, Some("ann"), NOW_MS).unwrap().end_user(), 0, "nobody limits them");
        apply(&tenants, 2, r#"{"kind":"account","id":1,"end_user":{"rpm":5}}"#);
        let of_account = named(&tenants, Some("ann"), NOW_MS).unwrap().end_user();
        apply(&tenants, 3, r#"{"kind":"key","id":3,"end_user":{"rpm":2,"required":true}}"#);
        let of_key = named(&tenants, Some("ann"), NOW_MS).unwrap().end_user();
        assert!(of_account != 0 && of_key != 0 && of_account != of_key);
        assert_eq!(named(&tenants, Some("ann"), NOW_MS).unwrap().end_user(), of_key, "it is the same one");
        assert_ne!(named(&tenants, Some("ben"), NOW_MS).unwrap().end_user(), of_key);
        for nobody in [None, Some("")] {
            assert_eq!(named(&tenants, nobody, NOW_MS).err(), Some(Stranger::Nameless));
        }
        apply(&tenants, 4, r#"{"kind":"key","id":3}"#);
        assert_eq!(named(&tenants, Some("ann"), NOW_MS).unwrap().end_user(), of_account);
        assert_eq!(named(&tenants, None, NOW_MS).unwrap().end_user(), 0);
        let wrong = r#"{"epoch":1,"seq":5,"scopes":[{"kind":"key","id":3,"end_user":{"budget":{"interval":"total","limit_nanousd":1}}}]}"#;
        let error = tenants.apply(&serde_json::from_str(wrong).unwrap(), NOW_MS).unwrap_err();
        assert!(error.to_string().contains("scopes.key.3.end_user.budget.interval"), "{error}");
    }

    #[test]
    fn end_users_are_forgotten_when_nothing_of_them_is_left() {
        let tenants = Tenants::default();
        apply(&tenants, 1, r#"{"kind":"key","id":3,"end_user":{"rpm":2,"budget":{"interval":"day","limit_nanousd":100}}}"#);
        let spend = |user: &str, now_ms: u64| {
            let chain = named(&tenants, Some(user), now_ms)?;
            let held = fairlead_ledger::hold::reserve(&chain.scopes, NanoUsd(60), NanoUsd(60), now_ms);
            Ok::<_, Stranger>(held.map(|held| held.settle(NanoUsd(60), now_ms)).map_err(|shortage| shortage.kind))
        };
        assert_eq!(spend("ann", NOW_MS), Ok(Ok(())));
        assert_eq!(spend("ann", NOW_MS), Ok(Err(Kind::EndUser)), "60 of 100 are spent");
        assert_eq!(spend("ben", NOW_MS), Ok(Ok(())));
        assert_eq!(spend("cleo", NOW_MS), Err(Stranger::TooMany));
        assert_eq!(spend("cleo", NOW_MS + 60_000), Err(Stranger::TooMany));
        // The next day nothing is left to remember of them.
        assert_eq!(spend("cleo", NOW_MS + DAY_MS), Ok(Ok(())));
        assert_eq!(spend("ann", NOW_MS + DAY_MS), Ok(Ok(())));
        assert_eq!(spend("ben", NOW_MS + DAY_MS), Err(Stranger::TooMany));
        assert_eq!(tenants.audit(NOW_MS + DAY_MS), []);
    }

    #[test]
    fn end_users_get_other_limits_with_their_next_request() {
        let tenants = Tenants::default();
        let rpm = |number| apply(&tenants, number, &format!(r#"{{"kind":"key","id":3,"end_user":{{"rpm":{number}}}}}"#));
        for number in [2, 7] {
            rpm(number);
            let chain = named(&tenants, Some("ann"), NOW_MS).unwrap();
            let ann = chain.tenants.last().unwrap();
            assert_eq!(ann.gate.rates().requests.unwrap().remaining(NOW_MS * 1_000_000), number);
        }
    }

    /// Who comes looks at a few of those who are there, not at all of them; in their turns all are looked at.
    #[test]
    fn many_end_users_are_forgotten_in_turns() {
        const MANY: usize = 1000;
        let tenants = Tenants::default();
        apply(&tenants, 1, r#"{"kind":"key","id":3,"end_user":{"rpm":60}}"#);
        let come = |number: usize| {
            let (chain, hasher) = (tenants.chain(3).unwrap(), hasher());
            let user = tenants.with_end_user(chain, Some(&number.to_string()), (&hasher, MANY), NOW_MS)?;
            Ok::<_, Stranger>(user)
        };
        let count = || {
            let key = tenants.known.lock().get(Kind::Key, 3);
            let of = key.end_users.lock().clone().unwrap();
            of.all().len()
        };
        let held: Vec<_> = (0..MANY).map(|number| come(number).unwrap()).collect();
        assert_eq!((count(), come(MANY).err()), (MANY, Some(Stranger::TooMany)), "all are at work");
        drop(held);
        assert!(come(MANY).is_ok());
        assert!((MANY - 64..MANY).contains(&count()), "{} are left: a few were looked at", count());
        (MANY + 1..3 * MANY).for_each(|number| assert!(come(number).is_ok(), "{number}"));
        assert!(count() <= MANY / 2 + 64, "{} are left", count());
    }

    #[test]
    fn a_start_knows_what_end_users_and_models_had_before() {
        let text = r#"{"version":1,"providers":[{"slug":"p","name":"P","dialects":{"openai_chat":"http://127.0.0.1:1/v1"},"auth":{"scheme":"bearer"},
            "keys":[]}],"models":[{"id":"acme/fast","rpm":10,"endpoints":[{"id":1,"provider":"p","upstream_model":"m","price":{"prompt":1,"completion":1}}]}]}"#;
        let snapshot = fairlead_snapshot::Snapshot::from_json(text.as_bytes()).unwrap();
        let tenants = Tenants::default();
        let limits = r#"{"kind":"key","id":3,"end_user":{"rpm":5,"budget":{"interval":"week","limit_nanousd":100}}}"#;
        apply(&tenants, 1, limits);
        tenants.models.apply(&snapshot, &hasher(), NOW_MS).unwrap();
        let id = named(&tenants, Some("ann"), NOW_MS).unwrap().end_user();
        let model = tenants.models.get("acme/fast").unwrap().id;

        // Another process, with the same secret.
        let tenants = Tenants::default();
        apply(&tenants, 1, limits);
        tenants.models.apply(&snapshot, &hasher(), NOW_MS).unwrap();
        let spending = format!(
            r#"{{"at_ms":{NOW_MS},"scopes":[],"models":[{{"model":"acme/fast","requests":2,"tokens":9}},{{"model":"x","requests":9,"tokens":9}}],
                "end_users":[{{"id":{id},"day":1,"week":40,"month":50,"requests":2,"tokens":9}}]}}"#
        );
        let today = NOW_MS - NOW_MS % DAY_MS;
        let recent = Recent { requests: 1, tokens: 5, free_requests: 0 };
        let unapplied = |scope, id| Unapplied { scope, id, day_start_ms: today, charged: NanoUsd(30), free_requests: 0, recent };
        let journal = [unapplied(Places::END_USER, id), unapplied(Places::MODEL, model)];
        tenants.resume(&serde_json::from_str(&spending).unwrap(), &journal, None);
        let chain = named(&tenants, Some("ann"), NOW_MS).unwrap();
        let left = chain.scopes.last().unwrap().books().left(NOW_MS).unwrap();
        assert_eq!((left.amount, left.spent), (NanoUsd(30), NanoUsd(70)));
        let user = chain.tenants.last().unwrap();
        assert_eq!(user.gate.rates().requests.unwrap().remaining(NOW_MS * 1_000_000), 2);
        let model = tenants.models.get("acme/fast").unwrap();
        assert_eq!(model.gate.rates().requests.unwrap().remaining(NOW_MS * 1_000_000), 7);
        assert_eq!(tenants.audit(NOW_MS), []);
        // A reload keeps what was taken, also where the model has no rates for a while and somebody holds it.
        let free = fairlead_snapshot::Snapshot::from_json(br#"{"version":2,"providers":[],"models":[]}"#).unwrap();
        tenants.models.apply(&snapshot, &hasher(), NOW_MS).unwrap();
        assert_eq!(tenants.models.get("acme/fast").unwrap().gate.rates().requests.unwrap().remaining(NOW_MS * 1_000_000), 7);
        let boundless = text.replace(r#""rpm":10,"#, r#""rpm":2000000000000000000,"#);
        let boundless = fairlead_snapshot::Snapshot::from_json(boundless.as_bytes()).unwrap();
        let refused = tenants.models.apply(&boundless, &hasher(), NOW_MS).unwrap_err();
        assert!(refused.to_string().contains("models.acme/fast.rpm"), "{refused}");
        drop(model);
        tenants.models.apply(&free, &hasher(), NOW_MS).unwrap();
        assert!(tenants.models.get("acme/fast").is_none());
    }

    #[test]
    fn a_wrong_number_is_found() {
        let tenants = Tenants::default();
        apply(&tenants, 1, r#"{"kind":"key","id":3,"end_user":{"rpm":5}}"#);
        let chain = named(&tenants, Some("ann"), NOW_MS).unwrap();
        let held = fairlead_ledger::hold::reserve(&chain.scopes, NanoUsd(60), NanoUsd(60), NOW_MS).unwrap();
        assert_eq!(tenants.audit(NOW_MS), []);
        held.settle(NanoUsd(50), NOW_MS);
        assert_eq!(tenants.audit(NOW_MS), []);
        for (at, broken) in [(0, Broken::Reserved), (2, Broken::Spent), (3, Broken::Windows)] {
            let scope = &chain.scopes[at];
            scope.books().falsify(broken);
            assert!(tenants.audit(NOW_MS).contains(&(scope.kind, scope.id, broken)), "{broken:?}");
        }
        assert_eq!(tenants.audit(NOW_MS).len(), 3);
    }
}
