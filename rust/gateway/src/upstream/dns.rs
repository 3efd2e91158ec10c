//! Host names to addresses: the system's resolver, remembered for half a minute, stale answers while it fails.
//!
//! The resolver blocks, for as long as its servers are silent. It has a few threads of its own, so that nothing else waits with it.

use super::connection::ConnectError;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// Most names remembered; origins come from configuration, so this is a safety net.
const NAMES: usize = 1024;

/// Look-ups of a worker at one time.
const LOOK_UPS: usize = 4;

/// Asks the system; blocks.
type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// A worker's memory of names.
pub(crate) struct Resolver {
    known: RefCell<HashMap<String, Answer>>,
    threads: Arc<Semaphore>,
    look_up: LookUp,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::asking(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }
}

struct Answer {
    addresses: Rc<[SocketAddr]>,
    asked_at: Instant,
    forgotten: bool,
}

impl Resolver {
    fn asking(look_up: LookUp) -> Resolver {
        Resolver { known: RefCell::default(), threads: Arc::new(Semaphore::new(LOOK_UPS)), look_up }
    }

    /// The addresses of a host, families taking turns (RFC 8305's order without the race), never empty.
    pub(crate) async fn resolve(&self, host: &str, port: u16, wait: Duration) -> Result<Rc<[SocketAddr]>, ConnectError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(address, port)]));
        }
        let stale = match self.known.borrow().get(host) {
            Some(answer) if !answer.forgotten && answer.asked_at.elapsed() < FRESH => return Ok(with_port(&answer.addresses, port)),
            Some(answer) => Some(answer.addresses.clone()),
            None => None,
        };
        match (self.ask(host, port, wait).await, stale) {
            (Ok(addresses), _) => {
                self.remember(host, addresses.clone());
                Ok(addresses)
            }
            (Err(_), Some(stale)) => Ok(with_port(&stale, port)),
            (Err(error), None) => Err(error),
        }
    }

    /// Asks again the next time; what is known still serves if that fails.
    pub(crate) fn forget(&self, host: &str) {
        if let Some(answer) = self.known.borrow_mut().get_mut(host) {
            answer.forgotten = true;
        }
    }

    fn remember(&self, host: &str, addresses: Rc<[SocketAddr]>) {
        let mut known = self.known.borrow_mut();
        if known.len() >= NAMES {
            known.clear();
        }
        known.insert(host.to_owned(), Answer { addresses, asked_at: Instant::now(), forgotten: false });
    }

    async fn ask(&self, host: &str, port: u16, wait: Duration) -> Result<Rc<[SocketAddr]>, ConnectError> {
        let found = match timeout(wait, self.look_up(host.to_owned(), port)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(ConnectError::Resolve(error.to_string())),
            Err(_) => return Err(ConnectError::Timeout("resolving its host name")),
        };
        let ordered = interleave(found);
        if ordered.is_empty() {
            return Err(ConnectError::Resolve("no address".to_owned()));
        }
        Ok(ordered.into())
    }

    /// Asks on a thread of its own. One that nobody waits for any more keeps its place until the system has answered.
    async fn look_up(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        let place = self.threads.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        let look_up = self.look_up;
        std::thread::Builder::new().name("fl-names".to_owned()).spawn(move || {
            let found = look_up(&host, port);
            drop(place);
            // Who asked may have given up.
            let _ = answer.send(found);
        })?;
        answered.await.map_err(io::Error::other)?
    }
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
    addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::Barrier;
    use tokio::task::spawn_local;

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addresses(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1"]);
        assert_eq!(interleave(found), addresses(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]));
    }

    /// As many look-ups as there may be hang until a large body has been looked at on the one helper thread.
    #[test]
    fn slow_look_ups_hold_up_nothing_else() {
        static WORKED: Barrier = Barrier::new(LOOK_UPS + 1);
        let resolver = Rc::new(Resolver::asking(|_, port| {
            WORKED.wait();
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        }));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build_local(Default::default()).unwrap();
        runtime.block_on(async {
            let look_ups: [_; LOOK_UPS] = std::array::from_fn(|number| {
                let resolver = resolver.clone();
                spawn_local(async move { resolver.resolve(&format!("host-{number}.test"), 443, Duration::from_secs(60)).await.is_ok() })
            });
            // The tasks have begun before what is behind them.
            tokio::task::yield_now().await;
            tokio::task::spawn_blocking(|| WORKED.wait()).await.unwrap();
            for look_up in look_ups {
                assert!(look_up.await.unwrap());
            }
        });
    }
}
