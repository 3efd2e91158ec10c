//! Limits for importers.
//!
//! The GIL stays held: everything here takes less time than letting it go. So no lock is ever waited for, as long as nothing of Python's runs
//! while one is held.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fairlead_ir::Interval;
use fairlead_limits as limits;
use fairlead_limits::{Claim, Level, Rate, Refusal};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyTuple, PyType};

/// A rate limit: so many units per second, minute, hour or day, refilled continuously.
#[pyclass(frozen, module = "fairlead.limits")]
pub(crate) struct Bucket {
    bucket: Mutex<limits::Bucket>,
}

/// The numbers that a bucket is saved as.
type Saved = (u64, u64, u64, u128, u64);

#[pymethods]
impl Bucket {
    #[new]
    #[pyo3(signature = (*, rate_per_second = None, rate_per_minute = None, rate_per_hour = None, rate_per_day = None, burst = None))]
    fn new(
        rate_per_second: Option<&Bound<'_, PyAny>>,
        rate_per_minute: Option<&Bound<'_, PyAny>>,
        rate_per_hour: Option<&Bound<'_, PyAny>>,
        rate_per_day: Option<&Bound<'_, PyAny>>,
        burst: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bucket> {
        let rate = rate_of([rate_per_second, rate_per_minute, rate_per_hour, rate_per_day], burst)?;
        Ok(Bucket { bucket: Mutex::new(limits::Bucket::new(rate)) })
    }

    /// Takes `n` units, or raises `Refused`.
    #[pyo3(signature = (n = Amount(1), *, now_ns = None), text_signature = "($self, n=1, *, now_ns=None)")]
    fn take(&self, py: Python<'_>, n: Amount, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let now_ns = monotonic_ns(py, now_ns)?;
        let taken = self.lock().take(n.0, now_ns);
        taken.map_err(|refusal| refused(py, refusal, None))
    }

    /// After how many nanoseconds `n` units can be taken: 0 is now, None is never.
    #[pyo3(signature = (n = Amount(1), *, now_ns = None), text_signature = "($self, n=1, *, now_ns=None)")]
    fn wait_ns(&self, py: Python<'_>, n: Amount, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
        let now_ns = monotonic_ns(py, now_ns)?;
        let peeked = self.lock().peek(n.0, now_ns);
        Ok(peeked.map_or_else(Refusal::retry_after_ns, |()| Some(0)))
    }

    /// Gives back `n` units that were taken and not used; never above the burst.
    fn refund(&self, n: Amount) {
        self.lock().refund(n.0);
    }

    /// Takes `n` units that have been used already, into debt if need be.
    #[pyo3(signature = (n, *, now_ns = None))]
    fn charge(&self, py: Python<'_>, n: Amount, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let now_ns = monotonic_ns(py, now_ns)?;
        self.lock().charge(n.0, now_ns);
        Ok(())
    }

    /// Whole units that can be taken now.
    #[pyo3(signature = (*, now_ns = None))]
    fn remaining(&self, py: Python<'_>, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let now_ns = monotonic_ns(py, now_ns)?;
        Ok(self.lock().remaining(now_ns))
    }

    /// Units of debt, begun ones counted whole.
    #[pyo3(signature = (*, now_ns = None))]
    fn debt(&self, py: Python<'_>, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let now_ns = monotonic_ns(py, now_ns)?;
        Ok(self.lock().debt(now_ns))
    }

    /// After how many nanoseconds it is full, if nobody takes anything.
    #[pyo3(signature = (*, now_ns = None))]
    fn full_after_ns(&self, py: Python<'_>, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let now_ns = monotonic_ns(py, now_ns)?;
        Ok(self.lock().full_after_ns(now_ns))
    }

    /// Another rate from now on.
    #[pyo3(signature = (*, rate_per_second = None, rate_per_minute = None, rate_per_hour = None, rate_per_day = None, burst = None, now_ns = None))]
    #[expect(clippy::too_many_arguments, reason = "the names are the constructor's")]
    fn change(
        &self,
        py: Python<'_>,
        rate_per_second: Option<&Bound<'_, PyAny>>,
        rate_per_minute: Option<&Bound<'_, PyAny>>,
        rate_per_hour: Option<&Bound<'_, PyAny>>,
        rate_per_day: Option<&Bound<'_, PyAny>>,
        burst: Option<&Bound<'_, PyAny>>,
        now_ns: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let rate = rate_of([rate_per_second, rate_per_minute, rate_per_hour, rate_per_day], burst)?;
        let now_ns = monotonic_ns(py, now_ns)?;
        self.lock().change(rate, now_ns);
        Ok(())
    }

    /// Rate and level as five integers.
    fn save(&self) -> Saved {
        let bucket = self.lock();
        let (rate, level) = (bucket.rate(), bucket.level());
        (rate.units(), rate.period_ns(), rate.burst(), level.spent(), level.at_ns())
    }

    /// The bucket that was saved.
    #[staticmethod]
    fn load(saved: &Bound<'_, PyAny>) -> PyResult<Bucket> {
        let unreadable = |_| PyValueError::new_err("a saved bucket is the five integers of Bucket.save()");
        let (units, period_ns, burst, spent, at_ns): Saved = saved.extract().map_err(unreadable)?;
        let rate = Rate::new(units, period_ns).and_then(|rate| rate.with_burst(burst));
        let rate = rate.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let level = Level::new(spent, at_ns);
        Ok(Bucket { bucket: Mutex::new(limits::Bucket::resume(rate, level)) })
    }

    fn __repr__(&self) -> String {
        let rate = self.lock().rate();
        let period = PERIODS.iter().find(|(_, ns)| *ns == rate.period_ns());
        let per = period.map_or_else(|| format!("{} ns", rate.period_ns()), |(name, _)| (*name).to_owned());
        format!("<Bucket of {} per {per}, burst {}>", rate.units(), rate.burst())
    }
}

impl Bucket {
    fn lock(&self) -> MutexGuard<'_, limits::Bucket> {
        locked(&self.bucket)
    }
}

