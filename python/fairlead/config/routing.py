"""Names that stand for more than one model (presets and splits) and models that others shadow, judged against what is on.

What is let through here, `rust/router` does not refuse: the suffixes are those of its `names.rs`, the wishes those of its `wishes/read.rs`.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from fairlead.catalog.document import Document, Problem, did_you_mean
from fairlead.catalog.positions import Path as Place
from fairlead.catalog.positions import show
from fairlead.catalog.prices import BadPrice, pico_per_token, pico_per_unit, usd_per_million_text, usd_text
from fairlead.config import fields, unbuilt, wire
from fairlead.config.models import Context, why_unserved
from fairlead.config.providers import off_message
from fairlead.config.schema import MaxPrice, Names, Preset, ProviderWishes, Split
from fairlead.config.view import ArmView, EndpointView, ModelView, PresetView, ShadowView, SplitView

ROUTERS = ("openrouter/auto", "openrouter/free")
"""Names that pick a model themselves."""
VARIANTS = {"free": None, "nitro": "throughput", "floor": "price", "exacto": "exacto"}
"""Suffixes that any model may have → the order that they ask for."""
NO_VARIANTS = {
    "online": "ask for the model's own search with web_search_options",
    "thinking": 'ask with reasoning, such as {"effort": "medium"}',
    "extended": "an endpoint that the prompt fits into is chosen anyway",
    "batch": "batches are not in this version",
}
"""Suffixes that OpenRouter has → what there is instead. Where the catalogue has such a model, they belong to its name."""
LEAST_PICO_PER_TOKEN = 500
"""A smaller price per million was meant for a single token: the cheapest real ones are some thousands of a dollar."""

FILE, MADE = "file", "made"
"""Where a name comes from: `fairlead.toml`, or the database, where it was put at run time."""
DATABASE = "made at run time"
"""Stands in the place of a file's name where what is wrong is in the database."""

_OWN = frozenset(Preset.__struct_fields__) - fields.NAMES
"""Keys of a preset that are its own, and `model`, `models` and `provider`, which routing reads."""


_EMPTY = Preset()


class Named(NamedTuple):
    """What a name stands for."""

    model: ModelView
    suffixes: frozenset[str]


