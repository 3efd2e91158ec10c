//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fairlead_rig::floor::{self, Variant};
use fairlead_rig::load::bodies::{self, Kind, Prepared};
use fairlead_rig::load::check::{Dialect, Expected};
use fairlead_rig::load::{self, Mode};
use lexopt::{Arg, Parser, ValueExt};

const HELP: &str = "\
fairlead-rig: the load generator, the floor and the provider behind `make bench`

fairlead-rig sim --address A [--threads N]
  The simulator as a process of its own, until it is killed.

fairlead-rig floor --listen A --upstream A --key K --model-from M --model-to U
    [--variant hand|hyper] [--threads N]
  The cheapest honest gateway: key check, model name replaced, everything else passed through.

fairlead-rig load --target http://HOST:PORT [--path P] [--key K] [--header 'NAME: VALUE']…
    [--dialect openai|anthropic] [--mode closed|rate|hold] [--connections N] [--seconds S] [--rate R]
    [--model M] [--body-kind small|100k|400k] [--words N] [--pace-ms P] [--stream]
    [--body-file F [--expect-text T] [--expect-frames N]]
    [--any-frames] [--warmup-ms W] [--stagger-ms S] [--gate]
  Sends requests, checks every reply, prints one JSON object; times in it are nanoseconds.
  closed  each connection sends the next request when its reply is complete
  rate    R requests per second in all; latency counts from the intended start
  hold    one stream per connection, left open until a line comes on standard input (needs --gate)
  --words       words of the last user text; the model is expected to echo them, one frame each
  --any-frames  do not check into how many frames a stream's text is cut
  --gate        after the warm-up print `ready` and wait for a line on standard input
";

/// Records that the simulator keeps: nobody reads them here, so few, which stay in the cache.
const LEDGER_CAPACITY: usize = 4096;

