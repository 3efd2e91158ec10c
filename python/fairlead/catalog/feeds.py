"""Lists of models and prices that others publish, read into one form: models.dev's `api.json`, OpenRouter's `/api/v1/models`, LiteLLM's
`model_prices_and_context_window.json`. Which of them it is shows by its shape.

A feed with a mistake is refused as a whole, with the place of the mistake, as is one of OpenRouter's that has an id twice with other
prices; an id that cannot be one, and a router's price, spoil that offer only. A zero pair of prices is unknown, unless the id says free,
and left out, as is what is no chat and gives no embeddings.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from fairlead.catalog.schema import Modality

Prices = dict[str, str]
"""Names of `UsdPerMillion` → US dollars per million tokens."""

MILLION = Decimal(1_000_000)
_FINEST = Decimal("0.000001")
_LARGEST = Decimal(100_000)
_MODALITIES: dict[str, Modality] = {
    "text": "text",
    "image": "image",
    "file": "file",
    "pdf": "file",
    "audio": "audio",
    "video": "video",
    "embeddings": "embeddings",
}

PROVIDERS = {
    "google": "google-ai-studio",
    "gemini": "google-ai-studio",
    "togetherai": "together",
    "together_ai": "together",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "zai": "z-ai",
    "moonshot": "moonshotai",
    "novita-ai": "novita",
    "bedrock": "amazon-bedrock",
    "bedrock_converse": "amazon-bedrock",
    "cloudflare-workers-ai": "cloudflare",
    "dashscope": "alibaba",
    "cohere_chat": "cohere",
    "nvidia_nim": "nvidia",
    "voyage": "voyageai",
    "xiaomi_mimo": "xiaomi",
    "gmi": "gmicloud",
    "friendliai": "friendli",
    "arcee": "arcee-ai",
    "tencent-tokenhub": "tencent",
}
"""What feeds call a provider, where it is not our slug."""


MALFORMED = "its id is malformed"
"""The flaw of an offer whose name is none."""
_NAME = re.compile(r"[!-~]{1,256}")


class BadFeed(ValueError):
    """A feed cannot be used. The text names the place."""


@dataclass(frozen=True)
class Offer:
    """A model at a provider, as a feed has it."""

    provider: str
    """Our slug, or the feed's name where we have none."""
    upstream_model: str
    prices: Prices
    tiers: dict[int, Prices] = field(default_factory=dict)
    """Above so many prompt tokens."""
    name: str = ""
    context_tokens: int | None = None
    max_completion_tokens: int | None = None
    input: tuple[Modality, ...] = ("text",)
    output: tuple[Modality, ...] = ("text",)
    flaw: str = ""
    """Why it cannot be taken; such an offer has no prices."""


@dataclass(frozen=True)
class Feed:
    """A feed, read."""

    shape: str
    """`models.dev`, `openrouter` or `litellm`."""
    offers: tuple[Offer, ...]


def read(data: bytes) -> Feed:
    """Reads a feed of any of the shapes.

    Raises:
        BadFeed: it is none of them, or something in it is wrong.
    """
    try:
        tree = json.loads(data, parse_float=Decimal)
    except ValueError as error:
        raise BadFeed(f"not JSON: {error}") from None
    except RecursionError:
        raise BadFeed("nested too deeply") from None
    for shape, (fits, offers) in _SHAPES.items():
        if fits(tree):
            found = tuple(
                offer if _NAME.fullmatch(offer.upstream_model) else replace(offer, prices={}, tiers={}, flaw=MALFORMED)
                for offer in offers(tree)
            )
            if not any(offer.prices for offer in found):
                raise BadFeed(f"has the shape of {shape}, but no model with a price")
            return Feed(shape, found)
    raise BadFeed("has none of the shapes that are known: models.dev, OpenRouter's /api/v1/models, LiteLLM's price list")


# --- OpenRouter -------------------------------------------------------------------------------------------------------

_OPENROUTER_ID = re.compile(r"~?[A-Za-z0-9_.-]{1,64}/[A-Za-z0-9_.-]{1,128}(:[a-z0-9-]{1,32})?")
_OPENROUTER_PRICES = {
    "prompt": "prompt",
    "completion": "completion",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
    "internal_reasoning": "reasoning",
}


def _is_openrouter(tree: Any) -> bool:
    rows = tree.get("data") if isinstance(tree, dict) else None
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], dict) and "pricing" in rows[0]


def _openrouter(tree: Any) -> Iterator[Offer]:
    seen: dict[str, Offer] = {}
    for index, row in enumerate(tree["data"]):
        where = f"data[{index}]"
        if (offer := _openrouter_offer(row, where)) is None:
            continue
        other = seen.setdefault(offer.upstream_model, offer)
        if (offer.prices, offer.tiers, offer.flaw) != (other.prices, other.tiers, other.flaw):
            raise BadFeed(f"{where} ({offer.upstream_model[:200]}): is in the feed twice, with other prices")
        yield offer


