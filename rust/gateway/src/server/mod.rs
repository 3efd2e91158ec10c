//! The traffic port: accepting, workers, connections, TLS, drain.

pub(crate) mod accept;
mod arriving;
pub(crate) mod connection;
pub(crate) mod guard;
pub(crate) mod routes;
pub(crate) mod signals;
pub(crate) mod tls;
mod window;
pub(crate) mod worker;