/// Why the program stops with an error.
pub(crate) enum Failure {
    /// The arguments make no sense.
    Misuse(String),
    /// The work failed.
    Failed(String),
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Misuse(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Reads the arguments and does what they say.
pub(crate) fn run() -> Result<(), Failure> {
    let mut parser = Parser::from_env();
    match parser.next()? {
        Some(Arg::Value(command)) => match command.to_str() {
            Some("sim") => run_simulator(parser),
            Some("floor") => run_floor(parser),
            Some("load") => run_load(parser),
            _ => Err(Failure::Misuse(format!("unknown command {}", command.display()))),
        },
        Some(Arg::Long("help") | Arg::Short('h')) => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(Failure::Misuse("a command is needed".to_owned())),
    }
}

fn run_simulator(mut parser: Parser) -> Result<(), Failure> {
    let (mut address, mut threads) = (None, 1);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("address") => address = Some(value::<SocketAddr>(&mut parser)?),
            Arg::Long("threads") => threads = value(&mut parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    let options = fairlead_sim::Options {
        address: required(address, "--address")?,
        threads,
        ledger_capacity: LEDGER_CAPACITY,
        ..fairlead_sim::Options::default()
    };
    let simulator = fairlead_sim::Simulator::start(options)?;
    println!("listening on {}", simulator.address());
    loop {
        std::thread::park();
    }
}

fn run_floor(mut parser: Parser) -> Result<(), Failure> {
    let (mut listen, mut upstream, mut key, mut model_from, mut model_to) = (None, None, None, None, None);
    let (mut variant, mut threads) = (Variant::Hand, 1);
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("listen") => listen = Some(value::<SocketAddr>(&mut parser)?),
            Arg::Long("upstream") => upstream = Some(value::<SocketAddr>(&mut parser)?),
            Arg::Long("key") => key = Some(parser.value()?.string()?),
            Arg::Long("model-from") => model_from = Some(parser.value()?.string()?),
            Arg::Long("model-to") => model_to = Some(parser.value()?.string()?),
            Arg::Long("threads") => threads = value(&mut parser)?,
            Arg::Long("variant") => {
                variant = choose(&parser.value()?, &[("hand", Variant::Hand), ("hyper", Variant::Hyper)])?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let running = floor::start(&floor::Options {
        listen: required(listen, "--listen")?,
        upstream: required(upstream, "--upstream")?,
        key: required(key, "--key")?,
        model_from: required(model_from, "--model-from")?,
        model_to: required(model_to, "--model-to")?,
        variant,
        threads,
    })?;
    println!("listening on {}", running.address);
    for worker in running.workers {
        worker.join().map_err(|_panic| Failure::Failed("a worker panicked".to_owned()))??;
    }
    Ok(())
}

fn run_load(parser: Parser) -> Result<(), Failure> {
    let arguments = LoadArguments::read(parser)?;
    let options = arguments.options()?;
    if options.mode == Mode::Hold && !arguments.gate {
        return Err(Failure::Misuse("--mode hold needs --gate".to_owned()));
    }
    let mut gate = || if arguments.gate { load::wait_for_line() } else { Ok(()) };
    let report = load::run(&options, &mut gate)?;
    let text = serde_json::to_string(&report).map_err(|error| Failure::Failed(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// `load`'s arguments as they were given.
struct LoadArguments {
    target: String,
    path: Option<String>,
    headers: Vec<(String, String)>,
    dialect: Dialect,
    mode: String,
    connections: usize,
    seconds: f64,
    rate: f64,
    model: String,
    fill_bytes: usize,
    words: usize,
    pace_ms: Option<u64>,
    stream: bool,
    body_file: Option<PathBuf>,
    expect_text: Option<String>,
    expect_frames: Option<u64>,
    any_frames: bool,
    warmup_ms: u64,
    stagger_ms: u64,
    gate: bool,
}

impl LoadArguments {
    fn read(mut parser: Parser) -> Result<Self, Failure> {
        let mut read = Self {
            target: String::new(),
            path: None,
            headers: Vec::new(),
            dialect: Dialect::OpenaiChat,
            mode: "closed".to_owned(),
            connections: 1,
            seconds: 1.0,
            rate: 500.0,
            model: "sim/echo".to_owned(),
            fill_bytes: 0,
            words: 16,
            pace_ms: None,
            stream: false,
            body_file: None,
            expect_text: None,
            expect_frames: None,
            any_frames: false,
            warmup_ms: 0,
            stagger_ms: 0,
            gate: false,
        };
        while let Some(argument) = parser.next()? {
            let Arg::Long(name) = argument else { return Err(argument.unexpected().into()) };
            // The argument borrows the parser, and its value comes from there too.
            let name = name.to_owned();
            read.take(&name, &mut parser)?;
        }
        Ok(read)
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<(), Failure> {
        match name {
            "target" => self.target = parser.value()?.string()?,
            "path" => self.path = Some(parser.value()?.string()?),
            "key" => {
                let key = parser.value()?.string()?;
                self.headers.push(("authorization".to_owned(), format!("Bearer {key}")));
            }
            "header" => self.headers.push(header(&parser.value()?.string()?)?),
            "dialect" => {
                let names = [("openai", Dialect::OpenaiChat), ("anthropic", Dialect::AnthropicMessages)];
                self.dialect = choose(&parser.value()?, &names)?;
            }
            "mode" => self.mode = parser.value()?.string()?,
            "connections" => self.connections = value(parser)?,
            "seconds" => self.seconds = value(parser)?,
            "rate" => self.rate = value(parser)?,
            "model" => self.model = parser.value()?.string()?,
            "body-kind" => {
                let sizes = [("small", 0), ("100k", 100_000), ("400k", 400_000)];
                self.fill_bytes = choose(&parser.value()?, &sizes)?;
            }
            "words" => self.words = value(parser)?,
            "pace-ms" => self.pace_ms = Some(value(parser)?),
            "stream" => self.stream = true,
            "body-file" => self.body_file = Some(parser.value()?.into()),
            "expect-text" => self.expect_text = Some(parser.value()?.string()?),
            "expect-frames" => self.expect_frames = Some(value(parser)?),
            "any-frames" => self.any_frames = true,
            "warmup-ms" => self.warmup_ms = value(parser)?,
            "stagger-ms" => self.stagger_ms = value(parser)?,
            "gate" => self.gate = true,
            _ => return Err(Failure::Misuse(format!("unknown option --{name}"))),
        }
        Ok(())
    }

    fn options(&self) -> Result<load::Options, Failure> {
        let target = self.target.trim_start_matches("http://").trim_end_matches('/');
        let duration = Duration::try_from_secs_f64(self.seconds).map_err(|error| Failure::Misuse(error.to_string()))?;
        let mode = match self.mode.as_str() {
            "closed" => Mode::Closed { duration },
            "rate" if self.rate > 0.0 => Mode::Rate { duration, per_second: self.rate },
            "hold" => Mode::Hold,
            other => return Err(Failure::Misuse(format!("no such mode or rate: {other}"))),
        };
        Ok(load::Options {
            target: target.parse().map_err(|error| Failure::Misuse(format!("--target {target}: {error}")))?,
            connections: self.connections,
            mode,
            warmup: Duration::from_millis(self.warmup_ms),
            stagger: Duration::from_millis(self.stagger_ms),
            request: self.prepared(target, self.words)?,
            // Streams are warmed with short ones, so that as many upstream connections exist as will be needed.
            warmup_request: self.prepared(target, if self.stream { self.words.min(4) } else { self.words })?,
            dialect: self.dialect,
        })
    }

    fn prepared(&self, target: &str, words: usize) -> Result<Prepared, Failure> {
        let (body, mut expected) = match &self.body_file {
            Some(file) => {
                let text = self.expect_text.clone();
                (std::fs::read(file)?, Expected { stream: self.stream, text, pieces: self.expect_frames })
            }
            None => bodies::generate(&Kind {
                dialect: self.dialect,
                model: self.model.clone(),
                stream: self.stream,
                words,
                fill_bytes: self.fill_bytes,
                pace_ms: self.pace_ms,
            }),
        };
        if self.any_frames {
            expected.pieces = None;
        }
        let path = self.path.as_deref().unwrap_or(match self.dialect {
            Dialect::OpenaiChat => "/v1/chat/completions",
            Dialect::AnthropicMessages => "/v1/messages",
        });
        let mut headers = self.headers.clone();
        if self.dialect == Dialect::AnthropicMessages {
            headers.push(("anthropic-version".to_owned(), "2023-06-01".to_owned()));
        }
        Ok(bodies::prepare(target, path, &headers, &body, expected))
    }
}

fn header(text: &str) -> Result<(String, String), Failure> {
    let (name, value) = text.split_once(':').ok_or_else(|| Failure::Misuse(format!("no colon in header {text}")))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn value<T: FromStr>(parser: &mut Parser) -> Result<T, lexopt::Error>
where
    T::Err: Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
{
    parser.value()?.parse()
}

fn choose<T: Clone>(given: &OsString, choices: &[(&str, T)]) -> Result<T, Failure> {
    let found = choices.iter().find(|(name, _)| given.to_str() == Some(name));
    found.map(|(_, choice)| choice.clone()).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Failure::Misuse(format!("{} is none of {}", given.display(), names.join(", ")))
    })
}

fn required<T>(value: Option<T>, name: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Misuse(format!("{name} is needed")))
}
