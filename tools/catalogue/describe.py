"""From facts to the tables of a model's file. Nothing here is written down twice: an endpoint says only what differs from its model."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tools.catalogue.choose import HOMES, Chosen
from tools.catalogue.facts import Fact, Prices
from tools.catalogue.rules import Rule

Table = dict[str, Any]

_INPUT = ("text", "image", "file", "audio", "video")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SAMPLING = ["temperature", "top_p", "top_k"]
_TIERS = ("batch", "flex", "priority", "fast", "ultrafast", "scale")
_SIX_DECIMALS = Decimal("0.000001")
_SOON_DAYS = 120

_PER_MILLION = {
    "reasoning": "reasoning", "output_reasoning_mtok": "reasoning", "audio_in": "audio_prompt", "audio_out": "audio_completion",
    "audio_cache_read": "audio_cache_read", "image_in": "image_prompt", "image_out": "image_completion", "video_in": "video_prompt",
}  # fmt: skip
_EACH = {
    "per_1000_web_searches": ("web_search", 1000), "per_1000_file_searches": ("file_search", 1000), "per_request": ("request", 1),
    "per_1000_requests": ("request", 1000), "per_image_out": ("image", 1), "per_second_in": ("second_audio_in", 1),
    "per_page": ("page", 1),
}  # fmt: skip

_DIALECTS: dict[str, dict[str, Table]] = {
    "azure": {
        "anthropic": {"dialect": "anthropic_messages"},
        "openai": {"dialects": ["openai_responses", "openai_chat"]},
        "*": {"dialect": "openai_chat"},
    },
    "google-vertex": {
        "google": {"dialect": "gemini_generate"},
        "anthropic": {"dialect": "anthropic_messages"},
        "*": {"dialect": "openai_chat"},
    },
}
"""Provider → author → what it is spoken to in, where that is not all of the provider's dialects."""

SOURCES = {
    "litellm": "https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json",
    "models.dev": "https://models.dev",
    "pi-ai": "https://www.npmjs.com/package/@earendil-works/pi-ai",
    "genai-prices": "https://github.com/pydantic/genai-prices",
}
"""Where a price was read when its own citation is not known."""


def describe(model: Chosen, rules: list[Rule]) -> Table:
    """The file of a model, as nested tables in the order of the schema."""
    best = model.best
    capabilities = _capabilities(best)
    reasoning = _reasoning(best)
    style = reasoning["style"]
    refused: list[str] = []
    is_generative = best.mode != "embedding"
    fitting = [rule for rule in rules if is_generative and rule.fits_model(model.id, capabilities, style)]
    for rule in fitting:
        capabilities |= rule.capabilities
        refused += rule.refuses
        if style != "none":
            reasoning |= rule.reasoning
    if capabilities.get("sampling") is False:
        refused = [*_SAMPLING, *refused]
    if refused:
        capabilities["parameters_refused"] = list(dict.fromkeys(refused))
    table: Table = {"model": _model(model), "capabilities": _ordered(capabilities), "reasoning": _ordered_reasoning(reasoning)}
    if best.mode == "embedding":
        del table["capabilities"], table["reasoning"]
    table["endpoint"] = [_endpoint(model, fact, table, fitting) for fact in model.endpoints]
    return table


def _model(model: Chosen) -> Table:
    best = model.best
    facts: Table = {"id": model.id, "aliases": model.aliases, "name": display_name(model.id)}
    released = min((fact.released for fact in model.endpoints if fact.released), default=None)
    knowledge = best.knowledge or next((fact.knowledge for fact in model.endpoints if fact.knowledge), "")
    weights = (
        best.open_weights
        if best.open_weights is not None
        else next((fact.open_weights for fact in model.endpoints if fact.open_weights), None)
    )
    optional = {"released": released, "knowledge": knowledge, "open_weights": weights, "tokenizer": best.tokenizer}
    facts |= {key: value for key, value in optional.items() if value not in (None, "")}
    facts["input"] = [name for name in _INPUT if name in best.input] or ["text"]
    if "text" not in facts["input"]:
        facts["input"] = ["text", *facts["input"]]
    facts["output"] = ["embeddings"] if best.mode == "embedding" else [name for name in _INPUT if name in (*best.output, "text")]
    facts["context_tokens"] = best.context or max((fact.context or 0 for fact in model.endpoints), default=0) or 8192
    if best.max_prompt and best.max_prompt < facts["context_tokens"]:
        facts["max_prompt_tokens"] = best.max_prompt
    if (most := _most(best, facts["context_tokens"])) and best.mode != "embedding":
        facts["max_completion_tokens"] = most
    return facts


def _most(fact: Fact, context: int) -> int | None:
    """The longest reply; a source that gives the context itself does not know it."""
    return fact.max_output if fact.max_output and fact.max_output < context else None


