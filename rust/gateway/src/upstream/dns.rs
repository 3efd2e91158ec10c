//! Host names to addresses: the system's resolver, remembered for half a minute, stale answers while it is slow or fails.
//!
//! The resolver blocks, for as long as its servers are silent. Each look-up has a thread of its own, so that nothing else waits with it,
//! and each name one look-up at a time, which all who want the name wait for: a name that hangs takes one place and no more.

use super::connection::ConnectError;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// How long an older one is used at once, while the next look-up runs behind it. Then that one gets a moment first: by now the addresses
/// may well be someone else's.
const TRUSTED: Duration = Duration::from_secs(600);
const MOMENT: Duration = Duration::from_millis(250);

/// Between the end of a look-up and the next, whatever came of it.
const PAUSE: Duration = Duration::from_secs(1);

/// Most names remembered; origins come from configuration, so this is a safety net.
const NAMES: usize = 1024;

/// Names that a worker looks up at one time. A thread that waits for the system costs little, and a name without a place fails with those
/// that hang.
const LOOK_UPS: usize = 32;

/// What a look-up finds.
type Found = io::Result<Vec<SocketAddr>>;

/// Begins a look-up.
type LookUp = Rc<dyn Fn(String) -> io::Result<oneshot::Receiver<Found>>>;

/// A worker's memory of names.
pub(crate) struct Resolver {
    names: RefCell<HashMap<String, Rc<Name>>>,
    places: Rc<Semaphore>,
    look_up: LookUp,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::asking(Rc::new(|host| on_a_thread(host, ask_the_system)))
    }
}

impl Resolver {
    fn asking(look_up: LookUp) -> Resolver {
        Resolver { names: RefCell::default(), places: Rc::new(Semaphore::new(LOOK_UPS)), look_up }
    }

    /// The addresses of a host, families taking turns (RFC 8305's order without the race), never empty.
    pub(crate) async fn resolve(&self, host: &str, port: u16, wait: Duration) -> Result<Rc<[SocketAddr]>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(address, port)]));
        }
        let name = self.name(host);
        self.renew(host, &name);
        let wait = if name.is_known() { wait.min(MOMENT) } else { wait };
        let outcome = timeout(wait, name.outcome()).await.unwrap_or_else(|_| name.last_known());
        outcome.map(|addresses| with_port(&addresses, port))
    }

    /// Asks again soon; what is known serves until there is something newer.
    pub(crate) fn forget(&self, host: &str) {
        let name = self.names.borrow().get(host).cloned();
        if let Some(name) = name {
            name.doubt();
            self.renew(host, &name);
        }
    }

    fn name(&self, host: &str) -> Rc<Name> {
        let mut names = self.names.borrow_mut();
        if let Some(name) = names.get(host) {
            return name.clone();
        }
        if names.len() >= NAMES {
            names.clear();
        }
        names.entry(host.to_owned()).or_default().clone()
    }

    /// Begins a look-up where one is due. It runs to its end, whoever waits for it.
    fn renew(&self, host: &str, name: &Rc<Name>) {
        if !name.begin() {
            return;
        }
        let (host, name, places, look_up) = (host.to_owned(), name.clone(), self.places.clone(), self.look_up.clone());
        spawn_local(async move {
            // Kept until the system has answered. The places are never closed.
            let _place = places.acquire().await;
            let found = match look_up(host) {
                Ok(answered) => answered.await.unwrap_or_else(|lost| Err(io::Error::other(lost))),
                Err(error) => Err(error),
            };
            name.settle(found);
        });
    }
}

/// What is known of a name.
#[derive(Default)]
struct Name {
    state: RefCell<State>,
    /// Rung when a look-up ends.
    settled: Notify,
}

#[derive(Default)]
struct State {
    /// The last addresses that were found, and when.
    addresses: Option<(Rc<[SocketAddr]>, Instant)>,
    /// Why the last look-up found none.
    failure: String,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    New,
    Asking,
    Settled {
        at: Instant,
        lasts: Duration,
    },
}

impl Name {
    /// Whether a look-up shall begin; from now on it counts as under way.
    fn begin(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let is_due = match state.stage {
            Stage::New => true,
            Stage::Asking => false,
            Stage::Settled { at, lasts } => at.elapsed() >= lasts,
        };
        if is_due {
            state.stage = Stage::Asking;
        }
        is_due
    }

    fn settle(&self, found: Found) {
        let ordered = found.map_err(|error| error.to_string()).map(interleave);
        let mut state = self.state.borrow_mut();
        let at = Instant::now();
        let lasts = match ordered {
            Ok(addresses) if !addresses.is_empty() => {
                state.addresses = Some((addresses.into(), at));
                FRESH
            }
            empty => {
                state.failure = empty.err().unwrap_or_else(|| "no address".to_owned());
                PAUSE
            }
        };
        state.stage = Stage::Settled { at, lasts };
        self.settled.notify_waiters();
    }

    /// Nobody answers at its addresses.
    fn doubt(&self) {
        if let Stage::Settled { lasts, .. } = &mut self.state.borrow_mut().stage {
            *lasts = PAUSE;
        }
    }

