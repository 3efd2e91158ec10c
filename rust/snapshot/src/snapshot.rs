//! The validated snapshot: what a request may be sent to, with everything precomputed that does not depend on the request.

use crate::directory::{KeyHash, parse_hash};
use crate::wire;
use fairlead_ir::{Dialect, PicoUsd, Price};
use http::HeaderValue;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Settings, providers and models of one moment. Immutable; a request keeps the one it started with.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows with every snapshot; names the price table a reservation was made with.
    pub version: u64,
    /// Timeouts, bounds, switches.
    pub settings: wire::Settings,
    /// Hash of the token that opens `/metrics` on the traffic port; `None`: no token does.
    pub admin_token_hash: Option<KeyHash>,
    /// Providers; endpoints refer to them by index.
    pub providers: Vec<Provider>,
    /// Models; names refer to them by index.
    pub models: Vec<Model>,
    names: HashMap<String, usize>,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    /// Routing slug.
    pub slug: String,
    /// The slug as a header's value.
    pub slug_header: HeaderValue,
    /// Display name.
    pub name: String,
    /// Whether closing the connection stops its meter.
    pub cancel_stops_billing: bool,
    /// Whether the `usage.cost` of its replies is what it charges.
    pub reports_cost: bool,
    /// Quirk flags.
    pub quirks: Vec<String>,
    /// Its credentials, for redaction of texts it sends.
    pub secrets: Vec<Secret>,
}

impl Provider {
    /// Whether the provider's data set this quirk flag.
    pub fn has_quirk(&self, quirk: &str) -> bool {
        self.quirks.iter().any(|known| known == quirk)
    }

    /// Its credentials as text, to look for.
    pub fn exposed_secrets(&self) -> Vec<&str> {
        self.secrets.iter().map(Secret::expose).collect()
    }
}

/// A credential: never printed, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for the wire and for redaction only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// How a credential travels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AuthScheme {
    /// `authorization: Bearer …`.
    Bearer,
    /// A header of its own.
    Header(String),
}

/// A model.
#[derive(Debug)]
pub struct Model {
    /// Catalogue id.
    pub id: Arc<str>,
    /// The id as a header's value.
    pub id_header: HeaderValue,
    /// Most completion tokens it gives.
    pub max_completion_tokens: Option<u64>,
    /// Where it is served, in the order of preference.
    pub endpoints: Vec<Endpoint>,
}

/// A model at a provider.
#[derive(Debug)]
pub struct Endpoint {
    /// Stable id.
    pub id: u64,
    /// Index into [`Snapshot::providers`].
    pub provider: usize,
    /// The provider's name for the model.
    pub upstream_model: Arc<str>,
    /// Prices.
    pub price: Price,
    targets: [Option<Target>; Dialect::ALL.len()],
}

impl Endpoint {
    /// Where and how this endpoint speaks a dialect, if it does.
    pub fn target(&self, dialect: Dialect) -> Option<&Target> {
        self.targets[usize::from(dialect.number())].as_ref()
    }
}

/// An endpoint in one dialect: the connection it needs and the request head up to what depends on the request.
#[derive(Debug)]
pub struct Target {
    /// Where to connect.
    pub origin: Arc<Origin>,
    /// One per credential: request line, host, credential and fixed headers, each line with its CRLF, without the blank line.
    pub heads: Vec<Box<[u8]>>,
    /// Lower-case names of the fixed headers that the client's own value replaces, with their lines.
    pub defaults: Vec<(String, Box<[u8]>)>,
}

/// Where connections go. Two providers at one address do not share connections, nor do two sets of roots.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Identity of the connection pool: provider, scheme, host, port and roots.
    pub key: String,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// PEM file of extra roots.
    pub ca_file: Option<String>,
}

