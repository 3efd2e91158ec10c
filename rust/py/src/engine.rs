//! The data plane as Python controls it.

use crate::journal::{PyCursor, from_cursor, to_cursor};
use fairlead_gateway::{Event, Gateway, Options};
use fairlead_snapshot::KeyHasher;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// HMAC-SHA-256(secret, SHA-256(key)) as 64 hexadecimal digits: what is stored of a gateway key.
#[pyfunction]
pub(crate) fn hash_key(secret: &[u8], key: &str) -> String {
    use std::fmt::Write;
    KeyHasher::new(secret).hash(key.as_bytes()).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Why a request would go where it would go by this snapshot, where nothing has happened yet: JSON in, JSON out. A wrong snapshot raises
/// ValueError.
#[pyfunction]
pub(crate) fn explain(py: Python<'_>, snapshot: &[u8], question: &[u8]) -> PyResult<Vec<u8>> {
    py.detach(|| fairlead_gateway::explain(snapshot, question)).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The content that was logged of a generation in a folder that no process has: a JSON object.
#[pyfunction]
pub(crate) fn read_content<'py>(
    py: Python<'py>,
    folder: PathBuf,
    secret: &[u8],
    account: u64,
    id: &str,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let content = py.detach(|| fairlead_gateway::read_content(&folder, secret, account, id));
    Ok(content.map_err(|error| PyOSError::new_err(error.to_string()))?.map(|content| PyBytes::new(py, &content)))
}

/// The data plane of this process. It owns its threads; none of them ever runs Python.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct Engine {
    gateway: Mutex<Option<Arc<Gateway>>>,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, options: &[u8]) -> PyResult<Engine> {
        let options: Options = serde_json::from_slice(options).map_err(|error| PyValueError::new_err(format!("options: {error}")))?;
        let gateway = py.detach(|| Gateway::new(options)).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Engine { gateway: Mutex::new(Some(Arc::new(gateway))) })
    }

    /// Puts a new configuration in force; returns its version. A wrong one raises ValueError and changes nothing.
    fn load_snapshot(&self, py: Python<'_>, blob: &[u8]) -> PyResult<u64> {
        let gateway = self.gateway()?;
        py.detach(|| gateway.load_snapshot(blob)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// What everybody had spent, and taken of rates, before this start, as of the journal's cursors. After the first snapshot and keys. JSON; a wrong one raises ValueError and changes nothing.
    fn resume_spending(&self, py: Python<'_>, spending: &[u8]) -> PyResult<()> {
        let gateway = self.gateway()?;
        py.detach(|| gateway.resume_spending(spending)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// What an account, team, user or key has spent in the day, the week, the month and in total, and what its running calls hold back.
    /// Nano-dollars, as of now. Raises ValueError for another kind.
    fn spending(&self, kind: &str, id: u64) -> PyResult<(i64, i64, i64, i64, i64)> {
        let spent = self.gateway()?.spending(kind, id);
        let wrong = || PyValueError::new_err(format!("{kind:?} is no account, team, user or key"));
        spent.map(|[day, week, month, total, reserved]| (day, week, month, total, reserved)).ok_or_else(wrong)
    }

    /// Holds the books of everybody who pays against the other side of every entry, and counts what does not hold: kind, id, what is wrong in a
    /// word and in a sentence, of each.
    fn audit(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, u64, &'static str, &'static str)>> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.audit()))
    }

    /// Counts so many who have spent something else by the books than by the database.
    fn count_database_violations(&self, more: u64) -> PyResult<()> {
        self.gateway()?.count_database_violations(more);
        Ok(())
    }

    /// How many requests to free models an account has in a day, and how many of them it has made today; None where they are not limited.
    fn free_requests(&self, account: u64) -> PyResult<Option<(u64, u64)>> {
        Ok(self.gateway()?.free_requests(account))
    }

    /// The content that was logged of a generation: a JSON object. Waits for one that is being written.
    fn content<'py>(&self, py: Python<'py>, account: u64, id: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.content(account, id)).map(|content| PyBytes::new(py, &content)))
    }

    /// Applies a delta of keys; returns the position reached. A wrong one raises ValueError and changes nothing.
    fn apply_keys(&self, py: Python<'_>, delta: &[u8]) -> PyResult<u64> {
        let gateway = self.gateway()?;
        py.detach(|| gateway.apply_keys(delta)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Binds the traffic port and starts serving. Raises OSError with one clear line.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let gateway = self.gateway()?;
        py.detach(|| gateway.start()).map(drop).map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Where the traffic port listens; empty before `start`.
    #[getter]
    fn address(&self) -> PyResult<String> {
        Ok(self.gateway()?.address().map_or_else(String::new, |address| address.to_string()))
    }

    /// A descriptor that is readable while `poll` has news.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.gateway()?.events().descriptor())
    }

    /// The news since the last call: "journal", "draining", "stopped".
    fn poll(&self) -> PyResult<Vec<&'static str>> {
        Ok(self.gateway()?.events().take().map(Event::name).collect())
    }

    /// The end of every journal chain now: node, epoch, worker, segment, offset.
    fn position(&self, py: Python<'_>) -> PyResult<Vec<PyCursor>> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.journal().position()).into_iter().map(from_cursor).collect())
    }

    /// SQL has committed everything before these cursors: the journal may free what lies before.
    fn applied(&self, py: Python<'_>, cursors: Vec<PyCursor>) -> PyResult<()> {
        let gateway = self.gateway()?;
        let cursors: Vec<_> = cursors.into_iter().map(to_cursor).collect();
        py.detach(|| gateway.journal().applied(&cursors));
        Ok(())
    }

    /// Prometheus text.
    fn metrics(&self, py: Python<'_>) -> PyResult<String> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.metrics()))
    }

    /// What is known of the endpoints that were used: JSON, an array of objects.
    fn health(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.health()))
    }

    /// Why a request would go where it would go: JSON in, JSON out.
    fn explain(&self, py: Python<'_>, question: &[u8]) -> PyResult<Vec<u8>> {
        let gateway = self.gateway()?;
        Ok(py.detach(|| gateway.explain(question)))
    }

    /// Forgets what is known of endpoints and provider keys.
    fn forget_health(&self, py: Python<'_>) -> PyResult<()> {
        let gateway = self.gateway()?;
        py.detach(|| gateway.forget_health());
        Ok(())
    }

    /// Why a thread of the data plane gave up, if one did.
    fn failure(&self) -> PyResult<Option<String>> {
        Ok(self.gateway()?.failure())
    }

    /// Begins a drain: running requests may take `grace_ms` more.
    fn drain(&self, grace_ms: u64) -> PyResult<()> {
        self.gateway()?.drain(grace_ms);
        Ok(())
    }

    /// Ends everything now, settles what was running and syncs the journal. May be called again.
    fn stop(&self, py: Python<'_>) {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| {
            if let Some(gateway) = &gateway {
                gateway.stop();
            }
            drop(gateway);
        });
    }
}

impl Engine {
    fn gateway(&self) -> PyResult<Arc<Gateway>> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.clone().ok_or_else(|| PyRuntimeError::new_err("the engine has been stopped"))
    }
}
