use crate::fleet::START_MS;
use crate::world::{board, board_of, serves, spec};
use fairlead_router::health::outcome::{Class, Outcome};
use fairlead_router::names::{Auto, CostTier, NameError, NameErrorKind, Named, Pick, Request, Sticky, Wanted, presets, resolve};
use fairlead_router::{Board, By, Need, Now, Order, Partition, Plan, Registry, Tier, Wishes, plan};

fn names() -> Board {
    let specs = [
        spec("acme/fast", "p1", 10, ""),
        spec("acme/fast:thinking", "p1", 10, ""),
        spec("acme/gift", "p1", 0, ""),
        spec("lab/llama3:8b", "p2", 10, ""),
    ];
    let rest = r#""presets":[{"name":"team","model":"acme/fast","models":["acme/gift"],"strict_translation":true,
        "provider":{"sort":"price","only":["p1"]}},
        {"name":"quick","model":"acme/gift:free:nitro","models":["acme/fast:floor"]},
        {"name":"loose","strict_translation":true,"provider":{"sort":"price"}}],
        "absent_models":[{"names":["acme/old"],"why":"was shut down"}],
        "splits":[{"name":"hasty","arms":[{"model":"acme/fast:nitro","share":1}]},
        {"name":"house","arms":[{"model":"acme/fast","share":1},{"model":"acme/gift","share":3}]}]"#;
    board_of(&specs, &[], rest, &Registry::default())
}

fn wanted(board: &Board, request: Request<'_>) -> Result<Wanted, NameError> {
    resolve(board, request, |model| model != "acme/fast:thinking", 7)
}

fn ids(board: &Board, wanted: &Wanted) -> Vec<String> {
    wanted.models.iter().map(|named| board.snapshot().models[named.model].id.to_string()).collect()
}

#[test]
fn names_become_models() {
    let board = names();
    let check = |model: &str, models: &[&str], expected: &[&str]| {
        let models: Vec<String> = models.iter().map(|name| (*name).to_owned()).collect();
        let wanted = wanted(&board, Request { model, models: &models, ..Request::default() }).unwrap();
        assert_eq!(ids(&board, &wanted), expected, "{model} {models:?}");
    };
    check("acme/fast", &[], &["acme/fast"]);
    check("openrouter/acme/fast", &[], &["acme/fast"]);
    check("lab/llama3:8b", &[], &["lab/llama3:8b"]);
    check("lab/llama3:8b:nitro", &[], &["lab/llama3:8b"]);
    check("acme/fast", &["acme/gift", "acme/fast", "lab/llama3:8b"], &["acme/fast", "acme/gift", "lab/llama3:8b"]);
    check("", &["acme/gift", "acme/fast"], &["acme/gift", "acme/fast"]);
    check("@preset/team", &[], &["acme/fast", "acme/gift"]);
    check("lab/llama3:8b@preset/team", &[], &["lab/llama3:8b", "acme/gift"]);
    check("@preset/team", &["lab/llama3:8b"], &["acme/fast", "lab/llama3:8b"]);
    check("openrouter/@preset/team", &[], &["acme/fast", "acme/gift"]);
    check("openrouter/lab/llama3:8b@preset/team", &[], &["lab/llama3:8b", "acme/gift"]);
    check("openrouter/free", &["acme/fast"], &["acme/fast"]);
    check("acme/fast@preset/loose", &[], &["acme/fast"]);
    check("@preset/loose", &["acme/gift"], &["acme/gift"]);
    check("@preset/loose", &["@preset/team"], &["acme/fast"]);
}

