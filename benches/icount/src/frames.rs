//! Streams as providers send them: a head, and many frames with a word each.

use fairlead_formats::eventstream::{self, Header, Value};
use fairlead_formats::sse;
use fairlead_formats::text;
use fairlead_formats::traits::Traits;
use fairlead_formats::translate::dialects::StreamDecoder;
use fairlead_ir::{Delta, Dialect, Event};

/// How many frames are counted together.
const FRAMES: usize = 64;

/// Gemini begins with its first words.
const GEMINI_BEGINS: &str = "Hm";

/// What the frames bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, a word at a time.
    Text,
    /// Arguments of a tool call, a piece at a time.
    Arguments,
}

impl Kind {
    /// As cases are named.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Arguments => "arguments",
        }
    }
}

/// A stream up to the end of what the frames bring.
pub(crate) struct Told {
    /// Everything up to the first piece.
    pub(crate) head: Vec<u8>,
    /// A piece each.
    pub(crate) frames: Vec<Vec<u8>>,
    /// What ends the pieces.
    pub(crate) tail: Vec<u8>,
    /// What all of it says.
    pub(crate) text: String,
}

/// Such a stream in `dialect`; none where the dialect has no pieces of that kind.
pub(crate) fn of(kind: Kind, dialect: Dialect) -> Option<Told> {
    if (kind, dialect) == (Kind::Arguments, Dialect::GeminiGenerate) {
        return None;
    }
    let pieces = pieces(kind);
    let frames = pieces.iter().enumerate().map(|(at, piece)| frame(kind, dialect, at, &escaped(piece))).collect();
    let first = if dialect == Dialect::GeminiGenerate { GEMINI_BEGINS } else { "" };
    Some(Told {
        head: head(kind, dialect),
        frames,
        tail: tail(kind, dialect, &pieces.concat()),
        text: format!("{first}{}", pieces.concat()),
    })
}

/// The pieces that a client of `dialect` reads in `stream`, together.
pub(crate) fn told(kind: Kind, dialect: Dialect, stream: &[u8]) -> String {
    let mut decoder = StreamDecoder::new(dialect, Traits::NONE);
    let mut found = String::new();
    let mut sink = |event: Event<'_>| match (kind, event) {
        (Kind::Text, Event::Delta { delta: Delta::Text(piece), .. })
        | (Kind::Arguments, Event::Delta { delta: Delta::Arguments(piece), .. }) => {
            found.push_str(&text::decode(&piece).unwrap());
        }
        _ => {}
    };
    if dialect == Dialect::BedrockConverse {
        let (mut framer, mut from) = (eventstream::Framer::new(eventstream::MAX_PAYLOAD_BYTES), 0);
        while let Some(end) = framer.next_end(stream, from).unwrap() {
            let message = eventstream::read(&stream[from..end]).unwrap();
            decoder.event(message.name(), message.data(), &mut sink).unwrap();
            from = end;
        }
    } else {
        let mut events = Vec::new();
        sse::Decoder::new(usize::MAX).feed(stream, &mut events).unwrap();
        events.iter().for_each(|event| decoder.event(Some(event.event.as_bytes()), event.data.as_bytes(), &mut sink).unwrap());
    }
    decoder.finish(&mut sink);
    found
}

fn pieces(kind: Kind) -> Vec<String> {
    const WORDS: [&str; 8] = [" the", " quick", " brown", ".", "\n", " \"dog\"", " and", " so"];
    match kind {
        Kind::Text => (0..FRAMES).map(|at| WORDS[at % WORDS.len()].to_owned()).collect(),
        Kind::Arguments => {
            let mut pieces: Vec<String> = (0..FRAMES).map(|at| format!("{}\"name_{at}\":{at}", if at == 0 { "{" } else { "," })).collect();
            pieces[FRAMES - 1].push('}');
            pieces
        }
    }
}

