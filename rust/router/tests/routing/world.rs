//! Snapshots out of a few words.

use fairlead_router::{Board, Registry, Way};
use fairlead_snapshot::{Endpoint, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An endpoint: its model, its provider, its price per token of any kind, and more members of its JSON. Ids count from 1.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) model: String,
    pub(crate) provider: String,
    pub(crate) pico: u64,
    pub(crate) rest: String,
}

pub(crate) fn spec(model: &str, provider: &str, pico: u64, rest: &str) -> Spec {
    Spec { model: model.to_owned(), provider: provider.to_owned(), pico, rest: rest.to_owned() }
}

/// The snapshot's JSON; `providers` are more members of single providers, `rest` of the whole.
pub(crate) fn json(specs: &[Spec], providers: &[(&str, &str)], rest: &str) -> String {
    let mut slugs: Vec<&str> = specs.iter().map(|spec| spec.provider.as_str()).collect();
    slugs.sort_unstable();
    slugs.dedup();
    let provider = |slug: &&str| {
        let more = providers.iter().filter(|(known, _)| known == slug).map(|(_, rest)| format!(",{rest}")).collect::<String>();
        let name = slug.to_uppercase();
        format!(r#"{{"slug":"{slug}","name":"{name}","dialects":{{"openai_chat":"http://p.test/v1"}}{more}}}"#)
    };
    let mut models: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (position, Spec { model, provider, pico, rest }) in specs.iter().enumerate() {
        let price = format!(r#""price":{{"prompt":{pico},"completion":{pico},"cache_read":{}}}"#, pico / 2);
        let more = if rest.is_empty() { String::new() } else { format!(",{rest}") };
        let id = position + 1;
        models
            .entry(model)
            .or_default()
            .push(format!(r#"{{"id":{id},"provider":"{provider}","upstream_model":"m","dialects":["openai_chat"],{price}{more}}}"#));
    }
    let model = |(id, endpoints): (&&str, &Vec<String>)| format!(r#"{{"id":"{id}","endpoints":[{}]}}"#, endpoints.join(","));
    let more = if rest.is_empty() { String::new() } else { format!(",{rest}") };
    format!(
        r#"{{"version":1,"providers":[{}],"models":[{}]{more}}}"#,
        slugs.iter().map(provider).collect::<Vec<_>>().join(","),
        models.iter().map(model).collect::<Vec<_>>().join(",")
    )
}

pub(crate) fn board_of(specs: &[Spec], providers: &[(&str, &str)], rest: &str, registry: &Registry) -> Board {
    let snapshot = Snapshot::from_json(json(specs, providers, rest).as_bytes()).unwrap();
    Board::new(Arc::new(snapshot), registry).unwrap()
}

pub(crate) fn board(specs: &[Spec]) -> Board {
    board_of(specs, &[], "", &Registry::default())
}

/// Every endpoint is spoken to as its dialects say.
pub(crate) fn serves(endpoint: &Endpoint) -> Option<Way> {
    endpoint.dialects.first().map(|dialect| Way { dialect: *dialect, reluctant: false })
}
