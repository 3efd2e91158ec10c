//! What stands beside the conversation: limits, sampling, thinking, tools, the form of the reply, cache marks, labels.

use super::*;

#[test]
fn the_output_limit_is_always_sent() {
    let body = |limit: Option<u64>| json!({"max_tokens": limit, "messages": [user("a")]});
    let unknown = Target { max_output_tokens: None, ..target(&[]) };
    check(&target(&[]), &body(None), |_| {}, &json!({"max_tokens": 8000}), &[]);
    check(&target(&[]), &body(Some(9000)), |_| {}, &json!({"max_tokens": 8000}), &[("max_completion_tokens", "changed")]);
    check(&unknown, &body(None), |_| {}, &json!({"max_tokens": 4096}), &[("max_completion_tokens", "changed")]);
    check(&unknown, &body(Some(9000)), |_| {}, &json!({"max_tokens": 9000}), &[]);
}

#[test]
fn sampling_parameters() {
    let body = |more: Value| {
        let mut body = json!({"max_tokens": 1, "messages": [user("a")]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let all = body(json!({"temperature": 0.5, "top_p": 0.9, "top_k": 5}));
    check(&target(&[]), &all, |_| {}, &json!({"temperature": 0.5, "top_p": null, "top_k": 5}), &[("top_p", "dropped")]);
    let refused = [("temperature", "dropped"), ("top_p", "dropped"), ("top_k", "dropped")];
    check(&target(&["no_sampling"]), &all, |_| {}, &json!({"temperature": null, "top_p": null, "top_k": null}), &refused);
    let hot = body(json!({"temperature": 1.5, "top_p": 1}));
    check(&target(&[]), &hot, |_| {}, &json!({"temperature": 1, "top_p": null}), &[("temperature", "changed")]);
    let foreign = |request: &mut Request<'_>| {
        request.sampling.seed = Some(Raw::json(b"7"));
        request.sampling.frequency_penalty = Some(Raw::json(b"0.0"));
        request.sampling.choices = Some(2);
        request.output.modalities = Some(Raw::json(br#"["text"]"#));
        request.sampling.logprobs = Some(false);
    };
    check(&target(&[]), &body(json!({})), foreign, &json!({"seed": null}), &[("seed", "dropped"), ("n", "dropped")]);
    let stops = body(json!({"stop_sequences": ["END", "\n"]}));
    check(&target(&[]), &stops, |_| {}, &json!({"stop_sequences": ["END"]}), &[("stop", "dropped")]);
    check(&target(&["no_stop"]), &stops, |_| {}, &json!({"stop_sequences": null}), &[("stop", "dropped")]);
}

#[track_caller]
fn check_thinking(traits: &[&str], edit: impl FnOnce(&mut Request<'_>), thinking: Value, config: Value, losses: &[(&str, &str)]) {
    let body = json!({"max_tokens": 4000, "messages": [user("a")]});
    let expected = json!({"thinking": thinking, "output_config": config});
    check(&target(traits), &body, edit, &expected, losses);
}

#[test]
fn effort_is_a_budget_on_older_models() {
    let effort = |effort| move |request: &mut Request<'_>| request.reasoning.effort = Some(effort);
    let enabled = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    let hint = [("reasoning_effort", "hint")];
    check_thinking(&[], effort(Effort::High), enabled(3200), Value::Null, &hint);
    check_thinking(&[], effort(Effort::Minimal), enabled(1024), Value::Null, &hint);
    check_thinking(&[], effort(Effort::Max), enabled(3800), Value::Null, &hint);
    check_thinking(&[], effort(Effort::None), json!({"type": "disabled"}), Value::Null, &[]);
    check_thinking(&[], |request| request.reasoning.enabled = Some(true), enabled(2000), Value::Null, &[]);
    check_thinking(&[], |request| request.reasoning.budget_tokens = Some(1500), enabled(1500), Value::Null, &[]);
    let clamped = [("reasoning.max_tokens", "changed")];
    check_thinking(&[], |request| request.reasoning.budget_tokens = Some(9000), enabled(3999), Value::Null, &clamped);
    check_thinking(&[], |request| request.reasoning.budget_tokens = Some(1), enabled(1024), Value::Null, &clamped);
    let no_room = |request: &mut Request<'_>| {
        request.max_output_tokens = Some(1024);
        request.reasoning.enabled = Some(true);
    };
    check_thinking(&[], no_room, json!({"type": "disabled"}), Value::Null, &[("reasoning.enabled", "dropped")]);
}

#[test]
fn effort_is_effort_on_newer_models() {
    let effort = |effort| move |request: &mut Request<'_>| request.reasoning.effort = Some(effort);
    let adaptive = json!({"type": "adaptive", "display": "summarized"});
    let traits = ["adaptive_thinking"];
    check_thinking(&traits, effort(Effort::High), adaptive.clone(), json!({"effort": "high"}), &[]);
    let nearest = [("reasoning_effort", "changed")];
    check_thinking(&traits, effort(Effort::Minimal), adaptive.clone(), json!({"effort": "low"}), &nearest);
    check_thinking(&traits, effort(Effort::None), json!({"type": "disabled"}), Value::Null, &[]);
    let always = ["adaptive_thinking", "always_thinking"];
    check_thinking(&always, effort(Effort::None), adaptive.clone(), json!({"effort": "low"}), &[("reasoning_effort", "changed")]);
    let budget = |request: &mut Request<'_>| request.reasoning.budget_tokens = Some(2000);
    check_thinking(&traits, budget, adaptive, json!({"effort": "medium"}), &[("reasoning.max_tokens", "changed")]);
    let hidden = |request: &mut Request<'_>| {
        request.reasoning.enabled = Some(true);
        request.reasoning.show = Some(Show::Nothing);
    };
    check_thinking(&traits, hidden, json!({"type": "adaptive", "display": "omitted"}), Value::Null, &[]);
    let bound = ["adaptive_thinking", "block_binding"];
    let binding = json!({"type": "adaptive", "display": "summarized", "block_binding": {"prefix_mismatch_behavior": "drop_block"}});
    check_thinking(&bound, |request| request.reasoning.enabled = Some(true), binding, Value::Null, &[]);
    let verbose = |request: &mut Request<'_>| request.output.verbosity = Some(Text::word("low"));
    check_thinking(&traits, verbose, Value::Null, json!({"effort": "low"}), &[("verbosity", "changed")]);
    check_thinking(&[], verbose, Value::Null, Value::Null, &[("verbosity", "dropped")]);
}

#[test]
fn a_model_that_must_call_a_tool_does_not_think() {
    let body = conversation(&[user("a")]);
    let think = |request: &mut Request<'_>| {
        request.max_output_tokens = Some(4000);
        request.reasoning.enabled = Some(true);
        request.tool_choice = Some(ToolChoice::Required);
    };
    let off = json!({"thinking": {"type": "disabled"}, "tool_choice": {"type": "any"}});
    check(&target(&[]), &body, think, &off, &[("reasoning.enabled", "changed")]);
    let asked = json!({"thinking": {"type": "adaptive", "display": "summarized"}, "tool_choice": {"type": "auto"},
        "system": [text("In your next reply, call at least one of the tools.")]});
    check(&target(&["always_thinking", "no_forced_tool_choice"]), &body, think, &asked, &[("tool_choice", "changed")]);
}

#[test]
fn an_older_model_does_not_think_in_a_loop_whose_thought_is_gone() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "sig"});
    let think = |request: &mut Request<'_>| {
        request.max_output_tokens = Some(4000);
        request.reasoning.enabled = Some(true);
    };
    let body = |first: Option<&Value>| {
        let calls: Vec<Value> = first.cloned().into_iter().chain([call("c1")]).collect();
        conversation(&[user("a"), of("assistant", &calls), of("user", &[result("c1", "x")])])
    };
    let off = json!({"thinking": {"type": "disabled"}});
    check(&target(&[]), &body(None), think, &off, &[("reasoning.enabled", "changed")]);
    let on = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}});
    check(&target(&[]), &body(Some(&thought)), think, &on, &[]);
    let adaptive = json!({"thinking": {"type": "adaptive", "display": "summarized"}});
    check(&target(&["adaptive_thinking"]), &body(None), think, &adaptive, &[]);
}