fn escaped(piece: &str) -> String {
    let quoted = serde_json::to_string(piece).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn head(kind: Kind, dialect: Dialect) -> Vec<u8> {
    let is_text = kind == Kind::Text;
    match dialect {
        Dialect::OpenaiChat => {
            let call = r#""tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get","arguments":""}}]"#;
            chat(&format!(r#"{{"role":"assistant","content":{}}}"#, if is_text { "\"\"".to_owned() } else { format!("null,{call}") }))
        }
        Dialect::OpenaiResponses => {
            let response = r#""response":{"id":"resp_1","object":"response","created_at":1763600002,"status":"in_progress","model":"gpt-5-mini","output":[]}"#;
            let begun = [named("response.created", response), named("response.in_progress", response)].concat();
            let item = if is_text {
                r#"{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}"#
            } else {
                r#"{"id":"fc_1","type":"function_call","status":"in_progress","call_id":"call_1","name":"get","arguments":""}"#
            };
            let mut head = [begun, named("response.output_item.added", &format!(r#""output_index":0,"item":{item}"#))].concat();
            if is_text {
                let part =
                    r#""item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}"#;
                head.extend(named("response.content_part.added", part));
            }
            head
        }
        Dialect::AnthropicMessages => {
            let message = r#""message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":1}}"#;
            let block =
                if is_text { r#"{"type":"text","text":""}"# } else { r#"{"type":"tool_use","id":"toolu_1","name":"get","input":{}}"# };
            [named("message_start", message), named("content_block_start", &format!(r#""index":0,"content_block":{block}"#))].concat()
        }
        Dialect::GeminiGenerate => gemini(GEMINI_BEGINS),
        Dialect::BedrockConverse => {
            let start = r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"tooluse_1","name":"get"}}}"#;
            let begun = message("messageStart", r#"{"role":"assistant"}"#);
            if is_text { begun } else { [begun, message("contentBlockStart", start)].concat() }
        }
    }
}

fn frame(kind: Kind, dialect: Dialect, at: usize, piece: &str) -> Vec<u8> {
    match (dialect, kind) {
        (Dialect::OpenaiChat, Kind::Text) => chat(&format!(r#"{{"content":"{piece}"}}"#)),
        (Dialect::OpenaiChat, Kind::Arguments) => {
            chat(&format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}"#))
        }
        (Dialect::OpenaiResponses, Kind::Text) => {
            let rest = format!(
                r#""output_index":0,"content_index":0,"delta":"{piece}","logprobs":[],"obfuscation":"x9Zq1a","sequence_number":{at}"#
            );
            named("response.output_text.delta", &format!(r#""item_id":"msg_1",{rest}"#))
        }
        (Dialect::OpenaiResponses, Kind::Arguments) => {
            let rest = format!(r#""output_index":0,"delta":"{piece}","obfuscation":"x9Zq1a","sequence_number":{at}"#);
            named("response.function_call_arguments.delta", &format!(r#""item_id":"fc_1",{rest}"#))
        }
        (Dialect::AnthropicMessages, Kind::Text) => {
            named("content_block_delta", &format!(r#""index":0,"delta":{{"type":"text_delta","text":"{piece}"}}"#))
        }
        (Dialect::AnthropicMessages, Kind::Arguments) => {
            named("content_block_delta", &format!(r#""index":0,"delta":{{"type":"input_json_delta","partial_json":"{piece}"}}"#))
        }
        (Dialect::GeminiGenerate, _) => gemini(piece),
        (Dialect::BedrockConverse, Kind::Text) => {
            message("contentBlockDelta", &format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{piece}"}},"p":"abcdefgh"}}"#))
        }
        (Dialect::BedrockConverse, Kind::Arguments) => message(
            "contentBlockDelta",
            &format!(r#"{{"contentBlockIndex":0,"delta":{{"toolUse":{{"input":"{piece}"}}}},"p":"abcdefgh"}}"#),
        ),
    }
}

fn tail(kind: Kind, dialect: Dialect, whole: &str) -> Vec<u8> {
    match (dialect, kind) {
        (Dialect::OpenaiChat, _) => chat_frame("{}", if kind == Kind::Text { "\"stop\"" } else { "\"tool_calls\"" }),
        (Dialect::OpenaiResponses, Kind::Text) => named(
            "response.output_text.done",
            &format!(r#""item_id":"msg_1","output_index":0,"content_index":0,"text":"{}""#, escaped(whole)),
        ),
        (Dialect::OpenaiResponses, Kind::Arguments) => {
            let arguments = escaped(whole);
            let item = format!(
                r#"{{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"get","arguments":"{arguments}"}}"#
            );
            let done =
                named("response.function_call_arguments.done", &format!(r#""item_id":"fc_1","output_index":0,"arguments":"{arguments}""#));
            [done, named("response.output_item.done", &format!(r#""output_index":0,"item":{item}"#))].concat()
        }
        (Dialect::AnthropicMessages, _) => named("content_block_stop", r#""index":0"#),
        (Dialect::GeminiGenerate, _) => gemini(""),
        (Dialect::BedrockConverse, _) => message("contentBlockStop", r#"{"contentBlockIndex":0}"#),
    }
}

fn chat(delta: &str) -> Vec<u8> {
    chat_frame(delta, "null")
}

fn chat_frame(delta: &str, finish: &str) -> Vec<u8> {
    format!(
        "data: {{\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\"created\":1741569952,\
         \"model\":\"gpt-5-mini\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{{\"index\":0,\
         \"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\"usage\":null}}\n\n"
    )
    .into_bytes()
}

fn named(name: &str, members: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",{members}}}\n\n").into_bytes()
}

fn gemini(piece: &str) -> Vec<u8> {
    format!(
        "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{piece}\"}}],\"role\":\"model\"}},\"index\":0}}],\"usageMetadata\":\
         {{\"promptTokenCount\":19,\"candidatesTokenCount\":10,\"totalTokenCount\":29,\"promptTokensDetails\":[{{\"modality\":\"TEXT\",\
         \"tokenCount\":19}}]}},\"modelVersion\":\"gemini-2.5-flash\",\"responseId\":\"r1\"}}\r\n\r\n"
    )
    .into_bytes()
}

fn message(name: &str, payload: &str) -> Vec<u8> {
    let header = |name: &'static str, value| Header { name: name.as_bytes(), value: Value::Text(value) };
    let headers = [header(":event-type", name.as_bytes()), header(":content-type", b"application/json"), header(":message-type", b"event")];
    let mut out = Vec::new();
    eventstream::encode(&headers, payload.as_bytes(), &mut out);
    out
}
