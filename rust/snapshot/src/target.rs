//! Where and how an endpoint speaks a dialect: everything of a request's head that does not depend on the request.

use crate::snapshot::{Secret, SnapshotError};
use crate::wire;
use fairlead_ir::{Dialect, Traits, percent};
use std::sync::Arc;

/// What is asked of an endpoint; dialects have a path for each that they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A reply, whole.
    Generate,
    /// A reply, as it comes.
    Stream,
    /// The number of tokens that a request has.
    CountTokens,
    /// A legacy completion, whole or streamed.
    Completions,
    /// Vectors of texts.
    Embeddings,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 5] =
        [Operation::Generate, Operation::Stream, Operation::CountTokens, Operation::Completions, Operation::Embeddings];
}

/// An endpoint in one dialect: the connection it needs and the request head up to what depends on the request.
#[derive(Debug)]
pub struct Target {
    /// Where to connect.
    pub origin: Arc<Origin>,
    /// One per credential, and one if there is none: host, credential and fixed headers, each line with its CRLF, without the request line
    /// before and the blank line after. Where requests are signed they hold no credential, and the signature adds its headers.
    pub heads: Vec<Box<[u8]>>,
    /// A name per credential, in the order of `heads`: the same after a restart, and it does not tell the secret.
    pub credential_names: Arc<[String]>,
    /// Lower-case names of the fixed headers that the client's own value replaces, with their lines.
    pub defaults: Vec<(String, Box<[u8]>)>,
    /// How requests are signed, where a credential does not travel itself.
    pub signing: Option<Signing>,
    lines: [Option<Box<[u8]>>; Operation::ALL.len()],
    /// As many as `heads` where credentials travel in the query, each as `name=value`; else none.
    queries: Vec<Box<[u8]>>,
}

impl Target {
    /// The request line of an operation, with its CRLF; `None` when the dialect has no such operation.
    pub fn request_line(&self, operation: Operation) -> Option<&[u8]> {
        self.lines[operation as usize].as_deref()
    }

    /// Writes a request line of this target, with the credential in its query if that is where it travels. `turn` chooses the credential.
    pub fn write_request_line(&self, line: &[u8], turn: usize, head: &mut Vec<u8>) {
        let end = line.len().saturating_sub(VERSION.len());
        let (Some(query), Some((path, version))) = (self.queries.get(turn % self.heads.len().max(1)), line.split_at_checked(end)) else {
            head.extend_from_slice(line);
            return;
        };
        let separator = if path.contains(&b'?') { b"&" } else { b"?" };
        for part in [path, separator, query, version] {
            head.extend_from_slice(part);
        }
    }

    /// Path and query of an operation as they stand in its request line, the query without the question mark (empty: none).
    pub fn path_and_query(&self, operation: Operation) -> Option<(&str, &str)> {
        let line = std::str::from_utf8(self.request_line(operation)?).ok()?;
        let whole = line.strip_prefix(METHOD)?.strip_suffix(VERSION)?;
        Some(whole.split_once('?').unwrap_or((whole, "")))
    }
}

/// What AWS's Signature Version 4 needs, but for the request and the time.
#[derive(Debug)]
pub struct Signing {
    /// Such as `eu-central-1`.
    pub region: String,
    /// The service's signing name, such as `bedrock`.
    pub service: String,
    /// The value of the header `host`, which is signed too, as is `content-type`, which is `application/json`.
    pub host: String,
    /// As many as [`Target::heads`], in the same order, and at least one.
    pub credentials: Vec<SigningKey>,
}

/// A key pair of AWS.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Names the pair; no secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Secret,
    /// Belongs to temporary credentials.
    pub session_token: Option<Secret>,
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

/// The target of a provider's dialect for one of its models, with the dialect.
pub(crate) fn target(
    provider: &wire::Provider,
    dialect_name: &str,
    base_url: &str,
    model: &str,
    traits: &Traits,
) -> Result<(Dialect, Target), SnapshotError> {
    let here = |message: String| SnapshotError::new(format!("providers.{}.dialects.{dialect_name}", provider.slug), message);
    let dialect = Dialect::from_name(dialect_name).ok_or_else(|| here("unknown dialect".to_owned()))?;
    let base = BaseUrl::parse(base_url).map_err(|message| here(format!("{base_url:?}: {message}")))?;
    let (fixed, defaults) = headers(provider, dialect, traits, &base).map_err(&here)?;
    let auth = provider.dialect_auth.get(dialect_name).unwrap_or(&provider.auth);
    let heads = heads(provider, auth, fixed).map_err(&here)?;
    let signing = signing(provider, auth, &base.authority).map_err(&here)?;
    let lines = Operation::ALL.map(|operation| {
        base.path_of(operation, dialect, model, traits).map(|path| format!("{METHOD}{path}{VERSION}").into_bytes().into())
    });
    let key = format!("{}|{}://{}:{}|{}", provider.slug, base.scheme(), base.host, base.port, provider.ca_file.as_deref().unwrap_or(""));
    let origin = Origin { key, tls: base.tls, host: base.host, port: base.port, ca_file: provider.ca_file.clone() };
    let queries = queries(provider, auth).map_err(&here)?;
    Ok((
        dialect,
        Target { origin: Arc::new(origin), credential_names: credential_names(provider), heads, defaults, signing, lines, queries },
    ))
}

