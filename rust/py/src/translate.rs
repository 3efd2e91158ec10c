//! Translation between dialects for importers.

use std::sync::{Arc, Mutex, PoisonError};

use fairlead_formats::identity::Identity;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::{Bridge, Encoded, Face, Target, Wanted, dialects, stream};
use fairlead_ir::request::Effort;
use fairlead_ir::{Dialect, Losses, Manner};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One thing that did not survive a translation as it was.
#[pyclass(frozen, get_all, eq, module = "fairlead.translate")]
#[derive(Clone, PartialEq)]
pub(crate) struct Loss {
    /// Where it stood in what was translated, such as `messages[3].content[0]`.
    path: String,
    /// What happened to it and why.
    reason: String,
    /// `hint`, `changed` or `dropped`.
    severity: &'static str,
}

#[pymethods]
impl Loss {
    fn __repr__(&self) -> String {
        format!("Loss(path={:?}, reason={:?}, severity={:?})", self.path, self.reason, self.severity)
    }
}

/// A body in another dialect.
#[pyclass(frozen, module = "fairlead.translate")]
pub(crate) struct Translated {
    body: Py<PyBytes>,
    losses: Vec<Loss>,
    bridge: Arc<Bridge>,
    usage: Option<Usage>,
}

/// Tokens that a provider says were used, in buckets that do not overlap.
#[pyclass(frozen, get_all, eq, module = "fairlead.translate")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Prompt tokens neither read from nor written to a cache.
    prompt_tokens: u64,
    /// Prompt tokens read from a cache.
    cache_read_tokens: u64,
    /// Prompt tokens written to a cache, for five minutes or a provider's only time.
    cache_write_tokens: u64,
    /// Prompt tokens written to a cache for an hour.
    cache_write_1h_tokens: u64,
    /// Completion tokens, reasoning included.
    completion_tokens: u64,
    /// The part of them that is known to be reasoning.
    reasoning_tokens: u64,
}

#[pymethods]
impl Usage {
    fn __repr__(&self) -> String {
        let Usage { prompt_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens } =
            self;
        format!(
            "Usage(prompt_tokens={prompt_tokens}, cache_read_tokens={cache_read_tokens}, cache_write_tokens={cache_write_tokens}, \
             cache_write_1h_tokens={cache_write_1h_tokens}, completion_tokens={completion_tokens}, reasoning_tokens={reasoning_tokens})"
        )
    }
}

#[pymethods]
impl Translated {
    /// The JSON body.
    #[getter]
    fn body(&self, py: Python<'_>) -> Py<PyBytes> {
        self.body.clone_ref(py)
    }

    /// What could not be kept.
    #[getter]
    fn losses(&self) -> Vec<Loss> {
        self.losses.clone()
    }

    /// What the provider says was used; None for requests and where it does not say.
    #[getter]
    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Translated({} bytes, {} losses)", self.body.bind(py).as_bytes().len(), self.losses.len())
    }
}

/// See `fairlead.translate.request`.
#[pyfunction]
#[pyo3(signature = (body, *, source, target, model = None, stream = None, traits = Vec::new(), efforts = Vec::new(), max_output_tokens = None, automatic_cache = false))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub(crate) fn translate_request(
    py: Python<'_>,
    body: &[u8],
    source: &str,
    target: &str,
    model: Option<String>,
    stream: Option<bool>,
    traits: Vec<String>,
    efforts: Vec<String>,
    max_output_tokens: Option<u64>,
    automatic_cache: bool,
) -> PyResult<Translated> {
    let (source, target) = (dialect(source)?, dialect(target)?);
    let traits = Traits::from_names(traits).map_err(refused)?;
    let efforts = steps(&efforts)?;
    let encoded = py.detach(|| {
        let mut request = dialects::decode_request(source, body)?;
        request.stream = stream.unwrap_or(request.stream);
        let named = fairlead_formats::text::decode(&request.model).unwrap_or_default().into_owned();
        let model = model.unwrap_or(named);
        let target = Target { traits, efforts: &efforts, max_output_tokens, automatic_cache, ..Target::new(target, &model) };
        dialects::encode_request(&request, &target)
    });
    let Encoded { body, losses, bridge } = encoded.map_err(refused)?;
    Ok(Translated { body: PyBytes::new(py, &body).unbind(), losses: listed(&losses), bridge: Arc::new(bridge), usage: None })
}

