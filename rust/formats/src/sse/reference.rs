//! What a stream means, for tests and for the fuzz target, which includes this file.

use super::Event;

/// The events of a whole stream: the decoder as plainly as it can be written: the text at once, no sharing of code with what it judges.
pub(super) fn reference(stream: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    // What stands behind the last line end is no line.
    lines.pop();
    let (mut events, mut name, mut data, mut id, mut retry) = (Vec::new(), "", Vec::new(), String::new(), None);
    for line in lines {
        if line.is_empty() {
            let event = std::mem::take(&mut name);
            let lines: Vec<&str> = std::mem::take(&mut data);
            if !lines.is_empty() {
                let event = if event.is_empty() { "message" } else { event }.to_owned();
                events.push(Event { event, data: lines.join("\n"), id: id.clone(), retry: retry.take() });
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data.push(value),
            "event" => name = value,
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => retry = value.parse().ok().or(retry),
            _ => {}
        }
    }
    events
}
