//! The load generator: raw sockets, prepared requests, every reply checked.
//!
//! Closed loop ([`Mode::Closed`]): each connection sends its next request when the reply is complete. Fixed rate
//! ([`Mode::Rate`]): requests have intended start times and latency counts from those, so a slow server cannot hide by
//! slowing the generator down. Held streams ([`Mode::Hold`]): every connection opens one stream, and the run ends when
//! each of them has delivered content; memory is read while they are open.

pub mod bodies;
pub mod check;
mod connection;
mod record;
mod timer;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use bodies::Prepared;
use check::{Checker, Dialect};
use connection::{Connection, Timings};
pub use record::{Record, Report, Summary};
use timer::Timer;

/// After so many failed replies a run stops early: it is void anyway.
const MAX_ERRORS: u64 = 20;
/// How long replies may take to finish after the window's end before the run is given up.
const GRACE: Duration = Duration::from_secs(30);

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The next request follows the last reply, until the time is over; at least one per connection.
    Closed {
        /// Length of the window.
        duration: Duration,
    },
    /// Requests start at fixed times, spread over the connections.
    Rate {
        /// Length of the window.
        duration: Duration,
        /// Requests per second.
        per_second: f64,
    },
    /// One stream per connection, left open at its first content.
    Hold,
}

/// What to send, where and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The target.
    pub target: SocketAddr,
    /// Concurrent connections.
    pub connections: usize,
    /// When requests are sent.
    pub mode: Mode,
    /// How long to send `warmup_request` in a closed loop before the window. Each connection sends at least one.
    pub warmup: Duration,
    /// The closed loop's connections start spread over this time, so that paced streams do not beat together.
    pub stagger: Duration,
    /// The request of the window.
    pub request: Prepared,
    /// The request of the warm-up: of the same kind, short.
    pub warmup_request: Prepared,
    /// The dialect that replies are checked in.
    pub dialect: Dialect,
}

/// Called when the warm-up is over and, in [`Mode::Hold`], when every stream is open.
pub type Gate<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// A gate that says `ready` on standard output and waits for a line on standard input.
///
/// # Errors
/// When standard input or output is closed.
pub fn wait_for_line() -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(b"ready\n")?;
    output.flush()?;
    drop(output);
    match io::stdin().lock().read_line(&mut String::new())? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Runs a load on a runtime of its own and reports what came back.
///
/// # Errors
/// When the runtime cannot start, the target refuses connections or the gate fails. Wrong replies are no error here:
/// the report counts them.
pub fn run(options: &Options, gate: Gate<'_>) -> io::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(drive(options, gate))
}

async fn drive(options: &Options, gate: Gate<'_>) -> io::Result<Report> {
    let mut workers = Vec::new();
    for _ in 0..options.connections.max(1) {
        let connection = Connection::open(options.target).await?;
        workers.push(Worker { connection, checker: Checker::new(options.dialect) });
    }
    let warmup = Shared::new(options.warmup_request.clone());
    if options.mode != Mode::Hold {
        workers = closed_loop(workers, &warmup, options.warmup, Duration::ZERO).await;
        if warmup.failed() {
            return Ok(warmup.report(Duration::ZERO));
        }
        gate()?;
    }
    let window = Shared::new(options.request.clone());
    let started = Instant::now();
    let kept = match options.mode {
        Mode::Closed { duration } => closed_loop(workers, &window, duration, options.stagger).await,
        Mode::Rate { duration, per_second } => fixed_rate(workers, &window, duration, per_second).await?,
        Mode::Hold => hold(workers, &window).await,
    };
    let took = started.elapsed();
    if options.mode == Mode::Hold {
        gate()?;
    }
    drop(kept);
    Ok(window.report(took))
}

/// One connection and the state to check its replies.
struct Worker {
    connection: Connection,
    checker: Checker,
}

/// What the tasks of one phase share.
#[derive(Clone)]
struct Shared {
    request: Arc<Prepared>,
    record: Arc<Mutex<Record>>,
}