#[test]
fn temperatures_while_thinking() {
    let body = json!({"max_tokens": 4000, "temperature": 0.5, "top_k": 3, "messages": [user("a")]});
    let think = |request: &mut Request<'_>| request.reasoning.enabled = Some(true);
    let losses = [("temperature", "dropped"), ("top_k", "dropped")];
    check(&target(&[]), &body, think, &json!({"temperature": null, "top_k": null}), &losses);
}

#[track_caller]
fn check_tools(traits: &[&str], tools: Value, edit: impl FnOnce(&mut Request<'_>), expected: Value, losses: &[(&str, &str)]) {
    let body = json!({"max_tokens": 100, "messages": [user("a")], "tools": tools});
    check(&target(traits), &body, edit, &expected, losses);
}

#[test]
fn tools_and_choices() {
    let plain = json!([{"name": "get", "input_schema": {"type": "object"}}]);
    let choose = |choice: ToolChoice<'static>, serial: Option<bool>| {
        move |request: &mut Request<'_>| {
            request.tool_choice = Some(choice);
            request.parallel_tool_calls = serial.map(|serial| !serial);
        }
    };
    check_tools(&[], plain.clone(), choose(ToolChoice::Auto, None), json!({"tool_choice": {"type": "auto"}}), &[]);
    let any = json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    check_tools(&[], plain.clone(), choose(ToolChoice::Required, Some(true)), any, &[]);
    let none = json!({"tool_choice": {"type": "none"}, "tools": plain});
    check_tools(&[], plain.clone(), choose(ToolChoice::None, Some(true)), none, &[]);
    let named = json!({"tool_choice": {"type": "tool", "name": "get"}});
    check_tools(&[], plain.clone(), choose(ToolChoice::Named(Text::word("get")), None), named, &[]);
    let serial = json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}});
    check_tools(&[], plain.clone(), |request| request.parallel_tool_calls = Some(false), serial, &[]);
    let unheld = [("parallel_tool_calls", "dropped")];
    let unsaid = json!({"tool_choice": null});
    check_tools(&["no_parallel_tool_calls"], plain.clone(), |request| request.parallel_tool_calls = Some(false), unsaid, &unheld);
    let two = json!([{"name": "get", "input_schema": {"type": "object"}}, {"name": "put", "input_schema": {"type": "object"}}]);
    let allowed = choose(ToolChoice::Allowed { required: true, names: vec![Text::word("put")] }, None);
    let only = json!({"tools": [two[1]], "tool_choice": {"type": "any"}});
    check_tools(&[], two, allowed, only, &[("tool_choice", "hint")]);
    let named = choose(ToolChoice::Named(Text::word("get")), None);
    let asked = json!({"tool_choice": {"type": "auto"}, "system": [text("In your next reply, call the tool \"get\".")]});
    check_tools(&["no_forced_tool_choice"], plain, named, asked, &[("tool_choice", "changed")]);
}

