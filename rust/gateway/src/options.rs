//! What the control plane says once, at the start.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of a process; everything that may change while it runs is in the snapshot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where the traffic port listens.
    pub data: SocketAddr,
    /// Worker threads; 0: one per processor this process may use.
    #[serde(default)]
    pub workers: usize,
    /// Folder of the journal.
    pub journal_dir: PathBuf,
    /// When settlements are safe from a power loss.
    #[serde(default)]
    pub durability: Durability,
    /// Folder of the responses that are kept; none: none can be.
    #[serde(default)]
    pub responses_dir: Option<PathBuf>,
    /// Folder of the content of generations that is logged; none: none can be.
    #[serde(default)]
    pub content_dir: Option<PathBuf>,
    /// Folder of the replies to requests with a name (`Idempotency-Key`); none: such requests are refused.
    #[serde(default)]
    pub idempotency_dir: Option<PathBuf>,
    /// Folder of the log of decisions; none: none are logged.
    #[serde(default)]
    pub decisions_dir: Option<PathBuf>,
    /// Socket of the control plane, to which everything but inference is forwarded.
    pub control_socket: String,
    /// Server secret in hexadecimal digits, at least 32 bytes.
    pub secret: String,
    /// This node's number, 0 to 4095, different on every replica.
    #[serde(default)]
    pub node: u16,
    /// Certificate chain and key for TLS on the traffic port.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Longest drain after SIGTERM.
    #[serde(default = "default_drain_ms")]
    pub drain_ms: u64,
    /// How far SQL has applied the journal: node, epoch, worker, segment, offset.
    #[serde(default)]
    pub cursors: Vec<(u16, u64, u16, u64, u64)>,
    /// Whether SIGTERM and SIGINT begin a drain; a process that embeds the engine may want them for itself.
    #[serde(default = "yes")]
    pub handle_signals: bool,
}

/// When settlements are safe from a power loss. Both survive the death of the process at once.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Within 20 ms or 1 MiB.
    #[default]
    Process,
    /// Before the client sees the end of its reply.
    Power,
}

impl From<Durability> for fairlead_journal::Durability {
    fn from(durability: Durability) -> fairlead_journal::Durability {
        match durability {
            Durability::Process => fairlead_journal::Durability::Process,
            Durability::Power => fairlead_journal::Durability::Power,
        }
    }
}

/// PEM files of the traffic port's certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

const fn default_drain_ms() -> u64 {
    120_000
}

const fn yes() -> bool {
    true
}
