//! A throw-away provider on a thread: reads whole requests, writes what a closure says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What to do with a request.
pub(crate) struct Answer {
    /// Written one by one.
    pub(crate) writes: Vec<Vec<u8>>,
    /// Whether the connection closes afterwards.
    pub(crate) close: bool,
}

/// A provider that keeps what it was sent.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// Starts a provider; `answer` gets the number of the request on its connection and the request.
pub(crate) fn start(answer: impl Fn(usize, &[u8]) -> Answer + Send + Sync + 'static) -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let provider = Provider { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
    let (connections, requests) = (Arc::clone(&provider.connections), Arc::clone(&provider.requests));
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            connections.fetch_add(1, Ordering::SeqCst);
            let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
            std::thread::spawn(move || serve(stream.unwrap(), &*answer, &requests));
        }
    });
    provider
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(usize, &[u8]) -> Answer, requests: &Mutex<Vec<Vec<u8>>>) {
    stream.set_nodelay(true).unwrap();
    for number in 0.. {
        let Some(request) = read_message(&mut stream) else { return };
        requests.lock().unwrap().push(request.clone());
        let answer = answer(number, &request);
        for write in &answer.writes {
            if stream.write_all(write).is_err() {
                return;
            }
        }
        if answer.close {
            return;
        }
    }
}

/// One HTTP message with a content-length; nothing at the end of the connection.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        if let Some(end) = head_end(&message) {
            let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
            if message.len() >= end + length {
                assert_eq!(message.len(), end + length, "bytes after the message");
                return Some(message);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => message.extend_from_slice(&buffer[..count]),
        }
    }
}

fn head_end(message: &[u8]) -> Option<usize> {
    message.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The body of a message.
pub(crate) fn body(message: &[u8]) -> &[u8] {
    &message[head_end(message).unwrap()..]
}

/// A reply with a length.
pub(crate) fn sized(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// A chunked reply: the head with the first chunk in one write, then one write per chunk, then the end.
pub(crate) fn chunked(content_type: &str, parts: &[&str]) -> Vec<Vec<u8>> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut writes: Vec<Vec<u8>> = vec![head.into_bytes()];
    for (index, part) in parts.iter().enumerate() {
        let chunk = format!("{:x}\r\n{part}\r\n", part.len()).into_bytes();
        if index == 0 { writes[0].extend(chunk) } else { writes.push(chunk) }
    }
    writes.push(b"0\r\n\r\n".to_vec());
    writes
}
