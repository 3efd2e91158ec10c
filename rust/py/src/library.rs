//! The data plane without a listener, for `fairlead.Router`: orders in, news out in batches. Nothing here waits for a call.

use crate::journal::{PyCursor, from_cursor, to_cursor};
use crate::translate::{lost, used};
use bytes::Bytes;
use fairlead_gateway::{Event, Library, LibraryOptions, News, Order, Over, Settlement};
use fairlead_journal::Journal;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// In the place of a status: a stream has begun, and a stream that was waited for has events.
pub(crate) const BEGAN: i32 = -1;
pub(crate) const READY: i32 = -2;

/// Calls of this process, made by a thread that never runs Python.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct Calls {
    running: Mutex<Option<Arc<Library>>>,
    /// The thread is this process's alone: a fork does not have it.
    pid: u32,
}

#[pymethods]
impl Calls {
    #[new]
    fn new(py: Python<'_>, options: &[u8]) -> PyResult<Calls> {
        let options: LibraryOptions =
            serde_json::from_slice(options).map_err(|error| PyValueError::new_err(format!("options: {error}")))?;
        let library = py.detach(|| Library::start(&options)).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Calls { running: Mutex::new(Some(Arc::new(library))), pid: std::process::id() })
    }

    /// Puts a new configuration in force; returns its version. A wrong one raises ValueError and changes nothing.
    fn load_snapshot(&self, py: Python<'_>, blob: &[u8]) -> PyResult<u64> {
        let library = self.running()?;
        py.detach(|| library.load_snapshot(blob)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Begins a call under the caller's own number; false where the thread is too far behind to take it.
    fn begin(&self, call: u64, path: String, body: &[u8], headers: Vec<(String, String)>) -> PyResult<bool> {
        Ok(self.running()?.begin(Order { call, path, headers, body: Bytes::copy_from_slice(body) }))
    }

    /// Ends a call that nobody waits for any more. Also when that cannot be told, it is over once the thread has ended.
    fn cancel(&self, call: u64) -> bool {
        self.running().is_ok_and(|library| library.cancel(call))
    }

    /// A descriptor that is readable while `take` has news.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.running()?.events().descriptor())
    }

    /// Whether the journal has grown, and the news of calls, oldest first.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<(bool, Bound<'py, PyList>)> {
        let library = self.running()?;
        let grown = library.events().take().fold(false, |grown, event| grown | (event == Event::Journal));
        let news = library.take().into_iter().map(|news| told(py, news)).collect::<PyResult<Vec<_>>>()?;
        Ok((grown, PyList::new(py, news)?))
    }

    /// The end of every journal chain now: node, epoch, worker, segment, offset.
    fn position(&self, py: Python<'_>) -> PyResult<Vec<PyCursor>> {
        let library = self.running()?;
        let journal = journal(&library)?;
        Ok(py.detach(|| journal.position()).into_iter().map(from_cursor).collect())
    }

    /// SQL has committed everything before these cursors: the journal may free what lies before.
    fn applied(&self, py: Python<'_>, cursors: Vec<PyCursor>) -> PyResult<()> {
        let library = self.running()?;
        let journal = journal(&library)?;
        let cursors: Vec<_> = cursors.into_iter().map(to_cursor).collect();
        py.detach(|| journal.applied(&cursors));
        Ok(())
    }

    /// Lets what is running come to its end within `grace_ms`, then ends it. News can be taken meanwhile and afterwards.
    fn stop(&self, py: Python<'_>, grace_ms: u64) -> PyResult<()> {
        let library = self.running()?;
        py.detach(|| library.stop(Duration::from_millis(grace_ms)));
        Ok(())
    }

    /// Ends everything now and closes the journal. May be called again; other calls then raise RuntimeError.
    fn close(&self, py: Python<'_>) {
        let library = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.is_forked() {
            return std::mem::forget(library);
        }
        py.detach(|| drop(library));
    }
}

impl Calls {
    fn running(&self) -> PyResult<Arc<Library>> {
        if self.is_forked() {
            return Err(PyRuntimeError::new_err("this process is a fork of the one that it belongs to"));
        }
        let library = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        library.clone().ok_or_else(|| PyRuntimeError::new_err("it has been closed"))
    }

    fn is_forked(&self) -> bool {
        self.pid != std::process::id()
    }
}

impl Drop for Calls {
    /// Whoever forgot to close it does not wait for it while holding the interpreter; a fork has no thread that could be waited for.
    fn drop(&mut self) {
        let library = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.pid != std::process::id() {
            std::mem::forget(library);
        } else if library.is_some() {
            Python::attach(|py| py.detach(|| drop(library)));
        }
    }
}

fn journal(library: &Library) -> PyResult<&Journal> {
    library.journal().ok_or_else(|| PyRuntimeError::new_err("there is no journal"))
}

/// The events of a stream.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct Feed(Arc<fairlead_gateway::Feed>);

#[pymethods]
impl Feed {
    /// All events that are there, as one JSON array; none: there will be news when there are some.
    fn take<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.0.take().map(|events| PyBytes::new(py, &events))
    }
}

/// The caller's number, the status or what stands in its place, what belongs to it, and what only some calls have: why it went where it went, as
/// JSON, and after how many milliseconds to come again.
fn told(py: Python<'_>, news: News) -> PyResult<Bound<'_, PyTuple>> {
    match news {
        News::Over(Over { call, status, body, settlement, explanation, retry_after_ms }) => {
            let settlement = settlement.map(|settlement| receipt(py, *settlement)).transpose()?;
            (call, i32::from(status), joined(py, &body)?, settlement, said(py, explanation), retry_after_ms).into_pyobject(py)
        }
        News::Began { call, generation, feed, explanation } => {
            (call, BEGAN, Feed(feed), generation, said(py, explanation), py.None()).into_pyobject(py)
        }
        News::Ready { call } => (call, READY, py.None(), py.None(), py.None(), py.None()).into_pyobject(py),
    }
}

fn said(py: Python<'_>, text: Option<Vec<u8>>) -> Option<Bound<'_, PyBytes>> {
    text.map(|text| PyBytes::new(py, &text))
}

fn joined<'py>(py: Python<'py>, pieces: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, pieces.iter().map(Bytes::len).sum(), |mut room| {
        for piece in pieces {
            let (here, rest) = room.split_at_mut(piece.len());
            here.copy_from_slice(piece);
            room = rest;
        }
        Ok(())
    })
}

/// In the order of `fairlead.router.Receipt`.
fn receipt(py: Python<'_>, settlement: Settlement) -> PyResult<Bound<'_, PyTuple>> {
    let Settlement { generation, model, provider, attempts, outcome, finish, usage, estimated, charged, upstream_cost, losses } =
        settlement;
    let losses = PyTuple::new(py, losses.iter().map(lost))?;
    let usage = used(&usage);
    (generation, model, provider, attempts, outcome, finish, usage, estimated, charged.0, upstream_cost.0, losses).into_pyobject(py)
}