#[test]
fn names_outside_the_alphabet_come_home() {
    let text = conversation(&[user("a")]).to_string();
    let mut request = decode(text.as_bytes()).unwrap();
    request.source = Dialect::OpenaiChat;
    request.tools[0].name = Text::word("mcp.read");
    let (written, losses, bridge) = write(&request, &target(&[])).unwrap();
    assert_eq!(written["tools"][0]["name"], "mcp_read_3244eaf9");
    assert_eq!(bridge.original(&Text::word("mcp_read_3244eaf9")), (Text::word("mcp.read"), false));
    assert!(losses.is_empty());
}

#[test]
fn a_tool_of_free_text_is_wrapped() {
    let grammar = br#"{"type":"grammar","syntax":"lark","definition":"start: \"x\"\n"}"#;
    let custom = |request: &mut Request<'_>| {
        request.tools[0].kind = ToolKind::Custom { format: Some(Raw::json(grammar)) };
        let Kind::ToolCall(call) = &mut request.turns[1].blocks[0].kind else { return };
        call.arguments = Arguments::Free(Text::escaped(br"*** Begin\n"));
    };
    let answer = of("user", &[result("c1", "ok")]);
    let mut body = conversation(&[user("a"), of("assistant", &[call("c1")]), answer.clone()]);
    body["tools"][0]["description"] = json!("Patches");
    let schema =
        json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"], "additionalProperties": false});
    let description = "Patches\n\nThe text under \"input\" must fit this lark grammar:\nstart: \"x\"\n";
    let calls = json!({"type": "tool_use", "id": "c1", "name": "get", "input": {"input": "*** Begin\n"}});
    let expected = json!({"tools": [{"name": "get", "description": description, "input_schema": schema}],
        "messages": [user("a"), of("assistant", &[calls]), answer]});
    check(&target(&[]), &body, custom, &expected, &[("tools[0]", "changed")]);
    let text = body.to_string();
    let mut request = decode(text.as_bytes()).unwrap();
    custom(&mut request);
    let (_, _, bridge) = write(&request, &target(&[])).unwrap();
    assert_eq!(bridge.original(&Text::word("get")), (Text::word("get"), true));
}