/// The start of the SHA-256 of what stays the same of each credential; without credentials one empty name. It leaves the process only inside
/// sealed tokens.
fn credential_names(provider: &wire::Provider) -> Arc<[String]> {
    let name = |key: &wire::ProviderKey| {
        let lasting = key.identity.as_ref().or(key.access_key_id.as_ref()).unwrap_or(&key.secret);
        let hash = ring::digest::digest(&ring::digest::SHA256, lasting.as_bytes());
        hash.as_ref().iter().take(8).fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
    };
    if provider.keys.is_empty() { Arc::new([String::new()]) } else { provider.keys.iter().map(name).collect() }
}

const METHOD: &str = "POST ";
const VERSION: &str = " HTTP/1.1\r\n";

/// The version of one dialect's API: no word of the others, which a provider may speak too, nor where the body says it.
pub const ANTHROPIC_VERSION: &str = "anthropic-version";

/// Fixed headers that are only defaults: the client's own value says which API version and features it understands.
const CLIENT_MAY_REPLACE: [&str; 2] = [ANTHROPIC_VERSION, "user-agent"];

type Defaults = Vec<(String, Box<[u8]>)>;

/// The headers that do not depend on the credential: those that are always sent, and those that a client's own replace.
fn headers(provider: &wire::Provider, dialect: Dialect, traits: &Traits, base: &BaseUrl) -> Result<(String, Defaults), String> {
    let mut fixed = format!("host: {}\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n", base.authority);
    let mut defaults = Vec::new();
    for (name, value) in &provider.headers {
        check_header(name, value)?;
        let name = name.to_ascii_lowercase();
        if name == ANTHROPIC_VERSION && (dialect != Dialect::AnthropicMessages || traits.raw_predict) {
            continue;
        }
        let line = format!("{name}: {value}\r\n");
        if CLIENT_MAY_REPLACE.contains(&name.as_str()) {
            defaults.push((name, line.into_bytes().into()));
        } else {
            fixed.push_str(&line);
        }
    }
    Ok((fixed, defaults))
}

fn heads(provider: &wire::Provider, auth: &wire::Auth, fixed: String) -> Result<Vec<Box<[u8]>>, String> {
    let lines = provider.keys.iter().map(|key| credential(auth, key)).collect::<Result<Vec<_>, _>>()?;
    if lines.is_empty() {
        return Ok(vec![fixed.into_bytes().into()]);
    }
    Ok(lines.into_iter().map(|line| format!("{fixed}{line}").into_bytes().into()).collect())
}

/// The header line that carries a credential; empty where it signs instead, or is not there at the moment.
fn credential(auth: &wire::Auth, key: &wire::ProviderKey) -> Result<String, String> {
    let (name, value) = match auth {
        wire::Auth::Sigv4 { .. } => return Ok(String::new()),
        wire::Auth::Query { .. } if key.access_key_id.is_none() && key.session_token.is_none() => return Ok(String::new()),
        // The secret half of a key pair is never sent to anybody.
        _ if key.access_key_id.is_some() || key.session_token.is_some() => {
            return Err("a key pair of AWS signs requests; here the key itself is sent".to_owned());
        }
        _ if key.secret.is_empty() => return Ok(String::new()),
        wire::Auth::Bearer | wire::Auth::Query { .. } => ("authorization".to_owned(), format!("Bearer {}", key.secret)),
        wire::Auth::Header { name } => (name.to_ascii_lowercase(), key.secret.clone()),
    };
    check_header(&name, &value).map_err(|_| UNSENDABLE_KEY.to_owned())?;
    Ok(format!("{name}: {value}\r\n"))
}

/// Each credential as a query has it, where that is how credentials travel.
fn queries(provider: &wire::Provider, auth: &wire::Auth) -> Result<Vec<Box<[u8]>>, String> {
    let wire::Auth::Query { name } = auth else {
        return Ok(Vec::new());
    };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(format!("{name:?} is no name of a query parameter"));
    }
    let query = |key: &wire::ProviderKey| format!("{name}={}", in_query(&key.secret)).into_bytes().into();
    Ok(provider.keys.iter().map(query).collect())
}

/// A secret as it stands in a query.
pub(crate) fn in_query(secret: &str) -> String {
    let mut encoded = String::new();
    percent::encode(secret, b"", &mut encoded);
    encoded
}

const UNSENDABLE_KEY: &str = "a key holds characters that a header cannot carry";