class Routes:
    """Judges the presets, splits and shadows of a configuration. Mistakes go to its document."""

    def __init__(self, context: Context, views: Sequence[ModelView]) -> None:
        self._context = context
        self._config = context.loaded.config
        self._names: Names = Names(presets=self._config.presets, splits=self._config.splits)
        self._document = context.loaded.document
        self._models = {name: view for view in views for name in (*view.aliases, view.id)}
        self._tags = _tags(context, views)

    def presets(self) -> list[wire.Preset]:
        """Those without a mistake."""
        judged = (self._preset(name, preset) for name, preset in self._names.presets.items())
        return [preset for preset in judged if preset is not None]

    def splits(self) -> list[wire.Split]:
        """Those without a mistake."""
        judged = (self._split(name, split) for name, split in self._names.splits.items())
        return [split for split in judged if split is not None]

    def made(self, table: str, name: str, definition: Mapping[str, Any]) -> tuple[wire.Preset | wire.Split | None, list[Problem]]:
        """A preset or a split of no file, judged as one of the file is, with what there is to say about it; None with a mistake."""
        # TOML has no null: what is null is not said.
        said = {key: copy.deepcopy(value) for key, value in definition.items() if value is not None}
        document = Document(DATABASE, {table: {name: said}}, other_names=unbuilt.names_in)
        unbuilt.refuse(document)
        names = document.decode(Names)
        if names is None:
            return None, document.problems
        beside = copy.copy(self)
        beside._document, beside._names = document, names
        found: Sequence[wire.Preset | wire.Split] = beside.presets() if table == "presets" else beside.splits()
        return (found[0] if found and not document.errors else None), document.problems

    def shadows(self) -> list[wire.Shadow]:
        """Those without a mistake, by the ids of their models."""
        found: dict[str, wire.Shadow] = {}
        for name, shadow in self._config.shadows.items():
            place: Place = ("shadows", name)
            of, model = self._plain(place, name), self._plain((*place, "model"), shadow.model)
            if of is None or model is None:
                continue
            if of is model:
                self._document.report((*place, "model"), f'"{shadow.model}" is the model itself: a shadow is another one')
            elif of.id in found:
                self._document.report(place, f'the model "{of.id}" has a shadow already: "{found[of.id].model}"')
            else:
                found[of.id] = wire.Shadow(of=of.id, model=model.id, share_millionths=round(shadow.share * 1_000_000))
        return list(found.values())

    def _plain(self, place: Place, name: str) -> ModelView | None:
        """A model by its id or alias."""
        named = self._named(place, name)
        if named is not None and named.suffixes:
            self._document.report(place, f'"{name}": a model is named here without suffixes, as "{named.model.id}"')
            return None
        return None if named is None else named.model

    def _preset(self, name: str, preset: Preset) -> wire.Preset | None:
        place: Place = ("presets", name)
        before = len(self._document.errors)
        said = fields.judge(self._document, place, self._document.tree["presets"][name], _OWN)
        if preset.model is not None and preset.models is not None:
            self._document.report(place, 'give either "model" or "models"')
            return None
        if said is None and preset == _EMPTY:
            # A misspelt key may have been meant.
            if len(self._document.errors) == before:
                self._document.report(place, 'says nothing: give "model", "models", "provider" or another field of a request')
            return None
        if preset.model is not None:
            wanted = [((*place, "model"), preset.model)]
        else:
            wanted = [((*place, "models", index), model) for index, model in enumerate(preset.models or [])]
        models = self._named_once(wanted)
        provider = self._provider((*place, "provider"), preset.provider, models) if preset.provider is not None else None
        if len(self._document.errors) > before:
            return None
        judged = wire.Preset(
            name=name,
            model=wanted[0][1] if wanted else None,
            models=[model for _, model in wanted[1:]],
            provider=provider,
            route=preset.route,
            fields=said,
            strict_translation=preset.strict_translation,
            automatic_cache=preset.automatic_cache,
            cache_enabled=preset.cache_enabled,
            cache_ttl_seconds=preset.cache_ttl_seconds,
            version="",
        )
        return msgspec.structs.replace(judged, version=_version(judged))

    def _split(self, name: str, split: Split) -> wire.Split | None:
        place: Place = ("splits", name)
        before = len(self._document.errors)
        self._check_name(place, name)
        self._named_once([((*place, "arms", index, "model"), arm.model) for index, arm in enumerate(split.arms)])
        if not any(arm.weight for arm in split.arms):
            self._document.report((*place, "arms"), "no arm has a weight above 0")
        if len(self._document.errors) > before:
            return None
        return wire.Split(name=name, arms=[wire.Arm(model=arm.model, share=arm.weight) for arm in split.arms])

    def _check_name(self, place: Place, name: str) -> None:
        """Splits share one name space with models and routers, with and without the prefix that some clients put before every name."""
        if name in ROUTERS:
            self._document.report(place, f'the name "{name}" is taken by a router')
        elif (taken := self._models.get(name) or self._models.get(name.removeprefix("openrouter/"))) is not None:
            self._document.report(place, f'the name "{name}" is taken by the model "{taken.id}"')

    def _named_once(self, wanted: Sequence[tuple[Place, str]]) -> list[ModelView]:
        """The models of a list; no two of its names may mean the same."""
        found: list[Named] = []
        for place, name in wanted:
            named = self._named(place, name)
            if named is not None and named in found:
                self._document.report(place, f'"{name}" is listed twice')
            elif named is not None:
                found.append(named)
        return [named.model for named in found]

    def _named(self, place: Place, name: str) -> Named | None:
        """The longest known name is the model; what follows it are suffixes."""
        model = name
        suffixes: list[str] = []
        while model not in self._models:
            model, colon, suffix = model.rpartition(":")
            if not colon:
                self._report_unknown(place, name)
                return None
            suffixes.append(suffix)
        view = self._models[model]
        problem = _senseless(suffixes) or _not_free(view, suffixes)
        if problem:
            self._document.report(place, f'"{name}": {problem}')
            return None
        return Named(view, frozenset(suffixes))

    def _report_unknown(self, place: Place, name: str) -> None:
        is_split = name in self._config.splits or name in self._names.splits
        kinds = {"a preset": name.startswith("@preset/"), "a split": is_split, "a router": name in ROUTERS}
        kind = next((kind for kind, fits in kinds.items() if fits), None)
        if kind is not None:
            self._document.report(place, f'"{name}" is {kind}: only models can stand here')
            return
        plain = _without_variants(name)
        own = next((id for id, model in self._config.models.items() if plain in (id, *(model.aliases or ()))), plain)
        files = self._context.catalogue.models.values()
        file = next((file for file in files if own in (file.model.id, *file.model.aliases)), None)
        if own in self._config.models and self._is_mistaken(own, is_shipped=file is not None):
            return
        if file is not None:
            self._document.report(place, f'"{name}" is not served here: {why_unserved(self._context, file)}')
        else:
            self._document.report(place, f'no model is called "{name}" here{did_you_mean(plain, self._models)}')

    def _is_mistaken(self, id: str, *, is_shipped: bool) -> bool:
        """Whether it was left out for a mistake of its own or of its provider's: both are said already. The catalogue's may just be off."""
        errors = self._document.errors
        return any(problem.path.startswith(show(("models", id))) for problem in errors) if is_shipped else bool(errors)

    def _provider(self, place: Place, wishes: ProviderWishes, models: Sequence[ModelView]) -> dict[str, Any]:
        """As the JSON of a request would have it."""
        for key, slugs in (("order", wishes.order), ("only", wishes.only)):
            for index, slug in enumerate(slugs or []):
                self._check_slug((*place, key, index), slug)
        for index, slug in enumerate(wishes.ignore or []):
            self._check_ignored((*place, "ignore", index), slug)
        if wishes.only and models:
            self._check_only((*place, "only"), wishes.only, models)
        members: dict[str, Any] = msgspec.to_builtins(wishes)
        if wishes.max_price is not None:
            members["max_price"] = self._max_price((*place, "max_price"), wishes.max_price)
        return members

    def _check_slug(self, place: Place, slug: str) -> None:
        base = slug.partition("/")[0]
        is_mistaken = base in self._context.declared and base not in self._context.sources
        if slug.lower() not in self._tags and not is_mistaken:
            self._document.report(place, self._unknown_provider(slug))

    def _check_ignored(self, place: Place, slug: str) -> None:
        """A provider that is off is kept out anyway; one that nobody knows is misspelt."""
        base = slug.lower().partition("/")[0]
        if base not in self._tags and base not in self._context.catalogue.providers and base not in self._context.declared:
            self._document.report(place, self._unknown_provider(slug))

    def _unknown_provider(self, slug: str) -> str:
        base, slash, _ = slug.partition("/")
        if slash and base.lower() in self._tags:
            tags = {tag for tag in self._tags.values() if tag.startswith(f"{base.lower()}/")}
            return f'no endpoint is at "{slug}"{did_you_mean(slug, tags)}'
        return off_message(base, self._context.loaded, self._context.catalogue)

    def _check_only(self, place: Place, only: Sequence[str], models: Sequence[ModelView]) -> None:
        allowed = {tag for slug in only if (tag := self._tags.get(slug.lower())) is not None}
        tags = {_tag(endpoint) for model in models for endpoint in model.endpoints}
        if allowed and not any(tag == slug or tag.startswith(f"{slug}/") for tag in tags for slug in allowed):
            self._document.report(place, f"leaves nothing: its models are served at {', '.join(sorted(tags))}", "warning")

    def _max_price(self, place: Place, bounds: MaxPrice) -> dict[str, str]:
        texts = {}
        for key, bound in msgspec.structs.asdict(bounds).items():
            if bound is None:
                continue
            try:
                texts[key] = _per_million(bound) if key in ("prompt", "completion") else usd_text(pico_per_unit(_decimal(bound)))
            except BadPrice as error:
                self._document.report((*place, key), str(error))
        return texts