/// What is wrong with a snapshot, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotError {
    /// Path into the JSON, such as `models.acme/fast.endpoints.0.provider`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SnapshotError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> SnapshotError {
        SnapshotError { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for SnapshotError {}

impl Snapshot {
    /// Reads and validates the JSON of [`wire::Snapshot`]. What comes out cannot be wrong in itself.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path.
    pub fn from_json(json: &[u8]) -> Result<Snapshot, SnapshotError> {
        let wire: wire::Snapshot = serde_json::from_slice(json).map_err(|error| SnapshotError::new("snapshot", error.to_string()))?;
        let sources = Sources::new(&wire.providers)?;
        let mut models = Vec::with_capacity(wire.models.len());
        let mut names = HashMap::new();
        for model in wire.models {
            let index = models.len();
            for name in std::iter::once(&model.id).chain(&model.aliases) {
                if names.insert(name.clone(), index).is_some_and(|other| other != index) {
                    return Err(SnapshotError::new(format!("models.{}", model.id), format!("the name {name:?} is taken twice")));
                }
            }
            models.push(sources.model(model)?);
        }
        let providers = wire.providers.into_iter().map(provider).collect::<Result<_, _>>()?;
        let admin_token_hash = admin_token_hash(&wire.admin_token_hash)?;
        Ok(Snapshot { version: wire.version, settings: wire.settings, admin_token_hash, providers, models, names })
    }

    /// The model a client means: catalogue id or alias, with or without the prefix `openrouter/`.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.get(self.model_index(name)?)
    }

    /// As [`Snapshot::model`], its index in [`Snapshot::models`].
    pub fn model_index(&self, name: &str) -> Option<usize> {
        self.names.get(name).or_else(|| self.names.get(name.strip_prefix("openrouter/")?)).copied()
    }

    /// The known name nearest to an unknown one, for an error text. Linear: only for errors.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        self.names
            .keys()
            .map(|known| (distance(known, name), known.as_str()))
            .filter(|(distance, known)| *distance * 3 <= known.len().max(3))
            .min()
            .map(|(_, known)| known)
    }
}

/// Providers as endpoints need them while a snapshot is being made.
struct Sources<'a> {
    providers: &'a [wire::Provider],
    index: HashMap<&'a str, usize>,
}

impl<'a> Sources<'a> {
    fn new(providers: &'a [wire::Provider]) -> Result<Sources<'a>, SnapshotError> {
        let mut index = HashMap::new();
        for (position, provider) in providers.iter().enumerate() {
            if index.insert(provider.slug.as_str(), position).is_some() {
                return Err(SnapshotError::new(format!("providers.{}", provider.slug), "the slug is taken twice"));
            }
            for (dialect, base_url) in &provider.dialects {
                target(provider, dialect, base_url)?;
            }
        }
        Ok(Sources { providers, index })
    }

    fn model(&self, model: wire::Model) -> Result<Model, SnapshotError> {
        let path = |position: usize, field: &str| format!("models.{}.endpoints.{position}.{field}", model.id);
        if model.endpoints.is_empty() {
            return Err(SnapshotError::new(format!("models.{}", model.id), "no endpoint serves it"));
        }
        let mut endpoints = Vec::with_capacity(model.endpoints.len());
        for (position, endpoint) in model.endpoints.iter().enumerate() {
            let index = *self
                .index
                .get(endpoint.provider.as_str())
                .ok_or_else(|| SnapshotError::new(path(position, "provider"), format!("no provider {:?}", endpoint.provider)))?;
            endpoints.push(self.endpoint(endpoint, index).map_err(|error| SnapshotError::new(path(position, &error.path), error.message))?);
        }
        let id_header = header_value(&model.id, || format!("models.{}", model.id))?;
        Ok(Model { id_header, id: model.id.into(), max_completion_tokens: model.max_completion_tokens, endpoints })
    }

    fn endpoint(&self, endpoint: &wire::Endpoint, index: usize) -> Result<Endpoint, SnapshotError> {
        let provider = &self.providers[index];
        let mut targets = [const { None }; Dialect::ALL.len()];
        for (name, base_url) in &provider.dialects {
            if endpoint.dialects.is_empty() || endpoint.dialects.contains(name) {
                let (dialect, target) = target(provider, name, base_url)?;
                targets[usize::from(dialect.number())] = Some(target);
            }
        }
        if let Some(unknown) = endpoint.dialects.iter().find(|name| !provider.dialects.contains_key(*name)) {
            return Err(SnapshotError::new("dialects", format!("provider {:?} does not speak {unknown:?}", provider.slug)));
        }
        Ok(Endpoint {
            id: endpoint.id,
            provider: index,
            upstream_model: endpoint.upstream_model.as_str().into(),
            price: price(&endpoint.price),
            targets,
        })
    }
}

fn admin_token_hash(text: &str) -> Result<Option<KeyHash>, SnapshotError> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_hash(text).map(Some).ok_or_else(|| SnapshotError::new("admin_token_hash", "not 64 hexadecimal digits"))
}

