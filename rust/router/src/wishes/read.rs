//! Wishes out of JSON, with the path of whatever is wrong. It is only run where the members exist.

use super::{By, Cutoffs, MaxPrice, Partition, Sort, Wishes};
use crate::board::Board;
use fairlead_ir::PicoUsd;
use fairlead_ir::money::{MoneyError, parse_scaled};
use fairlead_snapshot::{Quantizations, did_you_mean};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// A wish that cannot be meant: where it stands, and what would be right. Becomes a 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WishError {
    /// Such as `provider.max_price.prompt`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl WishError {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> WishError {
        WishError { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for WishError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for WishError {}

type Read<T> = Result<T, WishError>;

/// The members of a body that hold wishes, each as its JSON, if it is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Members<'a> {
    /// `provider`.
    pub provider: Option<&'a [u8]>,
    /// `route`.
    pub route: Option<&'a [u8]>,
}

/// The wishes of a body.
///
/// # Errors
/// The first member that is unknown, of the wrong type or unit, or names a provider that does not exist.
pub fn read(members: Members<'_>, board: &Board) -> Read<Wishes> {
    let mut wishes = Wishes::NONE;
    if let Some(provider) = members.provider {
        read_provider(&json("provider", provider)?, board, &mut wishes)?;
    }
    if let Some(route) = members.route {
        read_route(&json("route", route)?, &mut wishes)?;
    }
    Ok(wishes)
}

/// The model names of `models`, which may be as many as the caller likes.
///
/// # Errors
/// It is no list of names.
pub fn read_models(models: &[u8]) -> Read<Vec<String>> {
    texts("models", &json("models", models)?)
}

pub(crate) fn json(path: &str, bytes: &[u8]) -> Read<Value> {
    serde_json::from_slice(bytes).map(|Once(value)| value).map_err(|error| WishError::new(path, error.to_string()))
}

/// The members of `provider`, as its reader knows them.
const PROVIDER: [&str; 13] = [
    "order",
    "only",
    "ignore",
    "allow_fallbacks",
    "require_parameters",
    "data_collection",
    "zdr",
    "enforce_distillable_text",
    "quantizations",
    "sort",
    "preferred_min_throughput",
    "preferred_max_latency",
    "max_price",
];

fn read_provider(value: &Value, board: &Board, wishes: &mut Wishes) -> Read<()> {
    for (key, value) in object("provider", value)? {
        if value.is_null() {
            continue;
        }
        let path = format!("provider.{key}");
        let path = path.as_str();
        match key.as_str() {
            "order" => wishes.order = slugs(path, value, board, Absent::Refused)?,
            "only" => wishes.only = slugs(path, value, board, Absent::Refused)?,
            "ignore" => wishes.ignore = slugs(path, value, board, Absent::Harmless)?,
            "allow_fallbacks" => wishes.allow_fallbacks = Some(flag(path, value)?),
            "require_parameters" => wishes.require_parameters = Some(flag(path, value)?),
            "data_collection" => wishes.deny_data_collection = word(path, value, &[("allow", false), ("deny", true)])?,
            "zdr" => wishes.zdr = Some(flag(path, value)?),
            "enforce_distillable_text" => not_yet(path, flag(path, value)?)?,
            "quantizations" => wishes.quantizations = quantizations(path, value)?,
            "sort" => wishes.sort = sort(path, value)?,
            "preferred_min_throughput" => wishes.min_throughput = cutoffs(path, value)?,
            "preferred_max_latency" => wishes.max_latency = cutoffs(path, value)?,
            "max_price" => wishes.max_price = max_price(path, value)?,
            "options" => return Err(WishError::new(path, "options for single providers are not in this version")),
            _ => return Err(unknown(path, key, &PROVIDER)),
        }
    }
    Ok(())
}

/// No source of our catalogue says which authors allow distillation, and to guess would be to promise it.
fn not_yet(path: &str, wanted: bool) -> Read<()> {
    let message = "which models may be distilled is not in this version's catalogue; name models that you know to allow it";
    if wanted { Err(WishError::new(path, message)) } else { Ok(()) }
}

