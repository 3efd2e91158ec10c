//! Amazon's binary framing: lengths, headers, payload, and a CRC-32 of both the first eight bytes and everything.

/// A header's value that is text.
const TEXT: u8 = 7;

/// One message with these headers, all of them text.
pub(crate) fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in headers {
        encoded.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        encoded.extend_from_slice(name.as_bytes());
        encoded.push(TEXT);
        encoded.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        encoded.extend_from_slice(value.as_bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut message = Vec::with_capacity(encoded.len() + payload.len() + 16);
    message.extend_from_slice(&length(encoded.len() + payload.len() + 16));
    message.extend_from_slice(&length(encoded.len()));
    let prelude = crc32fast::hash(&message);
    message.extend_from_slice(&prelude.to_be_bytes());
    message.extend_from_slice(&encoded);
    message.extend_from_slice(payload);
    let whole = crc32fast::hash(&message);
    message.extend_from_slice(&whole.to_be_bytes());
    message
}

/// An event called `name`, or an exception of that name.
pub(crate) fn named(name: &str, payload: &[u8]) -> Vec<u8> {
    let (kind, key) = if name.ends_with("Exception") { ("exception", ":exception-type") } else { ("event", ":event-type") };
    message(&[(key, name), (":content-type", "application/json"), (":message-type", kind)], payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_messages_are_as_published() {
        // The vectors `empty_message` and `payload_no_headers` of Amazon's event-stream test suite.
        assert_eq!(message(&[], b""), [0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
        let payload = b"{'foo':'bar'}";
        let message = message(&[], payload);
        assert_eq!(message.get(..12), Some([0, 0, 0, 0x1d, 0, 0, 0, 0, 0xfd, 0x52, 0x8c, 0x5a].as_slice()));
        assert_eq!(message.get(25..), Some([0xc3, 0x65, 0x39, 0x36].as_slice()));
    }

    #[test]
    fn headers_have_their_types_and_lengths() {
        let message = named("throttlingException", b"{}");
        let text = String::from_utf8_lossy(&message);
        assert!(text.contains("\u{f}:exception-type\u{7}\0\u{13}throttlingException"), "{text:?}");
        assert!(text.contains("\u{d}:message-type\u{7}\0\u{9}exception"), "{text:?}");
    }
}