fn provider(wire: wire::Provider) -> Result<Provider, SnapshotError> {
    Ok(Provider {
        slug_header: header_value(&wire.slug, || format!("providers.{}.slug", wire.slug))?,
        slug: wire.slug,
        name: wire.name,
        cancel_stops_billing: wire.cancel_stops_billing,
        reports_cost: wire.reports_cost,
        quirks: wire.quirks,
        secrets: wire.keys.into_iter().map(|key| Secret(key.secret)).collect(),
    })
}

fn header_value(text: &str, path: impl Fn() -> String) -> Result<HeaderValue, SnapshotError> {
    HeaderValue::from_str(text).map_err(|_| SnapshotError::new(path(), "a header cannot carry this name; use visible ASCII characters"))
}

fn price(wire: &wire::Price) -> Price {
    let cache_write = wire.cache_write.unwrap_or(wire.prompt);
    Price {
        prompt: PicoUsd(wire.prompt),
        completion: PicoUsd(wire.completion),
        cache_read: PicoUsd(wire.cache_read.unwrap_or(wire.prompt)),
        cache_write: PicoUsd(cache_write),
        cache_write_1h: PicoUsd(wire.cache_write_1h.unwrap_or(cache_write)),
        reasoning: PicoUsd(wire.reasoning.unwrap_or(wire.completion)),
        request: PicoUsd(wire.request),
        web_search: PicoUsd(wire.web_search),
    }
}

fn target(provider: &wire::Provider, dialect_name: &str, base_url: &str) -> Result<(Dialect, Target), SnapshotError> {
    let here = |message: String| SnapshotError::new(format!("providers.{}.dialects.{dialect_name}", provider.slug), message);
    let dialect = Dialect::from_name(dialect_name).ok_or_else(|| here("unknown dialect".to_owned()))?;
    let base = BaseUrl::parse(base_url).map_err(|message| here(format!("{base_url:?}: {message}")))?;
    let path = base.operation(dialect);
    let mut fixed =
        format!("POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n", base.authority);
    let mut defaults = Vec::new();
    for (name, value) in &provider.headers {
        check_header(name, value).map_err(&here)?;
        let name = name.to_ascii_lowercase();
        if name == ANTHROPIC_VERSION && dialect != Dialect::AnthropicMessages {
            continue;
        }
        let line = format!("{name}: {value}\r\n");
        if CLIENT_MAY_REPLACE.contains(&name.as_str()) {
            defaults.push((name, line.into_bytes().into()));
        } else {
            fixed.push_str(&line);
        }
    }
    let scheme = match &provider.auth {
        wire::Auth::Bearer => AuthScheme::Bearer,
        wire::Auth::Header { name } => AuthScheme::Header(name.to_ascii_lowercase()),
    };
    let mut heads = Vec::with_capacity(provider.keys.len().max(1));
    for key in &provider.keys {
        let (name, value) = match &scheme {
            AuthScheme::Bearer => ("authorization", format!("Bearer {}", key.secret)),
            AuthScheme::Header(name) => (name.as_str(), key.secret.clone()),
        };
        check_header(name, &value).map_err(|_| here("a key holds characters that a header cannot carry".to_owned()))?;
        heads.push(format!("{fixed}{name}: {value}\r\n").into_bytes().into());
    }
    if heads.is_empty() {
        heads.push(fixed.into_bytes().into());
    }
    let key = format!("{}|{}://{}:{}|{}", provider.slug, base.scheme(), base.host, base.port, provider.ca_file.as_deref().unwrap_or(""));
    let origin = Origin { key, tls: base.tls, host: base.host, port: base.port, ca_file: provider.ca_file.clone() };
    Ok((dialect, Target { origin: Arc::new(origin), heads, defaults }))
}

