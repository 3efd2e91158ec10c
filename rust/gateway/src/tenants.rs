//! Who pays and who is limited: accounts, teams, users and keys by their stable ids. A reload and a change of a key replace what is written
//! about them; what they have spent, what their calls hold back, and how full their buckets are lives on here.
//!
//! After a restart it is read again: what was spent exactly; of rates, what generations that began in the last minute took of them counts as
//! taken just now, so that nobody has a fresh burst.

use arc_swap::ArcSwap;
use fairlead_ir::{Interval, NanoUsd};
use fairlead_journal::{Recent, Unapplied};
use fairlead_ledger::Scopes;
use fairlead_ledger::account::{Allowance, Budget, Spent};
use fairlead_ledger::hold::{Kind, Scope};
use fairlead_limits::{Bucket, Concurrency, FreeTier, FreeTierLimits, Rate};
use fairlead_snapshot::wire::{self, BudgetInterval, ScopeKind};
use fairlead_snapshot::{Settings, SnapshotError};
use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One of them.
pub(crate) struct Tenant {
    pub(crate) scope: Arc<Scope>,
    /// Whether there is anything to ask `rates` for.
    is_limited: AtomicBool,
    rates: Mutex<Rates>,
}

/// How much of a minute's requests and tokens is left, and how many calls are running.
pub(crate) struct Rates {
    pub(crate) requests: Option<Bucket>,
    pub(crate) tokens: Option<Bucket>,
    /// Never taken away: whoever holds a place gives it back here.
    pub(crate) places: Concurrency,
    /// Of an account that has asked a free model anything, where that is limited.
    pub(crate) free: Option<Box<FreeTier>>,
    /// Of an account: credit ever bought.
    pub(crate) bought: NanoUsd,
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

/// No limit of calls at the same time.
const UNLIMITED: NonZeroU32 = NonZeroU32::MAX;

impl Tenant {
    fn new(kind: Kind, id: u64) -> Tenant {
        let places = Concurrency::new(UNLIMITED);
        let rates = Rates { requests: None, tokens: None, places, free: None, bought: NanoUsd(0) };
        Tenant { scope: Arc::new(Scope::new(kind, id)), is_limited: AtomicBool::new(false), rates: Mutex::new(rates) }
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock()
    }

    fn change(&self, limits: &Limits, now_ns: u64) {
        self.scope.books().allow(limits.allowance.clone());
        let mut rates = self.rates();
        refit(&mut rates.requests, limits.requests, now_ns);
        refit(&mut rates.tokens, limits.tokens, now_ns);
        rates.places.set_limit(limits.places.unwrap_or(UNLIMITED));
        rates.bought = limits.bought;
        let is_limited = limits.requests.is_some() || limits.tokens.is_some() || limits.places.is_some();
        self.is_limited.store(is_limited, Ordering::Relaxed);
    }

    /// Takes what was taken of its rates before this start.
    fn resume(&self, recent: Recent, now_ns: u64) {
        let mut rates = self.rates();
        let Rates { requests, tokens, .. } = &mut *rates;
        for (bucket, units) in [(requests, recent.requests), (tokens, recent.tokens)] {
            if let Some(bucket) = bucket {
                bucket.charge(units, now_ns);
            }
        }
    }

