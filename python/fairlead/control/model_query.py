"""Which models a list shows and in what order: OpenRouter's parameters of `GET /models`.

A parameter that needs facts nobody has here (benchmarks, categories) is refused: to ignore a filter would be to answer another question.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Any

from fairlead.config.view import EndpointView, ModelView, ProviderView
from fairlead.control.desk import Call
from fairlead.control.health import Known, Report
from fairlead.control.model_shapes import tokenizer_group
from fairlead.control.replies import Refusal, invalid

DAY_SECONDS = 86_400
EU = frozenset(
    {
        "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT", "NL", "PL",
        "PT", "RO", "SK", "SI", "ES", "SE",
    }
)  # fmt: skip
"""The Union's members, ISO 3166."""
PAGING = ("offset", "limit")
DEFAULTS = {"output_modalities": {"text"}}
"""What OpenRouter takes where a parameter is not said. `all` there shows what writes no text, too."""

UNKNOWN = {
    "category": "models are not sorted into categories here",
    "distillable": "what authors allow to be distilled is not known here",
    "min_intelligence_index": "benchmarks are not known here",
    "max_intelligence_index": "benchmarks are not known here",
    "min_coding_index": "benchmarks are not known here",
    "max_coding_index": "benchmarks are not known here",
    "min_agentic_index": "benchmarks are not known here",
    "max_agentic_index": "benchmarks are not known here",
    "min_tool_success_rate": "calls of tools are not counted by model",
    "max_tool_success_rate": "calls of tools are not counted by model",
    "use_rss": "there is no feed here",
    "use_rss_chat_links": "there is no feed here",
}
"""OpenRouter's parameters that cannot be answered, and why."""


def prices(model: ModelView) -> tuple[int, int]:
    """What the preferred endpoint charges: pico-dollars per prompt and completion token."""
    price = model.endpoints[0].price
    return price.prompt, price.completion


SORTS: Mapping[str, Callable[[ModelView], Any]] = {
    "newest": lambda model: -model.created,
    "pricing-low-to-high": prices,
    "pricing-high-to-low": lambda model: tuple(-price for price in prices(model)),
    "context-high-to-low": lambda model: -(model.context_length or 0),
}
BY_USE = ("most-popular", "top-weekly")
"""Sorts by how often this installation called a model: ever, and in the last seven days."""
BY_HEALTH: Mapping[str, Callable[[Report], float]] = {
    "throughput-high-to-low": lambda report: report.tokens_per_second.p50 if report.tokens_per_second else -inf,
    "latency-low-to-high": lambda report: -report.first_token_ms.p50 if report.first_token_ms else -inf,
}
"""Sorts by the median of the last thirty minutes at a model's best endpoint; the higher the better."""


def ranks_by_health(sort: str, known: Known) -> dict[str, float]:
    """Model → its best figure for a sort in `BY_HEALTH`."""
    ranks: dict[str, float] = {}
    for report in known.values():
        ranks[report.model] = max(BY_HEALTH[sort](report), ranks.get(report.model, -inf))
    return ranks


def chosen(call: Call, models: Sequence[ModelView], ranks: Mapping[str, float]) -> list[ModelView]:
    """The models that the parameters ask for, in the order they ask for. Raises `Refusal`.

    `ranks` are for the sorts in `BY_USE` and `BY_HEALTH`: by model, the highest first, those without one last.
    """
    for name, reason in UNKNOWN.items():
        if call.query(name) is not None:
            raise invalid(f"{name}: {reason}")
    tests = [*_by_name(call), *_by_abilities(call), *_by_price(call), *_by_age(call), *_by_provider(call)]
    shown = [model for model in models if all(test(model) for test in tests)]
    return _sorted(call.query("sort"), shown, ranks)


Test = Callable[[ModelView], bool]


def _by_name(call: Call) -> list[Test]:
    tests: list[Test] = []
    if words := (call.query("q") or "").lower():
        tests.append(lambda model: words in model.id.lower() or words in model.name.lower())
    if authors := names(call, "model_authors"):
        tests.append(lambda model: model.id.partition("/")[0].lower() in authors)
    if families := names(call, "arch"):
        tests.append(lambda model: tokenizer_group(model).lower() in families)
    return tests