#[test]
fn routers_take_suffixes() {
    let board = names();
    let check = |model: &str, pick: Pick, free, sort, opens| {
        let wanted = wanted(&board, Request { model, ..Request::default() }).unwrap();
        let variant = wanted.pool[0].variant;
        assert!(wanted.pool.iter().all(|named| named.variant == variant));
        assert_eq!((wanted.pick, variant.free, variant.sort, variant.opens), (pick, free, sort, opens), "{model}");
    };
    let auto = || Pick::Auto(Auto::default());
    check("openrouter/auto", auto(), false, None, None);
    check("openrouter/auto:floor", auto(), false, Some(By::Price), Some(Tier::Flex));
    check("openrouter/auto:nitro@preset/loose", auto(), false, Some(By::Throughput), Some(Tier::Priority));
    check("openrouter/auto:free:exacto", auto(), true, Some(By::Exacto), None);
    check("openrouter/free:nitro", Pick::Free, false, Some(By::Throughput), Some(Tier::Priority));
    let dear = Auto { cost_tier: Some(CostTier::Max), ..Auto::default() };
    let told = wanted(&board, Request { model: "openrouter/auto", auto: Some(&dear), ..Request::default() }).unwrap();
    assert_eq!(told.pick, Pick::Auto(dear), "by the plugin");
    let picked = wanted(&board, Request { model: "openrouter/auto:free", ..Request::default() }).unwrap();
    let need = Need::tokens(10, None);
    let order = Order { pick: &picked.pick, pool: &picked.pool, ..Order::model(&[], &need, 1) };
    let mut made = Plan::default();
    plan(&board, &order, &mut Now(START_MS), serves, &mut made);
    let ids: Vec<&str> = made.steps.iter().map(|step| &*board.model(board.entry(step.entry)).id).collect();
    assert_eq!(ids, ["acme/gift"], "what costs nothing");
}

#[test]
fn presets_are_told_in_the_order_in_which_they_count() {
    let board = names();
    let check = |model: &str, models: &[&str], preset: Option<&str>, expected: &[&str]| {
        let models: Vec<String> = models.iter().map(|name| (*name).to_owned()).collect();
        let request = Request { model, models: &models, preset, ..Request::default() };
        let names = |found: &[usize]| found.iter().map(|position| board.snapshot().presets[*position].name.clone()).collect::<Vec<_>>();
        let wanted = wanted(&board, request).unwrap();
        assert_eq!(names(&wanted.presets), expected, "{model} {models:?} {preset:?}");
        assert_eq!(presets(board.snapshot(), &request), wanted.presets, "as they are told before anything is decided");
    };
    check("acme/fast", &["acme/gift"], None, &[]);
    check("@preset/quick", &[], None, &["quick"]);
    check("openrouter/@preset/quick", &[], Some("@preset/quick"), &["quick"]);
    check("acme/fast@preset/quick", &["@preset/team", "acme/gift@preset/quick"], None, &["quick", "team"]);
    check("acme/fast@preset/quick", &[], Some("team"), &["team", "quick"]);
    check("openrouter/auto@preset/team", &[], None, &["team"]);
}

#[test]
fn a_preset_lends_its_model_to_one_that_names_none() {
    let board = names();
    let check = |model: &str, preset: &str, expected: &[&str]| {
        let wanted = wanted(&board, Request { model, preset: Some(preset), ..Request::default() }).unwrap();
        assert_eq!(ids(&board, &wanted), expected, "{model} {preset}");
    };
    check("", "team", &["acme/fast", "acme/gift"]);
    check("@preset/loose", "team", &["acme/fast", "acme/gift"]);
    check("@preset/team", "loose", &["acme/fast", "acme/gift"]);
    check("lab/llama3:8b@preset/loose", "team", &["lab/llama3:8b", "acme/gift"]);
}

#[test]
fn a_preset_says_how_its_models_are_tried() {
    let specs = [spec("acme/fast", "p1", 10, ""), spec("acme/gift", "p1", 0, "")];
    let rest = r#""presets":[{"name":"all","model":"acme/fast","models":["acme/gift"],"route":"sort"}]"#;
    let board = board_of(&specs, &[], rest, &Registry::default());
    let wanted = wanted(&board, Request { model: "@preset/all", ..Request::default() }).unwrap();
    assert_eq!(wanted.wishes(Wishes::NONE).sort.partition, Partition::None);
}

