use crate::world::{Spec, board_of, serves, spec};
use fairlead_ir::PicoUsd;
use fairlead_router::names::{Named, Request, resolve};
use fairlead_router::{
    Board, By, Cutoffs, MaxPrice, Members, Need, Now, Order, Partition, Plan, Reason, Registry, Removed, Run, Sort, Tier, Wishes, decide,
    plan, read, read_models,
};
use fairlead_snapshot::{Modalities, Parameters, Quantizations, Snapshot};
use std::sync::Arc;

/// Endpoints 1 to 6, each with something of its own.
fn shop() -> Board {
    let specs = [
        spec("a/b", "one", 1_000_000, r#""context_tokens":1000,"quantization":"fp8","supported_parameters":["tools","seed"]"#),
        spec("a/b", "two", 2_000_000, r#""quantization":"bf16","supported_parameters":["seed"],"input_modalities":["text","image"]"#),
        spec("a/b", "two", 2_000_000, r#""region":"eu","max_completion_tokens":100,"input_modalities":["text"]"#),
        spec("a/b", "one/flex", 500_000, ""),
        spec("a/b", "one/priority", 4_000_000, ""),
        spec("a/b", "four", 3_000_000, r#""max_prompt_tokens":500"#),
    ];
    let providers = [
        ("one", r#""data_policy":{"training":false,"retention_days":30}"#),
        ("two", r#""data_policy":{"training":false,"zdr":true}"#),
        ("four", r#""data_policy":{"training":true}"#),
    ];
    board_of(
        &specs,
        &providers,
        r#""absent_providers":[{"names":["off"],"why":"provider \"off\" is off: add [providers.off]"}]"#,
        &Registry::default(),
    )
}

fn provider(board: &Board, json: &str) -> Wishes {
    read(Members { provider: Some(json.as_bytes()), ..Members::default() }, board).unwrap()
}

#[test]
fn wishes_are_read() {
    let board = shop();
    let check = |json: &str, expected: Wishes| assert_eq!(provider(&board, json), expected, "{json}");
    check("{}", Wishes::NONE);
    check(r#"{"order":null,"zdr":null}"#, Wishes::NONE);
    check(r#"{"order":["two/eu","ONE"]}"#, Wishes { order: vec!["two/eu".into(), "one".into()], ..Wishes::NONE });
    check(r#"{"ignore":["off","Off/eu","one/nowhere","four"]}"#, Wishes { ignore: vec!["four".into()], ..Wishes::NONE });
    check(
        r#"{"allow_fallbacks":false,"require_parameters":true}"#,
        Wishes { allow_fallbacks: Some(false), require_parameters: Some(true), ..Wishes::NONE },
    );
    check(r#"{"data_collection":"deny","zdr":true}"#, Wishes { deny_data_collection: Some(true), zdr: Some(true), ..Wishes::NONE });
    check(r#"{"enforce_distillable_text":false}"#, Wishes::NONE);
    check(
        r#"{"quantizations":["fp8","bf16"]}"#,
        Wishes { quantizations: Quantizations::from_names(&["fp8", "bf16"]).unwrap(), ..Wishes::NONE },
    );
    check(r#"{"sort":"latency"}"#, Wishes { sort: Sort { by: Some(By::Latency), partition: Partition::Model }, ..Wishes::NONE });
    check(
        r#"{"sort":{"by":"price","partition":"none"}}"#,
        Wishes { sort: Sort { by: Some(By::Price), partition: Partition::None }, ..Wishes::NONE },
    );
    check(
        r#"{"preferred_min_throughput":50,"preferred_max_latency":{"p90":2.5}}"#,
        Wishes {
            min_throughput: Cutoffs([Some(50.0), None, None, None]),
            max_latency: Cutoffs([None, None, Some(2.5), None]),
            ..Wishes::NONE
        },
    );
    let max_price = MaxPrice { prompt: Some(PicoUsd(1_500_000)), completion: Some(PicoUsd(0)), request: Some(PicoUsd(10_000_000_000)) };
    check(r#"{"max_price":{"prompt":1.5,"completion":"0","request":0.01,"image":"0.04"}}"#, Wishes { max_price, ..Wishes::NONE });
    let members = Members { route: Some(br#""sort""#), ..Members::default() };
    let wishes = read(members, &board).unwrap();
    assert_eq!(wishes.sort.partition, Partition::None);
    assert_eq!(read_models(br#"["a","b","c","d","e"]"#).unwrap().len(), 5, "no cap of three");
}

#[test]
fn wishes_that_cannot_be_meant_name_their_place() {
    let board = shop();
    let check = |json: &str, path: &str, part: &str| {
        let error = read(Members { provider: Some(json.as_bytes()), ..Members::default() }, &board).unwrap_err();
        assert!(error.path == path && error.message.contains(part), "{json}: {error}");
    };
    check(r#"[]"#, "provider", "an object");
    check(r#"{"ordr":[]}"#, "provider.ordr", "did you mean \"order\"?");
    check(r#"{"order":["one","foor"]}"#, "provider.order.1", "did you mean \"four\"?");
    check(r#"{"ignore":["one","foor"]}"#, "provider.ignore.1", "did you mean \"four\"?");
    check(r#"{"only":["off"]}"#, "provider.only.0", "add [providers.off]");
    check(r#"{"order":["off/eu"]}"#, "provider.order.0", "is off");
    check(r#"{"zdr":true,"zdr":false}"#, "provider", "\"zdr\" is said twice");
    check(r#"{"max_price":{"prompt":1,"prompt":2}}"#, "provider", "\"prompt\" is said twice");
    check(r#"{"only":"one"}"#, "provider.only", "a list");
    check(r#"{"only":[1]}"#, "provider.only.0", "this is a number");
    check(r#"{"zdr":"yes"}"#, "provider.zdr", "true or false");
    check(r#"{"data_collection":"den"}"#, "provider.data_collection", "did you mean \"deny\"?");
    check(r#"{"quantizations":["fp7"]}"#, "provider.quantizations.0", "is no quantization");
    check(r#"{"sort":"cheapest"}"#, "provider.sort", "none of price, throughput, latency, exacto");
    check(r#"{"sort":{"buy":"price"}}"#, "provider.sort.buy", "did you mean \"by\"?");
    check(r#"{"sort":{"partition":"all"}}"#, "provider.sort.partition", "model, none");
    check(r#"{"preferred_max_latency":{"p95":1}}"#, "provider.preferred_max_latency.p95", "did you mean");
    check(r#"{"preferred_min_throughput":-1}"#, "provider.preferred_min_throughput", "not negative");
    check(r#"{"max_price":1}"#, "provider.max_price", "an object");
    check(r#"{"max_price":{"prompt":0.0000015}}"#, "provider.max_price.prompt", "multiply a price per token by 1000000");
    check(r#"{"max_price":{"prompt":0.00003}}"#, "provider.max_price.prompt", "multiply a price per token by 1000000");
    check(r#"{"max_price":{"completion":"$1"}}"#, "provider.max_price.completion", "without a sign or a currency");
    check(r#"{"max_price":{"completion":-1}}"#, "provider.max_price.completion", "US dollars per million tokens");
    check(r#"{"max_price":{"image":{}}}"#, "provider.max_price.image", "US dollars each");
    check(r#"{"max_price":{"promt":1}}"#, "provider.max_price.promt", "did you mean \"prompt\"?");
    check(r#"{"enforce_distillable_text":true}"#, "provider.enforce_distillable_text", "not in this version");
    check(r#"{"options":{}}"#, "provider.options", "not in this version");
    assert_eq!(read_models(br#"["a",2]"#).unwrap_err().path, "models.1");
}

/// The endpoints that are in, and of the others the filter that removed each.
fn judged(wishes: &Wishes, need: &Need) -> (Vec<u64>, Vec<(u64, &'static str)>) {
    let board = shop();
    let mut made = Plan::default();
    plan(&board, &Order { wishes, ..Order::model(&[Named::model(0)], need, 1) }, &mut Now(0), serves, &mut made);
    let mut steps: Vec<u64> = made.steps.iter().map(|step| board.entry(step.entry).id).collect();
    steps.sort_unstable();
    (steps, made.removed.iter().map(|removed| (board.entry(removed.entry).id, removed.reason.word())).collect())
}

/// The standard endpoints less those that the filter removes, besides the tiers.
fn check(json: &str, need: Need, left: &[u64], by: &str) {
    let (steps, removed) = judged(&provider(&shop(), json), &need);
    assert_eq!(steps, left, "{json} {removed:?}");
    let others = removed.iter().filter(|(id, _)| ![4, 5].contains(id));
    assert!(others.clone().all(|(_, word)| *word == by), "{json}: {removed:?}");
}

#[test]
fn filters_remove_and_say_why() {
    let small = Need::tokens(10, Some(10));
    check("{}", small, &[1, 2, 3, 6], "");
    check(r#"{"only":["two"]}"#, small, &[2, 3], "allowed_providers");
    check(r#"{"only":["two/eu"]}"#, small, &[3], "allowed_providers");
    check(r#"{"only":["one/flex","four"]}"#, small, &[4, 6], "allowed_providers");
    check(r#"{"only":["one"]}"#, small, &[1], "allowed_providers");
    check(r#"{"ignore":["two"]}"#, small, &[1, 6], "allowed_providers");
    check(r#"{"data_collection":"deny"}"#, small, &[1, 2, 3], "data_policy:training");
    check(r#"{"zdr":true}"#, small, &[2, 3], "data_policy:zdr");
    check(r#"{"quantizations":["fp8"]}"#, small, &[1], "quantization");
    check(r#"{"max_price":{"prompt":2}}"#, small, &[1, 2, 3], "max_price");
    check(r#"{"max_price":{"completion":1}}"#, small, &[1], "max_price");
    check("{}", Need::tokens(950, Some(60)), &[2, 3], "context_length");
    check("{}", Need::tokens(10, Some(101)), &[1, 2, 6], "max_tokens");
    check("{}", Need::tokens(501, Some(10)), &[1, 2, 3], "context_length");
    check("{}", Need { inputs: Modalities::one("image").unwrap(), ..small }, &[1, 2, 6], "input_modalities");
    check("{}", Need { has_tools: true, ..small }, &[1, 3, 6], "tools");
    let top_k = Need { parameters: Parameters::one("top_k").unwrap(), ..small };
    check("{}", top_k, &[1, 2, 3, 6], "");
    check(r#"{"require_parameters":true}"#, top_k, &[3, 6], "require_parameters");
}

#[test]
fn what_is_known_is_held_against_the_last_endpoint_too_and_guesses_are_not() {
    let board = board_of(
        &[spec("a/b", "small", 1, r#""context_tokens":1000,"max_completion_tokens":100,"input_modalities":["text"]"#)],
        &[],
        "",
        &Registry::default(),
    );
    let check = |inputs: &[&str], prompt_tokens, max_tokens, refusal: Option<&str>| {
        let (models, mut made) = ([Named::model(0)], Plan::default());
        assert!(board.inputs_matter(&models));
        let need = Need { inputs: Modalities::from_names(inputs).unwrap(), ..Need::tokens(prompt_tokens, max_tokens) };
        decide(&board, &Order::model(&models, &need, 1), &mut Now(0), serves, &mut made);
        assert_eq!(made.steps.is_empty(), refusal.is_some(), "{need:?}");
        assert!(made.refusal(&board).contains(refusal.unwrap_or_default()), "{}", made.refusal(&board));
    };
    check(&[], 5_000, None, None);
    check(&["file"], 10, Some(100), None);
    check(&["file"], 5_000, None, None);
    check(&[], 10, Some(101), Some("(max_tokens: lower max_tokens to 100)"));
    check(&[], 5_000, Some(101), Some("lower max_tokens"));
    check(&["image", "file"], 10, None, Some("no endpoints found that support image and file input: a/b at small"));
    check(&["audio"], 5_000, None, Some("support audio input"));
}

#[test]
fn a_request_that_no_key_will_ever_take_goes_elsewhere_or_nowhere() {
    let small = spec("a/b", "small", 1, "");
    let keys = |tpm: &[u64]| {
        let keys: Vec<String> = tpm.iter().map(|tpm| format!(r#"{{"secret":"k{tpm}","tpm":{tpm}}}"#)).collect();
        format!(r#""keys":[{}]"#, keys.join(","))
    };
    let check = |specs: &[Spec], tpm: &[u64], prompt_tokens, max_tokens, expected: &[u64], refusal: &str| {
        let board = board_of(specs, &[("small", &keys(tpm))], "", &Registry::default());
        let (need, mut made) = (Need::tokens(prompt_tokens, max_tokens), Plan::default());
        let models = [Named::model(0)];
        let order = Order { wishes: &provider(&board, r#"{"order":["small"]}"#), ..Order::model(&models, &need, 1) };
        decide(&board, &order, &mut Now(0), serves, &mut made);
        let steps: Vec<u64> = made.steps.iter().map(|step| board.entry(step.entry).id).collect();
        assert_eq!(steps, expected, "{tpm:?} {need:?}");
        assert!(made.refusal(&board).contains(refusal), "{}", made.refusal(&board));
        // Whatever is in the plan has a key for it, also where its size was not held against it.
        let mut run = Run::new(1, 3);
        assert_eq!(run.wait_ms(&board, &made, &need, 0), 0);
        assert_eq!(run.first(&board, &made, &need, 0).is_some(), !expected.is_empty());
    };
    let limit = "small (provider_tpm: its keys are limited to 1000 tokens a minute (tpm) and the request needs about 1001";
    check(std::slice::from_ref(&small), &[1_000], 900, Some(100), &[1], "");
    check(std::slice::from_ref(&small), &[1_000], 900, Some(101), &[], limit);
    check(std::slice::from_ref(&small), &[1_000, 500], 1_001, None, &[], limit);
    check(std::slice::from_ref(&small), &[500, 1_001], 1_001, None, &[1], "");
    check(&[small.clone(), spec("a/b", "other", 2, "")], &[1_000], 1_001, None, &[2], limit);
    // Windows are estimates and are asked all the same; a key's limit is none.
    let narrow = spec("a/b", "other", 2, r#""context_tokens":10"#);
    check(&[small, narrow], &[1_000], 1_001, None, &[2], limit);
}

#[test]
fn one_key_may_be_too_small_and_another_not() {
    let keys = r#""keys":[{"secret":"small","tpm":100},{"secret":"large","tpm":1000}]"#;
    let board = board_of(&[spec("a/b", "p", 1, "")], &[("p", keys)], "", &Registry::default());
    let (need, mut made) = (Need::tokens(600, None), Plan::default());
    plan(&board, &Order::model(&[Named::model(0)], &need, 1), &mut Now(0), serves, &mut made);
    let mut run = Run::new(1, 3);
    let held = run.first(&board, &made, &need, 0);
    assert_eq!(held.map(|attempt| attempt.key), Some(1));
    assert!(Run::new(1, 3).first(&board, &made, &need, 0).is_none(), "the large one has 400 left");
    assert_eq!(Run::new(1, 3).wait_ms(&board, &made, &need, 0), 12_000, "the small one will never do");
}

#[test]
fn tiers_are_asked_for() {
    let small = Need::tokens(10, Some(10));
    let check = |tier, left: &[u64]| assert_eq!(judged(&Wishes { tier, ..Wishes::NONE }, &small).0, left, "{tier:?}");
    check(None, &[1, 2, 3, 6]);
    check(Some(Tier::Standard), &[1, 2, 3, 6]);
    check(Some(Tier::Priority), &[1, 2, 3, 5, 6]);
    check(Some(Tier::Flex), &[4]);
    check(Some(Tier::Scale), &[1, 2, 3, 6]);
}

/// What single endpoints of one model sell: nothing but the usual, flex and priority, priority under its other name and batches.
fn market() -> Board {
    let tiers = |words: &[(&str, u64)]| {
        let row = |(word, prompt): &(&str, u64)| format!(r#"{{"service_tier":"{word}","rates":{{"prompt":{prompt}}}}}"#);
        let long = r#"{"prompt_tokens_above":1000,"rates":{"prompt":9000000}}"#.to_owned();
        words.iter().map(row).chain([long]).collect::<Vec<_>>().join(",")
    };
    let spec = |id: u64, provider: &str, words: &[(&str, u64)]| {
        let price = format!(r#""price":{{"prompt":2000000,"completion":0,"overrides":[{}]}}"#, tiers(words));
        format!(r#"{{"id":{id},"provider":"{provider}","upstream_model":"m","dialects":["openai_chat"],{price}}}"#)
    };
    let endpoints = [
        r#"{"id":1,"provider":"one","upstream_model":"m","price":{"prompt":3000000,"completion":0}}"#.to_owned(),
        spec(2, "two", &[("flex", 1_000_000), ("priority", 4_000_000)]),
        spec(3, "three", &[("fast", 5_000_000), ("batch", 500_000)]),
        spec(4, "four", &[("fast", 5_000_000), ("priority", 6_000_000)]),
    ];
    let provider = |slug| format!(r#"{{"slug":"{slug}","name":"{slug}","dialects":{{"openai_chat":"http://p.test/v1"}}}}"#);
    let json = format!(
        r#"{{"version":1,"providers":[{}],"models":[{{"id":"a/b","endpoints":[{}]}}]}}"#,
        ["one", "two", "three", "four"].map(provider).join(","),
        endpoints.join(",")
    );
    Board::new(Arc::new(Snapshot::from_json(json.as_bytes()).unwrap()), &Registry::default()).unwrap()
}

/// The tags of what may be tried, in order, and what the first of them is expected to cost for that many prompt tokens.
fn sold(name: &str, wishes: &str, tier: Option<Tier>, prompt_tokens: u64) -> (Vec<String>, f64) {
    let board = market();
    let request = Request { model: name, models: &[], preset: None, sticky: None, auto: None };
    let wanted = resolve(&board, request, |_: &str| true, 1).unwrap();
    let wishes = Wishes { tier, ..provider(&board, wishes) };
    let need = Need::tokens(prompt_tokens, Some(0));
    let mut made = Plan::default();
    plan(&board, &Order { wishes: &wishes, ..Order::model(&wanted.models, &need, 1) }, &mut Now(0), serves, &mut made);
    (
        made.steps.iter().map(|step| board.entry(step.entry).tag.to_string()).collect(),
        made.steps.first().map_or(0.0, |step| step.expected_pico),
    )
}

#[test]
fn endpoints_sell_tiers() {
    let check = |name: &str, wishes: &str, tier, expected: &[&str]| {
        let (mut found, _) = sold(name, wishes, tier, 10);
        if wishes == "{}" {
            found.sort_unstable();
        }
        assert_eq!(found, expected, "{name} {wishes} {tier:?}");
    };
    let by_price = r#"{"sort":"price"}"#;
    check("a/b", "{}", None, &["four", "one", "three", "two"]);
    check("a/b", "{}", Some(Tier::Standard), &["four", "one", "three", "two"]);
    // Flex does not fall back to the usual tier where anybody sells it; priority does, and the usual ones come last.
    check("a/b", "{}", Some(Tier::Flex), &["two/flex"]);
    check("a/b", by_price, Some(Tier::Priority), &["two/priority", "three/fast", "four/priority", "two", "three", "four", "one"]);
    check("a/b", by_price, Some(Tier::Fast), &["two/priority", "three/fast", "four/fast", "two", "three", "four", "one"]);
    // Nobody sells it: the usual one serves.
    check("a/b", by_price, Some(Tier::Ultrafast), &["two", "three", "four", "one"]);
    // Suffixes open a tier beside the usual one.
    check("a/b:floor", "{}", None, &["four", "one", "three", "two", "two/flex"]);
    let (floor, expected) = sold("a/b:floor", "{}", None, 10);
    assert_eq!((floor[0].as_str(), expected), ("two/flex", 10_000_000.0));
    // A slug means the endpoint; its tier where that is asked for or spelled out; `ignore` means all of it.
    check("a/b", r#"{"only":["two"],"sort":"price"}"#, None, &["two"]);
    check("a/b", r#"{"only":["two"],"sort":"price"}"#, Some(Tier::Priority), &["two/priority", "two"]);
    check("a/b", r#"{"only":["two/flex"]}"#, None, &["two/flex"]);
    check("a/b", r#"{"ignore":["two"],"sort":"price"}"#, Some(Tier::Flex), &[]);
    check("a/b", r#"{"order":["one","four"],"allow_fallbacks":false}"#, Some(Tier::Priority), &["one", "four/priority", "four"]);
    check("a/b", r#"{"order":["two/flex","two"],"allow_fallbacks":false}"#, None, &["two/flex", "two"]);
}

#[test]
fn who_asks_for_a_tier_means_that_one() {
    let check = |name: &str, wishes: &str, tier, expected: &[&str]| {
        let (mut found, _) = sold(name, wishes, tier, 10);
        found.sort_unstable();
        assert_eq!(found, expected, "{name} {wishes} {tier:?}");
    };
    let usual = ["four", "one", "three", "two"];
    check("a/b:floor", "{}", Some(Tier::Standard), &usual);
    check("a/b:nitro", "{}", Some(Tier::Standard), &usual);
    check("a/b:nitro", "{}", Some(Tier::Flex), &["two/flex"]);
    check("a/b:floor", r#"{"only":["two"]}"#, Some(Tier::Priority), &["two", "two/priority"]);
    check("a/b:floor", r#"{"only":["two"]}"#, None, &["two", "two/flex"]);
    // Spelled out, it is asked for as well.
    check("a/b", r#"{"only":["two/flex"]}"#, Some(Tier::Standard), &["two/flex"]);
}

/// What stands in the way of each endpoint, and what would help; and the main reason.
fn refused(board: &Board, name: &str, wishes: &Wishes) -> (Vec<String>, &'static str) {
    let wanted = resolve(board, Request { model: name, ..Request::default() }, |_: &str| true, 1).unwrap();
    let need = Need::tokens(10, Some(0));
    let order = Order { pick: &wanted.pick, pool: &wanted.pool, wishes, ..Order::model(&wanted.models, &need, 1) };
    let mut made = Plan::default();
    plan(board, &order, &mut Now(0), serves, &mut made);
    assert!(made.steps.is_empty(), "{name} {wishes:?}");
    let told = |removed: &Removed| format!("{}: {}", board.entry(removed.entry).tag, removed.reason.relax());
    (made.removed.iter().map(told).collect(), made.main_reason().map_or("", Reason::word))
}

#[test]
fn the_cause_is_told_and_not_what_follows_from_it() {
    let (shop, market) = (shop(), market());
    let check = |board: &Board, name: &str, json: &str, tier, word: &str, expected: &[&str]| {
        let (told, main) = refused(board, name, &Wishes { tier, ..provider(board, json) });
        assert_eq!(main, word, "{name} {json} {tier:?}");
        for line in expected {
            assert!(told.iter().any(|told| told == line), "{line} in {told:?}");
        }
    };
    let dear = r#"{"max_price":{"prompt":0.5}}"#;
    let lines = [
        "two/flex: raise provider.max_price.prompt to 1",
        "two: leave service_tier away",
        r#"four/fast: ask for service_tier "fast", or name it in provider.order or provider.only"#,
    ];
    check(&market, "a/b", dear, Some(Tier::Flex), "max_price", &lines);
    let lines = [
        "one: raise provider.max_price.prompt to 1",
        r#"one/flex: ask for service_tier "flex", or name it in provider.order or provider.only"#,
    ];
    check(&shop, "a/b", r#"{"max_price":{"prompt":0.4}}"#, None, "max_price", &lines);
    check(&shop, "openrouter/free", "{}", None, "free", &["one: name the model itself: openrouter/free picks what costs nothing"]);
    let none = r#"{"max_price":{"prompt":0}}"#;
    let lines = [r#"three/batch: nothing: its dialect has no word for service_tier "batch""#];
    check(&market, "a/b", none, Some(Tier::Batch), "max_price", &lines);
}

#[test]
fn what_no_dialect_here_can_ask_for_is_not_sold() {
    let (mut usual, _) = sold("a/b", "{}", None, 10);
    let (mut batch, _) = sold("a/b", "{}", Some(Tier::Batch), 10);
    usual.sort_unstable();
    batch.sort_unstable();
    assert_eq!(batch, usual, "the usual tier serves, as where nobody sells it");
}

#[test]
fn endpoints_that_the_same_would_let_in_share_the_advice() {
    let board = shop();
    let told = |name: &str, json: &str, need: Need| {
        let wanted = resolve(&board, Request { model: name, ..Request::default() }, |_| true, 1).unwrap();
        let wishes = provider(&board, json);
        let order = Order { pick: &wanted.pick, pool: &wanted.pool, wishes: &wishes, ..Order::model(&wanted.models, &need, 1) };
        let mut made = Plan::default();
        plan(&board, &order, &mut Now(0), serves, &mut made);
        made.refusal(&board)
    };
    let free = told("openrouter/free", "{}", Need::tokens(10, None));
    assert_eq!(free.matches("name the model itself").count(), 1, "{free}");
    let seed = Need { parameters: Parameters::one("logprobs").unwrap(), ..Need::tokens(10, None) };
    let lacking = told("a/b", r#"{"require_parameters":true,"only":["one","two"]}"#, seed);
    assert!(lacking.contains("a/b at one, a/b at two (require_parameters: ") && lacking.contains("logprobs"), "{lacking}");
    let seen = Need { inputs: Modalities::one("image").unwrap(), ..Need::tokens(10, None) };
    let blind = told("a/b", r#"{"only":["two/eu"]}"#, seen);
    assert!(blind.contains("a/b at two/eu (input_modalities: it does not take: image)"), "{blind}");
}

#[test]
fn the_price_that_applies_is_compared() {
    let check = |wishes: &str, tier, prompt_tokens, expected: &[&str]| {
        let (mut found, _) = sold("a/b", wishes, tier, prompt_tokens);
        found.sort_unstable();
        assert_eq!(found, expected, "{wishes} {tier:?} {prompt_tokens}");
    };
    check(r#"{"max_price":{"prompt":2}}"#, None, 10, &["four", "three", "two"]);
    check(r#"{"max_price":{"prompt":2}}"#, None, 1001, &[]);
    check(r#"{"max_price":{"prompt":3}}"#, None, 1001, &["one"]);
    check(r#"{"max_price":{"prompt":4}}"#, Some(Tier::Priority), 10, &["four", "one", "three", "two", "two/priority"]);
    check(r#"{"max_price":{"prompt":0.5}}"#, Some(Tier::Flex), 10, &[]);
    assert_eq!(sold("a/b", r#"{"sort":"price"}"#, None, 1000), (["two", "three", "four", "one"].map(str::to_owned).to_vec(), 2e9));
    assert_eq!(sold("a/b", r#"{"sort":"price"}"#, None, 1001).0[0], "one");
}

#[test]
fn an_impossible_wish_is_told_with_what_would_help() {
    let board = shop();
    let wishes = provider(&board, r#"{"max_price":{"prompt":0.5}}"#);
    let mut made = Plan::default();
    let need = Need::tokens(10, None);
    plan(&board, &Order { wishes: &wishes, ..Order::model(&[Named::model(0)], &need, 1) }, &mut Now(0), serves, &mut made);
    assert!(made.steps.is_empty());
    let text = made.refusal(&board);
    assert!(text.contains("a/b at one (max_price: raise provider.max_price.prompt to 1)"), "{text}");
    assert_eq!(made.main_reason().map(fairlead_router::Reason::word), Some("max_price"));
}

#[test]
fn policies_only_take_away() {
    let board = shop();
    let check = |mine: &str, policy: &str, expected: &str| {
        assert_eq!(provider(&board, mine).under(&provider(&board, policy)), provider(&board, expected), "{mine} {policy}");
    };
    check(r#"{"zdr":false}"#, r#"{"zdr":true}"#, r#"{"zdr":true}"#);
    check(r#"{"zdr":true}"#, r#"{"zdr":false}"#, r#"{"zdr":true}"#);
    check(r#"{"only":["two","four"]}"#, r#"{"only":["two/eu","one"]}"#, r#"{"only":["two/eu"]}"#);
    check(r#"{"ignore":["one"]}"#, r#"{"ignore":["two"]}"#, r#"{"ignore":["one","two"]}"#);
    check(r#"{"max_price":{"prompt":2}}"#, r#"{"max_price":{"prompt":1,"request":5}}"#, r#"{"max_price":{"prompt":1,"request":5}}"#);
    check(r#"{"quantizations":["fp8","fp4"]}"#, r#"{"quantizations":["fp8","bf16"]}"#, r#"{"quantizations":["fp8"]}"#);
    let nobody = provider(&board, r#"{"only":["four"]}"#).under(&provider(&board, r#"{"only":["one"]}"#));
    assert!(judged(&nobody, &Need::tokens(1, None)).0.is_empty(), "nothing in common is nothing, not everything");
}