/// Takes from several buckets or from none.
#[pyfunction]
#[pyo3(signature = (wanted, *, now_ns = None))]
pub(crate) fn take_all(py: Python<'_>, wanted: &Bound<'_, PyAny>, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let now_ns = monotonic_ns(py, now_ns)?;
    let mut wanted = wanted
        .try_iter()?
        .enumerate()
        .map(|(place, pair)| {
            let (bucket, n): (Bound<'_, Bucket>, Amount) = pair?.extract()?;
            Ok((place, bucket, n.0))
        })
        .collect::<PyResult<Vec<_>>>()?;
    // Every caller locks in the same order, so that no two wait for each other.
    wanted.sort_by_key(|(_, bucket, _)| bucket.as_ptr());
    if wanted.windows(2).any(|two| two[0].1.is(&two[1].1)) {
        return Err(PyValueError::new_err("a bucket stands twice in what is wanted; add the amounts"));
    }
    let mut buckets: Vec<_> = wanted.iter().map(|(place, bucket, n)| (*place, bucket.get().lock(), *n)).collect();
    buckets.sort_by_key(|(place, _, _)| *place);
    let mut claims: Vec<_> = buckets.iter_mut().map(|(_, bucket, n)| Claim::Rate(bucket, *n)).collect();
    limits::take_all(&mut claims, now_ns).map_err(|error| refused(py, error.refusal, Some(error.claim)))
}

/// So many at the same time.
#[pyclass(frozen, module = "fairlead.limits")]
pub(crate) struct Concurrency {
    places: Mutex<limits::Concurrency>,
}

#[pymethods]
impl Concurrency {
    #[new]
    fn new(limit: &Bound<'_, PyAny>) -> PyResult<Concurrency> {
        let limit = places("limit", limit)?;
        Ok(Concurrency { places: Mutex::new(limits::Concurrency::new(limit)) })
    }

    /// Takes a place, or raises `Refused`.
    fn acquire(&self, py: Python<'_>) -> PyResult<()> {
        let acquired = locked(&self.places).acquire();
        acquired.map_err(|refusal| refused(py, refusal, None))
    }

    /// Gives a place back.
    fn release(&self) -> PyResult<()> {
        let released = locked(&self.places).release();
        released.then_some(()).ok_or_else(|| PyValueError::new_err("a place was released that nobody held"))
    }

    /// Places that are held.
    #[getter]
    fn held(&self) -> u32 {
        locked(&self.places).held()
    }

    /// Places that are free.
    #[getter]
    fn remaining(&self) -> u32 {
        locked(&self.places).remaining()
    }

    /// How many there are. Those that are held stay held when it changes.
    #[getter]
    fn limit(&self) -> u32 {
        locked(&self.places).limit().get()
    }

    #[setter]
    fn set_limit(&self, limit: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = places("limit", limit)?;
        locked(&self.places).set_limit(limit);
        Ok(())
    }

    fn __enter__<'py>(this: Bound<'py, Self>, py: Python<'py>) -> PyResult<Bound<'py, Self>> {
        this.get().acquire(py)?;
        Ok(this)
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    fn __repr__(&self) -> String {
        let places = locked(&self.places);
        format!("<Concurrency of {}, {} held>", places.limit(), places.held())
    }
}

/// So many units per day, week or month of UTC, or in total.
#[pyclass(frozen, module = "fairlead.limits")]
pub(crate) struct Window {
    window: Mutex<limits::Window>,
}

#[pymethods]
impl Window {
    #[new]
    #[pyo3(signature = (limit, *, limit_reset, start_ms = None, used = None))]
    fn new(
        limit: &Bound<'_, PyAny>,
        limit_reset: Option<&str>,
        start_ms: Option<&Bound<'_, PyAny>>,
        used: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Window> {
        let interval = interval_of(limit_reset)?;
        let number = |name, value: Option<&Bound<'_, PyAny>>| value.map_or(Ok(0), |value| whole(name, value));
        let window = limits::Window::resume(interval, whole("limit", limit)?, number("start_ms", start_ms)?, number("used", used)?);
        Ok(Window { window: Mutex::new(window) })
    }

    /// Takes `n` units, or raises `Refused`.
    #[pyo3(signature = (n = Amount(1), *, now_ms = None), text_signature = "($self, n=1, *, now_ms=None)")]
    fn take(&self, py: Python<'_>, n: Amount, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let now_ms = unix_ms(py, now_ms)?;
        let taken = locked(&self.window).take(n.0, now_ms);
        taken.map_err(|refusal| refused(py, refusal, None))
    }

    /// Counts `n` units that have been used already, whether they fit or not.
    #[pyo3(signature = (n, *, now_ms = None))]
    fn charge(&self, py: Python<'_>, n: Amount, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let now_ms = unix_ms(py, now_ms)?;
        locked(&self.window).charge(n.0, now_ms);
        Ok(())
    }

    /// Gives back `n` units that were taken in the window that began at `start_ms`.
    #[pyo3(signature = (n, *, start_ms))]
    fn refund(&self, n: Amount, start_ms: &Bound<'_, PyAny>) -> PyResult<()> {
        let start_ms = whole("start_ms", start_ms)?;
        locked(&self.window).refund(n.0, start_ms);
        Ok(())
    }

    /// Units used in this window.
    #[pyo3(signature = (*, now_ms = None))]
    fn used(&self, py: Python<'_>, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let now_ms = unix_ms(py, now_ms)?;
        Ok(locked(&self.window).used(now_ms))
    }

    /// Units that are left in this window.
    #[pyo3(signature = (*, now_ms = None))]
    fn remaining(&self, py: Python<'_>, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
        let now_ms = unix_ms(py, now_ms)?;
        Ok(locked(&self.window).remaining(now_ms))
    }

    /// When the next window begins, Unix milliseconds; None for a total.
    #[pyo3(signature = (*, now_ms = None))]
    fn reset_ms(&self, py: Python<'_>, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
        let now_ms = unix_ms(py, now_ms)?;
        Ok(locked(&self.window).reset_ms(now_ms))
    }

    /// When the window began that was last counted in, Unix milliseconds.
    #[getter]
    fn start_ms(&self) -> u64 {
        locked(&self.window).start_ms()
    }

    /// Units per window. What is used stays used when it changes.
    #[getter]
    fn limit(&self) -> u64 {
        locked(&self.window).limit()
    }

    #[setter]
    fn set_limit(&self, limit: &Bound<'_, PyAny>) -> PyResult<()> {
        let limit = whole("limit", limit)?;
        locked(&self.window).set_limit(limit);
        Ok(())
    }

    fn __repr__(&self) -> String {
        let window = locked(&self.window);
        let name = Interval::NAMED.iter().find(|(_, interval)| *interval == window.interval()).map_or("in total", |(name, _)| name);
        format!("<Window of {} {name}>", window.limit())
    }
}

// --- what comes in ----------------------------------------------------------------------------------------------------

const SECOND_NS: u64 = 1_000_000_000;
const PERIODS: [(&str, u64); 4] =
    [("second", SECOND_NS), ("minute", limits::MINUTE_NS), ("hour", 60 * limits::MINUTE_NS), ("day", 24 * 60 * limits::MINUTE_NS)];

fn rate_of(rates: [Option<&Bound<'_, PyAny>>; 4], burst: Option<&Bound<'_, PyAny>>) -> PyResult<Rate> {
    let mut given = PERIODS.iter().zip(rates).filter_map(|((name, period_ns), rate)| Some((name, *period_ns, rate?)));
    let (Some((name, period_ns, units)), None) = (given.next(), given.next()) else {
        return Err(PyValueError::new_err("give one of rate_per_second, rate_per_minute, rate_per_hour and rate_per_day"));
    };
    let rate = Rate::new(whole(&format!("rate_per_{name}"), units)?, period_ns);
    let rate = match burst {
        Some(burst) => {
            let burst = whole("burst", burst)?;
            rate.and_then(|rate| rate.with_burst(burst))
        }
        None => rate,
    };
    rate.map_err(|error| PyValueError::new_err(error.to_string()))
}

fn interval_of(limit_reset: Option<&str>) -> PyResult<Interval> {
    let Some(name) = limit_reset else { return Ok(Interval::Total) };
    Interval::from_name(name).ok_or_else(|| {
        let names = Interval::NAMED.map(|(name, _)| format!("{name:?}")).join(", ");
        PyValueError::new_err(format!("limit_reset is {names} or None, not {name:?}"))
    })
}

fn places(name: &str, value: &Bound<'_, PyAny>) -> PyResult<NonZeroU32> {
    let number = u32::try_from(whole(name, value)?).ok().and_then(NonZeroU32::new);
    number.ok_or_else(|| PyValueError::new_err(format!("{name} is 1 to {}, not {value}", u32::MAX)))
}

/// How many units.
struct Amount(u64);

impl<'py> FromPyObject<'_, 'py> for Amount {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Amount> {
        whole("n", &value).map(Amount)
    }
}

/// A number that is counted with: no text, no float that is nearly one, no truth value.
fn whole(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number = if value.is_instance_of::<PyBool>() { None } else { value.extract::<u64>().ok() };
    number.ok_or_else(|| {
        let shown = value.repr().map_or_else(|_| value.get_type().to_string(), |shown| shown.to_string());
        PyValueError::new_err(format!("{name} is a whole number from 0 to {}, not {shown}", u64::MAX))
    })
}

/// `now_ns`, or what `time.monotonic_ns` says: the clock that is never set.
fn monotonic_ns(py: Python<'_>, now_ns: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    match now_ns {
        Some(now_ns) => whole("now_ns", now_ns),
        None => clock(py)?.bind(py).call_method0("monotonic_ns")?.extract(),
    }
}

/// `now_ms`, or the time of the day.
fn unix_ms(py: Python<'_>, now_ms: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    match now_ms {
        Some(now_ms) => whole("now_ms", now_ms),
        None => Ok(clock(py)?.bind(py).call_method0("time_ns")?.extract::<u64>()? / 1_000_000),
    }
}

fn clock(py: Python<'_>) -> PyResult<&Py<PyModule>> {
    static TIME: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    TIME.get_or_try_init(py, || Ok(py.import("time")?.unbind()))
}

// --- what goes out ----------------------------------------------------------------------------------------------------

/// `fairlead.limits.Refused`, which Python defines: an exception with fields cannot be made here for all versions at once.
fn refused(py: Python<'_>, refusal: Refusal, bucket: Option<usize>) -> PyErr {
    static REFUSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let made = REFUSED
        .import(py, "fairlead.limits", "Refused")
        .and_then(|class| class.call1((refusal.retry_after_ns(), refusal == Refusal::Never, bucket)));
    made.map_or_else(|error| error, PyErr::from_value)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
