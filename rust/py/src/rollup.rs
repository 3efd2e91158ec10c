//! The fold of generations into rollups, from rows and to rows.

use crate::journal::{ATTEMPT_COLUMNS, GENERATION_COLUMNS};
use fairlead_ledger::Flags;
use fairlead_ledger::histogram::Histogram;
use fairlead_ledger::rollup::{Clock, Fold, Ids, Row, Tried};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::collections::HashMap;

/// Where a column stands in its rows.
const fn place(columns: &[&str], name: &str) -> usize {
    let mut index = 0;
    while !is_same(columns[index].as_bytes(), name.as_bytes()) {
        index += 1;
    }
    index
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

macro_rules! at {
    ($columns:ident, $row:expr, $name:literal) => {{
        const PLACE: usize = place(&$columns, $name);
        $row.get_item(PLACE)?
    }};
}

/// Takes a text out of a row. The row owns it: the reference that is given back here is never the last.
macro_rules! text {
    ($columns:ident, $row:expr, $name:literal, $held:ident) => {
        let $held = at!($columns, $row, $name).cast_into::<PyString>()?;
        let $held = $held.to_str()?;
    };
}

/// Resolution, account, dimension, start, value, and two stored histograms.
type DurationRow<'py> = (i64, i64, i64, i64, i64, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Adds generations up by window and dimension. `app_of(referer, title)` says what an application is known by; `zone` is from which moment on
/// the reporting zone is how many milliseconds ahead of UTC, ascending, empty for UTC.
#[pyclass(module = "fairlead._native", name = "RollupFold")]
pub(crate) struct RollupFold {
    fold: Fold,
    app_of: Py<PyAny>,
    apps: HashMap<String, HashMap<String, String>>,
}

#[pymethods]
impl RollupFold {
    #[new]
    fn new(app_of: Py<PyAny>, zone: Vec<(i64, i64)>) -> RollupFold {
        RollupFold { fold: Fold::new(Clock::new(zone)), app_of, apps: HashMap::new() }
    }

    /// Generations that are not stored yet, in the order of `GENERATION_COLUMNS`, and at least their attempts, each one's in order.
    fn take(&mut self, py: Python<'_>, rows: &Bound<'_, PyList>, attempts: &Bound<'_, PyList>) -> PyResult<()> {
        self.each(py, rows, attempts, Fold::take)
    }

    /// What came of shadows, in the order of `GENERATION_COLUMNS`, and their attempts.
    fn take_shadows(&mut self, py: Python<'_>, rows: &Bound<'_, PyList>, attempts: &Bound<'_, PyList>) -> PyResult<()> {
        self.each(py, rows, attempts, Fold::take_shadow)
    }

    /// The last minute in which something was settled, Unix milliseconds; None before anything was taken.
    fn newest_ms(&self) -> Option<i64> {
        self.fold.newest_ms()
    }

    /// Model, provider and endpoint of the places that were seen.
    fn places(&self) -> Vec<(&str, &str, i64)> {
        self.fold.places().map(|place| (place.model, place.provider, place.endpoint)).collect()
    }

    /// Dimension, name and part of the applications, arms, presets and shadows that were seen.
    fn names(&self) -> Vec<(i64, &str, &str)> {
        self.fold.names().map(|(dim, name, part)| (dim as i64, name, part)).collect()
    }

    /// Resolution, account, dimension, start, value and sums, by the numbers that places and names have.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn rollups<'py>(&self, py: Python<'py>, places: Vec<i64>, names: Vec<i64>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let rows = self.fold.rollups(Ids { places: &places, names: &names });
        rows.into_iter()
            .map(|(res, account, dim, at_ms, value, sums)| {
                PyTuple::new(py, [res as i64, account, dim as i64, at_ms, value].into_iter().chain(sums).collect::<Vec<_>>())
            })
            .collect()
    }

    /// Resolution, account, dimension, start, value, place and sums, likewise.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn pairs<'py>(&self, py: Python<'py>, places: Vec<i64>, names: Vec<i64>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let rows = self.fold.pairs(Ids { places: &places, names: &names });
        rows.into_iter()
            .map(|(res, account, dim, at_ms, value, place, sums)| {
                PyTuple::new(py, [res as i64, account, dim as i64, at_ms, value, place].into_iter().chain(sums).collect::<Vec<_>>())
            })
            .collect()
    }

    /// Resolution, account, dimension, start, value, and the histograms of the time to the first content and of the whole.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn durations<'py>(&self, py: Python<'py>, places: Vec<i64>, names: Vec<i64>) -> Vec<DurationRow<'py>> {
        let rows = self.fold.durations(Ids { places: &places, names: &names });
        rows.into_iter()
            .map(|(res, account, dim, at_ms, value, durations)| {
                let [first, whole] = [&durations.first_content, &durations.whole].map(|histogram| PyBytes::new(py, &histogram.stored()));
                (res as i64, account, dim as i64, at_ms, value, first, whole)
            })
            .collect()
    }

    /// Resolution, account, start, place, class and count of errors.
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn errors(&self, places: Vec<i64>, names: Vec<i64>) -> Vec<(i64, i64, i64, i64, String, i64)> {
        let rows = self.fold.errors(Ids { places: &places, names: &names });
        rows.into_iter()
            .map(|(res, account, at_ms, place, class, count)| (res as i64, account, at_ms, place, class.to_owned(), count))
            .collect()
    }
}

