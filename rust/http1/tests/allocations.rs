//! The codec allocates nothing per frame, and nothing per head once the header list has grown.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fairlead_http1::{Body, Framing, Head, Limits, Parsed};

#[test]
fn a_second_head_allocates_nothing() {
    let input = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"x-name: value\r\n".repeat(50), b"\r\n"].concat();
    let mut head = Head::new();
    assert_eq!(head.parse(&input, false, &Limits::default()), Ok(Parsed::Complete));
    assert_eq!(allocations_in(|| assert_eq!(head.parse(&input, false, &Limits::default()), Ok(Parsed::Complete))), 0);
}

#[test]
fn a_body_allocates_nothing() {
    let input = [b"5;ext\r\nhello\r\n".repeat(1000).as_slice(), b"0\r\nx-trailer: 1\r\n\r\n"].concat();
    let mut payload_bytes = 0;
    let allocations = allocations_in(|| {
        let mut body = Body::new(Framing::Chunked, &Limits::default());
        let mut rest = input.as_slice();
        while !body.is_done() {
            let step = body.step(rest).unwrap();
            payload_bytes += step.payload.len();
            rest = &rest[step.consumed..];
        }
    });
    assert_eq!((allocations, payload_bytes), (0, 5000));
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations_in(|| drop(std::hint::black_box(vec![1u8]))), 1);
}

fn allocations_in(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed on to `System` unchanged; the counter is a plain cell that needs no allocation itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `System`, because all of ours do.
        unsafe { System.dealloc(pointer, layout) }
    }
}