/// The version of one dialect's API: no word of the others, which a provider may speak too.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// Fixed headers that are only defaults: the client's own value says which API version and features it understands.
const CLIENT_MAY_REPLACE: [&str; 2] = [ANTHROPIC_VERSION, "user-agent"];

fn check_header(name: &str, value: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is not a header name"));
    }
    match value.bytes().find(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f) {
        Some(byte) => Err(format!("the value of header {name:?} holds the control byte {byte:#04x}")),
        None => Ok(()),
    }
}

/// A base URL, taken apart.
struct BaseUrl {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

impl BaseUrl {
    fn parse(text: &str) -> Result<BaseUrl, &'static str> {
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("must start with http:// or https://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("credentials do not belong in the URL; use keys");
        }
        if path.contains(['?', '#']) || authority.contains(['?', '#']) {
            return Err("a query or fragment does not belong in a base URL");
        }
        if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err("only visible ASCII characters are allowed");
        }
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse::<u16>().map_err(|_| "the port is not a number below 65536")?),
            None => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err("the host is missing");
        }
        Ok(BaseUrl { tls, host: host.to_owned(), port, authority: authority.to_owned(), path: path.trim_end_matches('/').to_owned() })
    }

    const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// The path of a dialect's main operation under this base, which is what the dialect's official SDK takes.
    fn operation(&self, dialect: Dialect) -> String {
        let path = &self.path;
        match dialect {
            Dialect::OpenaiChat => format!("{path}/chat/completions"),
            Dialect::OpenaiResponses => format!("{path}/responses"),
            Dialect::AnthropicMessages => format!("{}/v1/messages", path.strip_suffix("/v1").unwrap_or(path)),
            Dialect::GeminiGenerate => format!("{}/v1beta/models", path.strip_suffix("/v1beta").unwrap_or(path)),
            Dialect::BedrockConverse => format!("{path}/model"),
        }
    }
}

