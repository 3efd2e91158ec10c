//! A small HTTP client on a plain socket: it keeps what came as it came, chunk by chunk, and how the connection ended.

use fairlead_sim::{Options, Simulator};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Only so that a broken test ends; nothing is measured against it.
pub(crate) const HANG_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn simulator() -> Simulator {
    Simulator::start(Options { seed: 7, ..Options::default() }).unwrap()
}

/// How the bytes of a reply ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As the framing says.
    Framed,
    /// By the end of the connection.
    Closed,
    Reset,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The body's HTTP chunks, where it is chunked.
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The events of the stream: name (if any) and data. Only the form that the simulator writes by itself is understood.
    pub(crate) fn events(&self) -> Vec<(Option<String>, String)> {
        let frames = self.text().split_terminator("\n\n");
        frames
            .map(|frame| {
                let lines: Vec<&str> = frame.split('\n').collect();
                match lines.as_slice() {
                    [data] => (None, data.strip_prefix("data: ").unwrap().to_owned()),
                    [name, data] => {
                        (Some(name.strip_prefix("event: ").unwrap().to_owned()), data.strip_prefix("data: ").unwrap().to_owned())
                    }
                    _ => panic!("not a frame: {frame:?}"),
                }
            })
            .collect()
    }

    /// The JSON of all events, `[DONE]` left out.
    pub(crate) fn event_json(&self) -> Vec<Value> {
        let events = self.events();
        events.iter().filter(|(_, data)| data != "[DONE]").map(|(_, data)| serde_json::from_str(data).unwrap()).collect()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    inbound: Vec<u8>,
}

impl Client {
    pub(crate) fn new(simulator: &Simulator) -> Self {
        let stream = TcpStream::connect(simulator.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG_LIMIT)).unwrap();
        Self { stream, inbound: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send(request(path, body).as_bytes());
        self.reply()
    }

    pub(crate) fn chat(&mut self, body: Value) -> Reply {
        self.post("/v1/chat/completions", &body.to_string())
    }

    pub(crate) fn messages(&mut self, body: Value) -> Reply {
        self.post("/v1/messages", &body.to_string())
    }

    pub(crate) fn call(&mut self, method: &str, target: &str) -> Reply {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer k\r\n\r\n").as_bytes());
        self.reply()
    }

    pub(crate) fn ledger(&mut self) -> Value {
        self.call("GET", "/sim/ledger").json()
    }

    /// Everything until the connection ends, and whether it ended by a reset.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            match self.read() {
                Some(End::Framed) => {}
                Some(end) => break end,
                None => break End::Closed,
            }
        };
        (std::mem::take(&mut self.inbound), end)
    }

    /// The next reply, or as much as came of it.
    pub(crate) fn reply(&mut self) -> Reply {
        let head_bytes = loop {
            if let Some(position) = find(&self.inbound, b"\r\n\r\n") {
                break position + 4;
            }
            assert_eq!(self.read(), Some(End::Framed), "no head: {:?}", String::from_utf8_lossy(&self.inbound));
        };
        let head: Vec<u8> = self.inbound.drain(..head_bytes).collect();
        let mut lines = std::str::from_utf8(&head).unwrap().split_terminator("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pairs = lines.filter(|line| !line.is_empty()).map(|line| line.split_once(": ").unwrap());
        let headers: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut reply = Reply { status, headers, body: Vec::new(), chunks: Vec::new(), end: End::Framed };
        if let Some(length) = reply.header("content-length") {
            let length: usize = length.parse().unwrap();
            reply.end = self.need(length);
            let length = length.min(self.inbound.len());
            reply.body = self.inbound.drain(..length).collect();
        } else if reply.header("transfer-encoding").is_some() {
            reply.end = self.chunks(&mut reply.chunks);
            reply.body = reply.chunks.concat();
        } else {
            (reply.body, reply.end) = self.rest();
        }
        reply
    }

    /// Reads chunks until the last; of one that is cut short, what there is.
    fn chunks(&mut self, chunks: &mut Vec<Vec<u8>>) -> End {
        loop {
            let line_end = loop {
                if let Some(position) = find(&self.inbound, b"\r\n") {
                    break position;
                }
                match self.read() {
                    Some(End::Framed) => {}
                    end => return end.unwrap_or(End::Closed),
                }
            };
            let size = std::str::from_utf8(&self.inbound[..line_end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            self.inbound.drain(..line_end + 2);
            let end = self.need(size + 2);
            let size_there = size.min(self.inbound.len());
            if size > 0 {
                chunks.push(self.inbound.drain(..size_there).collect());
            }
            if end != End::Framed {
                return end;
            }
            assert_eq!(self.inbound.drain(..2).collect::<Vec<_>>(), b"\r\n");
            if size == 0 {
                return End::Framed;
            }
        }
    }

    fn need(&mut self, count: usize) -> End {
        while self.inbound.len() < count {
            match self.read() {
                Some(End::Framed) => {}
                end => return end.unwrap_or(End::Closed),
            }
        }
        End::Framed
    }

    /// `Framed`: something came. `None`: the end.
    fn read(&mut self) -> Option<End> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                self.inbound.extend_from_slice(&buffer[..count]);
                Some(End::Framed)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A request that either dialect takes.
pub(crate) fn request(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer k\r\nanthropic-version: 2023-06-01\r\n\
        Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A chat request to `model` that says `text`, with the fields of `more` beside or in place.
pub(crate) fn ask(model: &str, text: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "max_tokens": 1000, "messages": [{"role": "user", "content": text}]});
    let fields = body.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    body
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
