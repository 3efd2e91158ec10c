//! The library's thread: one single-threaded runtime, a task per call.

use super::{Command, Feed, News, Order, Outbox, Over, Seat};
use crate::pipeline::{self, Arrival, Arriving, Caller, Own, Receipt, ReplyBody};
use crate::server;
use crate::worker::{Books, Worker, unix_ms};
use bytes::Bytes;
use fairlead_formats::sse::Decoder;
use fairlead_router::health::retry_after_ms;
use fairlead_snapshot::Principal;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

/// Starts the thread; it ends when it is told to stop, or when nobody can tell it anything any more.
pub(super) fn start(seat: Seat) -> io::Result<JoinHandle<()>> {
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("fl-library".to_owned()).spawn(move || {
        let runtime = match server::thread::runtime() {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        let Seat { outbox, orders, books, principal, salt } = seat;
        let desk = Desk::new(outbox, books, principal, salt);
        drop(started.send(Ok(())));
        runtime.block_on(run(desk, orders));
    })?;
    outcome.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
    Ok(thread)
}

/// What the calls share.
struct Desk {
    worker: Rc<Worker>,
    outbox: Arc<Outbox>,
    principal: Arc<Principal>,
    /// The calls in progress.
    calls: RefCell<HashMap<u64, AbortHandle>>,
    /// One of them is over.
    over: Notify,
}

impl Desk {
    fn new(outbox: Arc<Outbox>, books: Books, principal: Arc<Principal>, salt: u32) -> Rc<Desk> {
        let shared = outbox.shared.clone();
        let counters = shared.counters(0);
        let worker = Rc::new(Worker::new(shared, counters, books, 0, salt));
        Rc::new(Desk { worker, outbox, principal, calls: RefCell::default(), over: Notify::new() })
    }
}

impl Desk {
    /// Whether nothing runs, also of what nobody waits for any more.
    fn is_idle(&self) -> bool {
        self.calls.borrow().is_empty() && self.worker.is_idle()
    }
}

async fn run(desk: Rc<Desk>, mut orders: Receiver<Command>) {
    let mut tick = tokio::time::interval(server::thread::TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // When what still runs is cut off, once there is to be an end.
    let mut end = None;
    loop {
        tokio::select! {
            command = orders.recv() => match command {
                Some(Command::Begin(order)) => begin(&desk, order),
                Some(Command::Cancel(call)) => cancel(&desk, call),
                Some(Command::Stop { grace }) => end = Some(Instant::now() + grace),
                None => return,
            },
            _ = tick.tick() => desk.worker.look_around(),
            () = desk.over.notified(), if end.is_some() => {}
        }
        if end.is_some_and(|end| desk.is_idle() || Instant::now() >= end) {
            return cut_off(&desk).await;
        }
    }
}

/// Wakes those that still run, which find that they are cut off, and gives them the time to tell.
async fn cut_off(desk: &Desk) {
    desk.worker.shared.stop();
    desk.worker.look_around();
    let all_over = async {
        while !desk.is_idle() {
            desk.over.notified().await;
        }
    };
    // Whoever is not over by then is dropped, which settles it.
    let _ = tokio::time::timeout(server::thread::LAST_WORDS, all_over).await;
}

fn begin(desk: &Rc<Desk>, order: Order) {
    let call = order.call;
    let task = spawn_local(serve(Telling::new(desk, call), order));
    desk.calls.borrow_mut().insert(call, task.abort_handle());
}

fn cancel(desk: &Desk, call: u64) {
    // Not removed: that is done by whatever then tells that it is over.
    let task = desk.calls.borrow().get(&call).cloned();
    if let Some(task) = task {
        task.abort();
    }
}

/// One call, from its order to the last news of it.
async fn serve(mut telling: Telling, order: Order) {
    let worker = telling.desk.worker.clone();
    let entered = Entered::new(&worker).await;
    let own = Own { principal: telling.desk.principal.clone(), receipt: telling.receipt.clone() };
    let arrival = Arrival { began: Instant::now(), misframed: None, caller: Caller::Process(&own) };
    // Boxed: it is large, and what is spawned is moved more than once.
    let response = Box::pin(pipeline::answer(&worker, request(order), arrival)).await;
    let status = response.status().as_u16();
    if status >= 400 {
        telling.retry_after_ms = retry_hint(response.headers());
    }
    if response.body().is_stream() {
        let feed = telling.begin(&response);
        relay(&telling, &feed, response.into_body(), worker.shared.snapshot().settings.limits.event_bytes).await;
    } else {
        telling.body = whole(response.into_body()).await;
    }
    telling.status = status;
    drop(entered);
}

fn request(order: Order) -> Request<Arriving> {
    let mut request = Request::new(Arriving::Whole(order.body));
    *request.method_mut() = Method::POST;
    // There is no connection that could have named its host.
    *request.version_mut() = Version::HTTP_2;
    // What is no path is found nowhere.
    *request.uri_mut() = Uri::try_from(order.path).unwrap_or_default();
    *request.headers_mut() = headers(&order.headers);
    request
}

/// Those that can be headers; the rest could not have been sent either.
fn headers(given: &[(String, String)]) -> HeaderMap {
    let header = |(name, value): &(String, String)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    given.iter().filter_map(header).collect()
}

/// When a reply says to come again.
fn retry_hint(headers: &HeaderMap) -> Option<u64> {
    let texts: Vec<_> = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    retry_after_ms(texts.into_iter(), None, unix_ms())
}

async fn whole(body: ReplyBody) -> Vec<Bytes> {
    let mut body = pin!(body);
    let mut pieces = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        pieces.extend(frame.into_data());
    }
    pieces
}

/// The events of a stream, until its end or its failure, which the receipt tells.
async fn relay(telling: &Telling, feed: &Feed, body: ReplyBody, most_event_bytes: usize) {
    let mut body = pin!(body);
    let mut decoder = Decoder::new(most_event_bytes);
    let mut events = Vec::new();
    loop {
        let piece = match poll_fn(|context| body.as_mut().poll_frame(context)).await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) | None => return,
        };
        events.clear();
        let decoded = decoder.feed_each(&piece, |event| {
            if event.data != END_OF_CHAT {
                events.extend_from_slice(event.data.as_bytes());
                events.push(b',');
            }
        });
        if feed.put(&events) {
            telling.desk.outbox.put(News::Ready { call: telling.call });
        }
        if decoded.is_err() {
            return;
        }
        poll_fn(|context| feed.poll_room(context)).await;
    }
}

