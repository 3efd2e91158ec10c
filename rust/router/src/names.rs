//! From the names in a request to models: ids, aliases, variants (`:nitro`), presets (`@preset/…`), splits, lists of any length and the two
//! routers `openrouter/auto` and `openrouter/free`.

use crate::board::Board;
use crate::random::{Draws, hash, join};
use crate::wishes::{By, Partition, Sort, Wished, Wishes, shown};
use fairlead_ir::Tier;
use fairlead_snapshot::{Found, Snapshot, Split, did_you_mean, nearest};

mod auto;

pub use auto::{Auto, CostTier};

/// What the names of a request stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// How models are picked.
    pub pick: Pick,
    /// What a router may pick from: every model that the key may use, each with the router's suffixes. Empty where there is no router.
    pub pool: Vec<Named>,
    /// The models, in order; behind what a router picks.
    pub models: Vec<Named>,
    /// What presets wish; the request's own wishes go over these.
    pub wishes: Wished,
    /// A translation that loses something is refused.
    pub strict_translation: bool,
    /// Where a client marks nothing for the prompt cache, it is marked by us.
    pub automatic_cache: bool,
    /// The split that a name was, and which of its arms was taken; for the record.
    pub arm: Option<Arm>,
    /// The presets that were named, as indexes into the snapshot's; of two that say something, the first one does.
    pub presets: Vec<usize>,
}

/// How models are picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// As they are listed.
    Listed,
    /// By the size of the task and their price: `openrouter/auto`.
    Auto(Auto),
    /// Any that costs nothing: `openrouter/free`.
    Free,
}

/// A model with what its name said beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Index into the snapshot's models.
    pub model: usize,
    /// What the suffixes said.
    pub variant: Variant,
}

impl Named {
    /// A model by its plain name.
    pub const fn model(model: usize) -> Named {
        Named { model, variant: Variant::PLAIN }
    }
}

/// What suffixes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Only endpoints that cost nothing.
    pub free: bool,
    /// Its endpoints in this order.
    pub sort: Option<By>,
    /// Endpoints of this tier may be used too.
    pub opens: Option<Tier>,
}

impl Variant {
    /// Nothing said.
    pub const PLAIN: Variant = Variant { free: false, sort: None, opens: None };
}

/// An arm of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Index into the snapshot's splits.
    pub split: usize,
    /// Index into its arms.
    pub arm: usize,
}

impl Arm {
    /// The split's name and the arm's, as the configuration has them.
    pub fn names(self, snapshot: &Snapshot) -> (&str, &str) {
        let split = &snapshot.splits[self.split];
        (&split.name, &split.arms[self.arm].model)
    }
}

/// A name that stands for nothing that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// The member it stands in: `model`, `models.2`, `preset`.
    pub path: String,
    /// What follows for the caller.
    pub kind: NameErrorKind,
    /// What is wrong and what would be right.
    pub message: String,
    /// A name that could stand there instead.
    pub instead: Option<String>,
}

/// What follows from a name that is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameErrorKind {
    /// There is no such model: 404.
    Unknown,
    /// Nobody serves the model for nothing: 404.
    NotFree,
    /// The name asks for what makes no sense here: 400.
    Senseless,
    /// This key may not use it: 403.
    Forbidden,
}

/// The names of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// `model`; empty where only `models` is given.
    pub model: &'a str,
    /// `models`.
    pub models: &'a [String],
    /// `preset`.
    pub preset: Option<&'a str>,
    /// Whoever shall stay on the same arm of a split: the session, else the end user.
    pub sticky: Option<Sticky<'a>>,
    /// What `plugins` say of how `openrouter/auto` picks.
    pub auto: Option<&'a Auto>,
}

/// Somebody who shall stay where they are.
#[derive(Clone, Copy, Debug)]
pub enum Sticky<'a> {
    /// By name.
    Name(&'a str),
    /// By the hash of the name ([`crate::hash`]): of a decision that was written down.
    Hash(u64),
}

impl Sticky<'_> {
    pub(crate) fn hash(self) -> u64 {
        match self {
            Sticky::Name(name) => hash(name.as_bytes()),
            Sticky::Hash(hash) => hash,
        }
    }
}

