use crate::world::{board_of, serves, spec};
use fairlead_ir::PicoUsd;
use fairlead_router::names::Named;
use fairlead_router::{
    Board, By, Cutoffs, MaxPrice, Members, Need, Now, Order, Partition, Plan, Registry, Sort, Tier, Wishes, plan, read, read_models,
};
use fairlead_snapshot::{Modalities, Parameters, Quantizations};

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
    board_of(&specs, &providers, "", &Registry::default())
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
    check(r#"{"ignore":["elsewhere","four"]}"#, Wishes { ignore: vec!["four".into()], ..Wishes::NONE });
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
    let members = Members { route: Some(br#""sort""#), service_tier: Some(br#""flex""#), ..Members::default() };
    let wishes = read(members, &board).unwrap();
    assert_eq!((wishes.sort.partition, wishes.tier), (Partition::None, Some(Tier::Flex)));
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
    let tier = read(Members { service_tier: Some(br#""turbo""#), ..Members::default() }, &board).unwrap_err();
    assert_eq!(tier.path, "service_tier");
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
fn tiers_are_asked_for() {
    let small = Need::tokens(10, Some(10));
    let check = |tier, left: &[u64]| assert_eq!(judged(&Wishes { tier, ..Wishes::NONE }, &small).0, left, "{tier:?}");
    check(None, &[1, 2, 3, 6]);
    check(Some(Tier::Standard), &[1, 2, 3, 6]);
    check(Some(Tier::Priority), &[1, 2, 3, 5, 6]);
    check(Some(Tier::Flex), &[4]);
    check(Some(Tier::Scale), &[1, 2, 3, 6]);
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