def _version(preset: wire.Preset) -> str:
    """Names its content: the same has the same, whatever its name and in whatever order it is written."""
    content = msgspec.structs.asdict(preset)
    del content["name"], content["version"]
    for younger in ("route", "fields", "cache_enabled", "cache_ttl_seconds"):
        if content[younger] is None:
            del content[younger]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:12]


def preset_views(presets: Sequence[wire.Preset], source: str = FILE) -> Iterator[PresetView]:
    """The presets, for whoever shows them."""
    for preset in presets:
        yield PresetView(
            name=preset.name,
            version=preset.version,
            models=(preset.model, *preset.models) if preset.model is not None else (),
            provider=preset.provider,
            route=preset.route,
            fields=preset.fields,
            strict_translation=preset.strict_translation,
            automatic_cache=preset.automatic_cache,
            source=source,
        )


def split_views(splits: Sequence[wire.Split], source: str = FILE) -> Iterator[SplitView]:
    """The splits, for whoever shows them."""
    for split in splits:
        yield SplitView(name=split.name, arms=tuple(ArmView(arm.model, arm.share) for arm in split.arms), source=source)


def shadow_views(shadows: Sequence[wire.Shadow]) -> Iterator[ShadowView]:
    """The shadows, for whoever shows them."""
    for shadow in shadows:
        yield ShadowView(model=shadow.of, shadow=shadow.model, share=shadow.share_millionths / 1_000_000)