fn signing(provider: &wire::Provider, auth: &wire::Auth, host: &str) -> Result<Option<Signing>, String> {
    let wire::Auth::Sigv4 { region, service } = auth else {
        return Ok(None);
    };
    for (what, name) in [("region", region), ("service", service)] {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(format!("{name:?} is no name of a {what}"));
        }
    }
    let credentials = provider.keys.iter().map(signing_key).collect::<Result<Vec<_>, _>>()?;
    if credentials.is_empty() {
        return Err("requests are signed, and there is no key to sign them with".to_owned());
    }
    Ok(Some(Signing { region: region.clone(), service: service.clone(), host: host.to_owned(), credentials }))
}

fn signing_key(key: &wire::ProviderKey) -> Result<SigningKey, String> {
    let access_key_id = key.access_key_id.clone().ok_or("requests are signed: a key needs an access_key_id beside its secret")?;
    if access_key_id.is_empty() || !access_key_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err("an access_key_id has letters and digits only".to_owned());
    }
    if let Some(token) = &key.session_token {
        check_header("x-amz-security-token", token).map_err(|_| UNSENDABLE_KEY.to_owned())?;
    }
    Ok(SigningKey {
        access_key_id,
        secret_access_key: Secret::new(key.secret.clone()),
        session_token: key.session_token.clone().map(Secret::new),
    })
}

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

    /// Path and query of an operation under this base, which is what the dialect's official SDK takes. `None`: the dialect has none.
    fn path_of(&self, operation: Operation, dialect: Dialect, model: &str, traits: &Traits) -> Option<String> {
        match dialect {
            Dialect::OpenaiChat => self.chat(operation),
            Dialect::OpenaiResponses => self.responses(operation),
            Dialect::AnthropicMessages if traits.raw_predict => self.raw_predict(operation, model),
            Dialect::AnthropicMessages => self.messages(operation),
            Dialect::GeminiGenerate => self.gemini(operation, model),
            Dialect::BedrockConverse => self.converse(operation, model),
        }
    }

    fn chat(&self, operation: Operation) -> Option<String> {
        let name = match operation {
            Operation::Generate | Operation::Stream => "chat/completions",
            Operation::Completions => "completions",
            Operation::Embeddings => "embeddings",
            Operation::CountTokens => return None,
        };
        Some(format!("{}/{name}", self.path))
    }

    fn responses(&self, operation: Operation) -> Option<String> {
        let name = match operation {
            Operation::Generate | Operation::Stream => "responses",
            Operation::CountTokens => "responses/input_tokens",
            Operation::Completions | Operation::Embeddings => return None,
        };
        Some(format!("{}/{name}", self.path))
    }

    fn messages(&self, operation: Operation) -> Option<String> {
        let name = match operation {
            Operation::Generate | Operation::Stream => "messages",
            Operation::CountTokens => "messages/count_tokens",
            Operation::Completions | Operation::Embeddings => return None,
        };
        Some(format!("{}/v1/{name}", self.path.strip_suffix("/v1").unwrap_or(&self.path)))
    }

    /// Under Vertex's `/v1/projects/…/publishers/anthropic`. Dates of models stand behind an `@`, as Google writes them.
    fn raw_predict(&self, operation: Operation, model: &str) -> Option<String> {
        let action = match operation {
            Operation::Generate => "rawPredict",
            Operation::Stream => "streamRawPredict",
            // The model would stand in the body after all; counts are made here.
            Operation::CountTokens | Operation::Completions | Operation::Embeddings => return None,
        };
        let mut path = format!("{}/models/", self.path);
        percent::encode(model, b"@", &mut path);
        Some(format!("{path}:{action}"))
    }

    /// A base that names its version (`/v1`, `/v1beta`), and Vertex's (`/v1/projects/…/publishers/google`), stand as they are.
    fn gemini(&self, operation: Operation, model: &str) -> Option<String> {
        let action = match operation {
            Operation::Generate => "generateContent",
            Operation::Stream => "streamGenerateContent?alt=sse",
            Operation::CountTokens => "countTokens",
            Operation::Completions | Operation::Embeddings => return None,
        };
        let version = if names_version(&self.path) || self.path.contains("/publishers/") { "" } else { "/v1beta" };
        let mut path = format!("{}{version}/models/", self.path);
        // Google's own list has the names with `models/` before them.
        percent::encode(model.strip_prefix("models/").unwrap_or(model), b"/:@", &mut path);
        Some(format!("{path}:{action}"))
    }

    /// Ids hold colons, ARNs slashes too: a model is one segment, percent-encoded. (The signature encodes the path once more.)
    fn converse(&self, operation: Operation, model: &str) -> Option<String> {
        let action = match operation {
            Operation::Generate => "converse",
            Operation::Stream => "converse-stream",
            Operation::CountTokens => "count-tokens",
            Operation::Completions | Operation::Embeddings => return None,
        };
        let mut path = format!("{}/model/", self.path);
        percent::encode(model, b"", &mut path);
        Some(format!("{path}/{action}"))
    }
}

/// Whether a path's last segment is a version of an API: `v` and a digit at the start, as in `v1`, `v1beta`, `v1beta1`.
fn names_version(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
