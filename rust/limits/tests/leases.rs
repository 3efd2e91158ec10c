//! Leases: several replicas, one granter, and everything that can be lost between them.

use fairlead_ir::Interval;
use fairlead_limits::{Bucket, Lease, MINUTE_NS, Rate, Refusal, Window};
use proptest::collection::vec;
use proptest::prelude::*;

/// The 21st of November 2026, 19:33:20.
const NOW_NS: u64 = 1_795_289_600_000_000_000;

#[test]
fn a_lease_is_spent_until_it_expires() {
    let mut lease = Lease::default();
    assert_eq!((lease.take(0, 5), lease.take(1, 5)), (Ok(()), Err(Refusal::UntilGiven)));
    assert!(lease.needs_more(1, 5));
    lease.top_up(10, 100, 5);
    assert_eq!((lease.take(7, 99), lease.take(4, 99), lease.remaining(99)), (Ok(()), Err(Refusal::UntilGiven), 3));
    assert!(lease.needs_more(4, 99) && !lease.needs_more(3, 99));
    lease.top_up(5, 200, 99);
    assert_eq!(lease.remaining(150), 8, "news renews what is left");
    assert_eq!((lease.remaining(200), lease.take(1, 200)), (0, Err(Refusal::UntilGiven)));
    assert_eq!((lease.remaining(150), lease.take(1, 150)), (0, Err(Refusal::UntilGiven)), "set back, and expired all the same");
    lease.top_up(2, 300, 210);
    assert_eq!(lease.remaining(250), 2, "what has expired is not renewed");
    lease.top_up(4, 400, 300);
    assert_eq!(lease.remaining(350), 4, "nor is it where nobody has looked since");
    lease.charge(1, 400);
    assert_eq!((lease.debt(), lease.remaining(350)), (1, 0), "and nothing is paid with it");
    assert_eq!((lease.give_back(), lease.give_back(), lease.remaining(350)), (14, 0, 0));
}

#[test]
fn a_lease_settles_what_was_used() {
    let mut lease = Lease::default();
    lease.top_up(10, 100, 0);
    assert_eq!(lease.take(6, 0), Ok(()));
    lease.refund(4);
    assert_eq!(lease.remaining(0), 8);
    lease.refund(9);
    assert_eq!(lease.remaining(0), 10, "never more than was granted");
    lease.charge(13, 0);
    assert_eq!((lease.remaining(0), lease.debt(), lease.take(0, 0)), (0, 3, Err(Refusal::UntilGiven)));
    assert!(lease.needs_more(0, 0));
    lease.top_up(2, 100, 0);
    assert_eq!((lease.remaining(0), lease.debt()), (0, 1));
    lease.refund(2);
    assert_eq!((lease.remaining(0), lease.debt()), (1, 0), "a refund pays the debt first");
    lease.top_up(5, 100, 0);
    assert_eq!((lease.take(6, 0), lease.give_back()), (Ok(()), 0));
    lease.charge(3, 0);
    lease.top_up(5, 100, 0);
    lease.refund(20);
    assert_eq!(lease.remaining(0), 22, "all that was granted, what paid debts included: 10, 2, 5 and 5");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody wants so many units of a replica.
    Take(usize, u64),
    /// Of what was taken, so many were not used.
    Refund(usize, u64),
    /// It asks for so many, and gets what there is, for so many nanoseconds.
    Ask(usize, u64, u64),
    /// The same, and the answer is lost.
    AskInVain(u64),
    GiveBack(usize),
    /// It dies, with what it had, and another one begins.
    Crash(usize),
    /// Its clock is off by so much from now on.
    Clock(usize, u64),
    Wait(u64),
}

const REPLICAS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = || 0..REPLICAS;
    let step = prop_oneof![
        8 => (replica(), 0..8_u64).prop_map(|(replica, n)| Step::Take(replica, n)),
        2 => (replica(), 0..8_u64).prop_map(|(replica, n)| Step::Refund(replica, n)),
        4 => (replica(), 0..40_u64, 0..MINUTE_NS / 2).prop_map(|(replica, n, ttl_ns)| Step::Ask(replica, n, ttl_ns)),
        1 => (0..10_u64).prop_map(Step::AskInVain),
        1 => replica().prop_map(Step::GiveBack),
        1 => replica().prop_map(Step::Crash),
        1 => (replica(), 0..120 * MINUTE_NS).prop_map(|(replica, ahead_ns)| Step::Clock(replica, ahead_ns)),
        2 => (0..MINUTE_NS / 4).prop_map(Step::Wait),
    ];
    vec(step, 1..200)
}