def _openrouter_offer(row: Any, where: str) -> Offer | None:
    id = _text(row, "id", where)
    if not _OPENROUTER_ID.fullmatch(id):
        return Offer("openrouter", id, {}, flaw=MALFORMED)
    pricing = _table(row, "pricing", f"{where} ({id})")
    if _is_router(pricing):
        # A price of its own is what a router has not; a model that had one has lost it.
        return None if id.startswith("openrouter/") else Offer("openrouter", id, {}, flaw="its price is -1, as of a router among models")
    prices = _per_token(pricing, _OPENROUTER_PRICES, f"{where} ({id}).pricing")
    architecture = _table(row, "architecture", where, {})
    output = _modalities(architecture.get("output_modalities"))
    if not _has_price(prices, id) or not {"text", "embeddings"} & {*output}:
        return None
    top = _table(row, "top_provider", f"{where} ({id})", {})
    return Offer(
        provider="openrouter",
        upstream_model=id,
        prices=prices,
        tiers=_openrouter_tiers(pricing, f"{where} ({id}).pricing"),
        name=str(row.get("name") or "").rpartition(": ")[2],
        context_tokens=_count(row.get("context_length"), f"{where} ({id}).context_length"),
        max_completion_tokens=_count(top.get("max_completion_tokens"), f"{where} ({id}).top_provider.max_completion_tokens"),
        input=_modalities(architecture.get("input_modalities")) or ("text",),
        output=output,
    )


def _is_router(pricing: dict[str, Any]) -> bool:
    try:
        return Decimal(str(pricing.get("prompt"))) == -1
    except ArithmeticError:
        return False


def _openrouter_tiers(pricing: dict[str, Any], where: str) -> dict[int, Prices]:
    tiers: dict[int, Prices] = {}
    overrides = pricing.get("overrides") or []
    if not (isinstance(overrides, list) and all(isinstance(override, dict) for override in overrides)):
        raise BadFeed(f"{where}.overrides: expected a list of tables")
    for index, override in enumerate(overrides):
        above = _count(override.get("min_prompt_tokens"), f"{where}.overrides[{index}].min_prompt_tokens")
        if above and "utc_start" not in override:
            tiers[above] = _per_token(override, _OPENROUTER_PRICES, f"{where}.overrides[{index}]")
    return tiers


# --- models.dev -------------------------------------------------------------------------------------------------------

_MODELS_DEV_PRICES = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
    "input_audio": "audio_prompt",
    "output_audio": "audio_completion",
}


def _is_models_dev(tree: Any) -> bool:
    return isinstance(tree, dict) and any(isinstance(row, dict) and isinstance(row.get("models"), dict) for row in tree.values())


def _models_dev(tree: Any) -> Iterator[Offer]:
    for provider, entry in tree.items():
        for name, row in _table(entry, "models", provider, {}).items():
            where = f"{provider}.models.{name}"
            if not isinstance(row, dict):
                raise BadFeed(f"{where}: expected a table")
            cost = _table(row, "cost", where, {})
            prices = _per_million(cost, f"{where}.cost")
            output = _modalities(_table(row, "modalities", where, {}).get("output")) or ("text",)
            if not _has_price(prices, name) or "text" not in output:
                continue
            limit = _table(row, "limit", where, {})
            yield Offer(
                provider=PROVIDERS.get(provider, provider),
                upstream_model=name,
                prices=prices,
                tiers=_models_dev_tiers(cost, f"{where}.cost"),
                name=str(row.get("name") or name),
                context_tokens=_count(limit.get("context"), f"{where}.limit.context"),
                max_completion_tokens=_count(limit.get("output"), f"{where}.limit.output"),
                input=_modalities(_table(row, "modalities", where, {}).get("input")) or ("text",),
                output=output,
            )


def _models_dev_tiers(cost: dict[str, Any], where: str) -> dict[int, Prices]:
    tiers = {}
    for key, prices in cost.items():
        if match := re.fullmatch(r"context_over_(\d+)k", key):
            tiers[int(match[1]) * 1000] = _per_million(prices, f"{where}.{key}")
    return tiers


def _per_million(table: Any, where: str) -> Prices:
    if not isinstance(table, dict):
        raise BadFeed(f"{where}: expected a table")
    return {
        ours: _usd(table[theirs], 1, f"{where}.{theirs}") for theirs, ours in _MODELS_DEV_PRICES.items() if table.get(theirs) is not None
    }


# --- LiteLLM ----------------------------------------------------------------------------------------------------------

_LITELLM_PRICES = {
    "input_cost_per_token": "prompt",
    "output_cost_per_token": "completion",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
}
_LITELLM_MODES = {"chat": "text", "responses": "text", "completion": "text", "embedding": "embeddings"}


