//! Server-sent events for importers.

use fairlead_formats::sse;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use std::sync::{Mutex, PoisonError};

/// One server-sent event.
#[pyclass(frozen, get_all, module = "fairlead.sse")]
pub(crate) struct Event {
    /// Its name; "message" when the stream names none.
    event: Py<PyString>,
    /// Its data; several data lines are joined with newlines.
    data: Py<PyString>,
    /// The last id the stream named, up to this event.
    id: Py<PyString>,
    /// The reconnection time in milliseconds, if this event sets one.
    retry: Option<u64>,
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (event, data, id = String::new(), retry = None))]
    fn new(py: Python<'_>, event: Py<PyString>, data: Py<PyString>, id: String, retry: Option<u64>) -> Event {
        Event { event, data, id: PyString::new(py, &id).unbind(), retry }
    }

    fn __eq__(&self, py: Python<'_>, other: &Event) -> PyResult<bool> {
        let same = |one: &Py<PyString>, two: &Py<PyString>| one.bind(py).as_any().eq(two.bind(py));
        Ok(self.retry == other.retry && same(&self.event, &other.event)? && same(&self.data, &other.data)? && same(&self.id, &other.id)?)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let retry = self.retry.map_or_else(|| "None".to_owned(), |retry| retry.to_string());
        let [event, data, id] = [&self.event, &self.data, &self.id].map(|text| text.bind(py).to_string_lossy());
        format!("Event(event={event:?}, data={data:?}, id={id:?}, retry={retry})")
    }
}

/// Decodes a stream of server-sent events that arrives in any pieces.
#[pyclass(frozen, module = "fairlead.sse")]
pub(crate) struct Decoder {
    state: Mutex<State>,
}

struct State {
    decoder: sse::Decoder,
    names: Repeated,
    ids: Repeated,
}

const DEFAULT_EVENT_BYTES: usize = 32 << 20;

/// Up to here letting other threads run takes longer than the work itself; `hashlib` draws the same line at 2 KiB.
const SMALL_BYTES: usize = 4 << 10;

#[pymethods]
impl Decoder {
    #[new]
    #[pyo3(signature = (max_event_bytes = DEFAULT_EVENT_BYTES))]
    fn new(py: Python<'_>, max_event_bytes: usize) -> Decoder {
        let (names, ids) = (Repeated::new(py), Repeated::new(py));
        Decoder { state: Mutex::new(State { decoder: sse::Decoder::new(max_event_bytes), names, ids }) }
    }

    /// Takes the next bytes and returns the events they complete. Raises ValueError when an event exceeds the limit.
    fn feed<'py>(&self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyList>> {
        if bytes.len() <= SMALL_BYTES {
            // A collection of garbage could call this decoder again, and this one makes a list, which can begin one: before the lock.
            let list = PyList::empty(py);
            // Whoever holds it may be at work on more, with the GIL released.
            if let Ok(mut state) = self.state.try_lock() {
                state.feed_small(py, bytes, &list)?;
                return Ok(list);
            }
        }
        self.run(py, bytes.len(), |decoder, batch| decoder.feed_each(bytes, |event| batch.push(event)))
    }

    /// The stream is over; returns a last event that lacks its blank line if its data is complete JSON.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.run(py, 0, |decoder, batch| {
            decoder.finish_each(|event| batch.push(event));
            Ok(())
        })
    }
}

impl State {
    /// Makes the events as they are found. Neither texts nor events are what a collection of garbage counts.
    fn feed_small(&mut self, py: Python<'_>, bytes: &[u8], list: &Bound<'_, PyList>) -> PyResult<()> {
        let State { decoder, names, ids } = self;
        let mut made = Ok(());
        let fed = decoder.feed_each(bytes, |event| {
            if made.is_ok() {
                let (name, id) = (names.of(py, event.event), ids.of(py, event.id));
                let data = PyString::new(py, event.data).unbind();
                made = Bound::new(py, Event { event: name, data, id, retry: event.retry }).and_then(|event| list.append(event));
            }
        });
        made.and(fed.map_err(too_large))
    }
}

fn too_large(error: sse::TooLarge) -> PyErr {
    PyValueError::new_err(error.to_string())
}

impl Decoder {
    fn run<'py>(
        &self,
        py: Python<'py>,
        expected_bytes: usize,
        work: impl FnOnce(&mut sse::Decoder, &mut Batch) -> Result<(), sse::TooLarge> + Send,
    ) -> PyResult<Bound<'py, PyList>> {
        let mut batch = Batch { text: String::with_capacity(expected_bytes), events: Vec::new() };
        py.detach(|| work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).decoder, &mut batch)).map_err(too_large)?;
        batch.into_list(py)
    }
}

/// Events while the GIL is released: their texts one behind the other, so that none has an allocation of its own before Python's.
struct Batch {
    text: String,
    events: Vec<Ends>,
}

/// Where the texts of an event end.
struct Ends {
    event: usize,
    data: usize,
    id: usize,
    retry: Option<u64>,
}

impl Batch {
    fn push(&mut self, event: sse::EventRef<'_>) {
        let mut end = |text: &str| {
            self.text.push_str(text);
            self.text.len()
        };
        self.events.push(Ends { event: end(event.event), data: end(event.data), id: end(event.id), retry: event.retry });
    }

    fn into_list(self, py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
        let (mut names, mut ids) = (Repeated::new(py), Repeated::new(py));
        let mut begin = 0;
        let events = self.events.iter().map(|ends| {
            let name = names.of(py, &self.text[begin..ends.event]);
            let data = PyString::new(py, &self.text[ends.event..ends.data]).unbind();
            let id = ids.of(py, &self.text[ends.data..ends.id]);
            begin = ends.id;
            Bound::new(py, Event { event: name, data, id, retry: ends.retry })
        });
        PyList::new(py, events.collect::<PyResult<Vec<_>>>()?)
    }
}

/// A text that is mostly the same from event to event.
struct Repeated {
    text: String,
    made: Py<PyString>,
}

impl Repeated {
    fn new(py: Python<'_>) -> Repeated {
        Repeated { text: String::new(), made: PyString::new(py, "").unbind() }
    }

    fn of(&mut self, py: Python<'_>, text: &str) -> Py<PyString> {
        // No comparison of nothing: a slice without bytes points nowhere, and glibc's `memcmp` touches it with a masked load, whose
        // suppressed fault takes longer than everything else here.
        let same = self.text.len() == text.len() && (text.is_empty() || self.text == text);
        if !same {
            text.clone_into(&mut self.text);
            self.made = PyString::new(py, text).unbind();
        }
        self.made.clone_ref(py)
    }
}