/// A fleet, and what was done with each unit.
struct Fleet {
    leases: [Lease; REPLICAS],
    ahead_ns: [u64; REPLICAS],
    /// Taken and not refunded, by those that live.
    used: [u64; REPLICAS],
    /// The same of those that died.
    used_by_dead: u64,
    /// Granted to them, less what they gave back.
    granted: [u64; REPLICAS],
    now_ns: u64,
}

impl Fleet {
    fn new() -> Fleet {
        let nothing = [0; REPLICAS];
        Fleet { leases: Default::default(), ahead_ns: nothing, used: nothing, used_by_dead: 0, granted: nothing, now_ns: NOW_NS }
    }

    /// One step; `draw` and `refund` are the granter's.
    fn step(&mut self, step: Step, draw: &mut dyn FnMut(u64, u64) -> u64, refund: &mut dyn FnMut(u64)) {
        let clock_ns = |replica: usize| NOW_NS + self.ahead_ns[replica] + (self.now_ns - NOW_NS);
        match step {
            Step::Take(replica, n) => {
                if self.leases[replica].take(n, clock_ns(replica)).is_ok() {
                    self.used[replica] += n;
                }
            }
            Step::Refund(replica, n) => {
                let n = n.min(self.used[replica]);
                self.leases[replica].refund(n);
                self.used[replica] -= n;
            }
            Step::Ask(replica, n, ttl_ns) => {
                let drawn = draw(n, self.now_ns);
                let clock_ns = clock_ns(replica);
                self.leases[replica].top_up(drawn, clock_ns + ttl_ns, clock_ns);
                self.granted[replica] += drawn;
            }
            Step::AskInVain(n) => _ = draw(n, self.now_ns),
            Step::GiveBack(replica) => {
                let back = self.leases[replica].give_back();
                self.granted[replica] -= back;
                refund(back);
            }
            Step::Crash(replica) => {
                self.leases[replica] = Lease::default();
                self.used_by_dead += std::mem::take(&mut self.used[replica]);
                self.granted[replica] = 0;
            }
            Step::Clock(replica, ahead_ns) => self.ahead_ns[replica] = ahead_ns,
            Step::Wait(wait_ns) => self.now_ns += wait_ns,
        }
    }

    fn all_used(&self) -> u64 {
        self.used.iter().sum::<u64>() + self.used_by_dead
    }

    /// No replica used more than it was granted.
    fn is_sound(&self) -> bool {
        self.used.iter().zip(&self.granted).all(|(used, granted)| used <= granted)
    }
}

proptest! {
    /// A day's limit: never more than it in all, and without crashes every unit of it can be used in the end.
    #[test]
    fn replicas_together_stay_within_a_window(limit in 0..200_u64, steps in steps(), with_losses: bool) {
        let (mut whole, mut fleet) = (Window::new(Interval::Daily, limit), Fleet::new());
        let day_ms = Interval::Daily.start_ms(NOW_NS / 1_000_000);
        let whole = std::cell::RefCell::new(&mut whole);
        for step in steps {
            let lossy = matches!(step, Step::Crash(_) | Step::AskInVain(_));
            // The clocks of replicas may be anywhere; the granter's stays within its day.
            if (lossy && !with_losses) || matches!(step, Step::Wait(_)) {
                continue;
            }
            fleet.step(step, &mut |n, now_ns| whole.borrow_mut().draw(n, now_ns / 1_000_000), &mut |n| whole.borrow_mut().refund(n, day_ms));
            prop_assert!(fleet.all_used() <= limit && fleet.is_sound());
        }
        if !with_losses {
            for replica in 0..REPLICAS {
                fleet.step(Step::GiveBack(replica), &mut |_, _| 0, &mut |n| whole.borrow_mut().refund(n, day_ms));
            }
            prop_assert_eq!(fleet.all_used() + whole.borrow().remaining(NOW_NS / 1_000_000), limit);
        }
    }

    /// A rate: never more than the burst and what came in the time, whatever was lost.
    #[test]
    fn replicas_together_stay_within_a_rate(units in 1..100_u64, burst in 1..100_u64, steps in steps()) {
        let Ok(rate) = Rate::per_minute(units).and_then(|rate| rate.with_burst(burst)) else { return Ok(()) };
        let (mut whole, mut fleet) = (Bucket::new(rate), Fleet::new());
        let whole = std::cell::RefCell::new(&mut whole);
        for step in steps {
            // What is given back after the bucket has refilled is not there twice: a refund stops at the burst.
            fleet.step(step, &mut |n, now_ns| whole.borrow_mut().draw(n, now_ns), &mut |n| whole.borrow_mut().refund(n));
            let most = u128::from(burst) * u128::from(MINUTE_NS) + u128::from(fleet.now_ns - NOW_NS) * u128::from(units);
            prop_assert!(u128::from(fleet.all_used()) * u128::from(MINUTE_NS) <= most && fleet.is_sound());
        }
    }
}