def _capabilities(fact: Fact) -> Table:
    has = fact.capabilities
    known: Table = {}
    for theirs, ours in {
        "tools": "tools", "parallel_tools": "parallel_tools", "structured_outputs": "structured_outputs", "strict_tools": "strict_tools",
        "sampling": "sampling", "mid_system": "system_in_messages", "prefill": "prefill",
    }.items():  # fmt: skip
        if theirs in has or f"!{theirs}" in has:
            known[ours] = theirs in has
    if known.get("tools") and "tool_choice" in has:
        known["tool_choice"] = ["auto", "none"] if "!forced_tool" in has else ["auto", "none", "required", "named"]
    return known


def _reasoning(fact: Fact) -> Table:
    said = fact.reasoning
    efforts = [effort for effort in _EFFORTS if effort in fact.efforts]
    if "adaptive" in said:
        table: Table = {"style": "adaptive"}
    elif "effort" in said or "yes" in said:
        table = {"style": "effort"}
    elif "budget" in said or "toggle" in said:
        table = {"style": "budget" if "budget" in said else "toggle"}
    else:
        return {"style": "none"}
    if efforts:
        table["efforts"] = efforts
    if "toggle" in said or "none" in efforts:
        table["can_disable"] = True
    if "always" in said:
        table["can_disable"] = False
    return table


def _ordered(table: Table) -> Table:
    order = (
        "tools",
        "parallel_tools",
        "tool_choice",
        "structured_outputs",
        "strict_tools",
        "sampling",
        "system_in_messages",
        "prefill",
        "parameters_refused",
    )
    if table.get("tools") is False:
        table = {key: value for key, value in table.items() if key not in ("parallel_tools", "tool_choice", "strict_tools")}
    return {key: table[key] for key in order if key in table}


def _ordered_reasoning(table: Table) -> Table:
    return {key: table[key] for key in ("style", "efforts", "can_disable") if key in table}


def _endpoint(model: Chosen, fact: Fact, table: Table, rules: list[Rule]) -> Table:
    own: Table = {"provider": fact.provider, "upstream_model": fact.upstream_model}
    own |= _dialect(model, fact)
    if fact.upstream_model.startswith("global.") and fact.provider == "amazon-bedrock":
        own["region"] = "global"
    if (quantization := _quantization(fact)) is not None:
        own["quantization"] = quantization
    if fact.deprecated and _is_going(fact):
        own["status"] = "deprecated"
    if fact.shutdown_on:
        own["shutdown_on"] = fact.shutdown_on
    own |= _limits(fact, table["model"])
    efforts = [effort for effort in _EFFORTS if effort in fact.efforts]
    if efforts and "effort" in fact.reasoning and efforts != table.get("reasoning", {}).get("efforts"):
        own["efforts"] = efforts
    quirks = [quirk for rule in rules if rule.fits_provider(fact.provider) for quirk in rule.quirks]
    if quirks:
        own["quirks"] = list(dict.fromkeys(quirks))
    own["price"] = [price(model, fact)]
    for rule in rules:
        if rule.uplift and rule.fits_provider(fact.provider):
            own["price"][0].setdefault("override", []).extend(_uplifted(own["price"][0], rule.uplift))
    return own


def _uplifted(block: Table, uplift: Table) -> list[Table]:
    """Every price of tokens once more, dearer where the rule says; what is charged by the piece stays."""
    where = {"outside_region": uplift["outside_region"]}
    factor = Decimal(uplift["multiplier"])
    rows = [{"when": {}, "usd_per_million": block["usd_per_million"]}, *block.get("override", ())]
    return [
        {
            "when": row["when"] | where,
            "usd_per_million": {name: usd(Decimal(text) * factor) for name, text in row["usd_per_million"].items()},
        }
        for row in rows
    ]


def _dialect(model: Chosen, fact: Fact) -> Table:
    author = model.id.partition("/")[0]
    if fact.mode == "embedding":
        several = fact.provider in ("openai", "azure", "google-ai-studio", "deepseek", "fireworks", "openrouter")
        return {"dialect": "openai_chat"} if several else {}
    if fact.mode == "responses" and fact.provider in ("openai", "azure"):
        return {"dialect": "openai_responses"}
    known = _DIALECTS.get(fact.provider, {})
    return dict(known.get(author) or known.get("*") or {})


def _quantization(fact: Fact) -> str | None:
    name = fact.upstream_model.lower()
    return next(
        (word for word in ("nvfp4", "mxfp4", "fp8", "fp4", "bf16", "int8", "int4") if f"-{word}" in name or f"_{word}" in name), None
    )


def _is_going(fact: Fact) -> bool:
    """A date far away is a promise; one that is near, or a bare flag, is a farewell."""
    return fact.shutdown_on is None or fact.source_date is None or (fact.shutdown_on - fact.source_date).days <= _SOON_DAYS


