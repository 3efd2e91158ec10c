//! What holds for any request.

use super::*;

// --- this dialect to itself -----------------------------------------------------------------------------------------

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "", " b ", "é\n", "\"q\" \\", "\u{2028}", "trailing  "]).prop_map(str::to_owned)
}

fn leaf_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => word().prop_map(|text| json!({"text":text})),
        1 => Just(json!({"image":{"format":"png","source":{"bytes":"AAAA"}}})),
        1 => Just(json!({"image":{"format":"heic","source":{"bytes":"AAAA"},"error":{"message":"x"}}})),
        1 => Just(json!({"document":{"format":"pdf","name":"n","source":{"s3Location":{"uri":"s3://b/k"}},"citations":{"enabled":true}}})),
        1 => Just(json!({"document":{"name":"n","source":{"text":"t"},"context":"c"}})),
        1 => Just(json!({"document":{"name":"n","source":{"content":[{"text":"t"}]}}})),
        1 => Just(json!({"video":{"format":"mpg","source":{"bytes":"AAAA"}}})),
        1 => Just(json!({"searchResult":{"source":"s","title":"t","content":[{"text":"x"}]}})),
        1 => Just(json!({"guardContent":{"text":{"text":"x"}}})),
        1 => Just(json!({"cachePoint":{"type":"default"}})),
        1 => Just(json!({"cachePoint":{"type":"default","ttl":"1h"}})),
        1 => Just(json!({"cachePoint":{"type":"new","x":1}})),
        1 => Just(json!({})),
        1 => Just(json!({"text":"a","odd":1})),
        1 => Just(json!({"brandNew":{"x":[1,2]}})),
    ]
}

fn user_block() -> impl Strategy<Value = Value> {
    let inner = prop_oneof![leaf_block(), Just(json!({"json":{"a":1}})), Just(json!({"json":[1]}))];
    let result = (prop::collection::vec(inner, 0..3), any::<bool>(), any::<bool>()).prop_map(|(content, failed, odd)| {
        let mut result = json!({"toolUseId":"t:1","content":content,"status":if failed { "error" } else { "success" }});
        if odd {
            result["type"] = json!("server_result");
        }
        json!({"toolResult":result})
    });
    prop_oneof![
        3 => leaf_block(),
        1 => result,
        1 => Just(json!({"audio":{"format":"mpga","source":{"bytes":"AAAA"}}})),
        1 => Just(json!({"toolAddition":{"tool":{"name":"x"}}})),
    ]
}

fn assistant_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => leaf_block(),
        1 => word().prop_map(|text| json!({"reasoningContent":{"reasoningText":{"text":text,"signature":"c2ln","new":1}}})),
        1 => word().prop_map(|text| json!({"reasoningContent":{"reasoningText":{"text":text}}})),
        1 => Just(json!({"reasoningContent":{"redactedContent":"AAEC"}})),
        1 => Just(json!({"reasoningContent":{"new":1}})),
        1 => Just(json!({"toolUse":{"toolUseId":"a.b:c-d","name":"f","input":{"a":[1.50]}}})),
        1 => Just(json!({"toolUse":{"toolUseId":"x","name":"f","input":null,"odd":1}})),
        1 => Just(json!({"toolUse":{"toolUseId":"x","name":"f","input":{},"type":"server_tool_use"}})),
        1 => Just(json!({"citationsContent":{"content":[{"text":"a"}],"citations":[{"title":"t","location":{"web":{"url":"https://x"}}}]}})),
        1 => Just(json!({"citationsContent":{"content":[{"text":"a"},{"new":1}],"citations":[]}})),
    ]
}

fn message() -> impl Strategy<Value = Value> {
    let of = |role: &'static str, content: BoxedStrategy<Value>, size: usize| {
        (prop::collection::vec(content, 0..size), any::<bool>()).prop_map(move |(content, odd)| {
            let mut message = json!({"role":role,"content":content});
            if odd {
                message["odd"] = json!(1);
            }
            message
        })
    };
    prop_oneof![
        3 => of("user", user_block().boxed(), 4),
        3 => of("assistant", assistant_block().boxed(), 4),
        1 => of("system", leaf_block().boxed(), 2),
    ]
}

/// A member, absent at times.
fn member(name: &'static str, values: Vec<Value>) -> impl Strategy<Value = (&'static str, Option<Value>)> {
    prop::option::of(prop::sample::select(values)).prop_map(move |value| (name, value))
}