/// Edit distance between two short names (Levenshtein, one row).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left) in left.chars().take(128).enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, right) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PROVIDERS: &str = r#"[
        {"slug":"lab","name":"Lab","dialects":{"openai_chat":"http://127.0.0.1:9000/v1/","anthropic_messages":"http://[::1]:9000/v1"},
         "keys":[{"secret":"one"},{"secret":"two"}],"headers":{"Anthropic-Version":"2023-06-01","X-Lab":"yes","user-agent":"lab"}},
        {"slug":"open","name":"Open","dialects":{"openai_chat":"https://open.example/api"},"auth":{"scheme":"header","name":"X-Api-Key"},"keys":[{"secret":"k"}]}
    ]"#;

    fn compile(providers: &str, models: &str) -> Result<Snapshot, SnapshotError> {
        Snapshot::from_json(format!(r#"{{"version":1,"providers":{providers},"models":{models}}}"#).as_bytes())
    }

    fn model(id: &str, endpoint: &str) -> String {
        format!(
            r#"[{{"id":"{id}","aliases":["nick"],"endpoints":[{{"id":1,"upstream_model":"up","price":{{"prompt":3,"completion":5}},{endpoint}}}]}}]"#
        )
    }

    #[test]
    fn heads_are_ready_to_send() {
        let snapshot = compile(PROVIDERS, &model("acme/fast", r#""provider":"lab""#)).unwrap();
        let endpoint = &snapshot.model("nick").unwrap().endpoints[0];
        let chat = endpoint.target(Dialect::OpenaiChat).unwrap();
        assert_eq!(
            std::str::from_utf8(&chat.heads[1]).unwrap(),
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:9000\r\ncontent-type: application/json\r\naccept-encoding: identity\r\nx-lab: yes\r\nauthorization: Bearer two\r\n"
        );
        let defaults = |target: &Target| target.defaults.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(defaults(chat), ["user-agent"], "a version of one dialect is not sent with another");
        let messages = endpoint.target(Dialect::AnthropicMessages).unwrap();
        assert_eq!(defaults(messages), ["anthropic-version", "user-agent"]);
        assert!(messages.heads[0].starts_with(b"POST /v1/messages HTTP/1.1\r\nhost: [::1]:9000\r\n"));
        assert_eq!((messages.origin.host.as_str(), messages.origin.port), ("::1", 9000));
        assert!(endpoint.target(Dialect::GeminiGenerate).is_none());
        assert_eq!(endpoint.price.cache_read, PicoUsd(3));
        assert_eq!(endpoint.price.reasoning, PicoUsd(5));
    }

    #[test]
    fn names_resolve() {
        let snapshot = compile(PROVIDERS, &model("acme/fast", r#""provider":"open""#)).unwrap();
        assert!(snapshot.model("acme/fast").is_some());
        assert!(snapshot.model("openrouter/acme/fast").is_some());
        assert!(snapshot.model("acme/fst").is_none());
        assert_eq!(snapshot.nearest("acme/fst"), Some("acme/fast"));
        assert_eq!(snapshot.nearest("something else entirely"), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let snapshot = compile(PROVIDERS, "[]").unwrap();
        assert!(!format!("{:?}", snapshot.providers).contains("one"));
    }

    #[test]
    fn the_admin_token_is_known_by_its_hash() {
        let check = |hash: &str, expected: Option<Option<KeyHash>>| {
            let json = format!(r#"{{"version":1,"admin_token_hash":"{hash}","providers":[],"models":[]}}"#);
            assert_eq!(Snapshot::from_json(json.as_bytes()).ok().map(|snapshot| snapshot.admin_token_hash), expected, "{hash}");
        };
        check("", Some(None));
        check(&"ab".repeat(32), Some(Some([0xab; 32])));
        check("ab", None);
        check(&"zz".repeat(32), None);
    }

    #[test]
    fn mistakes_name_their_place() {
        let check = |providers: &str, models: &str, path: &str, part: &str| {
            let error = compile(providers, models).unwrap_err();
            assert!(error.path.contains(path) && error.message.contains(part), "{error}");
        };
        let lab = |dialects: &str, rest: &str| format!(r#"[{{"slug":"lab","name":"Lab","dialects":{{{dialects}}}{rest}}}]"#);
        check(PROVIDERS, &model("a/b", r#""provider":"lap""#), "models.a/b.endpoints.0.provider", "no provider \"lap\"");
        check(PROVIDERS, &model("a/b", r#""provider":"open","dialects":["anthropic_messages"]"#), "endpoints.0.dialects", "does not speak");
        check(PROVIDERS, r#"[{"id":"a/b","endpoints":[]}]"#, "models.a/b", "no endpoint");
        check(PROVIDERS, &model("nick", r#""provider":"lab","typo":1"#), "snapshot", "typo");
        check(&lab(r#""openai_chat":"ftp://x""#, ""), "[]", "providers.lab", "http://");
        check(&lab(r#""openai_chat":"http://u:p@x""#, ""), "[]", "providers.lab", "credentials");
        check(&lab(r#""openai_chat":"http://x:99999""#, ""), "[]", "providers.lab", "port");
        check(&lab(r#""openai_chat":"http://x?y=1""#, ""), "[]", "providers.lab", "query");
        check(&lab(r#""klingon":"http://x""#, ""), "[]", "providers.lab.dialects.klingon", "unknown dialect");
        check(&lab(r#""openai_chat":"http://x""#, r#","keys":[{"secret":"a\r\nb: c"}]"#), "[]", "providers.lab", "cannot carry");
        check(&lab(r#""openai_chat":"http://x""#, r#","headers":{"a b":"c"}"#), "[]", "providers.lab", "not a header name");
    }
}