impl Shared {
    fn new(request: Prepared) -> Self {
        Self { request: Arc::new(request), record: Arc::new(Mutex::new(Record::new())) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Record) -> T) -> T {
        act(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self) -> bool {
        self.with(|record| record.errors > 0)
    }

    fn report(&self, took: Duration) -> Report {
        self.with(|record| record.report(took))
    }
}

async fn closed_loop(workers: Vec<Worker>, shared: &Shared, duration: Duration, stagger: Duration) -> Vec<Worker> {
    let start = Instant::now();
    let count = u32::try_from(workers.len()).unwrap_or(u32::MAX);
    let mut tasks = JoinSet::new();
    for (index, mut worker) in (0_u32..).zip(workers) {
        let shared = shared.clone();
        tasks.spawn(async move {
            if !stagger.is_zero() {
                tokio::time::sleep_until((start + stagger * index / count).into()).await;
            }
            loop {
                let go_on = worker.ask(&shared, Instant::now()).await;
                if !go_on || start.elapsed() >= duration {
                    return worker;
                }
            }
        });
    }
    join(tasks, shared, start + duration + stagger + GRACE).await
}

async fn fixed_rate(workers: Vec<Worker>, shared: &Shared, duration: Duration, per_second: f64) -> io::Result<Vec<Worker>> {
    let start = Instant::now();
    let total = (duration.as_secs_f64() * per_second) as u64;
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let (shared, next, timer) = (shared.clone(), Arc::clone(&next), Timer::new()?);
        tasks.spawn(async move {
            loop {
                let slot = next.fetch_add(1, Ordering::Relaxed);
                if slot >= total {
                    return worker;
                }
                let intended = start + Duration::from_secs_f64(slot as f64 / per_second);
                if let Err(error) = timer.sleep_until(intended).await {
                    shared.with(|record| record.fail(&format!("timer: {error}")));
                    return worker;
                }
                if !worker.ask(&shared, intended).await {
                    return worker;
                }
            }
        });
    }
    Ok(join(tasks, shared, start + duration + GRACE).await)
}

async fn hold(workers: Vec<Worker>, shared: &Shared) -> Vec<Worker> {
    let mut tasks = JoinSet::new();
    for mut worker in workers {
        let shared = shared.clone();
        tasks.spawn(async move {
            worker.checker.begin(&shared.request.expected);
            let opened = worker.connection.open_stream(&shared.request.bytes, &mut worker.checker).await;
            shared.with(|record| match opened {
                Ok(timings) => record.complete(&timings, &worker.checker),
                Err(failure) => record.fail(&failure),
            });
            worker
        });
    }
    join(tasks, shared, Instant::now() + GRACE).await
}

/// Waits for the tasks, but never past the deadline: a reply that does not come is an error, not a hanging bench.
async fn join(mut tasks: JoinSet<Worker>, shared: &Shared, deadline: Instant) -> Vec<Worker> {
    let mut workers = Vec::new();
    loop {
        match tokio::time::timeout_at(deadline.into(), tasks.join_next()).await {
            Ok(Some(Ok(worker))) => workers.push(worker),
            Ok(Some(Err(error))) => shared.with(|record| record.fail(&format!("a task failed: {error}"))),
            Ok(None) => return workers,
            Err(_elapsed) => {
                let text = format!("{} replies were still missing long after the window", tasks.len());
                shared.with(|record| record.fail(&text));
                return workers;
            }
        }
    }
}

impl Worker {
    /// One request and its checked reply. False: too many failures, or no new connection to be had.
    async fn ask(&mut self, shared: &Shared, intended: Instant) -> bool {
        self.checker.begin(&shared.request.expected);
        let sent = Instant::now();
        let outcome = self.connection.exchange(&shared.request.bytes, &mut self.checker).await;
        let failure = match outcome {
            Ok(finished) => {
                let timings = Timings { intended, sent, ..finished };
                shared.with(|record| record.complete(&timings, &self.checker));
                if self.connection.is_reusable() {
                    return true;
                }
                None
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            let errors = shared.with(|record| {
                record.fail(&failure);
                record.errors
            });
            if errors >= MAX_ERRORS {
                return false;
            }
        }
        self.reconnect(shared).await
    }

    async fn reconnect(&mut self, shared: &Shared) -> bool {
        shared.with(|record| record.reconnects += 1);
        match Connection::open(self.connection.target).await {
            Ok(connection) => self.connection = connection,
            Err(error) => {
                shared.with(|record| record.fail(&format!("no new connection: {error}")));
                return false;
            }
        }
        true
    }
}