/// What the names of a request stand for. `allowed` says whether the key may use a model; `seed` draws arms of splits for those who are
/// nobody in particular.
///
/// # Errors
/// The first name that is unknown, senseless or not allowed.
pub fn resolve(board: &Board, request: Request<'_>, allowed: impl Fn(&str) -> bool, seed: u64) -> Result<Wanted, NameError> {
    let mut wanted = Wanted {
        pick: Pick::Listed,
        pool: Vec::new(),
        models: Vec::with_capacity(1 + request.models.len()),
        wishes: Wished::NONE,
        strict_translation: false,
        automatic_cache: false,
        arm: None,
        presets: Vec::new(),
    };
    let mut reader = Reader { board, allowed, sticky: request.sticky, auto: request.auto, seed, wanted: &mut wanted };
    if let Some(preset) = request.preset {
        reader.preset("preset", bare(preset), false)?;
    }
    if !request.model.is_empty() {
        reader.name("model", request.model)?;
    }
    for (position, name) in request.models.iter().enumerate() {
        reader.name(&format!("models.{position}"), name)?;
    }
    if reader.wanted.models.is_empty() && reader.wanted.pick == Pick::Listed {
        reader.model_of_preset()?;
    }
    if request.models.is_empty() {
        reader.fallbacks_of_preset()?;
    }
    match wanted.presets.first() {
        Some(position) if wanted.models.is_empty() && wanted.pick == Pick::Listed => {
            let name = &board.snapshot().presets[*position].name;
            let message = format!("the preset {name:?} names no model; put one before it: \"vendor/model{MARK}{name}\"");
            Err(error("model", NameErrorKind::Senseless, message))
        }
        _ => Ok(wanted),
    }
}

/// The presets that a request names, in the order in which they count, whether or not there are such; as indexes into the snapshot's.
pub fn presets(snapshot: &Snapshot, request: &Request<'_>) -> Vec<usize> {
    let behind = |name: &str| name.split_once(MARK).map(|(_, preset)| preset.to_owned());
    let names = [request.model].into_iter().chain(request.models.iter().map(String::as_str)).filter_map(behind);
    let mut found = Vec::new();
    for name in request.preset.map(|preset| bare(preset).to_owned()).into_iter().chain(names) {
        let position = snapshot.presets.iter().position(|preset| preset.name == name);
        found.extend(position.filter(|position| !found.contains(position)));
    }
    found
}

/// What stands before the name of a preset where a model is named.
pub const MARK: &str = "@preset/";

fn bare(preset: &str) -> &str {
    preset.strip_prefix(MARK).unwrap_or(preset)
}

struct Reader<'a, F> {
    board: &'a Board,
    allowed: F,
    sticky: Option<Sticky<'a>>,
    auto: Option<&'a Auto>,
    seed: u64,
    wanted: &'a mut Wanted,
}