fn body() -> impl Strategy<Value = Value> {
    let members = (
        member(
            "inferenceConfig",
            vec![json!({}), json!({"maxTokens":5,"temperature":0.3,"stopSequences":["x"],"new":{}}), json!({"topP":1e-1})],
        ),
        member(
            "toolConfig",
            vec![
                json!({"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{}}}},{"cachePoint":{"type":"default"}},{"systemTool":{"name":"x"}}],"toolChoice":{"auto":{}},"new":1}),
                json!({"tools":[{"cachePoint":{"type":"default"}},{"toolSpec":{"name":"9","description":"","inputSchema":{"new":1},"strict":false,"odd":1}}],"toolChoice":{"tool":{"name":"f"}}}),
                json!({"tools":[],"toolChoice":{"new":{}}}),
            ],
        ),
        member(
            "outputConfig",
            vec![
                json!({"effort":"max","textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"a\":\"\\n\"}","description":"d"}}}}),
                json!({"effort":"brand_new","new":1}),
                json!({"textFormat":{"type":"new","structure":{}}}),
            ],
        ),
        member(
            "additionalModelRequestFields",
            vec![
                json!({"thinking":{"type":"enabled","budget_tokens":2048},"top_k":7,"anthropic_beta":["x"]}),
                json!({"thinking":{"type":"adaptive","display":"omitted"}}),
                json!({"thinking":{"type":"between_tools"},"top_k":"7"}),
                json!({"thinking":{"type":"disabled"}}),
                json!([1]),
            ],
        ),
        member("requestMetadata", vec![json!({"user":"u","a":"b"}), json!({"a":"b"})]),
        member("serviceTier", vec![json!({"type":"flex"}), json!({"type":"new"}), json!({"type":"flex","new":1})]),
        member("guardrailConfig", vec![json!({"guardrailIdentifier":"g"})]),
        member("promptVariables", vec![json!({"a":{"text":"b"}})]),
    );
    let system = prop::option::of(prop::collection::vec(leaf_block(), 0..3));
    (members, system, prop::collection::vec(message(), 0..5)).prop_map(|((a, b, c, d, e, f, g, h), system, messages)| {
        let mut body = json!({"messages":messages});
        for (name, value) in [a, b, c, d, e, f, g, h, ("system", system.map(Value::Array))] {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body
    })
}

/// The request without what says where things stood in the body, which is not its meaning.
fn meaning<'r>(request: &Request<'r>) -> Request<'r> {
    let mut request = request.clone();
    for turn in &mut request.turns {
        turn.origin = Origin::default();
        turn.blocks.iter_mut().for_each(forget_origin);
    }
    request.tools.iter_mut().for_each(|tool| tool.origin = Origin::default());
    request.rest.sort_by(|one, other| one.name.as_bytes().cmp(other.name.as_bytes()));
    request
}

fn forget_origin(block: &mut Block<'_>) {
    block.origin = Origin::default();
    if let Kind::ToolResult(result) = &mut block.kind {
        result.content.iter_mut().for_each(forget_origin);
    }
}

// --- conversations of other dialects ----------------------------------------------------------------------------------

/// Steps that leave no call open: what a client sends grows by such steps.
fn step() -> impl Strategy<Value = Vec<(Role, Vec<Kind<'static>>)>> {
    let said = prop::sample::select(vec!["a", "b \\n", "", "  ", "c"]);
    let block = prop_oneof![
        4 => said.clone().prop_map(text),
        1 => Just(media(MediaClass::Document, "application/pdf", Some("x.pdf"))),
        1 => Just(media(MediaClass::Image, "image/png", None)),
        1 => Just(media(MediaClass::Image, "image/tiff", None)),
    ];
    let speech = |role| prop::collection::vec(block.clone(), 0..3).prop_map(move |blocks| vec![(role, blocks)]);
    let calls = (1..4_usize, any::<bool>(), any::<bool>()).prop_map(|(count, bare, lost)| {
        let id = |at: usize| if bare { "" } else { ["c1", "c2", "c/3"][at] };
        let calls = (0..count).map(|at| call(id(at), ["f", "g.h"][at % 2])).collect();
        let answers = (0..count - usize::from(lost)).map(|at| (Role::User, vec![result(id(at), "r")]));
        let tail = (Role::User, vec![text("and")]);
        std::iter::once((Role::Assistant, calls)).chain(answers).chain(std::iter::once(tail)).collect()
    });
    prop_oneof![2 => speech(Role::User), 2 => speech(Role::Assistant), 1 => speech(Role::System), 2 => calls]
}

