//! Logged decisions, made again.

use fairlead_gateway::{ReplayError, Window};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The decisions of a folder, made again by a configuration; needs no engine.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct Replay {
    replay: Mutex<fairlead_gateway::Replay>,
}

#[pymethods]
impl Replay {
    /// Over requests that began from `since_ms` on and before `until_ms`, the oldest `most` of them.
    #[new]
    #[pyo3(signature = (snapshot, directory, *, since_ms, until_ms, most))]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn new(py: Python<'_>, snapshot: &[u8], directory: PathBuf, since_ms: u64, until_ms: u64, most: u64) -> PyResult<Replay> {
        let window = Window { since_ms, until_ms, most };
        let replay = py.detach(|| fairlead_gateway::Replay::new(snapshot, &directory, window)).map_err(raised)?;
        Ok(Replay { replay: Mutex::new(replay) })
    }

    /// Makes up to so many more decisions again; their generations. None: there are no more.
    fn read(&self, py: Python<'_>, most: usize) -> PyResult<Vec<String>> {
        py.detach(|| self.replay().read(most)).map_err(raised)
    }

    /// Says what came of the decisions that were read last: a JSON object by generation. Returns each of them as a JSON array if that is wanted.
    fn settle(&self, py: Python<'_>, happened: &[u8], wants_each: bool) -> PyResult<Vec<u8>> {
        py.detach(|| self.replay().settle(happened, wants_each)).map_err(raised)
    }

    /// The sums so far: JSON.
    fn summary(&self, py: Python<'_>) -> Vec<u8> {
        py.detach(|| self.replay().summary())
    }
}

impl Replay {
    fn replay(&self) -> MutexGuard<'_, fairlead_gateway::Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn raised(error: ReplayError) -> PyErr {
    match error {
        ReplayError::Log(_) => PyOSError::new_err(error.to_string()),
        ReplayError::Snapshot(_) | ReplayError::Happened(_) => PyValueError::new_err(error.to_string()),
    }
}
