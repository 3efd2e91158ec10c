//! The one door between Python and Rust: argument conversion, released GIL, mapped errors, and nothing else.

mod engine;
mod journal;
mod library;
mod limits;
mod replay;
mod rollup;
mod simulator;
mod sse;
mod tokens;
mod translate;

use pyo3::prelude::*;

/// The native half of the package.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::engine::{Engine, explain, hash_key, read_content};
    #[pymodule_export]
    use super::journal::{JournalBatch, JournalReader};
    #[pymodule_export]
    use super::library::{Calls, Feed};
    #[pymodule_export]
    use super::limits::{Bucket, Concurrency, Window, take_all};
    #[pymodule_export]
    use super::replay::Replay;
    #[pymodule_export]
    use super::rollup::{RollupFold, add_histograms, quantiles_ms};
    #[pymodule_export]
    use super::simulator::Simulator;
    #[pymodule_export]
    use super::sse::{Decoder, Event};
    #[pymodule_export]
    use super::tokens::{StreamCounter, count_request_tokens, count_tokens, estimate_tokens};
    #[pymodule_export]
    use super::translate::{Loss, Stream, Translated, Usage, translate_request, translate_response};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("GENERATION_COLUMNS", super::journal::GENERATION_COLUMNS)?;
        module.add("ATTEMPT_COLUMNS", super::journal::ATTEMPT_COLUMNS)?;
        module.add("LOSS_COLUMNS", super::journal::LOSS_COLUMNS)?;
        module.add("BEGAN", super::library::BEGAN)?;
        module.add("READY", super::library::READY)?;
        module.add("QUIRKS", fairlead_ir::Traits::ALL)
    }
}