    fn resume_free(&self, limits: &FreeTierLimits, (day, minute): (u64, u64), now_ms: u64) {
        let mut free = FreeTier::new(limits);
        free.day.charge(day, now_ms);
        free.minute.charge(minute, now_ms.saturating_mul(1_000_000));
        self.rates().free = Some(Box::new(free));
    }
}

/// A changed rate keeps what was taken.
fn refit(bucket: &mut Option<Bucket>, rate: Option<Rate>, now_ns: u64) {
    match (&mut *bucket, rate) {
        (Some(bucket), Some(rate)) if bucket.rate() != rate => bucket.change(rate, now_ns),
        (Some(_), Some(_)) => {}
        (_, rate) => *bucket = rate.map(Bucket::new),
    }
}

/// What a delta says of a scope, checked.
#[derive(Default)]
struct Limits {
    allowance: Allowance,
    requests: Option<Rate>,
    tokens: Option<Rate>,
    places: Option<NonZeroU32>,
    bought: NanoUsd,
}

impl Limits {
    fn read(scope: &wire::Scope) -> Result<Limits, SnapshotError> {
        let rate = |name: &str, units: Option<u64>| {
            let wrong = |error| SnapshotError::new(format!("scopes.{}.{}.{name}", kind(scope.kind).name(), scope.id), format!("{error}"));
            units.map(Rate::per_minute).transpose().map_err(wrong)
        };
        let budget = |budget: &wire::Budget| Budget {
            interval: match budget.interval {
                BudgetInterval::Day => Interval::Daily,
                BudgetInterval::Week => Interval::Weekly,
                BudgetInterval::Month => Interval::Monthly,
                BudgetInterval::Total => Interval::Total,
            },
            limit: NanoUsd(budget.limit_nanousd),
            soft: budget.soft,
        };
        Ok(Limits {
            allowance: Allowance { budgets: scope.budgets.iter().map(budget).collect(), granted: scope.granted_nanousd.map(NanoUsd) },
            requests: rate("rpm", scope.rpm)?,
            tokens: rate("tpm", scope.tpm)?,
            places: scope.max_concurrency,
            bought: NanoUsd(scope.bought_nanousd),
        })
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
}

#[derive(Default)]
struct Known {
    tenants: HashMap<(Kind, u64), Arc<Tenant>>,
    /// Those that have limits.
    limited: HashSet<(Kind, u64)>,
}

impl Known {
    fn get(&mut self, kind: Kind, id: u64) -> Arc<Tenant> {
        self.tenants.entry((kind, id)).or_insert_with(|| Arc::new(Tenant::new(kind, id))).clone()
    }
}

impl Default for Tenants {
    fn default() -> Tenants {
        Tenants { chains: std::array::from_fn(|_| ArcSwap::from_pointee(Chains::default())), known: Mutex::default() }
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
        let changes: Result<Vec<_>, _> =
            delta.scopes.iter().map(|scope| Ok(((kind(scope.kind), scope.id), Limits::read(scope)?))).collect();
        let changes = changes?;
        let now_ns = now_ms.saturating_mul(1_000_000);
        let mut known = self.known.lock();
        if delta.replace {
            let listed: HashSet<_> = changes.iter().map(|(id, _)| *id).collect();
            let gone: Vec<_> = known.limited.difference(&listed).copied().collect();
            for (kind, id) in gone {
                known.get(kind, id).change(&Limits::default(), now_ns);
                known.limited.remove(&(kind, id));
            }
        }
        for ((kind, id), limits) in changes {
            known.get(kind, id).change(&limits, now_ns);
            known.limited.insert((kind, id));
        }
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

    /// How many requests to free models an account has in a day, and how many of them it has made today.
    pub(crate) fn free_requests(&self, account: u64, limits: &FreeTierLimits, now_ms: u64) -> (u64, u64) {
        let Some(tenant) = self.known.lock().tenants.get(&(Kind::Account, account)).cloned() else {
            return (limits.per_day(NanoUsd(0)), 0);
        };
        let rates = tenant.rates();
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
    Chain { scopes: tenants.iter().map(|tenant| tenant.scope.clone()).collect(), tenants }
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
            let rates = tenant.rates();
            [rates.requests, rates.tokens].map(|bucket| bucket.map(|bucket| (bucket.remaining(now_ns), bucket.debt(now_ns))))
        };
        assert_eq!(left(Kind::Team, 2), [None, Some((550, 0))]);
        assert_eq!(left(Kind::Key, 3), [Some((3, 0)), Some((0, 250))], "a debt is one still");
        assert_eq!(tenants.free_requests(1, &limits, NOW_MS), (1000, 17), "yesterday's are none of today's");
        assert_eq!(tenants.free_requests(1, &limits, NOW_MS + DAY_MS), (1000, 0));
        assert_eq!(tenants.free_requests(9, &limits, NOW_MS), (50, 0));
        let account = tenants.known.lock().get(Kind::Account, 1);
        assert_eq!(account.rates().free.as_ref().unwrap().minute.remaining(now_ns), 17);
    }
}