def _by_abilities(call: Call) -> list[Test]:
    tests: list[Test] = []
    for field in ("supported_parameters", "input_modalities", "output_modalities"):
        wanted = names(call, field) or DEFAULTS.get(field, set())
        if wanted and not (field == "output_modalities" and "all" in wanted):
            tests.append(lambda model, field=field, wanted=wanted: wanted <= set(getattr(model, field) or ()))  # type: ignore[misc]
    if (context := _whole(call, "context")) is not None:
        tests.append(lambda model: (model.context_length or 0) >= context)
    return tests


def _by_price(call: Call) -> list[Test]:
    tests: list[Test] = []
    for name, place, above in (
        ("min_price", 0, True),
        ("max_price", 0, False),
        ("min_output_price", 1, True),
        ("max_output_price", 1, False),
    ):
        if (bound := _usd_per_million(call, name)) is not None:
            tests.append(lambda model, place=place, above=above, bound=bound: _holds(prices(model)[place], above, bound))  # type: ignore[misc]
    return tests


def _holds(price: int, above: bool, bound: Decimal) -> bool:
    return price >= bound if above else price <= bound


def _by_age(call: Call) -> list[Test]:
    tests: list[Test] = []
    now_s = call.desk.now_ms() // 1000
    if (least := _whole(call, "min_age_days")) is not None:
        tests.append(lambda model: now_s - model.created >= least * DAY_SECONDS)
    if (most := _whole(call, "max_age_days")) is not None:
        tests.append(lambda model: now_s - model.created <= most * DAY_SECONDS)
    return tests


def _by_provider(call: Call) -> list[Test]:
    """One endpoint has to satisfy all of them."""
    providers = call.desk.offer.providers
    wishes: list[Callable[[EndpointView], bool]] = []
    if wanted := names(call, "providers"):
        wishes.append(lambda endpoint: bool({endpoint.provider.lower(), endpoint.provider_name.lower()} & wanted))
    if _flag(call, "zdr"):
        wishes.append(lambda endpoint: keeps_nothing(providers.get(endpoint.provider)))
    if region := call.query("region"):
        if region not in ("eu", "us"):
            raise invalid("region: eu or us is expected")
        wishes.append(lambda endpoint: is_in(region, endpoint, providers.get(endpoint.provider)))
    return [lambda model: any(all(wish(endpoint) for wish in wishes) for endpoint in model.endpoints)] if wishes else []


def keeps_nothing(provider: ProviderView | None) -> bool:
    """Whether prompts and replies are known not to be kept."""
    return provider is not None and provider.data_policy.zdr is True


def is_in(region: str, endpoint: EndpointView, provider: ProviderView | None) -> bool:
    """Whether an endpoint is known to compute in `eu` or `us` only: by its own region, else by where all its provider's machines stand."""
    if endpoint.region:
        return endpoint.region == region or endpoint.region.startswith((f"{region}-", "europe-" if region == "eu" else "us-"))
    countries = set(provider.datacenters) if provider else set()
    return bool(countries) and countries <= (EU if region == "eu" else {"US"})


def _sorted(sort: str | None, models: list[ModelView], ranks: Mapping[str, float]) -> list[ModelView]:
    if sort is None:
        return models
    if sort in BY_USE or sort in BY_HEALTH:
        return sorted(models, key=lambda model: ranks.get(model.id, -inf), reverse=True)
    if sort not in SORTS:
        raise invalid(f"sort: one of {', '.join((*SORTS, *BY_USE, *BY_HEALTH))} is expected")
    return sorted(models, key=SORTS[sort])


def names(call: Call, parameter: str) -> set[str]:
    """A list of names with commas between, in lower case."""
    return {name.strip().lower() for name in (call.query(parameter) or "").split(",") if name.strip()}


def _whole(call: Call, name: str) -> int | None:
    return call.number(name, 0, 0, 10**12) if call.query(name) is not None else None


def _usd_per_million(call: Call, name: str) -> Decimal | None:
    """US dollars per million tokens as pico-dollars per token."""
    text = call.query(name)
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise _no_price(name) from None
    if not (value.is_finite() and 0 <= value < 10**9):
        raise _no_price(name)
    return value * 10**6


def _no_price(name: str) -> Refusal:
    return invalid(f"{name}: US dollars per million tokens are expected, such as 2.5")


def _flag(call: Call, name: str) -> bool:
    text = call.query(name)
    if text not in (None, "true", "false"):
        raise invalid(f"{name}: true or false is expected")
    return text == "true"