def _is_litellm(tree: Any) -> bool:
    return isinstance(tree, dict) and any(isinstance(row, dict) and "litellm_provider" in row for row in tree.values())


def _litellm(tree: Any) -> Iterator[Offer]:
    for key, row in tree.items():
        if key == "sample_spec":
            continue
        if not isinstance(row, dict):
            raise BadFeed(f"{key}: expected a table")
        theirs = str(row.get("litellm_provider", ""))
        output = _LITELLM_MODES.get(str(row.get("mode", "")))
        if output is None or not theirs:
            continue
        prices = _per_token(row, _LITELLM_PRICES, key)
        if output == "embeddings":
            prices.setdefault("completion", "0")
        name = key.removeprefix(f"{theirs}/").removeprefix(f"{theirs.removesuffix('_converse')}/")
        if not _has_price(prices, name, embeddings=output == "embeddings"):
            continue
        yield Offer(
            provider=PROVIDERS.get(theirs, theirs),
            upstream_model=name,
            prices=prices,
            tiers=_litellm_tiers(row, key),
            name=name,
            context_tokens=_count(row.get("max_input_tokens"), f"{key}.max_input_tokens"),
            max_completion_tokens=_count(row.get("max_output_tokens"), f"{key}.max_output_tokens"),
            input=("text", "image") if row.get("supports_vision") is True else ("text",),
            output=(_MODALITIES[output],),
        )


def _litellm_tiers(row: dict[str, Any], where: str) -> dict[int, Prices]:
    tiers: dict[int, Prices] = {}
    for theirs, ours in _LITELLM_PRICES.items():
        for key, value in row.items():
            match = re.fullmatch(re.escape(theirs) + r"_above_(\d+)k_tokens", key)
            if match and value is not None:
                tiers.setdefault(int(match[1]) * 1000, {})[ours] = _usd(value, MILLION, f"{where}.{key}")
    return tiers


_SHAPES: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Iterator[Offer]]]] = {
    "openrouter": (_is_openrouter, _openrouter),
    "models.dev": (_is_models_dev, _models_dev),
    "litellm": (_is_litellm, _litellm),
}


# --- values -----------------------------------------------------------------------------------------------------------


def _per_token(table: dict[str, Any], names: dict[str, str], where: str) -> Prices:
    return {ours: _usd(table[theirs], MILLION, f"{where}.{theirs}") for theirs, ours in names.items() if table.get(theirs) is not None}


def _usd(value: Any, times: Decimal | int, where: str) -> str:
    """A price as a decimal string, rounded to what can be charged: feeds carry the dust of binary floats."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise BadFeed(f"{where}: expected a price")
    try:
        price = Decimal(value) * times
    except ArithmeticError:
        raise BadFeed(f'{where}: expected a price, got "{str(value)[:40]}"') from None
    if not (price.is_finite() and 0 <= price <= _LARGEST):
        raise BadFeed(f"{where}: {str(value)[:40]} is no price that a model has")
    text = f"{price.quantize(_FINEST, ROUND_HALF_EVEN):f}"
    if price and not Decimal(text):
        raise BadFeed(f"{where}: {str(value)[:40]} is less than can be charged; is it in the wrong unit?")
    return text.rstrip("0").rstrip(".") or "0"


def _has_price(prices: Prices, name: str, *, embeddings: bool = False) -> bool:
    prompt, completion = (Decimal(prices.get(key, "0")) for key in ("prompt", "completion"))
    if name.endswith(":free"):
        return "prompt" in prices and prompt == completion == 0
    return prompt > 0 and (completion > 0 or embeddings)


def _count(value: Any, where: str) -> int | None:
    """Absent and zero are unknown. Some lists write whole numbers as text or as floats."""
    if value in (None, 0, ""):
        return None
    try:
        number = Decimal(value)
    except (ArithmeticError, TypeError, ValueError):
        raise BadFeed(f'{where}: expected a number of tokens, got "{str(value)[:40]}"') from None
    # Its size first: a text such as 1e999999999999 is a whole number too, and would fill the memory.
    if isinstance(value, bool) or not number.is_finite() or not 0 < number <= 10_000_000_000 or number != int(number):
        raise BadFeed(f'{where}: expected a number of tokens, got "{str(value)[:40]}"')
    return int(number)


def _modalities(words: Any) -> tuple[Modality, ...]:
    known = [_MODALITIES[word] for word in words if isinstance(word, str) and word in _MODALITIES] if isinstance(words, list) else []
    return tuple(dict.fromkeys(known))


def _text(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value:
        raise BadFeed(f'{where}: "{key}" is missing')
    return value


def _table(row: Any, key: str, where: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
    value = row.get(key, default) if isinstance(row, dict) else None
    if value is None and default is not None:
        return default
    if not isinstance(value, dict):
        raise BadFeed(f"{where}.{key}: expected a table")
    return value