fn turns(steps: &[Vec<(Role, Vec<Kind<'static>>)>]) -> Vec<Turn<'static>> {
    steps.iter().flatten().enumerate().map(|(index, (role, kinds))| turn(*role, index, kinds.clone())).collect()
}

fn traits() -> impl Strategy<Value = Traits> {
    let names = [
        "no_mid_system",
        "no_system_role",
        "budget_thinking",
        "adaptive_thinking",
        "no_json_schema",
        "no_forced_tool_choice",
        "no_strict_tools",
    ];
    prop::sample::subsequence(names.to_vec(), 0..names.len()).prop_map(|names| Traits::from_names(names).unwrap())
}

/// The bytes but for the brackets that end them.
fn open_bytes(request: &Request<'_>, target: &Target<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    encode(request, target, &mut out, &mut Losses::new(), &mut Bridge::default()).ok()?;
    Some(out.strip_suffix(b"]}]}").unwrap().to_vec())
}

fn check_shape(body: &Value) {
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0]["role"], "user");
    let mut used = std::collections::HashSet::new();
    let (mut open, mut before): (Vec<String>, &str) = (Vec::new(), "");
    for message in messages {
        let role = message["role"].as_str().unwrap();
        assert_ne!(role, before, "{body}");
        before = role;
        let content = message["content"].as_array().unwrap();
        assert!(!content.is_empty());
        let ids = |kind: &str| -> Vec<String> {
            content.iter().filter_map(|block| Some(block[kind]["toolUseId"].as_str()?.to_owned())).collect()
        };
        let (mut answers, calls) = (ids("toolResult"), ids("toolUse"));
        assert!(content[..answers.len()].iter().all(|block| block["toolResult"].is_object()), "{body}");
        answers.sort();
        open.sort();
        assert_eq!(answers, open, "{body}");
        assert!(calls.iter().all(|id| used.insert(id.clone())), "{body}");
        open = calls;
    }
    assert!(open.is_empty() || before == "assistant");
}

proptest! {
    #[test]
    fn this_dialect_keeps_its_meaning(body in body()) {
        let body = body.to_string();
        let request = decode(body.as_bytes()).unwrap();
        let (mut out, mut losses) = (Vec::new(), Losses::new());
        encode(&request, &target(&[]), &mut out, &mut losses, &mut Bridge::default()).unwrap();
        prop_assert!(losses.is_empty(), "{:?}", losses);
        let again = decode(&out).unwrap();
        prop_assert_eq!(meaning(&again), meaning(&request), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_longer_conversation_keeps_its_bytes(steps in prop::collection::vec(step(), 1..6), more in step(), traits in traits()) {
        let longer = [&steps[..], &[more]].concat();
        let target = Target { traits, ..target(&[]) };
        let request = |steps: &[_]| Request { turns: turns(steps), tools: vec![tool("f", None), tool("g.h", None)], ..chat() };
        let (short, long) = (open_bytes(&request(&steps), &target), open_bytes(&request(&longer), &target));
        if let (Some(short), Some(long)) = (short, long) {
            prop_assert!(long.starts_with(&short), "{}\n{}", String::from_utf8_lossy(&short), String::from_utf8_lossy(&long));
        }
    }

    #[test]
    fn what_is_written_is_what_bedrock_takes(steps in prop::collection::vec(step(), 1..8), traits in traits()) {
        let request = Request { turns: turns(&steps), ..chat() };
        let mut out = Vec::new();
        if encode(&request, &Target { traits, ..target(&[]) }, &mut out, &mut Losses::new(), &mut Bridge::default()).is_ok() {
            check_shape(&serde_json::from_slice(&out).unwrap());
            // And it is read again.
            decode(&out).unwrap();
        }
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        let body = value.to_string();
        if let Ok(request) = decode(body.as_bytes()) {
            let (mut out, mut losses) = (Vec::new(), Losses::new());
            encode(&request, &target(&[]), &mut out, &mut losses, &mut Bridge::default()).unwrap();
            prop_assert!(serde_json::from_slice::<Value>(&out).is_ok());
            prop_assert_eq!(meaning(&decode(&out).unwrap()), meaning(&request));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }
}

/// JSON in the dialect's words, in any places.
fn any_json() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 31] = [
        "messages",
        "role",
        "content",
        "text",
        "toolUse",
        "toolUseId",
        "name",
        "input",
        "toolResult",
        "status",
        "image",
        "format",
        "source",
        "bytes",
        "cachePoint",
        "type",
        "ttl",
        "reasoningContent",
        "reasoningText",
        "signature",
        "redactedContent",
        "system",
        "toolConfig",
        "tools",
        "toolSpec",
        "inputSchema",
        "json",
        "toolChoice",
        "inferenceConfig",
        "maxTokens",
        "outputConfig",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-2..3_i64).prop_map(Value::from),
        prop::sample::select(vec!["user", "assistant", "default", "1h", "png", "x", "error", "json_schema"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => prop::collection::vec((prop::sample::select(&WORDS[..]), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}