    fn is_known(&self) -> bool {
        self.state.borrow().addresses.is_some()
    }

    /// What can be said at once, or when the look-up has ended.
    async fn outcome(&self) -> Result<Rc<[SocketAddr]>, ConnectError> {
        loop {
            let settled = self.settled.notified();
            if let Some(outcome) = self.state.borrow().outcome() {
                return outcome;
            }
            settled.await;
        }
    }

    /// What is left to whoever has waited long enough.
    fn last_known(&self) -> Result<Rc<[SocketAddr]>, ConnectError> {
        let state = self.state.borrow();
        state.addresses.as_ref().map(|(addresses, _)| addresses.clone()).ok_or(ConnectError::Timeout("resolving its host name"))
    }
}

impl State {
    fn outcome(&self) -> Option<Result<Rc<[SocketAddr]>, ConnectError>> {
        let is_asking = !matches!(self.stage, Stage::Settled { .. });
        match &self.addresses {
            Some((addresses, found_at)) if !is_asking || found_at.elapsed() < TRUSTED => Some(Ok(addresses.clone())),
            None if !is_asking => Some(Err(ConnectError::Resolve(self.failure.clone()))),
            _ => None,
        }
    }
}

fn ask_the_system(host: &str) -> Found {
    (host, 0).to_socket_addrs().map(Iterator::collect)
}

fn on_a_thread(host: String, look_up: fn(&str) -> Found) -> io::Result<oneshot::Receiver<Found>> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().name("fl-names".to_owned()).spawn(move || {
        // Who asked may be gone with its runtime.
        let _ = answer.send(look_up(&host));
    })?;
    Ok(answered)
}