#[test]
fn a_conversation_with_calls_comes_with_tools() {
    let messages = [user("a"), of("assistant", &[call("c1")]), of("user", &[result("c1", "x")])];
    let body = json!({"max_tokens": 1, "messages": messages});
    let expected = json!({"tools": [{"name": "get", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}});
    check(&target(&[]), &body, |_| {}, &expected, &[("tools", "changed")]);
}

#[test]
fn a_schema_has_an_object_and_no_choice_at_its_top() {
    let tool = |schema: Value| json!([{"name": "get", "input_schema": schema}]);
    let written = |schema: Value| json!({"tools": tool(schema)});
    check_tools(&[], tool(json!({"properties": {}})), |_| {}, written(json!({"type": "object", "properties": {}})), &[]);
    let union = json!({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]});
    let note = r#"The arguments must also fit this JSON Schema: {"anyOf":[{"required":["a"]}]}"#;
    let plain = json!([{"name": "get", "description": note, "input_schema": {"type": "object", "properties": {"a": {}}}}]);
    check_tools(&[], tool(union), |_| {}, json!({"tools": plain}), &[("tools[0]", "changed")]);
    let nothing = |request: &mut Request<'_>| request.tools[0].kind = ToolKind::Function { parameters: None };
    check_tools(&[], tool(json!({})), nothing, written(json!({"type": "object", "properties": {}})), &[]);
}

#[test]
fn a_strict_schema_loses_its_bounds() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "description": "How many"}},
        "required": ["n"], "additionalProperties": false});
    let tools = json!([{"name": "get", "strict": true, "input_schema": schema}]);
    let described = json!({"type": "object", "properties": {"n": {"type": "integer", "description": "How many (minimum: 1)"}},
        "required": ["n"], "additionalProperties": false});
    let expected = json!({"tools": [{"name": "get", "strict": true, "input_schema": described}]});
    check_tools(&[], tools.clone(), |_| {}, expected, &[("tools[0]", "changed")]);
    let loose = json!({"tools": [{"name": "get", "input_schema": schema}]});
    check_tools(&["no_strict_tools"], tools, |_| {}, loose, &[("tools[0]", "changed")]);
}