/// `fallback` is what a list means anyway; `sort` is the old name of `provider.sort.partition`.
fn read_route(value: &Value, wishes: &mut Wishes) -> Read<()> {
    if word("route", value, &[("fallback", false), ("sort", true)])? == Some(true) {
        wishes.sort.partition = Partition::None;
    }
    Ok(())
}

/// What a provider means that is known, but has no endpoint here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refused,
    /// Nobody to keep out.
    Harmless,
}

/// Slugs as the board writes them; a provider's display name is as good, in any case.
fn slugs(path: &str, value: &Value, board: &Board, absent: Absent) -> Read<Vec<Box<str>>> {
    let mut slugs = Vec::new();
    for (position, text) in texts(path, value)?.into_iter().enumerate() {
        if let Some(slug) = board.slug(&text) {
            slugs.push(slug);
            continue;
        }
        let base = text.split('/').next().unwrap_or(&text);
        let why = board.snapshot().absent_provider(base);
        if absent == Absent::Harmless && (why.is_some() || board.slug(base).is_some()) {
            continue;
        }
        let message = match (why, board.slug(base)) {
            (Some(why), _) => format!("{why} (whoever runs this gateway can)"),
            (None, Some(provider)) => format!("no endpoint here is {:?}; {provider:?} means all of that provider", shown(&text)),
            (None, None) => format!("there is no provider {:?}{}", shown(&text), did_you_mean(board.slugs(), &text)),
        };
        return Err(WishError::new(format!("{path}.{position}"), message));
    }
    Ok(slugs)
}

fn quantizations(path: &str, value: &Value) -> Read<Quantizations> {
    let texts = texts(path, value)?;
    Quantizations::from_names(&texts).map_err(|position| {
        let text = texts.get(position).map(String::as_str).unwrap_or_default();
        let hint = did_you_mean(Quantizations::all().names(), text);
        WishError::new(format!("{path}.{position}"), format!("{:?} is no quantization{hint}", shown(text)))
    })
}

fn sort(path: &str, value: &Value) -> Read<Sort> {
    if value.is_string() {
        return Ok(Sort { by: word(path, value, &By::ALL)?, partition: Partition::Model });
    }
    let Value::Object(members) = value else {
        return Err(wrong(path, "one of price, throughput, latency, exacto, or an object with by and partition", value));
    };
    let mut sort = Sort::NONE;
    for (key, value) in members {
        let path = format!("{path}.{key}");
        match key.as_str() {
            "by" => sort.by = word(&path, value, &By::ALL)?,
            "partition" => {
                let partitions = [("model", Partition::Model), ("none", Partition::None)];
                sort.partition = word(&path, value, &partitions)?.unwrap_or(Partition::Model);
            }
            _ => return Err(unknown(&path, key, &["by", "partition"])),
        }
    }
    Ok(sort)
}

fn cutoffs(path: &str, value: &Value) -> Read<Cutoffs> {
    if value.is_number() {
        return Ok(Cutoffs([Some(positive(path, value)?), None, None, None]));
    }
    let Value::Object(members) = value else {
        return Err(wrong(path, "a number, or an object with p50, p75, p90 or p99", value));
    };
    let mut cutoffs = Cutoffs::NONE;
    for (key, value) in members {
        let path = format!("{path}.{key}");
        let position = Cutoffs::NAMES.iter().position(|name| name == key).ok_or_else(|| unknown(&path, key, &Cutoffs::NAMES))?;
        if !value.is_null() {
            cutoffs.0[position] = Some(positive(&path, value)?);
        }
    }
    Ok(cutoffs)
}

fn positive(path: &str, value: &Value) -> Read<f64> {
    value.as_f64().filter(|number| *number >= 0.0).ok_or_else(|| wrong(path, "a number that is not negative", value))
}

/// Decimal places of a price per million tokens and of one per request, in pico-dollars.
const PER_MILLION: u32 = 6;
const EACH: u32 = 12;