/// IPv6 and IPv4 in turn, each family in the resolver's order.
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (sixes, fours): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv6);
    let (mut sixes, mut fours) = (sixes.into_iter(), fours.into_iter());
    let mut ordered = Vec::new();
    loop {
        let before = ordered.len();
        ordered.extend(sixes.next());
        ordered.extend(fours.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

fn with_port(addresses: &[SocketAddr], port: u16) -> Rc<[SocketAddr]> {
    let at_port = |mut address: SocketAddr| {
        address.set_port(port);
        address
    };
    addresses.iter().copied().map(at_port).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::Barrier;
    use tokio::task::{JoinHandle, yield_now};
    use tokio::time::advance;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addresses(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1"]);
        assert_eq!(interleave(found), addresses(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]));
    }

    const WAIT: Duration = Duration::from_secs(3);

    /// A resolver whose system is the test. The clock stands still; it moves to the next timer when nothing else is to do.
    struct House {
        resolver: Rc<Resolver>,
        asked: Asked,
    }

    /// Look-ups that have no answer yet, the oldest first.
    type Asked = Rc<RefCell<Vec<(String, oneshot::Sender<Found>)>>>;

    impl House {
        fn run(test: impl AsyncFnOnce(House)) {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build_local(Default::default()).unwrap();
            let asked = Asked::default();
            let noted = asked.clone();
            let resolver = Resolver::asking(Rc::new(move |host| {
                let (answer, answered) = oneshot::channel();
                noted.borrow_mut().push((host, answer));
                Ok(answered)
            }));
            runtime.block_on(test(House { resolver: Rc::new(resolver), asked }));
        }

        /// Somebody who wants a name, and has begun to wait for it.
        async fn want(&self, host: &str) -> JoinHandle<Result<String, String>> {
            let (resolver, host) = (self.resolver.clone(), host.to_owned());
            let wanting = spawn_local(async move {
                let found = resolver.resolve(&host, 443, WAIT).await.map_err(|error| error.to_string())?;
                Ok(found.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" "))
            });
            self.settle().await;
            wanting
        }

        /// Lets every task go as far as it can.
        async fn settle(&self) {
            for _ in 0..4 {
                yield_now().await;
            }
        }

        /// Names whose look-ups have no answer yet.
        fn open(&self) -> Vec<String> {
            self.asked.borrow().iter().map(|(host, _)| host.clone()).collect()
        }

        /// The system answers the oldest look-up of a name.
        async fn answer(&self, host: &str, found: Result<&str, &str>) {
            let at = self.open().iter().position(|open| open == host).unwrap();
            let (_, answer) = self.asked.borrow_mut().remove(at);
            let found = found.map(|address| vec![SocketAddr::new(address.parse().unwrap(), 0)]).map_err(io::Error::other);
            answer.send(found).unwrap();
            self.settle().await;
        }

        /// The name is known, since now.
        async fn know(&self, host: &str, address: &str) {
            let wanting = self.want(host).await;
            self.answer(host, Ok(address)).await;
            assert_eq!(wanting.await.unwrap(), at(address));
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what is found")]
    fn at(address: &str) -> Result<String, String> {
        Ok(format!("{address}:443"))
    }

    fn out_of_time() -> Result<String, String> {
        Err("resolving its host name took too long".to_owned())
    }

    fn unknown() -> Result<String, String> {
        Err("its host name cannot be resolved: unknown".to_owned())
    }

    #[test]
    fn a_name_that_hangs_takes_one_place() {
        House::run(async |house| {
            let mut hanging = Vec::new();
            for _ in 0..2 * LOOK_UPS {
                hanging.push(house.want("hangs.test").await);
            }
            assert_eq!(house.open(), ["hangs.test"]);
            house.know("well.test", "1.1.1.1").await;
            for wanting in hanging {
                assert_eq!(wanting.await.unwrap(), out_of_time());
            }
            // Nobody waits for it any more, and it is still the only one.
            let late = house.want("hangs.test").await;
            assert_eq!(house.open(), ["hangs.test"]);
            house.answer("hangs.test", Ok("2.2.2.2")).await;
            assert_eq!(late.await.unwrap(), at("2.2.2.2"));
        });
    }

    #[test]
    fn all_who_wait_get_the_answer() {
        for (found, expected) in [(Ok("1.1.1.1"), at("1.1.1.1")), (Err("unknown"), unknown())] {
            House::run(async |house| {
                let wanting = [house.want("a.test").await, house.want("a.test").await, house.want("a.test").await];
                house.answer("a.test", found).await;
                for wanting in wanting {
                    assert_eq!(wanting.await.unwrap(), expected);
                }
                assert!(house.open().is_empty());
            });
        }
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        House::run(async |house| {
            let wanting = house.want("a.test").await;
            house.answer("a.test", Err("unknown")).await;
            assert_eq!(wanting.await.unwrap(), unknown());
            advance(PAUSE - Duration::from_millis(2)).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), unknown());
            assert!(house.open().is_empty());
            advance(Duration::from_millis(2)).await;
            house.know("a.test", "1.1.1.1").await;
        });
    }

    #[test]
    fn an_answer_serves_while_it_is_renewed() {
        House::run(async |house| {
            house.know("a.test", "1.1.1.1").await;
            advance(FRESH - Duration::from_millis(2)).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), at("1.1.1.1"));
            assert!(house.open().is_empty());
            advance(Duration::from_millis(2)).await;
            for _ in 0..3 {
                let before = Instant::now();
                assert_eq!(house.want("a.test").await.await.unwrap(), at("1.1.1.1"));
                assert_eq!((before.elapsed(), house.open()), (Duration::ZERO, vec!["a.test".to_owned()]));
            }
            // A failure leaves what is known.
            house.answer("a.test", Err("unknown")).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), at("1.1.1.1"));
            assert!(house.open().is_empty());
            advance(PAUSE).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), at("1.1.1.1"));
            house.answer("a.test", Ok("2.2.2.2")).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), at("2.2.2.2"));
            assert!(house.open().is_empty());
        });
    }

    #[test]
    fn an_old_answer_waits_a_moment_for_a_new_one() {
        for (found, expected) in [(Some(Ok("2.2.2.2")), "2.2.2.2"), (Some(Err("unknown")), "1.1.1.1"), (None, "1.1.1.1")] {
            House::run(async |house| {
                house.know("a.test", "1.1.1.1").await;
                advance(TRUSTED).await;
                let before = Instant::now();
                let wanting = house.want("a.test").await;
                if let Some(found) = found {
                    house.answer("a.test", found).await;
                }
                assert_eq!(wanting.await.unwrap(), at(expected));
                assert!(before.elapsed() <= MOMENT + Duration::from_millis(1), "{:?}", before.elapsed());
            });
        }
    }

    /// What cannot be reached is asked for again, once a second at most, and serves until there is an answer.
    #[test]
    fn unreachable_addresses_are_renewed() {
        House::run(async |house| {
            house.know("a.test", "1.1.1.1").await;
            house.resolver.forget("a.test");
            house.settle().await;
            assert!(house.open().is_empty());
            advance(PAUSE).await;
            house.resolver.forget("a.test");
            house.resolver.forget("a.test");
            house.settle().await;
            assert_eq!(house.open(), ["a.test"]);
            assert_eq!(house.want("a.test").await.await.unwrap(), at("1.1.1.1"));
            house.answer("a.test", Ok("2.2.2.2")).await;
            assert_eq!(house.want("a.test").await.await.unwrap(), at("2.2.2.2"));
            house.resolver.forget("unheard.test");
            house.settle().await;
            assert!(house.open().is_empty());
        });
    }

    /// Look-ups hang until a large body has been looked at on the one helper thread.
    #[test]
    fn slow_look_ups_hold_up_nothing_else() {
        const NUMBER: usize = 4;
        static WORKED: Barrier = Barrier::new(NUMBER + 1);
        fn slow(_: &str) -> Found {
            WORKED.wait();
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
        }
        let resolver = Rc::new(Resolver::asking(Rc::new(|host| on_a_thread(host, slow))));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let look_ups: [_; NUMBER] = std::array::from_fn(|number| {
                let resolver = resolver.clone();
                spawn_local(async move { resolver.resolve(&format!("host-{number}.test"), 443, Duration::from_secs(60)).await.is_ok() })
            });
            // The tasks have begun before what is behind them.
            yield_now().await;
            tokio::task::spawn_blocking(|| WORKED.wait()).await.unwrap();
            for look_up in look_ups {
                assert!(look_up.await.unwrap());
            }
        });
    }
}