#[test]
fn a_web_search_is_a_web_search() {
    let search = |raw: &'static [u8]| move |request: &mut Request<'_>| request.tools[0].kind = ToolKind::WebSearch { raw: Raw::json(raw) };
    let any = json!([{"name": "x", "input_schema": {}}]);
    let responses = br#"{"type":"web_search","filters":{"allowed_domains":["a.org"]},"user_location":{"type":"approximate","country":"DE"},"search_context_size":"low"}"#;
    let place = json!({"type": "approximate", "country": "DE"});
    let tool = json!({"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.org"], "user_location": place});
    check_tools(&[], any.clone(), search(responses), json!({"tools": [tool]}), &[("tools[0]", "hint")]);
    let chat = br#"{"user_location":{"type":"approximate","approximate":{"country":"DE"}}}"#;
    let tool = json!({"type": "web_search_20250305", "name": "web_search", "user_location": place});
    check_tools(&[], any.clone(), search(chat), json!({"tools": [tool]}), &[]);
    let plain = json!({"type": "web_search_20250305", "name": "web_search"});
    check_tools(&[], any, search(br#"{"googleSearch":{}}"#), json!({"tools": [plain]}), &[]);
}

fn with_schema(schema: &'static [u8], strict: Option<bool>) -> impl Fn(&mut Request<'_>) {
    move |request| {
        request.output.format =
            Some(Format::JsonSchema { name: Some(Text::word("city")), description: None, schema: Raw::json(schema), strict });
    }
}

const CITY: &[u8] = br#"{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}"#;

#[test]
fn a_form_of_reply_is_native_where_it_can_be() {
    let schema: Value = serde_json::from_slice(CITY).unwrap();
    let native = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}, "tools": null});
    let body = json!({"max_tokens": 1, "messages": [user("a")]});
    check(&target(&["native_schema"]), &body, with_schema(CITY, Some(true)), &native, &[]);
}

#[test]
fn a_form_of_reply_is_a_forced_tool_on_older_models() {
    let schema: Value = serde_json::from_slice(CITY).unwrap();
    let description = "Gives the final reply to the user. Call it once, with the whole reply.\ncity";
    let reply = json!({"name": "reply", "description": description, "input_schema": schema, "strict": true});
    let alone = json!({"tools": [reply], "tool_choice": {"type": "tool", "name": "reply"}, "output_config": null});
    let body = json!({"max_tokens": 1, "messages": [user("a")]});
    check(&target(&[]), &body, with_schema(CITY, Some(true)), &alone, &[("response_format", "hint")]);
    let beside = json!({"tools": [{"name": "get", "input_schema": {"type": "object"}}, reply], "tool_choice": {"type": "any"}});
    check(&target(&[]), &conversation(&[user("a")]), with_schema(CITY, Some(true)), &beside, &[("response_format", "hint")]);
    let text = body.to_string();
    let mut request = decode(text.as_bytes()).unwrap();
    with_schema(CITY, None)(&mut request);
    let (_, losses, bridge) = write(&request, &target(&[])).unwrap();
    assert_eq!(bridge.format_tool.as_deref(), Some("reply"));
    assert_eq!(losses.as_slice().iter().map(|loss| loss.severity).max(), Some(Severity::Changed));
}

#[test]
fn a_form_of_reply_is_asked_for_in_words_where_nothing_else_works() {
    let said = "Reply with one JSON value that fits this JSON Schema and nothing else: no introduction, no explanation, no code fence.\n";
    let words = json!({"system": [text(&format!("{said}{}", std::str::from_utf8(CITY).unwrap()))], "tools": null, "output_config": null});
    let body = json!({"max_tokens": 4000, "messages": [user("a")]});
    check(&target(&["no_forced_tool_choice"]), &body, with_schema(CITY, None), &words, &[("response_format", "changed")]);
    let thinks = |request: &mut Request<'_>| {
        with_schema(CITY, None)(request);
        request.reasoning.enabled = Some(true);
    };
    check(&target(&[]), &body, thinks, &words, &[("response_format", "changed")]);
    let object = |request: &mut Request<'_>| request.output.format = Some(Format::JsonObject);
    let ask = "Reply with one JSON object and nothing else: no introduction, no explanation, no code fence.";
    check(&target(&["native_schema"]), &body, object, &json!({"system": [text(ask)]}), &[("response_format", "changed")]);
}

