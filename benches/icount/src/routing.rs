//! What a decision costs: a model with one endpoint, and one with twenty.

use std::hint::black_box;
use std::sync::Arc;

use fairlead_router::names::Named;
use fairlead_router::{Board, By, Need, Now, Order, Partition, Plan, Registry, Run, Sort, Way, Wishes, plan};
use fairlead_snapshot::{Endpoint, Snapshot};

use crate::cases::{Case, Work};

/// So many endpoints, each at a provider of its own, each a little dearer than the one before.
fn board(endpoints: usize) -> Board {
    let provider = |number: usize| {
        format!(r#"{{"slug":"p{number}","name":"P{number}","dialects":{{"openai_chat":"http://p.test/v1"}},"keys":[{{"secret":"k"}}]}}"#)
    };
    let endpoint = |number: usize| {
        let price = 1_000_000 + number * 50_000;
        format!(
            r#"{{"id":{number},"provider":"p{number}","upstream_model":"m","context_tokens":200000,"supported_parameters":["tools","seed"],
                "price":{{"prompt":{price},"completion":{price},"cache_read":1000}}}}"#
        )
    };
    let list = |one: &dyn Fn(usize) -> String| (0..endpoints).map(one).collect::<Vec<_>>().join(",");
    let json = format!(r#"{{"version":1,"providers":[{}],"models":[{{"id":"a/b","endpoints":[{}]}}]}}"#, list(&provider), list(&endpoint));
    Board::new(Arc::new(Snapshot::from_json(json.as_bytes()).unwrap()), &Registry::default()).unwrap()
}

fn serves(endpoint: &Endpoint) -> Option<Way> {
    endpoint.dialects.first().map(|dialect| Way { dialect: *dialect, reluctant: false })
}

/// A plan into memory that has held one before, and the first attempt of it.
fn case(name: &str, endpoints: usize, wishes: Wishes, has_tools: bool, with_attempt: bool) -> Case {
    let board = Arc::new(board(endpoints));
    let wishes = Arc::new(wishes);
    let prepare = move || -> Work {
        let (board, wishes) = (Arc::clone(&board), Arc::clone(&wishes));
        let models = [Named::model(0)];
        let need = Need { has_tools, ..Need::tokens(2_000, Some(1_000)) };
        let mut made = Plan::default();
        let mut seed = 1;
        let mut work = move || {
            seed += 1;
            let order = Order { wishes: &wishes, ..Order::model(&models, black_box(&need), seed) };
            plan(&board, &order, &mut Now(1_795_266_000_000), serves, &mut made);
            assert_eq!(made.steps.len(), endpoints);
            if with_attempt {
                let mut run = Run::new(seed, 3);
                black_box(run.first(&board, &made, &need, 1_795_266_000_000).unwrap());
            }
            made.steps.len()
        };
        work();
        Box::new(work)
    };
    Case { name: name.to_owned(), items: 1, prepare: Box::new(prepare) }
}

/// Decisions, and one with its first attempt.
pub(crate) fn cases() -> Vec<Case> {
    let sorted = Wishes { sort: Sort { by: Some(By::Latency), partition: Partition::Model }, ..Wishes::NONE };
    vec![
        case("route.1", 1, Wishes::NONE, false, false),
        case("attempt.1", 1, Wishes::NONE, false, true),
        case("route.20", 20, Wishes::NONE, false, false),
        case("route.20.tools", 20, Wishes::NONE, true, false),
        case("route.20.latency", 20, sorted, false, false),
    ]
}
