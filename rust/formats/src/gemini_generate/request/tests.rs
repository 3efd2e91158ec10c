//! Requests in both directions: what each trap of the dialect becomes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use fairlead_ir::block::{
    Arguments, Citation, Media, MediaClass, MediaSource, Seal, Thought, ThoughtPart, ThoughtShape, ToolCall, ToolResult,
};
use fairlead_ir::request::{Effort, Format, Show};
use fairlead_ir::{Block, Dialect, Kind, Losses, Origin, Raw, Request, Role, Severity, Text, Tool, ToolChoice, ToolKind, Turn};
use proptest::prelude::*;

use super::decode::decode;
use super::encode::encode;
use crate::json::is_complete;
use crate::traits::Traits;
use crate::translate::{Bridge, Target};

fn written(request: &Request<'_>, traits: &[&str]) -> (String, Vec<(String, Severity)>, Bridge) {
    let target = Target { traits: Traits::from_names(traits).unwrap(), ..Target::new(Dialect::GeminiGenerate, "gemini") };
    written_for(request, &target)
}

fn written_for(request: &Request<'_>, target: &Target<'_>) -> (String, Vec<(String, Severity)>, Bridge) {
    let (mut out, mut losses, mut bridge) = (Vec::new(), Losses::new(), Bridge::default());
    encode(request, target, &mut out, &mut losses, &mut bridge).unwrap();
    assert!(is_complete(&out), "{}", String::from_utf8_lossy(&out));
    let losses = losses.as_slice().iter().map(|loss| (loss.path.clone(), loss.severity)).collect();
    (String::from_utf8(out).unwrap(), losses, bridge)
}

fn chat() -> Request<'static> {
    Request::new(Dialect::OpenaiChat)
}