#[test]
fn routers_take_presets() {
    let board = names();
    let check = |model: &str, preset: Option<&str>, pick: Pick, expected: &[&str]| {
        let wanted = wanted(&board, Request { model, preset, ..Request::default() }).unwrap();
        assert_eq!((wanted.pick.clone(), ids(&board, &wanted)), (pick, expected.iter().map(|id| (*id).to_owned()).collect()), "{model}");
        assert_eq!(wanted.wishes.sort.by, Some(By::Price), "{model}: the preset's wishes");
    };
    check("openrouter/auto@preset/team", None, Pick::Auto(Auto::default()), &["acme/gift"]);
    check("openrouter/auto", Some("team"), Pick::Auto(Auto::default()), &["acme/gift"]);
    check("openrouter/free@preset/team", None, Pick::Free, &["acme/gift"]);
}

#[test]
fn suffixes_are_wishes() {
    let board = names();
    let check = |model: &str, free, sort, opens| {
        let variant = wanted(&board, Request { model, ..Request::default() }).unwrap().models[0].variant;
        assert_eq!((variant.free, variant.sort, variant.opens), (free, sort, opens), "{model}");
    };
    check("acme/fast", false, None, None);
    check("acme/fast:nitro", false, Some(By::Throughput), Some(Tier::Priority));
    check("acme/fast:floor", false, Some(By::Price), Some(Tier::Flex));
    check("acme/fast:exacto", false, Some(By::Exacto), None);
    check("acme/gift:free", true, None, None);
    check("acme/gift:free:nitro", true, Some(By::Throughput), Some(Tier::Priority));
    check("@preset/quick", true, Some(By::Throughput), Some(Tier::Priority));
    check("hasty", false, Some(By::Throughput), Some(Tier::Priority));
    let fallback = wanted(&board, Request { model: "@preset/quick", ..Request::default() }).unwrap().models[1].variant;
    assert_eq!((fallback.sort, fallback.opens), (Some(By::Price), Some(Tier::Flex)));
}

#[test]
fn names_that_are_no_good_say_why() {
    let board = names();
    let check = |model: &str, kind: NameErrorKind, part: &str| {
        let error = wanted(&board, Request { model, ..Request::default() }).unwrap_err();
        assert_eq!((error.path.as_str(), error.kind), ("model", kind), "{model}: {}", error.message);
        assert!(error.message.contains(part), "{model}: {}", error.message);
    };
    use NameErrorKind::{Forbidden, NotFree, Senseless, Unknown};
    check("acme/fats", Unknown, "did you mean \"acme/fast\"?");
    check("nobody/nothing:nitro", Unknown, "no model");
    check("acme/fast:thinking", Forbidden, "may not use");
    check("acme/fast:free", NotFree, "free");
    check("acme/fast:nitr", Senseless, "did you mean \"nitro\"?");
    check("acme/fast:online", Senseless, "web_search_options");
    check("acme/gift:thinking", Senseless, "reasoning");
    check("acme/fast:extended", Senseless, "anyway");
    check("acme/fast:batch", Senseless, "not in this version");
    check("acme/fast:nitro:floor", Senseless, "different orders");
    check("@preset/tem", Unknown, "did you mean \"team\"?");
    check("@preset/loose", Senseless, "put one before it: \"vendor/model@preset/loose\"");
    check("openrouter/auto:florr", Senseless, "did you mean \"floor\"?");
    check("openrouter/auto:online", Senseless, "web_search_options");
    check("acme/old:free", Unknown, "\"acme/old:free\" was shut down; of the same vendor there are \"acme/fast\", \"acme/gift\"");
    check("house:floor", Senseless, "the split \"house\" takes no suffix");
    check("openrouter/house:free:floor", Senseless, "the split \"house\" takes no suffix");
    check("lab/something-else-altogether", Unknown, "of the same vendor there are \"lab/llama3:8b\"");
    let models = ["acme/fast".to_owned(), "acme/none".to_owned()];
    assert_eq!(wanted(&board, Request { models: &models, ..Request::default() }).unwrap_err().path, "models.1");
    assert_eq!(
        wanted(&board, Request { model: "acme/fast", models: &["openrouter/auto".to_owned()], ..Request::default() }).unwrap_err().path,
        "models.0"
    );
}

