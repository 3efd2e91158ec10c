//! The traffic port: accepting, worker threads, connections, TLS, drain.

pub(crate) mod accept;
mod arriving;
pub(crate) mod connection;
pub(crate) mod guard;
mod passing;
pub(crate) mod signals;
pub(crate) mod thread;
pub(crate) mod tls;
mod window;
