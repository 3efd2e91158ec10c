//! Connections to providers and one exchange on them. Knows no dialect: bytes out, status, headers and payload in.

pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod dns;
pub(crate) mod exchange;
pub(crate) mod io;
pub(crate) mod pool;
pub(crate) mod tls;

pub(crate) use deadline::Deadline;
pub(crate) use exchange::{Exchange, ExchangeError, Fill, Outgoing, Waits};
pub(crate) use pool::Pool;

use tls::TlsConfigs;

/// What a worker needs to reach providers.
pub(crate) struct Upstream {
    pub(crate) pool: Pool,
    pub(crate) names: dns::Resolver,
    pub(crate) tls: std::sync::Arc<TlsConfigs>,
}

impl Upstream {
    pub(crate) fn new(tls: std::sync::Arc<TlsConfigs>) -> Upstream {
        Upstream { pool: Pool::default(), names: dns::Resolver::default(), tls }
    }
}