impl<F: Fn(&str) -> bool> Reader<'_, F> {
    fn name(&mut self, path: &str, name: &str) -> Result<(), NameError> {
        if let Some((model, preset)) = name.split_once(MARK) {
            // `openrouter/` is the prefix of a name.
            let is_alone = model.is_empty() || model == "openrouter/";
            self.preset(path, preset, is_alone)?;
            return if is_alone { Ok(()) } else { self.name(path, model) };
        }
        if let Some((pick, suffixes)) = router(name, self.auto) {
            return self.router(path, pick, suffixes);
        }
        if let Some(split) = self.split_of(name) {
            return self.split(path, split);
        }
        let (found, variant) = self.variant(path, name)?;
        self.push(path, found, variant)
    }

    /// The longest known name wins, so that a static variant, and a colon that belongs to an id, are no suffix.
    fn variant(&self, path: &str, name: &str) -> Result<(Found, Variant), NameError> {
        let (mut rest, mut variant) = (name, Variant::PLAIN);
        loop {
            if let Some(found) = self.board.snapshot().find(rest) {
                return Ok((found, variant));
            }
            let Some((before, suffix)) = rest.rsplit_once(':') else { return Err(self.unknown(path, name)) };
            // Whether the suffix makes sense can only be said of a model that exists.
            let base = before.split(':').next().unwrap_or(before);
            let known = self.board.snapshot().find(before).is_some() || self.board.snapshot().find(base).is_some();
            if !known {
                return Err(self.unknown(path, name));
            }
            variant = apply(variant, suffix).map_err(|message| error(path, NameErrorKind::Senseless, message))?;
            rest = before;
        }
    }

    fn push(&mut self, path: &str, found: Found, variant: Variant) -> Result<(), NameError> {
        let model = &self.board.snapshot().models[found.model];
        if !(self.allowed)(&model.id) {
            return Err(error(path, NameErrorKind::Forbidden, format!("this key may not use the model {:?}", model.id)));
        }
        if variant.free && !self.board.entries_of(found.model).any(|position| self.board.entry(position).is_free()) {
            let message = format!("no endpoint of the model {:?} is free; leave :free away", model.id);
            return Err(NameError { instead: Some(model.id.to_string()), ..error(path, NameErrorKind::NotFree, message) });
        }
        self.wanted.strict_translation |= found.strict_translation;
        self.wanted.automatic_cache |= found.automatic_cache;
        let named = Named { model: found.model, variant };
        if !self.wanted.models.contains(&named) {
            self.wanted.models.push(named);
        }
        Ok(())
    }

    /// What a preset wishes, and its model where the request names none.
    fn preset(&mut self, path: &str, name: &str, with_model: bool) -> Result<(), NameError> {
        let Some((position, wishes)) = self.board.preset(name) else {
            let known = || self.board.snapshot().presets.iter().map(|preset| preset.name.as_str());
            let message = format!("there is no preset {name:?}{}", did_you_mean(known(), name));
            let instead = nearest(known(), name).map(|near| format!("@preset/{near}"));
            return Err(NameError { instead, ..error(path, NameErrorKind::Unknown, message) });
        };
        if !self.wanted.presets.contains(&position) {
            self.wanted.presets.push(position);
        }
        // What was named first wins.
        let earlier = std::mem::take(&mut self.wanted.wishes);
        self.wanted.wishes = earlier.into_wishes().over(wishes).into();
        let board = self.board;
        let preset = &board.snapshot().presets[position];
        self.wanted.strict_translation |= preset.strict_translation;
        self.wanted.automatic_cache |= preset.automatic_cache;
        let Some(model) = preset.model.as_ref().filter(|_| with_model) else { return Ok(()) };
        let (found, variant) = self.variant(path, model)?;
        self.push(path, found, variant)
    }

    /// The split that a name is, also with the prefix that some clients put before every name.
    fn split_of(&self, name: &str) -> Option<usize> {
        let plain = name.strip_prefix("openrouter/");
        self.board.snapshot().splits.iter().position(|split| split.name == name || plain == Some(split.name.as_str()))
    }

    fn split(&mut self, path: &str, position: usize) -> Result<(), NameError> {
        let split = &self.board.snapshot().splits[position];
        let arm = arm(split, self.sticky, self.seed);
        self.wanted.arm.get_or_insert(Arm { split: position, arm });
        let (found, variant) = self.variant(path, &split.arms[arm].model)?;
        self.push(path, found, variant)
    }

    /// A router picks from every model that the key may use.
    fn router(&mut self, path: &str, pick: Pick, suffixes: &str) -> Result<(), NameError> {
        if !self.wanted.models.is_empty() || self.wanted.pick != Pick::Listed {
            let message = "a router picks the model: it stands alone, or first with fallbacks behind it".to_owned();
            return Err(error(path, NameErrorKind::Senseless, message));
        }
        let mut words = suffixes.split(':').skip(1);
        let variant = words.try_fold(Variant::PLAIN, apply).map_err(|message| error(path, NameErrorKind::Senseless, message))?;
        let models = &self.board.snapshot().models;
        let usable = (0..models.len()).filter(|model| (self.allowed)(&models[*model].id));
        self.wanted.pool = usable.map(|model| Named { model, variant }).collect();
        self.wanted.pick = pick;
        Ok(())
    }

    /// The model of the first preset that has one, where nothing else of the request names any.
    fn model_of_preset(&mut self) -> Result<(), NameError> {
        let board = self.board;
        let model = self.wanted.presets.iter().find_map(|position| board.snapshot().presets[*position].model.as_ref());
        let Some(model) = model else { return Ok(()) };
        let (found, variant) = self.variant("preset", model)?;
        self.push("preset", found, variant)
    }

    /// The models that a preset falls back to, where the request lists none itself.
    fn fallbacks_of_preset(&mut self) -> Result<(), NameError> {
        let board = self.board;
        let models =
            self.wanted.presets.iter().map(|position| &board.snapshot().presets[*position]).find(|preset| !preset.models.is_empty());
        for name in models.into_iter().flat_map(|preset| &preset.models) {
            let (found, variant) = self.variant("preset", name)?;
            self.push("preset", found, variant)?;
        }
        Ok(())
    }

    fn unknown(&self, path: &str, name: &str) -> NameError {
        let (snapshot, shown) = (self.board.snapshot(), shown(name));
        // As long as it is known with its suffixes taken off.
        let mut shorter = std::iter::successors(Some(name), |name| Some(name.rsplit_once(':')?.0));
        if let Some(split) = shorter.clone().find_map(|name| self.split_of(name)) {
            let split = &snapshot.splits[split].name;
            let message = format!("the split {split:?} takes no suffix: ask for it by that name, or give its arms suffixes");
            return NameError { instead: Some(split.clone()), ..error(path, NameErrorKind::Senseless, message) };
        }
        let absent = shorter.find_map(|name| snapshot.absent_model(name));
        let near = if absent.is_none() { snapshot.nearest(name) } else { None };
        let others = self.of_the_same_vendor(name);
        let what = match absent {
            Some(why) => format!("the model {shown:?} {why}"),
            None => format!("there is no model {shown:?}"),
        };
        let message = match (near, &others[..]) {
            (Some(near), _) => format!("{what}; did you mean {near:?}?"),
            (None, []) => format!("{what}; GET /api/v1/models lists them"),
            (None, _) => {
                let others = others.iter().map(|other| format!("{other:?}")).collect::<Vec<_>>().join(", ");
                format!("{what}; of the same vendor there are {others}")
            }
        };
        let instead = near.or(others.first().copied()).map(str::to_owned);
        NameError { instead, ..error(path, NameErrorKind::Unknown, message) }
    }

    /// The few models of a name's vendor that begin most like it.
    fn of_the_same_vendor(&self, name: &str) -> Vec<&str> {
        const MOST: usize = 3;
        let name = name.strip_prefix("openrouter/").unwrap_or(name);
        let Some(slash) = name.find('/') else { return Vec::new() };
        let of_vendor = |id: &&str| id.starts_with(&name[..=slash]) && (self.allowed)(id);
        let mut ids: Vec<&str> = self.board.snapshot().models.iter().map(|model| &*model.id).filter(of_vendor).collect();
        let alike = |id: &str| id.bytes().zip(name.bytes()).take_while(|(left, right)| left == right).count();
        ids.sort_by_key(|id| std::cmp::Reverse(alike(id)));
        ids.truncate(MOST);
        ids
    }
}