impl RollupFold {
    fn each(
        &mut self,
        py: Python<'_>,
        rows: &Bound<'_, PyList>,
        attempts: &Bound<'_, PyList>,
        take: fn(&mut Fold, &Row<'_>, &[Tried<'_>]),
    ) -> PyResult<()> {
        let attempts: Vec<Bound<'_, PyTuple>> = attempts.iter().map(|row| Ok(row.cast_into()?)).collect::<PyResult<_>>()?;
        let owners: Vec<Bound<'_, PyString>> =
            attempts.iter().map(|row| Ok(at!(ATTEMPT_COLUMNS, row, "generation_id").cast_into()?)).collect::<PyResult<_>>()?;
        let mut of: HashMap<&str, Vec<usize>> = HashMap::with_capacity(attempts.len());
        for (index, owner) in owners.iter().enumerate() {
            of.entry(owner.to_str()?).or_default().push(index);
        }
        for row in rows {
            let row = row.cast_into::<PyTuple>()?;
            text!(GENERATION_COLUMNS, row, "id", id);
            let own: Vec<&Bound<'_, PyTuple>> = of.get(id).into_iter().flatten().map(|index| &attempts[*index]).collect();
            self.one(py, &row, &own, take)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        py: Python<'_>,
        row: &Bound<'_, PyTuple>,
        attempts: &[&Bound<'_, PyTuple>],
        take: fn(&mut Fold, &Row<'_>, &[Tried<'_>]),
    ) -> PyResult<()> {
        text!(GENERATION_COLUMNS, row, "model", model);
        text!(GENERATION_COLUMNS, row, "provider", provider);
        text!(GENERATION_COLUMNS, row, "split", split);
        text!(GENERATION_COLUMNS, row, "arm", arm);
        text!(GENERATION_COLUMNS, row, "preset", preset);
        text!(GENERATION_COLUMNS, row, "outcome", outcome);
        text!(GENERATION_COLUMNS, row, "error", error);
        text!(GENERATION_COLUMNS, row, "referer", referer);
        text!(GENERATION_COLUMNS, row, "title", title);
        let held: Vec<(Bound<'_, PyString>, Bound<'_, PyString>)> = attempts
            .iter()
            .map(|attempt| {
                Ok((at!(ATTEMPT_COLUMNS, attempt, "provider").cast_into()?, at!(ATTEMPT_COLUMNS, attempt, "error").cast_into()?))
            })
            .collect::<PyResult<_>>()?;
        let tried: Vec<Tried<'_>> = attempts
            .iter()
            .zip(&held)
            .map(|(attempt, (provider, error))| {
                Ok(Tried {
                    provider: provider.to_str()?,
                    endpoint_id: at!(ATTEMPT_COLUMNS, attempt, "endpoint_id").extract()?,
                    error: error.to_str()?,
                    is_shadow: Flags(at!(ATTEMPT_COLUMNS, attempt, "flags").extract()?).has(Flags::SHADOW),
                })
            })
            .collect::<PyResult<_>>()?;
        let app = app(&mut self.apps, self.app_of.bind(py), referer, title)?;
        let row = Row {
            account_id: at!(GENERATION_COLUMNS, row, "account_id").extract()?,
            key_id: at!(GENERATION_COLUMNS, row, "key_id").extract()?,
            team_id: at!(GENERATION_COLUMNS, row, "team_id").extract()?,
            user_id: at!(GENERATION_COLUMNS, row, "user_id").extract()?,
            settled_at_ms: at!(GENERATION_COLUMNS, row, "settled_at_ms").extract()?,
            model,
            provider,
            app,
            split,
            arm,
            preset,
            outcome,
            error,
            streamed: at!(GENERATION_COLUMNS, row, "streamed").extract::<u8>()? != 0,
            prompt_tokens: at!(GENERATION_COLUMNS, row, "prompt_tokens").extract()?,
            cache_read_tokens: at!(GENERATION_COLUMNS, row, "cache_read_tokens").extract()?,
            cache_write_tokens: at!(GENERATION_COLUMNS, row, "cache_write_tokens").extract()?,
            cache_write_1h_tokens: at!(GENERATION_COLUMNS, row, "cache_write_1h_tokens").extract()?,
            completion_tokens: at!(GENERATION_COLUMNS, row, "completion_tokens").extract()?,
            reasoning_tokens: at!(GENERATION_COLUMNS, row, "reasoning_tokens").extract()?,
            charged_nanousd: at!(GENERATION_COLUMNS, row, "charged_nanousd").extract()?,
            upstream_cost_nanousd: at!(GENERATION_COLUMNS, row, "upstream_cost_nanousd").extract()?,
            content_us: at!(GENERATION_COLUMNS, row, "content_us").extract()?,
            total_us: at!(GENERATION_COLUMNS, row, "total_us").extract()?,
        };
        take(&mut self.fold, &row, &tried);
        Ok(())
    }
}