/// Chat's last event, which is no JSON.
const END_OF_CHAT: &str = "[DONE]";

/// Tells that a call is over, however it ends. Outlives everything else of the call, so that it has been settled by then.
struct Telling {
    desk: Rc<Desk>,
    call: u64,
    receipt: Rc<Receipt>,
    status: u16,
    body: Vec<Bytes>,
    retry_after_ms: Option<u64>,
}

impl Telling {
    fn new(desk: &Rc<Desk>, call: u64) -> Telling {
        Telling { desk: desk.clone(), call, receipt: Rc::default(), status: 0, body: Vec::new(), retry_after_ms: None }
    }

    fn begin(&self, response: &Response<ReplyBody>) -> Arc<Feed> {
        let generation = response.headers().get("x-generation-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let feed = Arc::new(Feed::default());
        let explanation = self.receipt.take_explanation();
        self.desk.outbox.put(News::Began { call: self.call, generation, feed: feed.clone(), explanation });
        feed
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.desk.calls.borrow_mut().remove(&self.call);
        let (status, body, retry_after_ms) = match self.receipt.take_failure() {
            Some(told) => (told.status, vec![told.body.into()], told.retry_after_ms),
            None => (self.status, std::mem::take(&mut self.body), self.retry_after_ms),
        };
        let (settlement, explanation) = (self.receipt.take_settlement(), self.receipt.take_explanation());
        self.desk.outbox.put(News::Over(Over { call: self.call, status, body, settlement, explanation, retry_after_ms }));
        self.desk.over.notify_one();
    }
}

/// A task that a stop wakes.
struct Entered<'a> {
    worker: &'a Worker,
    place: usize,
}

impl Entered<'_> {
    async fn new(worker: &Worker) -> Entered<'_> {
        let place = poll_fn(|context| Poll::Ready(worker.enter(context.waker().clone()))).await;
        Entered { worker, place }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.worker.leave(self.place);
    }
}
