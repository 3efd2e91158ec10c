//! Counting tokens for importers.

use std::sync::{Mutex, PoisonError};

use fairlead_ir::Dialect;
use fairlead_tokens::{Counter, Encoding, estimate, model, stream};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The exact tokens of a text.
#[pyfunction]
pub(crate) fn count_tokens(py: Python<'_>, text: &str, model: &str) -> PyResult<u64> {
    let encoding = encoding_of(model)?;
    Ok(py.detach(|| encoding.count(text)))
}

/// The estimated tokens of a text.
#[pyfunction]
pub(crate) fn estimate_tokens(py: Python<'_>, text: &str, model: &str) -> u64 {
    let family = model::family(model);
    py.detach(|| estimate::estimate(text, family))
}

/// The input tokens of a request.
#[pyfunction]
pub(crate) fn count_request_tokens(py: Python<'_>, body: &[u8], dialect: &str, model: Option<&str>) -> PyResult<u64> {
    let dialect = Dialect::from_name(dialect).ok_or_else(|| {
        let names = Dialect::ALL.map(Dialect::name).join(", ");
        PyValueError::new_err(format!("{dialect:?} is no dialect; these are: {names}"))
    })?;
    let counted = py.detach(|| fairlead_tokens::count_request(body, dialect, model));
    counted.map(|count| count.total()).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Counts a text that arrives in pieces.
#[pyclass(frozen, module = "fairlead.tokens")]
pub(crate) struct StreamCounter {
    counter: Mutex<stream::StreamCounter>,
}

#[pymethods]
impl StreamCounter {
    #[new]
    #[pyo3(signature = (*, model, exact = true))]
    fn new(model: &str, exact: bool) -> PyResult<StreamCounter> {
        let counter = if exact { Counter::Exact(encoding_of(model)?) } else { Counter::Estimated(model::family(model)) };
        Ok(StreamCounter { counter: Mutex::new(stream::StreamCounter::new(counter)) })
    }

    /// Takes the next piece and returns the tokens so far.
    fn feed(&self, py: Python<'_>, text: &str) -> u64 {
        py.detach(|| self.counter.lock().unwrap_or_else(PoisonError::into_inner).feed(text))
    }

    /// The text is over; returns its tokens.
    fn finish(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.counter.lock().unwrap_or_else(PoisonError::into_inner).finish())
    }
}

fn encoding_of(model: &str) -> PyResult<Encoding> {
    model::encoding(model).ok_or_else(|| {
        PyValueError::new_err(format!(
            "the encoding of {model:?} is not public, so that its tokens cannot be counted exactly; use fairlead.tokens.estimate (StreamCounter: exact=False)"
        ))
    })
}
