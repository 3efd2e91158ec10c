//! Server-sent events for importers.

use fairlead_formats::sse;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// One server-sent event.
#[pyclass(frozen, get_all, eq, module = "fairlead.sse")]
#[derive(PartialEq)]
pub(crate) struct Event {
    /// Its name; "message" when the stream names none.
    event: String,
    /// Its data; several data lines are joined with newlines.
    data: String,
    /// The last id the stream named, up to this event.
    id: String,
    /// The reconnection time in milliseconds, if this event sets one.
    retry: Option<u64>,
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (event, data, id = String::new(), retry = None))]
    fn new(event: String, data: String, id: String, retry: Option<u64>) -> Event {
        Event { event, data, id, retry }
    }

    fn __repr__(&self) -> String {
        let retry = self.retry.map_or_else(|| "None".to_owned(), |retry| retry.to_string());
        format!("Event(event={:?}, data={:?}, id={:?}, retry={retry})", self.event, self.data, self.id)
    }
}

/// Decodes a stream of server-sent events that arrives in any pieces.
#[pyclass(frozen, module = "fairlead.sse")]
pub(crate) struct Decoder {
    decoder: Mutex<sse::Decoder>,
}

const DEFAULT_EVENT_BYTES: usize = 32 << 20;

#[pymethods]
impl Decoder {
    #[new]
    #[pyo3(signature = (max_event_bytes = DEFAULT_EVENT_BYTES))]
    fn new(max_event_bytes: usize) -> Decoder {
        Decoder { decoder: Mutex::new(sse::Decoder::new(max_event_bytes)) }
    }

    /// Takes the next bytes and returns the events they complete. Raises ValueError when an event exceeds the limit.
    fn feed(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<Vec<Event>> {
        self.run(py, |decoder, out| decoder.feed(bytes, out))
    }

    /// The stream is over; returns a last event that lacks its blank line if its data is complete JSON.
    fn finish(&self, py: Python<'_>) -> PyResult<Vec<Event>> {
        self.run(py, |decoder, out| {
            decoder.finish(out);
            Ok(())
        })
    }
}

impl Decoder {
    fn run(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut sse::Decoder, &mut Vec<sse::Event>) -> Result<(), sse::TooLarge> + Send,
    ) -> PyResult<Vec<Event>> {
        let mut events = Vec::new();
        py.detach(|| work(&mut self.decoder.lock().unwrap_or_else(PoisonError::into_inner), &mut events))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(events.into_iter().map(|sse::Event { event, data, id, retry }| Event { event, data, id, retry }).collect())
    }
}