def _limits(fact: Fact, model: Table) -> Table:
    own: Table = {}
    context = fact.context or model["context_tokens"]
    if context != model["context_tokens"]:
        own["context_tokens"] = context
    if fact.max_prompt and fact.max_prompt < context and fact.max_prompt != model.get("max_prompt_tokens"):
        own["max_prompt_tokens"] = fact.max_prompt
    most = _most(fact, context)
    if most and fact.mode != "embedding" and most != model.get("max_completion_tokens"):
        own["max_completion_tokens"] = most
    return own


def price(model: Chosen, fact: Fact) -> Table:
    """The newest price, as a dated block without overrides that say nothing new."""
    base = dict(fact.prices)
    if fact.provider == "openrouter":
        base = _dearest(base, fact.conflicts)
    home = HOMES.get(model.id.partition("/")[0])
    if model.id.startswith("anthropic/") and "cache_write" in base and "cache_write_1h" not in base and fact.provider == home:
        base["cache_write_1h"] = base["prompt"] * 2
    block: Table = {
        "from": fact.since or fact.source_date,
        "source": "https://openrouter.ai/models" if fact.provider == "openrouter" else fact.url or SOURCES.get(fact.source, fact.source),
        "checked": fact.source_date,
        "usd_per_million": _usd_per_million(base, fact.other_prices, completion_needed=True),
    }
    if each := _usd_each(fact):
        block["usd_each"] = each
    overrides = [*_tiers(fact.tiers, {}), *_windows(fact), *_variants(fact)]
    if overrides:
        block["override"] = overrides
    return block


def _dearest(base: Prices, conflicts: str) -> Prices:
    """A router's price moves: the dearest that a source saw bounds a reservation; what it reports is what is charged."""
    dearest = dict(base)
    for view in conflicts.split():
        for part in view.partition(":")[2].split(","):
            key, _, value = part.partition("=")
            if key in dearest:
                dearest[key] = max(dearest[key], Decimal(value))
    return dearest


def _usd_per_million(prices: Prices, others: Prices, *, completion_needed: bool = False) -> Table:
    table = {}
    for key in ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h"):
        value = prices.get(key)
        if value is not None and (value or key in ("prompt", "completion")):
            table[key] = usd(value)
    if completion_needed:
        table.setdefault("completion", "0")
    for theirs, ours in _PER_MILLION.items():
        if others.get(theirs):
            table.setdefault(ours, usd(others[theirs]))
    return table


def _usd_each(fact: Fact) -> Table:
    table: Table = {}
    for theirs, (ours, divisor) in _EACH.items():
        if fact.other_prices.get(theirs):
            table.setdefault(ours, usd(fact.other_prices[theirs] / divisor, Decimal("0.000000001")))
    return table


def _tiers(tiers: dict[int, Prices], when: Table) -> list[Table]:
    return [
        {"when": when | {"prompt_tokens_above": above}, "usd_per_million": _usd_per_million(prices, {})}
        for above, prices in sorted(tiers.items())
        if above > 0 and _usd_per_million(prices, {})
    ]


def _windows(fact: Fact) -> list[Table]:
    return [
        {"when": {"utc": window.hours, "days": list(window.days)}, "usd_per_million": _usd_per_million(window.prices, {})}
        for window in fact.windows
    ]


def _variants(fact: Fact) -> list[Table]:
    found = []
    for name, (prices, tiers) in sorted(fact.variants.items()):
        if name in _TIERS and _usd_per_million(prices, {}):
            found.append({"when": {"service_tier": name}, "usd_per_million": _usd_per_million(prices, {})})
            found += _tiers(tiers, {"service_tier": name})
    return found


def usd(value: Decimal, finest: Decimal = _SIX_DECIMALS) -> str:
    """A decimal string without dust: pico-dollars per token are the finest there is."""
    text = f"{value.quantize(finest, ROUND_HALF_EVEN):f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


_SPELT = {
    "gpt": "GPT", "glm": "GLM", "deepseek": "DeepSeek", "minimax": "MiniMax", "qwq": "QwQ", "qvq": "QvQ", "lfm": "LFM", "vl": "VL",
    "oss": "OSS",
    "mimo": "MiMo", "ernie": "ERNIE", "olmo": "OLMo", "it": "IT", "hy3": "Hy3", "bge": "BGE", "ui": "UI", "tars": "TARS", "kat": "KAT",
}  # fmt: skip


def display_name(id: str) -> str:
    """A name for people, from the id: `openai/gpt-5.5-pro` is GPT-5.5 Pro."""
    slug, _, variant = id.partition("/")[2].partition(":")
    words = [_word(word) for word in slug.split("-")]
    text = " ".join(words)
    for family in ("GPT", "GLM"):
        text = text.replace(f"{family} ", f"{family}-", 1) if text.startswith(f"{family} ") else text
    return f"{text} ({variant})" if variant else text


def _word(word: str) -> str:
    if word in _SPELT:
        return _SPELT[word]
    sized = word[:-1].replace(".", "").removeprefix("a").isdigit() and word[-1:] in ("b", "t")
    return word.upper() if sized else word[:1].upper() + word[1:]