fn marks(value: &Value) -> usize {
    value.to_string().matches("cache_control").count()
}

#[test]
fn at_most_four_cache_marks_the_last_ones() {
    let mark = json!({"type": "ephemeral"});
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": mark});
    let body = json!({"max_tokens": 1, "system": [marked("s")], "tools": [{"name": "get", "input_schema": {"type": "object"}, "cache_control": mark}],
        "messages": [of("user", &[marked("1"), marked("2")]), of("assistant", &[text("b")]), of("user", &[marked("3")])]});
    let messages = json!([of("user", &[text("1"), marked("2")]), of("assistant", &[text("b")]), of("user", &[marked("3")])]);
    let expected = json!({"system": [marked("s")], "tools": body["tools"], "messages": messages});
    check(&target(&[]), &body, |_| {}, &expected, &[("cache_control", "hint")]);
    // The automatic one takes a place too.
    let automatic = |request: &mut Request<'_>| request.cache.automatic = Some(CacheMark { ttl: Some(CacheTtl::ThirtyMinutes) });
    let messages = json!([user_of(&[text("1"), text("2")]), of("assistant", &[text("b")]), of("user", &[marked("3")])]);
    let expected = json!({"cache_control": {"type": "ephemeral", "ttl": "1h"}, "messages": messages});
    check(&target(&[]), &body, automatic, &expected, &[("cache_control", "hint")]);
}

fn user_of(content: &[Value]) -> Value {
    of("user", content)
}

#[test]
fn a_longer_time_never_stands_behind_a_shorter_one() {
    let marked = |ttl: &str| json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let body = json!({"max_tokens": 1, "system": [marked("1h")], "messages": [of("user", &[marked("5m"), marked("1h")])]});
    let plain = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}});
    let expected = json!({"system": [marked("1h")], "messages": [of("user", &[marked("5m"), plain])]});
    check(&target(&[]), &body, |_| {}, &expected, &[("cache_control", "hint")]);
}

#[test]
fn marks_are_put_where_the_caller_put_none() {
    let automatic = Target { automatic_cache: true, ..target(&[]) };
    let messages =
        [user("1"), of("assistant", &[text("a")]), user("2"), of("assistant", &[call("c")]), of("user", &[result("c", "r"), text("3")])];
    let mut body = conversation(&messages);
    body["system"] = json!("s");
    let text_of = body.to_string();
    let request = decode(text_of.as_bytes()).unwrap();
    let (written, _, _) = write(&request, &automatic).unwrap();
    let places = [&written["tools"][0], &written["system"][0], &written["messages"][2], &written["messages"][4]["content"][1]];
    assert_eq!(places.map(marks), [1; 4]);
    assert_eq!(marks(&written), 4);
    // A caller with marks of its own knows better.
    body["system"] = json!([{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]);
    let text_of = body.to_string();
    let (written, _, _) = write(&decode(text_of.as_bytes()).unwrap(), &automatic).unwrap();
    assert_eq!(marks(&written), 1);
}

#[test]
fn labels() {
    let body = json!({"max_tokens": 1, "messages": [user("a")], "metadata": {"user_id": "u1"}});
    let label = |request: &mut Request<'_>| {
        request.labels.metadata = Some(Raw::json(br#"{"a":"b"}"#));
        request.labels.store = Some(true);
        request.labels.service_tier = Some(Text::word("flex"));
        request.cache.key = Some(Text::word("k"));
    };
    let expected = json!({"metadata": {"user_id": "u1"}, "service_tier": null});
    let losses = [("metadata", "hint"), ("store", "hint"), ("prompt_cache_key", "hint"), ("service_tier", "changed")];
    check(&target(&[]), &body, label, &expected, &losses);
    let usual = |request: &mut Request<'_>| request.labels.service_tier = Some(Text::word("default"));
    check(&target(&[]), &body, usual, &json!({"service_tier": "standard_only"}), &[]);
}