def _tags(context: Context, views: Sequence[ModelView]) -> dict[str, str]:
    """What a provider or an endpoint may be called, in small letters → what it is called here. Slugs win over display names."""
    names = {source.view.name: slug for slug, source in context.sources.items()}
    tags = [*context.sources, *(_tag(endpoint) for view in views for endpoint in view.endpoints)]
    return {name.lower(): tag for name, tag in (*names.items(), *zip(tags, tags, strict=True))}


def _tag(endpoint: EndpointView) -> str:
    return f"{endpoint.provider}/{endpoint.region}" if endpoint.region else endpoint.provider


def _without_variants(name: str) -> str:
    model, colon, suffix = name.rpartition(":")
    return _without_variants(model) if colon and suffix in VARIANTS else name


def _senseless(suffixes: Sequence[str]) -> str | None:
    for suffix in suffixes:
        if suffix in NO_VARIANTS:
            return f"there is no variant :{suffix} of it; {NO_VARIANTS[suffix]}"
        if suffix not in VARIANTS:
            return f"there is no variant :{suffix}{did_you_mean(suffix, VARIANTS)}"
    orders = [suffix for suffix in VARIANTS if suffix in suffixes and VARIANTS[suffix] is not None]
    return f":{orders[0]} and :{orders[1]} want different orders" if len(orders) > 1 else None


def _not_free(view: ModelView, suffixes: Sequence[str]) -> str | None:
    prices = [endpoint.price for endpoint in view.endpoints]
    is_free = any(not (price.prompt or price.completion or price.request or price.reasoning) for price in prices)
    return None if is_free or "free" not in suffixes else "no endpoint of it is free"


def _per_million(bound: float | str) -> str:
    text = _decimal(bound)
    if _is_tiny(text):
        raise BadPrice(f"{text} is too small for US dollars per million tokens: multiply a price per token by 1000000")
    return usd_per_million_text(pico_per_token(text))


def _is_tiny(text: str) -> bool:
    try:
        return 0 < Decimal(text) < Decimal(LEAST_PICO_PER_TOKEN).scaleb(-6)
    except InvalidOperation:
        return False


def _decimal(bound: float | str) -> str:
    """As people write it: a number without an exponent, however small."""
    if isinstance(bound, float):
        return f"{Decimal(repr(bound)):f}"
    return str(bound)