#[test]
fn what_could_stand_instead_is_told() {
    let board = names();
    let check = |model: &str, preset: Option<&str>, expected: Option<&str>| {
        let error = wanted(&board, Request { model, preset, ..Request::default() }).unwrap_err();
        assert_eq!(error.instead.as_deref(), expected, "{model} {preset:?}: {}", error.message);
    };
    check("acme/fats", None, Some("acme/fast"));
    check("nobody/nothing", None, None);
    check("acme/fast:free:nitro", None, Some("acme/fast"));
    check("@preset/tem", None, Some("@preset/team"));
    // Not the model that was asked for: it is not what is missing.
    check("acme/fast@preset/tem", None, Some("@preset/team"));
    check("acme/fast@preset/nope", None, None);
    check("acme/fast", Some("tem"), Some("@preset/team"));
    check("acme/fast", Some("nope"), None);
    check("acme/fast:online", None, None);
}

#[test]
fn a_preset_wishes_and_the_request_wins() {
    let board = names();
    let wanted = wanted(&board, Request { model: "acme/fast", preset: Some("team"), ..Request::default() }).unwrap();
    assert!(wanted.strict_translation);
    let mine = Wishes { only: vec!["p2".into()], ..Wishes::NONE };
    let merged = wanted.wishes(mine);
    assert_eq!((merged.sort.by, &*merged.only[0]), (Some(By::Price), "p2"));
}

#[test]
fn splits_keep_their_shares_and_everybody_their_arm() {
    let board = names();
    let arm = |sticky: Option<&str>, seed| {
        let request = Request { model: "house", sticky: sticky.map(Sticky::Name), ..Request::default() };
        resolve(&board, request, |_| true, seed).unwrap().arm.unwrap().arm
    };
    let sessions = (0..4_000).filter(|number| arm(Some(&format!("session-{number}")), 1) == 0).count();
    let strangers = (0..4_000).filter(|seed| arm(None, *seed) == 0).count();
    assert!((900..1_100).contains(&sessions) && (900..1_100).contains(&strangers), "a quarter: {sessions} {strangers}");
    assert!((0..100).all(|seed| arm(Some("me"), seed) == arm(Some("me"), 0)));
    let prefixed = wanted(&board, Request { model: "openrouter/hasty", ..Request::default() }).unwrap();
    assert_eq!((ids(&board, &prefixed), prefixed.arm.map(|arm| arm.split)), (vec!["acme/fast".to_owned()], Some(0)));
}

