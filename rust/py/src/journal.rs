//! The journal as rows: what the drain writes into SQL.

use fairlead_ir::{Dialect, Manner};
use fairlead_journal::record::ATTEMPTS_MAX;
use fairlead_journal::{Cursor, Reader};
use fairlead_ledger::{Attempt, Flags, Loss, Reserve, Scopes, Settle};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A cursor as Python sees it: node, epoch, worker, segment, offset.
pub(crate) type PyCursor = (u16, u64, u16, u64, u64);

pub(crate) fn from_cursor(cursor: Cursor) -> PyCursor {
    (cursor.node, cursor.epoch, cursor.worker, cursor.segment, cursor.offset)
}

pub(crate) fn to_cursor((node, epoch, worker, segment, offset): PyCursor) -> Cursor {
    Cursor { node, epoch, worker, segment, offset }
}

/// Names and values of a row, declared together so that they cannot drift apart.
macro_rules! row {
    ($columns:ident, $function:ident, $record:ident: $type:ty, $extra:ident: $extra_type:ty, { $($name:literal => $value:expr,)* }) => {
        pub(crate) const $columns: [&str; [$($name),*].len()] = [$($name),*];

        fn $function<'py>(py: Python<'py>, $record: &$type, $extra: $extra_type) -> PyResult<Bound<'py, PyTuple>> {
            PyTuple::new(py, [$($value.into_pyobject(py)?.into_any().to_owned()),*])
        }
    };
}

row!(GENERATION_COLUMNS, generation_row, settle: Settle, id: &str, {
    "id" => id,
    "started_at_ms" => settle.started_at_ms,
    "settled_at_ms" => settle.settled_at_ms,
    "account_id" => settle.scopes.0[Scopes::ACCOUNT],
    "team_id" => settle.scopes.0[Scopes::TEAM],
    "user_id" => settle.scopes.0[Scopes::USER],
    "key_id" => settle.scopes.0[Scopes::KEY],
    "end_user_id" => settle.scopes.0[Scopes::END_USER],
    "dialect" => settle.dialect.name(),
    "manner" => match settle.manner { Manner::Native => "native", Manner::Openrouter => "openrouter" },
    "streamed" => u8::from(settle.streamed),
    "outcome" => settle.outcome.name(),
    "flags" => settle.flags.0,
    "status" => settle.status,
    "error" => settle.error.as_str(),
    "requested_model" => settle.requested_model.as_str(),
    "model" => settle.model.as_str(),
    "provider" => settle.provider.as_str(),
    "upstream_id" => settle.attempts.last().map_or("", |attempt| attempt.upstream_id.as_str()),
    "finish_reason" => settle.finish.as_str(),
    "native_finish_reason" => settle.native_finish.as_str(),
    "prompt_tokens" => clip(settle.usage.prompt_tokens),
    "cache_read_tokens" => clip(settle.usage.cache_read_tokens),
    "cache_write_tokens" => clip(settle.usage.cache_write_tokens),
    "cache_write_1h_tokens" => clip(settle.usage.cache_write_1h_tokens),
    "completion_tokens" => clip(settle.usage.completion_tokens),
    "reasoning_tokens" => clip(settle.usage.reasoning_tokens),
    "web_searches" => clip(settle.usage.web_searches),
    "reserved_nanousd" => settle.reserved.0,
    "charged_nanousd" => settle.charged.0,
    "upstream_cost_nanousd" => settle.attempts.iter().fold(0i64, |sum, attempt| sum.saturating_add(attempt.upstream_cost.0)),
    "price_version" => settle.price_version,
    "sent_us" => settle.timings.sent_us,
    "head_us" => settle.timings.head_us,
    "content_us" => settle.timings.content_us,
    "total_us" => settle.timings.total_us,
    "own_us" => settle.timings.own_us,
    "referer" => settle.referer.as_str(),
    "title" => settle.title.as_str(),
    "user_agent" => settle.user_agent.as_str(),
    "end_user" => settle.end_user.as_str(),
    "session_id" => settle.session.as_str(),
    "upstream_dialect" => settle.upstream_dialect.map_or("", Dialect::name),
    "translation_losses_more" => settle.losses_more,
    "split" => settle.split.as_str(),
    "arm" => settle.arm.as_str(),
    "preset" => settle.preset.as_str(),
    "preset_version" => settle.preset_version.as_str(),
    "response_cache_source_id" => source_id(settle),
    "saved_nanousd" => settle.hit.map_or(0, |hit| hit.saved.0),
    "api_type" => settle.particulars.api.name(),
    "prompt_media" => settle.particulars.prompt_media,
    "prompt_sounds" => settle.particulars.prompt_sounds,
    "cache_discount_nanousd" => settle.particulars.cache_discount.0,
});

row!(ATTEMPT_COLUMNS, attempt_row, attempt: Attempt, place: (&str, usize), {
    "generation_id" => place.0,
    "n" => place.1,
    "provider" => attempt.provider.as_str(),
    "endpoint_id" => attempt.endpoint,
    "upstream_model" => attempt.upstream_model.as_str(),
    "upstream_id" => attempt.upstream_id.as_str(),
    "status" => attempt.status,
    "error" => attempt.error.as_str(),
    "latency_us" => attempt.latency_us,
    "upstream_cost_nanousd" => attempt.upstream_cost.0,
    "flags" => attempt.flags.0,
    "service_tier" => attempt.tier.name(),
});

