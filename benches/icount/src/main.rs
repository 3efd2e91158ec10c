//! `fairlead-icount`: pieces of work of the translation library, of routing and of limits, one after the other, for a counter of
//! instructions or for a clock.
//!
//! Without an argument it does each case once inside [`counted`] and prints the cases' names and numbers of items; `icount.py` runs it
//! so under callgrind, which writes down after each call of [`counted`] what it took. With `--time` it prints the nanoseconds per item.
//! With the beginning of a name it does the cases that begin so, for a profiler. Each case checks what comes out before it is counted.

#![expect(clippy::unwrap_used, reason = "a measurement may stop")]

mod cases;
mod frames;
mod limits;
mod request;
mod routing;

use std::hint::black_box;
use std::time::Instant;

use cases::Case;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let clock = arguments.first().is_some_and(|argument| argument == "--time");
    let begins = arguments.pop().filter(|argument| argument != "--time").unwrap_or_default();
    for mut case in cases::all().into_iter().filter(|case| case.name.starts_with(&begins)) {
        if clock {
            let ns = lowest_ns(&mut case) / case.items as f64;
            println!("{}\t{ns:.1}", case.name);
        } else {
            let mut work = (case.prepare)();
            counted(&mut work);
            println!("{}\t{}", case.name, case.items);
        }
    }
}

/// What callgrind counts: see `icount.py`.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> usize) {
    black_box(work());
}

/// The lowest of many windows: other work on the machine only ever adds time.
fn lowest_ns(case: &mut Case) -> f64 {
    const WINDOWS: usize = 2_000;
    let mut lowest = f64::MAX;
    for _ in 0..WINDOWS {
        let mut work = (case.prepare)();
        let start = Instant::now();
        counted(&mut work);
        lowest = lowest.min(start.elapsed().as_nanos() as f64);
    }
    lowest
}