/// What an application is known by, asked once for each pair of what it says.
fn app<'a>(
    apps: &'a mut HashMap<String, HashMap<String, String>>,
    app_of: &Bound<'_, PyAny>,
    referer: &str,
    title: &str,
) -> PyResult<&'a str> {
    if !apps.get(referer).is_some_and(|of_referer| of_referer.contains_key(title)) {
        let name = app_of.call1((referer, title))?.extract()?;
        apps.entry(referer.to_owned()).or_default().insert(title.to_owned(), name);
    }
    Ok(apps.get(referer).and_then(|of_referer| of_referer.get(title)).map_or("", String::as_str))
}

/// Adds stored histograms up and returns the sum as it is stored. Raises ValueError for bytes that are none.
#[pyfunction]
pub(crate) fn add_histograms<'py>(py: Python<'py>, stored: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &summed(stored)?.stored()))
}

/// How many durations stored histograms have in all, and their quantiles at these shares (0 to 1) in milliseconds; None where there are
/// none. Raises ValueError for bytes that are no histogram.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
pub(crate) fn quantiles_ms(stored: &Bound<'_, PyList>, shares: Vec<f64>) -> PyResult<(u64, Vec<Option<f64>>)> {
    let sum = summed(stored)?;
    Ok((sum.total(), shares.iter().map(|share| sum.quantile_us(*share).map(|us| us / 1000.0)).collect()))
}

fn summed(stored: &Bound<'_, PyList>) -> PyResult<Histogram> {
    let mut sum = Histogram::default();
    for bytes in stored {
        let bytes = bytes.cast_into::<PyBytes>()?;
        sum.add_stored(bytes.as_bytes()).map_err(|_| PyValueError::new_err("these bytes are no histogram"))?;
    }
    Ok(sum)
}
