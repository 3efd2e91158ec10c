use crate::fleet::START_MS;
use crate::world::{Spec, board_of, serves, spec};
use fairlead_ir::PicoUsd;
use fairlead_router::health::outcome::{Class, Outcome};
use fairlead_router::names::{Auto, CostTier, Named, Pick, Request, Sticky, Variant, resolve};
use fairlead_router::{
    Board, By, Conversation, Cutoffs, Decided, Explanation, Inputs, Malformed, MaxPrice, Need, Now, Order, Partition, Pin, Plan, Recording,
    Registry, Run, Sort, Wishes, decide, plan, replay,
};
use proptest::prelude::*;

const PROVIDERS: [&str; 5] = ["p0", "p1", "p2", "p3", "p3/flex"];
const MODELS: [&str; 3] = ["m/0", "m/1", "m/2"];

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let rest = prop::sample::select(vec!["", r#""context_tokens":500"#, r#""quantization":"fp8""#, r#""supported_parameters":["seed"]"#]);
    let one = (0..MODELS.len(), 0..PROVIDERS.len(), 0..5u64, rest);
    let of = |(model, provider, pico, rest): (usize, usize, u64, &str)| spec(MODELS[model], PROVIDERS[provider], pico * 1_000, rest);
    // Each model has an endpoint at least.
    prop::collection::vec(one.prop_map(of), 0..12)
        .prop_map(|specs| MODELS.iter().map(|model| spec(model, "p0", 2_000, "")).chain(specs).collect())
}

fn slugs() -> impl Strategy<Value = Vec<Box<str>>> {
    prop::collection::vec(prop::sample::select(PROVIDERS.to_vec()).prop_map(Box::from), 0..3)
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let by = prop::option::of(prop::sample::select(vec![By::Price, By::Throughput, By::Latency, By::Exacto]));
    let partition = prop::sample::select(vec![Partition::Model, Partition::None]);
    let flag = || prop::option::of(any::<bool>());
    let price = prop::option::of((0..4_000u64).prop_map(PicoUsd));
    let latency = prop::option::of(0.0..2.0f64);
    (slugs(), slugs(), slugs(), flag(), flag(), (by, partition), price, latency).prop_map(
        |(order, only, ignore, allow_fallbacks, require_parameters, (by, partition), prompt, p50)| Wishes {
            order,
            only,
            ignore,
            allow_fallbacks,
            require_parameters,
            sort: Sort { by, partition },
            max_price: MaxPrice { prompt, ..MaxPrice::NONE },
            max_latency: Cutoffs([p50, None, None, None]),
            ..Wishes::NONE
        },
    )
}

/// What has happened: an endpoint, how it went, and how long before now.
fn history() -> impl Strategy<Value = Vec<(usize, Class, u64)>> {
    prop::collection::vec((0..15usize, prop::sample::select(Class::ALL.to_vec()), 0..40_000u64), 0..200)
}

fn need() -> impl Strategy<Value = Need> {
    (0..1_000u64, prop::option::of(0..1_000u64), any::<bool>(), any::<bool>()).prop_map(|(prompt, most, has_tools, in_session)| Need {
        has_tools,
        conversation: in_session.then_some(Conversation { hash: 5, explicit: true }),
        ..Need::tokens(prompt, most)
    })
}

fn pick() -> impl Strategy<Value = Pick> {
    prop::sample::select(vec![Pick::Listed, Pick::Listed, Pick::Auto(Auto::default()), Pick::Free])
}

fn board(specs: &[Spec], history: &[(usize, Class, u64)]) -> Board {
    board_with(specs, history, "")
}

fn board_with(specs: &[Spec], history: &[(usize, Class, u64)], rest: &str) -> Board {
    let board = board_of(specs, &[("p0", r#""keys":[{"secret":"a"},{"secret":"b"}]"#)], rest, &Registry::default());
    let mut history = history.to_vec();
    history.sort_unstable_by_key(|(.., ago_ms)| std::cmp::Reverse(*ago_ms));
    for (endpoint, class, ago_ms) in history {
        let outcome = Outcome {
            first_token_ms: Some(endpoint as u32 * 200),
            total_ms: Some(3_000),
            completion_tokens: 50,
            tools: Some(endpoint % 2 == 0),
            ..Outcome::of(class)
        };
        board.entry(endpoint % specs.len()).health.note(&outcome, START_MS - ago_ms, 3);
    }
    board
}

/// A board with names of every kind.
fn rich_board(specs: &[Spec], history: &[(usize, Class, u64)]) -> Board {
    let rest = r#""presets":[{"name":"team","model":"m/0:floor","models":["m/2"],"provider":{"sort":"latency","ignore":["p1"]}},
        {"name":"firm","model":"m/1","provider":{"order":["p2","p0"],"allow_fallbacks":false}}],
        "splits":[{"name":"house","arms":[{"model":"m/0","share":1},{"model":"m/1:nitro","share":3}]}]"#;
    board_with(specs, history, rest)
}

type NamedBy = (&'static str, Vec<String>, Option<&'static str>, Option<&'static str>, Vec<String>);

/// What a request may call its models, with who asks and what its key may use.
fn named() -> impl Strategy<Value = NamedBy> {
    let model = prop::sample::select(vec![
        "m/0",
        "m/1:nitro",
        "m/2:floor",
        "m/0:exacto",
        "m/0:free",
        "house",
        "@preset/team",
        "m/1@preset/firm",
        "openrouter/auto:floor",
        "openrouter/auto",
        "openrouter/free",
        "",
    ]);
    let models = prop::collection::vec(prop::sample::select(vec!["m/0", "m/1", "m/2:floor", "house"]).prop_map(str::to_owned), 0..3);
    let preset = prop::option::of(prop::sample::select(vec!["team", "@preset/firm"]));
    let sticky = prop::option::of(prop::sample::select(vec!["somebody", "anybody", "session-3"]));
    let patterns = prop::sample::select(vec![vec![], vec!["m/*".to_owned()], vec!["m/0".to_owned(), "m/1".to_owned()]]);
    (model, models, preset, sticky, patterns)
}

/// What the plugin says to `openrouter/auto`, where it is there.
fn auto() -> impl Strategy<Value = Option<Auto>> {
    let cost_tier = prop::option::of(prop::sample::select(CostTier::ALL.map(|(_, tier)| tier).to_vec()));
    let models = || prop::collection::vec(prop::sample::select(vec!["m/*", "m/1", "*2"]).prop_map(str::to_owned), 0..2);
    let auto = (cost_tier, models(), models()).prop_map(|(cost_tier, allowed, excluded)| Auto { cost_tier, allowed, excluded });
    prop::option::of(auto)
}

fn models() -> Vec<Named> {
    vec![Named { model: 0, variant: Variant { sort: Some(By::Price), ..Variant::PLAIN } }, Named::model(1), Named::model(2)]
}

/// The slugs' meaning, written down a second time.
fn means(slug: &str, tag: &str) -> bool {
    slug == tag || (tag != "p3/flex" && tag.split('/').next() == Some(slug))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_filtered_is_never_tried_and_the_last_never_ejected(
        specs in specs(), wishes in wishes(), history in history(), need in need(), seed in any::<u64>(), pick in pick(),
    ) {
        let board = board(&specs, &history);
        let (models, pool) = (models(), [0, 1, 2].map(Named::model));
        let order = Order { pick: &pick, pool: &pool, models: &models, wishes: &wishes, need: &need, pin: None, seed };
        let mut made = Plan::default();
        plan(&board, &order, &mut Now(START_MS), serves, &mut made);
        let mut run = Run::new(seed, 100);
        let mut attempt = run.first(&board, &made, &need, START_MS);
        prop_assert_eq!(attempt.is_some(), !made.steps.is_empty());
        let mut tried = Vec::new();
        while let Some(one) = attempt {
            let entry = board.entry(one.entry);
            let named = |slugs: &[Box<str>]| slugs.iter().any(|slug| means(slug, &entry.tag));
            prop_assert!(made.steps.iter().any(|step| step.entry == one.entry));
            prop_assert!(wishes.only.is_empty() || named(&wishes.only));
            prop_assert!(!named(&wishes.ignore));
            let endpoint = board.endpoint(entry);
            prop_assert!(wishes.max_price.prompt.is_none_or(|most| endpoint.prices.base().prompt <= most));
            prop_assert!(endpoint.context_tokens.is_none_or(|context| need.prompt_tokens + need.max_tokens.unwrap_or(0) <= context));
            prop_assert!(&*entry.tag != "p3/flex" || wishes.order.iter().chain(&wishes.only).any(|slug| &**slug == "p3/flex"));
            prop_assert!(pick != Pick::Free || endpoint.prices.base().prompt.0 == 0);
            tried.push((one.entry, one.key));
            one.finish(&Outcome::of(Class::Broken), None, START_MS);
            attempt = run.next(&board, &made, &need, Class::Broken, START_MS);
        }
        let attempts = tried.len();
        tried.sort_unstable();
        tried.dedup();
        prop_assert_eq!(tried.len(), attempts, "nothing is tried twice");
    }

    #[test]
    fn an_order_is_respected(specs in specs(), mut wishes in wishes(), history in history(), seed in any::<u64>()) {
        wishes.order = vec!["p2".into(), "p1".into()];
        wishes.sort.partition = Partition::Model;
        wishes.max_latency = Cutoffs::NONE;
        let board = board(&specs, &history);
        let need = Need::tokens(10, Some(10));
        let mut made = Plan::default();
        let models = models();
        plan(&board, &Order { wishes: &wishes, ..Order::model(&models, &need, seed) }, &mut Now(START_MS), serves, &mut made);
        let place = |position: &usize| {
            let step = &made.steps[*position];
            let tag = &*board.entry(step.entry).tag;
            (step.model, wishes.order.iter().position(|slug| means(slug, tag)).unwrap_or(2))
        };
        prop_assert!((0..made.steps.len()).is_sorted_by_key(|position| place(&position)));
        prop_assert!(wishes.allow_fallbacks != Some(false) || (0..made.steps.len()).all(|position| place(&position).1 < 2));
    }

    #[test]
    fn a_replay_is_identical(
        specs in specs(), wishes in wishes(), history in history(), need in need(), seed in any::<u64>(), named in named(),
        pin in prop::option::of(1..10u64), auto in auto(),
    ) {
        // Wishes may name each of them.
        let specs: Vec<Spec> = PROVIDERS.iter().map(|provider| spec("m/2", provider, 3_000, "")).chain(specs).collect();
        let board = rich_board(&specs, &history);
        let (model, models, preset, sticky, patterns) = named;
        let request = Request { model, models: &models, preset, sticky: sticky.map(Sticky::Name), auto: auto.as_ref() };
        let allowed = |id: &str| patterns.is_empty() || patterns.iter().any(|pattern| fairlead_snapshot::matches(pattern, id));
        // What is refused before it is decided is not written down.
        let Ok(wanted) = resolve(&board, request, allowed, seed) else { return Ok(()) };
        let merged = wanted.wishes(wishes.clone());
        let pin = pin.map(|endpoint| Pin { endpoint, key: 1 });
        let order = Order { pick: &wanted.pick, pool: &wanted.pool, models: &wanted.models, wishes: &merged, need: &need, pin, seed };
        let mut recording = Recording::new(Now(START_MS), &wanted.pick, &merged, true);
        let (mut made, mut again) = (Plan::default(), Plan::default());
        decide(&board, &order, &mut recording, serves, &mut made);
        let mut line = Vec::new();
        let decided = Decided {
            board: &board, names: request, patterns: &patterns, wishes: &wishes, need: &need, pin, seed, plan: &made, recording: &recording,
        };
        decided.write(&mut line);
        // Another board: same descriptions, other health.
        let fresh = rich_board(&specs, &[]);
        let read = Inputs::read(&line, need.unix_ms).unwrap();
        for length in 0..line.len() {
            prop_assert_eq!(Inputs::read(&line[..length], need.unix_ms).unwrap_err(), Malformed);
        }
        replay(&fresh, &read, serves, &mut again).unwrap();
        prop_assert!(read.has_come_to(&fresh, &again));
        prop_assert_eq!(&again.steps, &made.steps);
        prop_assert_eq!(&again.removed, &made.removed);
        let (shown, shown_again) = (Explanation::new(&board, &made, seed), Explanation::new(&fresh, &again, seed));
        prop_assert_eq!(serde_json::to_string(&shown).unwrap(), serde_json::to_string(&shown_again).unwrap());
        // A plan that is used again is as good as a new one, and recording changes nothing.
        decide(&board, &order, &mut Now(START_MS), serves, &mut again);
        prop_assert_eq!(&again.steps, &made.steps);
    }

    #[test]
    fn what_was_not_written_is_refused_or_decided(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Inputs::read(&bytes, 0);
    }
}
