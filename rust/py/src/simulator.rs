//! The simulator on a port.

use fairlead_sim::{Options, Simulator as Running};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A provider that speaks every dialect, runs in this process and keeps its own ledger.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct Simulator {
    address: String,
    running: Mutex<Option<Running>>,
}

#[pymethods]
impl Simulator {
    #[new]
    #[pyo3(signature = (address = "127.0.0.1:0", threads = 1, seed = 1))]
    fn new(py: Python<'_>, address: &str, threads: usize, seed: u64) -> PyResult<Simulator> {
        let address =
            address.parse().map_err(|_| PyValueError::new_err(format!("{address:?} is not an address such as 127.0.0.1:9000")))?;
        let options = Options { address, threads, seed, ..Options::default() };
        let running = py
            .detach(|| Running::start(options))
            .map_err(|error| PyOSError::new_err(format!("the simulator cannot listen on {address}: {error}")))?;
        Ok(Simulator { address: running.address().to_string(), running: Mutex::new(Some(running)) })
    }

    /// Where it listens.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Its ledger as JSON: what it billed, request by request.
    fn ledger(&self) -> String {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map_or_else(String::new, Running::ledger_json)
    }

    /// Stops it. May be called again.
    fn stop(&self, py: Python<'_>) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(running));
    }
}