fn turn(role: Role, index: usize, kinds: Vec<Kind<'static>>) -> Turn<'static> {
    let origin = Origin::item("messages", index);
    let blocks = kinds.into_iter().enumerate().map(|(at, kind)| Block::new(kind, origin.part("content", at))).collect();
    Turn { blocks, ..Turn::new(role, origin) }
}

fn text(text: &'static str) -> Kind<'static> {
    Kind::Text { text: Text::word(text), citations: Vec::new() }
}

fn call(id: &'static str, name: &'static str) -> Kind<'static> {
    Kind::ToolCall(ToolCall { id: Text::word(id), name: Text::word(name), arguments: Arguments::Quoted(Text::escaped(br#"{\"a\":1}"#)) })
}

fn answer(id: &'static str, said: &'static str) -> Kind<'static> {
    let content = vec![Block::text(Text::word(said), Origin::default())];
    Kind::ToolResult(ToolResult { id: Text::word(id), name: None, content, is_error: false, free: false })
}

fn function(name: &'static str, schema: &'static str) -> Tool<'static> {
    Tool {
        name: Text::word(name),
        description: None,
        kind: ToolKind::Function { parameters: Some(Raw::json(schema.as_bytes())) },
        strict: None,
        cache: None,
        origin: Origin::item("tools", 0),
        rest: Vec::new(),
    }
}

/// What reads the same after it was written and read again.
fn check_own(body: &str, rewritten: &str) {
    let read = decode(body.as_bytes()).unwrap();
    let (out, losses, _) = written(&read, &[]);
    assert_eq!(out, rewritten, "{body}");
    assert_eq!(losses, [], "{body}");
    assert_eq!(decode(out.as_bytes()).unwrap(), read, "{body}");
}

#[test]
fn other_spellings_are_read_and_the_usual_ones_written() {
    check_own(
        r#"{"system_instruction":{"parts":{"text":"You are a cat."}},"contents":{"parts":{"text":"Hello"}}}"#,
        r#"{"systemInstruction":{"parts":[{"text":"You are a cat."}]},"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#,
    );
    check_own(
        concat!(
            r#"{"generation_config":{"max_output_tokens":"100","top_k":40,"top_p":0.5,"stop_sequences":["x"],"candidate_count":2.0,"seed":null,"#,
            r#""thinking_config":{"include_thoughts":true,"thinking_budget":-1,"new":1},"media_resolution":"MEDIA_RESOLUTION_LOW","#,
            r#""response_mime_type":"application/json","response_schema":{"type":"STRING","nullable":true}},"safety_settings":[{}],"cached_content":"c/1","#,
            r#""contents":[{"parts":[{"inline_data":{"mime_type":"image/png","data":"-_-_"}}]}]}"#
        ),
        concat!(
            r#"{"generationConfig":{"topP":0.5,"topK":40,"maxOutputTokens":100,"candidateCount":2,"stopSequences":["x"],"#,
            r#""thinkingConfig":{"thinkingBudget":-1,"includeThoughts":true,"new":1},"#,
            r#""responseMimeType":"application/json","responseJsonSchema":{"type":["string","null"]},"media_resolution":"MEDIA_RESOLUTION_LOW"},"#,
            r#""safety_settings":[{}],"cached_content":"c/1","#,
            r#""contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"+/+/"}}]}]}"#
        ),
    );
}

#[test]
fn tools_keep_their_order_and_their_modes() {
    check_own(
        concat!(
            r#"{"tools":[{"functionDeclarations":[{"name":"a","description":"A","parameters":{"type":"OBJECT","properties":{"x":{"type":"INTEGER"}}}},"#,
            r#"{"name":"b.c:d","parametersJsonSchema":{"type":"object"},"behavior":"BLOCKING"}]},{"googleSearch":{"timeRangeFilter":{}}},{"codeExecution":{}}],"#,
            r#""toolConfig":{"functionCallingConfig":{"mode":"any","allowedFunctionNames":["a"],"streamFunctionCallArguments":true},"retrievalConfig":{"l":1}},"#,
            r#""contents":[]}"#
        ),
        concat!(
            r#"{"tools":[{"functionDeclarations":[{"name":"a","description":"A","parametersJsonSchema":{"type":"object","properties":{"x":{"type":"integer"}}}},"#,
            r#"{"name":"b.c:d","parametersJsonSchema":{"type":"object"},"behavior":"BLOCKING"}]},{"googleSearch":{"timeRangeFilter":{}}},{"codeExecution":{}}],"#,
            r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["a"],"streamFunctionCallArguments":true},"retrievalConfig":{"l":1}},"#,
            r#""contents":[]}"#
        ),
    );
    for (mode, names, choice, strict) in [
        ("AUTO", "", Some(ToolChoice::Auto), None),
        ("NONE", "", Some(ToolChoice::None), None),
        ("ANY", "", Some(ToolChoice::Required), None),
        ("ANY", r#""a","b""#, Some(ToolChoice::Allowed { required: true, names: vec![Text::word("a"), Text::word("b")] }), None),
        ("VALIDATED", "", Some(ToolChoice::Auto), Some(true)),
        ("VALIDATED", r#""a""#, Some(ToolChoice::Allowed { required: false, names: vec![Text::word("a")] }), Some(true)),
        ("MODE_UNSPECIFIED", "", None, None),
    ] {
        let body = format!(
            r#"{{"toolConfig":{{"functionCallingConfig":{{"mode":"{mode}","allowedFunctionNames":[{names}]}}}},"tools":[{{"functionDeclarations":[{{"name":"a"}}]}}]}}"#
        );
        let read = decode(body.as_bytes()).unwrap();
        assert_eq!((&read.tool_choice, read.tools[0].strict), (&choice, strict), "{mode}");
        let (out, ..) = written(&read, &[]);
        assert_eq!(decode(out.as_bytes()).unwrap(), read, "{mode}: {out}");
    }
}

#[test]
fn calls_and_answers_without_ids_are_tied_by_name_and_order() {
    let body = concat!(
        r#"{"contents":[{"role":"user","parts":[{"text":"go"}]},"#,
        r#"{"role":"model","parts":[{"functionCall":{"name":"f","args":{"n":1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}},{"functionCall":{"name":"f","args":{"n":2}}}]},"#,
        r#"{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"one"}}},{"functionResponse":{"name":"f","response":{"result":2}}},{"functionResponse":{"name":"g","response":{"error":"no"}}}]},"#,
        r#"{"role":"model","parts":[{"functionCall":{"name":"f"}}]},"#,
        r#"{"role":"user","parts":[{"functionResponse":{"id":"x","name":"f","response":{}}}]}]}"#
    );
    let read = decode(body.as_bytes()).unwrap();
    let ids: Vec<String> = read
        .turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .filter_map(|block| match &block.kind {
            Kind::ToolCall(call) => Some(format!("{:?}", std::str::from_utf8(call.id.as_bytes()).unwrap())),
            Kind::ToolResult(result) => Some(format!("{:?} {}", std::str::from_utf8(result.id.as_bytes()).unwrap(), result.is_error)),
            _ => None,
        })
        .collect();
    let expected = [
        r#""call_1_0""#,
        r#""call_1_1""#,
        r#""call_1_2""#,
        r#""call_1_0" false"#,
        r#""call_1_2" false"#,
        r#""call_1_1" true"#,
        r#""call_3_0""#,
        r#""call_3_0" false"#,
    ];
    assert_eq!(ids, expected);
    assert_eq!(read.turns[1].blocks[0].seal, Some(Seal { data: Text::word("c2ln"), maker: None }));
    let (out, ..) = written(&read, &[]);
    assert_eq!(decode(out.as_bytes()).unwrap(), read, "{out}");
    let (out, ..) = written(&read, &["no_function_ids"]);
    assert!(!out.contains(r#""id""#), "{out}");
    assert_eq!(decode(out.as_bytes()).unwrap(), read, "{out}");
}

#[test]
fn an_answer_is_never_tied_to_a_call_of_an_earlier_step() {
    let parts = |role: &str, parts: &str| format!(r#"{{"role":"{role}","parts":[{parts}]}}"#);
    let (call, answer) = (r#"{"functionCall":{"name":"f"}}"#, r#"{"functionResponse":{"name":"g","response":{}}}"#);
    let contents = [
        parts("model", &format!(r#"{call},{{"functionCall":{{"name":"g"}}}}"#)),
        parts("user", answer),
        parts("model", call),
        parts("user", &answer.replace('g', "f")),
    ];
    let body = format!(r#"{{"contents":[{}]}}"#, contents.join(","));
    let read = decode(body.as_bytes()).unwrap();
    let Kind::ToolResult(result) = &read.turns[3].blocks[0].kind else { panic!("{read:?}") };
    assert_eq!(result.id, Text::word("call_2_0"));
}

#[test]
fn every_kind_of_part_is_read_and_written() {
    check_own(
        concat!(
            r#"{"contents":[{"role":"user","parts":[{"fileData":{"fileUri":"https://youtu.be/x"},"videoMetadata":{"fps":1}},"#,
            r#"{"fileData":{"mimeType":"application/pdf","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc"}},"#,
            r#"{"inlineData":{"mimeType":"audio/wav","data":"aGk="}}]},"#,
            r#"{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"A","thoughtSignature":"-_-_"},{"text":"","thoughtSignature":"c2ln"},"#,
            r#"{"executableCode":{"language":"PYTHON","code":"1"},"thoughtSignature":"c2ln"},{"codeExecutionResult":{"outcome":"OUTCOME_OK"}},"#,
            r#"{"functionCall":{"id":"i","name":"f","args":{"a":[1, 2]},"willContinue":true}}]},"#,
            r#"{"role":"function","parts":[{"functionResponse":{"id":"i","name":"f","response":{"output":["a","b"]},"scheduling":"SILENT","#,
            r#""parts":[{"inlineData":{"mimeType":"image/png","data":"aGk=","displayName":"x.png"}}]}}]}]}"#
        ),
        concat!(
            r#"{"contents":[{"role":"user","parts":[{"fileData":{"fileUri":"https://youtu.be/x"},"videoMetadata":{"fps":1}},"#,
            r#"{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/abc","mimeType":"application/pdf"}},"#,
            r#"{"inlineData":{"mimeType":"audio/wav","data":"aGk="}}]},"#,
            r#"{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"A","thoughtSignature":"+/+/"},{"text":"","thoughtSignature":"c2ln"},"#,
            r#"{"executableCode":{"language":"PYTHON","code":"1"},"thoughtSignature":"c2ln"},{"codeExecutionResult":{"outcome":"OUTCOME_OK"}},"#,
            r#"{"functionCall":{"id":"i","name":"f","args":{"a":[1, 2]},"willContinue":true}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"i","name":"f","response":{"output":["a","b"]},"#,
            r#""parts":[{"inlineData":{"mimeType":"image/png","data":"aGk=","displayName":"x.png"}}],"scheduling":"SILENT"}}]}]}"#
        ),
    );
    let read = decode(br#"{"contents":[{"parts":[{"fileData":{"fileUri":"https://youtu.be/x"}},{"fileData":{"fileUri":"gs://b/x.pdf"}},{"fileData":{"fileUri":"files/x"}}]}]}"#).unwrap();
    let media: Vec<_> = read.turns[0]
        .blocks
        .iter()
        .map(|block| match &block.kind {
            Kind::Media(Media { class, source, .. }) => (*class, matches!(source, MediaSource::File(_))),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(media, [(MediaClass::Video, false), (MediaClass::Document, false), (MediaClass::Document, true)]);
}

#[test]
fn faults_name_their_place() {
    for (body, fault) in [
        ("[]", "the body must be an object"),
        (r#"{"contents":7}"#, r#""contents" must be an array"#),
        (r#"{"contents":[{"role":"assistant"}]}"#, r#""contents[0].role" must be "user" or "model""#),
        (r#"{"contents":[{"parts":[{"text":1}]}]}"#, r#""contents[0].parts[0].text" must be a string"#),
        (
            r#"{"contents":[{"parts":[{"text":"a","inlineData":{"data":""}}]}]}"#,
            r#""contents[0].parts[0]" holds a text and another datum; a part holds one"#,
        ),
        (r#"{"contents":[{"parts":[{"functionCall":{}}]}]}"#, r#""contents[0].parts[0].functionCall" must have a "name""#),
        (
            r#"{"contents":[{"parts":[{"functionCall":{"name":"f","args":"{}"}}]}]}"#,
            r#""contents[0].parts[0].functionCall.args" must be an object"#,
        ),
        (r#"{"contents":[{"parts":[{"inlineData":{"mimeType":"image/png"}}]}]}"#, r#""contents[0].parts[0].inlineData" has no "data""#),
        (
            r#"{"generationConfig":{"thinkingConfig":{"thinkingLevel":"HUGE"}}}"#,
            r#""generationConfig.thinkingConfig.thinkingLevel" must be MINIMAL, LOW, MEDIUM, HIGH or XHIGH"#,
        ),
        (
            r#"{"generationConfig":{"thinkingConfig":{"thinkingBudget":-2}}}"#,
            r#""generationConfig.thinkingConfig.thinkingBudget" must be a whole number, -1 or more"#,
        ),
        (
            r#"{"generationConfig":{"maxOutputTokens":1.5}}"#,
            r#""generationConfig.maxOutputTokens" must be a whole number that is not negative"#,
        ),
        (r#"{"generationConfig":{"temperature":"hot"}}"#, r#""generationConfig.temperature" must be a number"#),
        (r#"{"tools":[{"functionDeclarations":[{}]}]}"#, r#""tools[0].functionDeclarations[0]" must have a "name""#),
        (r#"{"systemInstruction":{"parts":[{"functionCall":{"name":"f"}}]}}"#, r#""systemInstruction.parts[0]" must be a text"#),
    ] {
        assert_eq!(decode(body.as_bytes()).unwrap_err().to_string(), fault, "{body}");
    }
}

fn check_contents(turns: Vec<Turn<'static>>, traits: &[&str], contents: &str, losses: &[(&str, Severity)]) {
    let (out, lost, _) = written(&Request { turns, ..chat() }, traits);
    let expected: Vec<_> = losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect();
    assert_eq!((out.as_str(), lost), (contents, expected));
}

#[test]
fn leading_instructions_go_apart_and_later_ones_stay() {
    let turns = || {
        vec![
            turn(Role::System, 0, vec![text("Be brief.")]),
            turn(Role::Developer, 1, vec![text("Be kind.")]),
            turn(Role::User, 2, vec![text("Hi")]),
            turn(Role::System, 3, vec![text("Now in French.")]),
            turn(Role::Assistant, 4, vec![text("Salut")]),
        ]
    };
    check_contents(
        turns(),
        &[],
        concat!(
            r#"{"systemInstruction":{"parts":[{"text":"Be brief."},{"text":"Be kind."}]},"#,
            r#""contents":[{"role":"user","parts":[{"text":"Hi"},{"text":"<system>\nNow in French.\n</system>"}]},{"role":"model","parts":[{"text":"Salut"}]}]}"#
        ),
        &[("messages[3]", Severity::Changed)],
    );
    check_contents(
        turns(),
        &["no_system_role"],
        concat!(
            r#"{"contents":[{"role":"user","parts":[{"text":"Be brief."},{"text":"Be kind."},{"text":"Hi"},{"text":"<system>\nNow in French.\n</system>"}]},"#,
            r#"{"role":"model","parts":[{"text":"Salut"}]}]}"#
        ),
        &[("messages[0]", Severity::Changed), ("messages[1]", Severity::Changed), ("messages[3]", Severity::Changed)],
    );
    check_contents(
        vec![turn(Role::System, 0, vec![text("Say hi.")])],
        &[],
        r#"{"contents":[{"role":"user","parts":[{"text":"Say hi."}]}]}"#,
        &[("messages[0]", Severity::Changed)],
    );
}

#[test]
fn answers_stand_together_in_the_order_of_their_calls() {
    check_contents(
        vec![
            turn(Role::User, 0, vec![text("go")]),
            turn(Role::Assistant, 1, vec![call("a", "f"), call("b", "g")]),
            turn(Role::User, 2, vec![answer("b", "two")]),
            turn(Role::User, 3, vec![answer("a", "one")]),
            turn(Role::User, 4, vec![text("and?")]),
        ],
        &["thought_signatures"],
        concat!(
            r#"{"contents":[{"role":"user","parts":[{"text":"go"}]},"#,
            r#"{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{"a":1}},"thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="},"#,
            r#"{"functionCall":{"id":"b","name":"g","args":{"a":1}}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"one"}}},"#,
            r#"{"functionResponse":{"id":"b","name":"g","response":{"output":"two"}}},{"text":"and?"}]}]}"#
        ),
        &[],
    );
}

#[test]
fn a_missing_answer_is_an_error_and_a_stray_one_a_text() {
    check_contents(
        vec![
            turn(Role::Assistant, 0, vec![call("a", "f"), call("b", "f")]),
            turn(Role::User, 1, vec![answer("b", "two"), answer("z", "who?")]),
        ],
        &["no_function_ids"],
        concat!(
            r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1}}},{"functionCall":{"name":"f","args":{"a":1}}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"error":"no answer was given"}}},"#,
            r#"{"functionResponse":{"name":"f","response":{"output":"two"}}},{"text":"who?"}]}]}"#
        ),
        &[("messages[0].content[0]", Severity::Changed), ("messages[1].content[1]", Severity::Changed)],
    );
}

#[test]
fn a_seal_stays_on_its_part_and_only_the_first_call_of_a_step_needs_one() {
    let mut sealed = turn(Role::Assistant, 1, vec![text("Ok"), call("a", "f"), call("b", "f")]);
    sealed.blocks[1].seal = Some(Seal { data: Text::word("c2ln"), maker: None });
    check_contents(
        vec![sealed, turn(Role::User, 2, vec![answer("a", "1"), answer("b", "2")])],
        &["thought_signatures"],
        concat!(
            r#"{"contents":[{"role":"model","parts":[{"text":"Ok"},{"functionCall":{"id":"a","name":"f","args":{"a":1}},"thoughtSignature":"c2ln"},"#,
            r#"{"functionCall":{"id":"b","name":"f","args":{"a":1}}}]},"#,
            r#"{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"1"}}},{"functionResponse":{"id":"b","name":"f","response":{"output":"2"}}}]}]}"#
        ),
        &[],
    );
}

#[test]
fn what_gemini_lacks_is_reported() {
    let mut named = turn(
        Role::User,
        0,
        vec![
            text("Hi"),
            Kind::Media(Media { class: MediaClass::Document, source: MediaSource::File(Text::word("file-1")), detail: None, name: None }),
        ],
    );
    named.name = Some(Text::word("Ann"));
    let cited = Citation { url: None, title: None, quote: None, range: None, raw: Raw::json(b"{}") };
    check_contents(
        vec![
            named,
            turn(
                Role::Assistant,
                1,
                vec![
                    Kind::Thought(Thought {
                        parts: vec![ThoughtPart { shape: ThoughtShape::Full, text: Text::word("hm") }],
                        ..Thought::default()
                    }),
                    Kind::Thought(Thought { redacted: true, ..Thought::default() }),
                    Kind::Text { text: Text::word("x"), citations: vec![cited] },
                    Kind::Refusal(Text::word("no")),
                    Kind::Opaque { word: Text::word("web_search_call"), raw: Raw::json(b"{}") },
                    Kind::ToolCall(ToolCall {
                        id: Text::word("a"),
                        name: Text::word("mcp/read"),
                        arguments: Arguments::Quoted(Text::word("{")),
                    }),
                ],
            ),
        ],
        &[],
        concat!(
            r#"{"contents":[{"role":"user","parts":[{"text":"Ann: Hi"}]},{"role":"model","parts":[{"text":"hm","thought":true},{"text":"x"},{"text":"no"},"#,
            r#"{"functionCall":{"id":"a","name":"mcp_read_9be0d302","args":{"_raw":"{"}}}]}]}"#
        ),
        &[
            ("messages[0]", Severity::Changed),
            ("messages[0].content[1]", Severity::Dropped),
            ("messages[1].content[1]", Severity::Hint),
            ("messages[1].content[2]", Severity::Hint),
            ("messages[1].content[3]", Severity::Hint),
            ("messages[1].content[4]", Severity::Dropped),
            ("messages[1].content[5]", Severity::Changed),
        ],
    );
}

#[test]
fn images_in_answers_go_where_the_model_takes_them() {
    let image = Kind::Media(Media {
        class: MediaClass::Image,
        source: MediaSource::Base64 { mime: Text::word("image/png"), data: Text::word("aGk=") },
        detail: None,
        name: None,
    });
    let content = vec![Block::text(Text::word("see"), Origin::default()), Block::new(image, Origin::default())];
    let result = Kind::ToolResult(ToolResult { id: Text::word("a"), name: None, content, is_error: false, free: false });
    let turns = || vec![turn(Role::Assistant, 0, vec![call("a", "f")]), turn(Role::User, 1, vec![result.clone()])];
    let model = r#"{"contents":[{"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{"a":1}}}]},"#;
    let inside = r#"{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"see"},"parts":[{"inlineData":{"mimeType":"image/png","data":"aGk="}}]}}]}]}"#;
    check_contents(turns(), &[], &format!("{model}{inside}"), &[]);
    let behind = r#"{"role":"user","parts":[{"functionResponse":{"id":"a","name":"f","response":{"output":"see"}}},{"inlineData":{"mimeType":"image/png","data":"aGk="}}]}]}"#;
    check_contents(turns(), &["no_media_results"], &format!("{model}{behind}"), &[("messages[1].content[0]", Severity::Changed)]);
}

fn check_config(request: &Request<'static>, target: &Target<'_>, config: &str, losses: &[(&str, Severity)]) {
    let (out, lost, _) = written_for(request, target);
    let expected: Vec<_> = losses.iter().map(|(path, severity)| ((*path).to_owned(), *severity)).collect();
    let config = if config.is_empty() { r#"{"contents":[]}"#.to_owned() } else { format!(r#"{{{config},"contents":[]}}"#) };
    assert_eq!((out, lost), (config, expected));
}

#[test]
fn thinking_is_steered_as_the_model_takes_it() {
    let target = |names: &[&str], efforts: &'static [Effort]| Target {
        traits: Traits::from_names(names).unwrap(),
        efforts,
        ..Target::new(Dialect::GeminiGenerate, "gemini")
    };
    let (budgets, levels) = (target(&[], &[]), target(&["thinking_level"], &[Effort::Low, Effort::High]));
    let mut request = chat();
    let mut check = |change: &dyn Fn(&mut Request<'static>), target: &Target<'_>, thinking: &str, losses: &[(&str, Severity)]| {
        request = chat();
        change(&mut request);
        let config = if thinking.is_empty() { String::new() } else { format!(r#""generationConfig":{{"thinkingConfig":{{{thinking}}}}}"#) };
        check_config(&request, target, &config, losses);
    };
    let effort = |effort: Effort| move |request: &mut Request<'static>| request.reasoning.effort = Some(effort);
    check(&|_| {}, &budgets, "", &[]);
    check(&effort(Effort::Medium), &budgets, r#""thinkingBudget":24576,"includeThoughts":true"#, &[]);
    check(&effort(Effort::None), &budgets, r#""thinkingBudget":0"#, &[]);
    check(&effort(Effort::High), &levels, r#""thinkingLevel":"HIGH","includeThoughts":true"#, &[]);
    check(&effort(Effort::Max), &levels, r#""thinkingLevel":"HIGH","includeThoughts":true"#, &[("reasoning_effort", Severity::Changed)]);
    check(&effort(Effort::None), &levels, r#""thinkingLevel":"LOW","includeThoughts":true"#, &[("reasoning_effort", Severity::Changed)]);
    let budget = |request: &mut Request<'static>| {
        request.max_output_tokens = None;
        request.reasoning.budget_tokens = Some(10_000);
        request.reasoning.show = Some(Show::Nothing);
    };
    check(&budget, &budgets, r#""thinkingBudget":10000,"includeThoughts":false"#, &[]);
    check(&budget, &levels, r#""thinkingLevel":"LOW","includeThoughts":false"#, &[("reasoning.max_tokens", Severity::Changed)]);
    check(&|request| request.reasoning.enabled = Some(true), &budgets, r#""thinkingBudget":-1,"includeThoughts":true"#, &[]);
    check(&|request| request.reasoning.enabled = Some(true), &levels, r#""includeThoughts":true"#, &[]);
    let always = target(&["always_thinking"], &[]);
    check(
        &|request| request.reasoning.enabled = Some(false),
        &always,
        r#""thinkingBudget":128,"includeThoughts":true"#,
        &[("reasoning.enabled", Severity::Changed)],
    );
}

#[test]
fn a_schema_loses_its_constants_or_becomes_a_tool() {
    let format = Some(Format::JsonSchema {
        name: Some(Text::word("n")),
        description: None,
        schema: Raw::json(br#"{"const":1}"#),
        strict: Some(true),
    });
    let mut request = chat();
    request.output.format = format;
    let plain = Target::new(Dialect::GeminiGenerate, "gemini");
    let config = r#""generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"enum":[1]}}"#;
    check_config(&request, &plain, config, &[]);
    request.tools = vec![function("final_answer", r#"{"const":2}"#)];
    let old = Target { traits: Traits::from_names(["schema_without_tools"]).unwrap(), ..plain };
    let (out, losses, bridge) = written_for(&request, &old);
    assert_eq!(losses, [("response_format".to_owned(), Severity::Changed)]);
    assert_eq!(bridge.format_tool.as_deref(), Some("final_answer_"));
    assert!(out.contains(r#"{"name":"final_answer","parametersJsonSchema":{"enum":[2]}},{"name":"final_answer_","#), "{out}");
    assert!(out.ends_with(r#""parametersJsonSchema":{"enum":[1]}}]}],"contents":[]}"#), "{out}");
}

#[test]
fn custom_tools_are_functions_of_one_text() {
    let custom = Tool {
        kind: ToolKind::Custom { format: Some(Raw::json(br#"{"type":"grammar","syntax":"lark","definition":"start: \"a\""}"#)) },
        description: Some(Text::word("Patches.")),
        strict: Some(true),
        ..function("apply patch", "{}")
    };
    let request = Request { tools: vec![custom], tool_choice: Some(ToolChoice::Named(Text::word("apply patch"))), ..chat() };
    let (out, losses, bridge) = written(&request, &[]);
    let expected = concat!(
        r#"{"tools":[{"functionDeclarations":[{"name":"apply_patch_af1554fa","description":"Patches.\n\nThe input must follow this grammar:\nstart: \"a\"","#,
        r#""parametersJsonSchema":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}}]}],"#,
        r#""toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["apply_patch_af1554fa"]}},"contents":[]}"#
    );
    assert_eq!(out, expected);
    assert_eq!(losses, [("tools[0]".to_owned(), Severity::Changed)]);
    assert_eq!(bridge.original(&Text::word("apply_patch_af1554fa")), (Text::word("apply patch"), true));
}

#[test]
fn parameters_find_their_place_or_are_reported() {
    let mut request = chat();
    let number = |text: &'static str| Some(Raw::json(text.as_bytes()));
    request.sampling.temperature = number("2.5");
    request.sampling.seed = number("99999999999");
    request.sampling.min_p = number("0.1");
    request.sampling.stop = ["a", "b", "c", "d", "e", "f"].map(Text::word).to_vec();
    request.sampling.logprobs = Some(true);
    request.sampling.top_logprobs = Some(3);
    request.parallel_tool_calls = Some(false);
    request.output.modalities = number(r#"["text","image"]"#);
    request.labels.user = Some(Text::word("u"));
    request.labels.service_tier = Some(Text::word("flex"));
    request.labels.store = Some(false);
    request.cache.key = Some(Text::word("k"));
    let target = Target::new(Dialect::GeminiGenerate, "gemini");
    check_config(
        &request,
        &target,
        r#""generationConfig":{"temperature":2,"logprobs":3,"responseLogprobs":true,"stopSequences":["a","b","c","d","e"],"responseModalities":["TEXT","IMAGE"]},"serviceTier":"flex""#,
        &[
            ("parallel_tool_calls", Severity::Dropped),
            ("temperature", Severity::Changed),
            ("seed", Severity::Dropped),
            ("min_p", Severity::Dropped),
            ("stop", Severity::Dropped),
            ("user", Severity::Hint),
            ("prompt_cache_key", Severity::Hint),
        ],
    );
}

#[test]
fn a_prefill_is_refused_where_the_model_refuses_it() {
    let request = Request { turns: vec![turn(Role::Assistant, 0, vec![text("So,")])], ..chat() };
    let target = Target { traits: Traits::from_names(["no_prefill"]).unwrap(), ..Target::new(Dialect::GeminiGenerate, "gemini") };
    let refused = encode(&request, &target, &mut Vec::new(), &mut Losses::new(), &mut Bridge::default());
    assert!(refused.is_err());
}

/// A step of a conversation: turns that are always added together.
fn step() -> impl Strategy<Value = Vec<(Role, Vec<Kind<'static>>)>> {
    let words = || prop::sample::select(vec!["a", "b c", "", "d"]);
    prop_oneof![
        words().prop_map(|word| vec![(Role::User, vec![text(word)])]),
        words().prop_map(|word| vec![(Role::Assistant, vec![text(word)])]),
        words().prop_map(|word| vec![(Role::System, vec![text(word)])]),
        (words(), any::<bool>(), any::<bool>()).prop_map(|(word, both, split)| {
            let said = if both { vec![answer("x", word), answer("y", "2")] } else { vec![answer("y", word)] };
            let answers = if split { said.into_iter().map(|kind| (Role::User, vec![kind])).collect() } else { vec![(Role::User, said)] };
            let calls = (Role::Assistant, vec![text(word), call("x", "f"), call("y", "g")]);
            // The model speaks behind its answers: a step that is open may still get some.
            std::iter::once(calls).chain(answers).chain([(Role::Assistant, vec![text("done")])]).collect()
        }),
    ]
}

proptest! {
    #[test]
    fn a_longer_conversation_begins_with_the_same_bytes(steps in prop::collection::vec(step(), 2..8), signed in any::<bool>()) {
        let traits: &[&str] = if signed { &["thought_signatures"] } else { &[] };
        let mut turns = vec![turn(Role::User, 0, vec![text("begin")])];
        let mut shorter: Option<String> = None;
        for step in steps {
            turns.extend(step.into_iter().map(|(role, kinds)| turn(role, 1, kinds)));
            let (out, ..) = written(&Request { turns: turns.clone(), ..chat() }, traits);
            let whole = out.strip_suffix("]}").unwrap();
            if let Some(shorter) = shorter {
                prop_assert!(whole.starts_with(&shorter), "{whole}\n{shorter}");
            }
            shorter = Some(whole.strip_suffix("]}").unwrap_or(whole).to_owned());
        }
    }

    #[test]
    fn any_json_is_read_or_refused(body in json()) {
        if let Ok(read) = decode(body.as_bytes()) {
            let (out, ..) = written(&read, &[]);
            let again = decode(out.as_bytes()).unwrap();
            let (same, ..) = written(&again, &[]);
            prop_assert_eq!(out, same);
        }
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

/// JSON made of the dialect's own words, in places good and bad.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "contents",
        "parts",
        "role",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "name",
        "id",
        "args",
        "response",
        "output",
        "error",
        "inlineData",
        "fileData",
        "mimeType",
        "data",
        "fileUri",
        "generationConfig",
        "thinkingConfig",
        "thinkingLevel",
        "responseSchema",
        "responseMimeType",
        "tools",
        "functionDeclarations",
        "parameters",
        "toolConfig",
        "functionCallingConfig",
        "mode",
        "systemInstruction",
        "candidates",
        "content",
        "finishReason",
        "index",
        "usageMetadata",
        "promptTokenCount",
        "executableCode",
        "groundingMetadata",
        "groundingChunks",
        "groundingSupports",
        "partialArgs",
        "jsonPath",
        "stringValue",
        "willContinue",
        "promptFeedback",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("-1".to_owned()),
        prop::sample::select(vec!["", "user", "model", "f", "HIGH", "ANY", "STOP", "text/plain", "$.a[0]", "a\\u0041", "aGk"])
            .prop_map(|word| format!("\"{word}\"")),
    ];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((keys.clone(), inner), 0..5).prop_map(|members| format!(
                "{{{}}}",
                members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect::<Vec<_>>().join(",")
            )),
        ]
    })
}