/// See `fairlead.translate.response`.
#[pyfunction]
#[pyo3(signature = (body, *, source, target, request = None, traits = Vec::new()))]
pub(crate) fn translate_response(
    py: Python<'_>,
    body: &[u8],
    source: &str,
    target: &str,
    request: Option<&Translated>,
    traits: Vec<String>,
) -> PyResult<Translated> {
    let (source, target) = (dialect(source)?, dialect(target)?);
    let traits = Traits::from_names(traits).map_err(refused)?;
    let bridge = bridge_of(request);
    let (written, losses, usage) = py
        .detach(|| {
            let response = dialects::decode_response(source, body, &traits)?;
            let mut out = Vec::with_capacity(body.len() + body.len() / 4);
            let face = Face { identity: &identity(), bridge: &bridge };
            let losses = dialects::encode_response(target, &response, &face, None, &mut out);
            Ok((out, losses, response.usage))
        })
        .map_err(|fault: fairlead_formats::read::Malformed| refused(fault))?;
    let usage = usage.as_ref().map(used);
    Ok(Translated { body: PyBytes::new(py, &written).unbind(), losses: listed(&losses), bridge, usage })
}

/// See `fairlead.translate.Stream`.
#[pyclass(frozen, module = "fairlead.translate")]
pub(crate) struct Stream {
    stream: Mutex<stream::Stream>,
}

const DEFAULT_EVENT_BYTES: usize = 32 << 20;

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (*, source, target, request = None, traits = Vec::new(), max_event_bytes = DEFAULT_EVENT_BYTES))]
    fn new(source: &str, target: &str, request: Option<&Translated>, traits: Vec<String>, max_event_bytes: usize) -> PyResult<Stream> {
        let traits = Traits::from_names(traits).map_err(refused)?;
        let wanted = Wanted { source: dialect(source)?, identity: Arc::new(identity()), bridge: bridge_of(request), json_array: false };
        Ok(Stream { stream: Mutex::new(stream::Stream::new(dialect(target)?, traits, max_event_bytes, wanted)) })
    }

    /// Takes the provider's next bytes, cut anywhere, and returns what they become.
    fn feed<'py>(&self, py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyBytes> {
        self.run(py, |stream, out| stream.feed(bytes, out))
    }

    /// The provider's connection has ended; returns the end of the stream, or its failure in the target's dialect.
    fn finish<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.run(py, |stream, out| stream.finish(None, out))
    }

    /// What the provider says was used so far.
    #[getter]
    fn usage(&self) -> Option<Usage> {
        self.lock().usage().map(used)
    }

    /// What the target's dialect had no place for so far.
    #[getter]
    fn losses(&self) -> Vec<Loss> {
        listed(self.lock().losses())
    }
}

impl Stream {
    fn lock(&self) -> std::sync::MutexGuard<'_, stream::Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<'py>(&self, py: Python<'py>, work: impl FnOnce(&mut stream::Stream, &mut Vec<u8>) + Send) -> Bound<'py, PyBytes> {
        let out = py.detach(|| {
            let mut out = Vec::new();
            work(&mut self.lock(), &mut out);
            out
        });
        PyBytes::new(py, &out)
    }
}

fn dialect(name: &str) -> PyResult<Dialect> {
    Dialect::from_name(name).ok_or_else(|| {
        let names = Dialect::ALL.map(Dialect::name).join(", ");
        PyValueError::new_err(format!("{name:?} is no dialect; choose one of {names}"))
    })
}

/// The steps with these words, least first.
fn steps(words: &[String]) -> PyResult<Vec<Effort>> {
    let mut steps = Vec::with_capacity(words.len());
    for word in words {
        steps.push(Effort::from_word(word.as_bytes()).ok_or_else(|| {
            let words = Effort::ALL.map(Effort::word).join(", ");
            PyValueError::new_err(format!("{word:?} is no effort; choose from {words}"))
        })?);
    }
    steps.sort_unstable();
    Ok(steps)
}

fn refused(error: impl ToString) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A reply shows what the provider calls itself: there is no gateway here.
fn identity() -> Identity {
    Identity::new(Manner::Native, "", "", "", 0)
}

fn bridge_of(request: Option<&Translated>) -> Arc<Bridge> {
    request.map(|request| request.bridge.clone()).unwrap_or_default()
}

fn listed(losses: &Losses) -> Vec<Loss> {
    losses.as_slice().iter().map(lost).collect()
}

pub(crate) fn lost(loss: &fairlead_ir::Loss) -> Loss {
    Loss { path: loss.path.clone(), reason: loss.reason.clone().into_owned(), severity: loss.severity.name() }
}

pub(crate) fn used(usage: &fairlead_ir::Usage) -> Usage {
    Usage {
        prompt_tokens: usage.prompt_tokens,
        cache_read_tokens: usage.cache_read_tokens,
        cache_write_tokens: usage.cache_write_tokens,
        cache_write_1h_tokens: usage.cache_write_1h_tokens,
        completion_tokens: usage.completion_tokens,
        reasoning_tokens: usage.reasoning_tokens,
    }
}
