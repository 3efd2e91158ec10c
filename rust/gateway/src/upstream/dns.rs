//! Host names to addresses: the system's resolver on the blocking pool, remembered for half a minute, stale answers while it fails.

use super::connection::ConnectError;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long an answer is used without asking again.
const FRESH: Duration = Duration::from_secs(30);

/// Most names remembered; origins come from configuration, so this is a safety net.
const NAMES: usize = 1024;

/// A worker's memory of names.
#[derive(Default)]
pub(crate) struct Resolver {
    known: RefCell<HashMap<String, Answer>>,
}

struct Answer {
    addresses: Rc<[SocketAddr]>,
    asked_at: Instant,
    forgotten: bool,
}

impl Resolver {
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
        match (ask(host, port, wait).await, stale) {
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
}

async fn ask(host: &str, port: u16, wait: Duration) -> Result<Rc<[SocketAddr]>, ConnectError> {
    let found: Vec<SocketAddr> = match timeout(wait, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(ConnectError::Resolve(error.to_string())),
        Err(_) => return Err(ConnectError::Timeout("resolving its host name")),
    };
    let ordered = interleave(found);
    if ordered.is_empty() {
        return Err(ConnectError::Resolve("no address".to_owned()));
    }
    Ok(ordered.into())
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

    #[test]
    fn families_take_turns() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = addresses(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[::1]:1"]);
        assert_eq!(interleave(found), addresses(&["[::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]));
    }
}