row!(LOSS_COLUMNS, loss_row, loss: Loss, place: (&str, usize), {
    "generation_id" => place.0,
    "n" => place.1,
    "path" => loss.path.as_str(),
    "severity" => loss.severity.name(),
    "reason" => loss.reason.as_str(),
});

/// The generation whose reply a cache hit gave again; empty of any other.
fn source_id(settle: &Settle) -> String {
    settle.hit.map_or_else(String::new, |hit| String::from_utf8_lossy(&hit.source.text()).into_owned())
}

/// SQL integers are signed; a count beyond that was not believed by the bill either.
fn clip(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Settlements as rows, with the position behind them.
#[pyclass(frozen, get_all, module = "fairlead._native")]
pub(crate) struct JournalBatch {
    /// Rows in the order of `GENERATION_COLUMNS`.
    generations: Vec<Py<PyTuple>>,
    /// Rows in the order of `ATTEMPT_COLUMNS`.
    attempts: Vec<Py<PyTuple>>,
    /// What came of shadows, in the order of `GENERATION_COLUMNS`; their attempts are among the others.
    shadows: Vec<Py<PyTuple>>,
    /// Rows in the order of `LOSS_COLUMNS`.
    losses: Vec<Py<PyTuple>>,
    /// Where reading goes on, to be stored in the same transaction.
    cursors: Vec<PyCursor>,
    /// Whether the end of every chain was reached.
    caught_up: bool,
    /// What could not be read, as texts for the log.
    problems: Vec<String>,
}

/// Follows the journal from cursors; needs no engine.
#[pyclass(frozen, module = "fairlead._native")]
pub(crate) struct JournalReader {
    reader: Mutex<Reader>,
}

#[pymethods]
impl JournalReader {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 hands over owned values")]
    fn new(py: Python<'_>, directory: PathBuf, cursors: Vec<PyCursor>) -> PyResult<JournalReader> {
        let cursors: Vec<Cursor> = cursors.into_iter().map(to_cursor).collect();
        let reader = py.detach(|| Reader::open(&directory, &cursors)).map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(JournalReader { reader: Mutex::new(reader) })
    }

    /// Calls in progress as of what was read, in no order: id, start (Unix ms), ids of account, team, user and key, model, provider of
    /// the first attempt, nano-dollars held for it, estimated tokens of its prompt.
    fn running(&self, py: Python<'_>) -> Vec<RunningRow> {
        py.detach(|| self.reader.lock().unwrap_or_else(PoisonError::into_inner).running().map(running_row).collect())
    }

    /// Up to `max_records` settlements. Raises OSError when the folder cannot be read.
    fn read(&self, py: Python<'_>, max_records: usize) -> PyResult<JournalBatch> {
        let (settled, state) = py
            .detach(|| {
                let mut settled = Vec::new();
                let state = self.reader.lock().unwrap_or_else(PoisonError::into_inner).read(max_records, &mut settled)?;
                Ok::<_, fairlead_journal::Error>((settled, state))
            })
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        let mut generations = Vec::with_capacity(settled.len());
        let mut attempts = Vec::with_capacity(settled.len());
        let (mut shadows, mut losses) = (Vec::new(), Vec::new());
        for settle in &settled {
            let id = settle.generation.to_string();
            if settle.flags.has(Flags::SHADOW) {
                shadows.push(generation_row(py, settle, &id)?.unbind());
                for (place, attempt) in settle.attempts.iter().enumerate() {
                    // All of a shadow's are, also the one on a connection that was dead.
                    let flags = Flags(attempt.flags.0 | Flags::SHADOW.0);
                    attempts.push(attempt_row(py, &Attempt { flags, ..attempt.clone() }, (&id, ATTEMPTS_MAX + place))?.unbind());
                }
                continue;
            }
            generations.push(generation_row(py, settle, &id)?.unbind());
            for (place, attempt) in settle.attempts.iter().enumerate() {
                attempts.push(attempt_row(py, attempt, (&id, place))?.unbind());
            }
            for (place, loss) in settle.losses.iter().enumerate() {
                losses.push(loss_row(py, loss, (&id, place))?.unbind());
            }
        }
        Ok(JournalBatch {
            generations,
            attempts,
            shadows,
            losses,
            cursors: state.cursors.into_iter().map(from_cursor).collect(),
            caught_up: state.caught_up,
            problems: state.problems.iter().map(ToString::to_string).collect(),
        })
    }
}

type RunningRow = (String, u64, (u64, u64, u64, u64), String, String, i64, i64);

fn running_row(reserve: &Reserve) -> RunningRow {
    let Reserve { generation, started_at_ms, scopes: Scopes(ids), reserved, model, provider, prompt_tokens_estimate, .. } = reserve;
    let owners = (ids[Scopes::ACCOUNT], ids[Scopes::TEAM], ids[Scopes::USER], ids[Scopes::KEY]);
    (generation.to_string(), *started_at_ms, owners, model.clone(), provider.clone(), reserved.0, clip(*prompt_tokens_estimate))
}