fn max_price(path: &str, value: &Value) -> Read<MaxPrice> {
    let mut bound = MaxPrice::NONE;
    for (key, value) in object(path, value)? {
        if value.is_null() {
            continue;
        }
        let path = format!("{path}.{key}");
        match key.as_str() {
            "prompt" => bound.prompt = Some(price(&path, value, PER_MILLION)?),
            "completion" => bound.completion = Some(price(&path, value, PER_MILLION)?),
            "request" => bound.request = Some(price(&path, value, EACH)?),
            // No endpoint here is priced by the image or by the sound: any bound holds, once it is one.
            "image" | "audio" => drop(price(&path, value, EACH)?),
            _ => return Err(unknown(&path, key, &["prompt", "completion", "request", "image", "audio"])),
        }
    }
    Ok(bound)
}

/// The least positive price per million tokens that is believed; below, somebody meant a single token. The cheapest real ones are some
/// thousands of a dollar.
const LEAST_PER_MILLION: PicoUsd = PicoUsd(500);

fn price(path: &str, value: &Value, places: u32) -> Read<PicoUsd> {
    let unit = if places == PER_MILLION { "US dollars per million tokens" } else { "US dollars each" };
    let text = match value {
        Value::String(text) => text.clone(),
        // Without an exponent, however small.
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        _ => return Err(wrong(path, unit, value)),
    };
    let token = || WishError::new(path, format!("{text} is too small for {unit}: multiply a price per token by 1000000"));
    match parse_scaled(&text, places) {
        Ok(price) if places == PER_MILLION && price > 0 && PicoUsd(price) < LEAST_PER_MILLION => Err(token()),
        Ok(price) => Ok(PicoUsd(price)),
        Err(MoneyError::TooPrecise) if places == PER_MILLION => Err(token()),
        Err(error) => Err(WishError::new(path, format!("{:?} is {error}; it is in {unit}, without a sign or a currency", shown(&text)))),
    }
}

/// A value none of whose objects says a thing twice: of two wishes nobody knows which is meant.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Once, D::Error> {
        source.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((key, Once(value))) = object.next_entry::<String, Once>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("{:?} is said twice", shown(&key))));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

fn object<'a>(path: &str, value: &'a Value) -> Read<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| wrong(path, "an object", value))
}

fn texts(path: &str, value: &Value) -> Read<Vec<String>> {
    let values = value.as_array().ok_or_else(|| wrong(path, "a list of names", value))?;
    let named = |(position, value): (usize, &Value)| {
        let text = value.as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| wrong(&format!("{path}.{position}"), "a name", value))
    };
    values.iter().enumerate().map(named).collect()
}

fn flag(path: &str, value: &Value) -> Read<bool> {
    value.as_bool().ok_or_else(|| wrong(path, "true or false", value))
}

/// What a word stands for; `None` for null.
fn word<T: Copy>(path: &str, value: &Value, words: &[(&str, T)]) -> Read<Option<T>> {
    if value.is_null() {
        return Ok(None);
    }
    let known = || words.iter().map(|(word, _)| *word);
    let text = value.as_str().ok_or_else(|| wrong(path, &format!("one of {}", known().collect::<Vec<_>>().join(", ")), value))?;
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let list = known().collect::<Vec<_>>().join(", ");
            Err(WishError::new(path, format!("{:?} is none of {list}{}", shown(text), did_you_mean(known(), text))))
        }
    }
}

fn unknown(path: &str, key: &str, known: &[&str]) -> WishError {
    WishError::new(path, format!("there is no such member{}", did_you_mean(known.iter().copied(), key)))
}

fn wrong(path: &str, wanted: &str, value: &Value) -> WishError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    WishError::new(path, format!("wanted: {wanted}; this is {kind}"))
}

/// At most so much of a client's text goes into a message.
const SHOWN_CHARS: usize = 64;

pub(crate) fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS { text.to_owned() } else { text.chars().take(SHOWN_CHARS).chain(['…']).collect() }
}