/// The router that a name is, and its suffixes from the first colon on.
fn router<'a>(name: &'a str, auto: Option<&Auto>) -> Option<(Pick, &'a str)> {
    let (router, suffixes) = name.split_at(name.find(':').unwrap_or(name.len()));
    match router {
        "openrouter/auto" => Some((Pick::Auto(auto.cloned().unwrap_or_default()), suffixes)),
        "openrouter/free" => Some((Pick::Free, suffixes)),
        _ => None,
    }
}

/// What one more suffix adds; an error says what to do instead.
fn apply(variant: Variant, suffix: &str) -> Result<Variant, String> {
    let sorted = |by: By, opens: Option<Tier>| {
        if variant.sort.is_some_and(|other| other != by) {
            return Err(format!(":{suffix} and another suffix want different orders"));
        }
        Ok(Variant { sort: Some(by), opens: opens.or(variant.opens), ..variant })
    };
    match suffix {
        "free" => Ok(Variant { free: true, ..variant }),
        "nitro" => sorted(By::Throughput, Some(Tier::Priority)),
        "floor" => sorted(By::Price, Some(Tier::Flex)),
        "exacto" => sorted(By::Exacto, None),
        "online" => Err(":online is not in this version; ask for the model's own search with web_search_options".to_owned()),
        "thinking" => Err("there is no :thinking variant of it; ask with reasoning, such as {\"effort\": \"medium\"}".to_owned()),
        "extended" => Err("there is no :extended variant of it; an endpoint that the prompt fits into is chosen anyway".to_owned()),
        "batch" => Err("there is no :batch variant of it; batches are not in this version".to_owned()),
        _ => {
            let known = ["free", "nitro", "floor", "exacto"];
            Err(format!("there is no variant {:?}{}", shown(suffix), did_you_mean(known.into_iter(), suffix)))
        }
    }
}

/// The arm of whoever is somebody is always the same; the arm of nobody is drawn. Where shares change, only those move that must.
fn arm(split: &Split, sticky: Option<Sticky<'_>>, seed: u64) -> usize {
    let point = match sticky {
        Some(sticky) => join(hash(split.name.as_bytes()), sticky.hash()),
        None => Draws::new(seed).number(),
    };
    let total: u64 = split.arms.iter().map(|arm| u64::from(arm.share)).sum();
    let mut left = ((u128::from(point) * u128::from(total)) >> 64) as u64;
    for (position, arm) in split.arms.iter().enumerate() {
        match left.checked_sub(u64::from(arm.share)) {
            Some(less) => left = less,
            None => return position,
        }
    }
    0
}

fn error(path: &str, kind: NameErrorKind, message: String) -> NameError {
    NameError { path: path.to_owned(), kind, message, instead: None }
}

impl Wanted {
    /// The request's wishes over those of its presets, with what the suffix of a single model adds.
    pub fn wishes(&self, request: impl Into<Wished>) -> Wished {
        let request = request.into();
        let merged = if self.wishes.is_none() { request } else { request.into_wishes().over(&self.wishes).into() };
        match (&self.models[..], merged.sort.by) {
            // Across models there is one order; a suffix of the first one is as good a way to ask for it as any.
            ([first, ..], None) if merged.sort.partition == Partition::None => {
                let sort = Sort { by: first.variant.sort, ..merged.sort };
                Wishes { sort, ..merged.into_wishes() }.into()
            }
            _ => merged,
        }
    }
}