/// Ten models, each dearer than the one before; two more cost nothing.
fn market() -> Board {
    let mut specs: Vec<_> = (0..10).map(|number| spec(&format!("m/{number}"), "p1", 1_000 + number * 1_000, "")).collect();
    specs.push(spec("m/gift", "p1", 0, ""));
    specs.push(spec("m/present", "p2", 0, r#""context_tokens":50"#));
    board(&specs)
}

fn picked(board: &Board, pick: &Pick, need: &Need, seed: u64) -> Vec<String> {
    let pool: Vec<Named> = (0..board.snapshot().models.len()).map(Named::model).collect();
    let order = Order { pick, pool: &pool, ..Order::model(&[], need, seed) };
    let mut made = Plan::default();
    plan(board, &order, &mut Now(START_MS), serves, &mut made);
    made.steps.iter().map(|step| board.model(board.entry(step.entry)).id.to_string()).collect()
}

#[test]
fn the_suffix_of_a_router_orders_the_endpoints_of_what_it_picks() {
    let board = board(&[spec("m/one", "p1", 1_000, ""), spec("m/one", "p2", 900, "")]);
    let request = Request { model: "openrouter/auto:floor", ..Request::default() };
    let wanted = resolve(&board, request, |_| true, 1).unwrap();
    for seed in 0..50 {
        let need = Need::tokens(10, None);
        let order = Order { pick: &wanted.pick, pool: &wanted.pool, ..Order::model(&wanted.models, &need, seed) };
        let mut made = Plan::default();
        plan(&board, &order, &mut Now(START_MS), serves, &mut made);
        assert_eq!(&*board.entry(made.steps[0].entry).tag, "p2", "{seed}");
    }
}

#[test]
fn auto_takes_the_fifth_that_fits_the_task() {
    let board = market();
    let check = |auto: Auto, prompt: u64, has_tools: bool, among: &[&str]| {
        let need = Need { has_tools, ..Need::tokens(prompt, Some(100)) };
        let pick = Pick::Auto(auto);
        for seed in 0..50 {
            let found = picked(&board, &pick, &need, seed);
            assert!(!found.is_empty() && found.iter().all(|model| among.contains(&model.as_str())), "{pick:?} {prompt}: {found:?}");
        }
    };
    let paid = Auto { excluded: vec!["m/gift".to_owned(), "m/present".to_owned()], ..Auto::default() };
    check(paid.clone(), 100, false, &["m/0", "m/1"]);
    check(paid.clone(), 10_000, false, &["m/2", "m/3"]);
    check(paid.clone(), 10_000, true, &["m/4", "m/5"]);
    check(paid.clone(), 100_000, false, &["m/6", "m/7"]);
    check(Auto { cost_tier: Some(CostTier::Max), ..paid }, 100, false, &["m/8", "m/9"]);
    check(Auto { allowed: vec!["m/3".to_owned()], ..Auto::default() }, 100, false, &["m/3"]);
}

#[test]
fn auto_prefers_what_is_used() {
    let board = market();
    for _ in 0..500 {
        board.find(2).unwrap().health.note(&Outcome::of(Class::Success), START_MS, 1);
    }
    let auto = Auto { allowed: vec!["m/0".to_owned(), "m/1".to_owned()], cost_tier: Some(CostTier::Low), ..Auto::default() };
    let both = Pick::Auto(Auto { cost_tier: None, ..auto });
    let need = Need::tokens(100, Some(100));
    // Two models make fifths of one model at least: the cheapest.
    assert_eq!(picked(&board, &both, &need, 1), ["m/0"]);
    let wide = Pick::Auto(Auto { excluded: vec!["m/gift".to_owned(), "m/present".to_owned()], ..Auto::default() });
    let first = (0..200).filter(|seed| picked(&board, &wide, &need, *seed)[0] == "m/1").count();
    assert!(first > 190, "{first}");
}

#[test]
fn free_takes_what_costs_nothing_and_can_serve() {
    let board = market();
    let seen: std::collections::BTreeSet<_> =
        (0..50).map(|seed| picked(&board, &Pick::Free, &Need::tokens(10, Some(10)), seed)[0].clone()).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(picked(&board, &Pick::Free, &Need::tokens(100, Some(10)), 1), ["m/gift"]);
}

#[test]
fn what_keeps_the_free_ones_out_is_told_and_not_that_the_others_cost_something() {
    let board = market();
    let pool: Vec<Named> = (0..board.snapshot().models.len()).map(Named::model).collect();
    let mut made = Plan::default();
    let (need, none) = (Need::tokens(10, Some(10)), []);
    let check = |wishes: &Wishes, made: &mut Plan, word: &str, part: &str| {
        let order = Order { pick: &Pick::Free, pool: &pool, wishes, ..Order::model(&none, &need, 1) };
        plan(&board, &order, &mut Now(0), serves, made);
        assert_eq!(made.main_reason().map(fairlead_router::Reason::word), Some(word));
        let text = made.refusal(&board);
        assert!(text.contains(part), "{text}");
    };
    let ignored = Wishes { ignore: vec!["p1".into(), "p2".into()], ..Wishes::NONE };
    check(&ignored, &mut made, "allowed_providers", "m/gift at p1, m/present at p2 (allowed_providers: take it out of provider.ignore)");
    let zdr = Wishes { zdr: Some(true), ..Wishes::NONE };
    check(&zdr, &mut made, "data_policy:zdr", "m/gift at p1, m/present at p2 (data_policy:zdr:");
}
