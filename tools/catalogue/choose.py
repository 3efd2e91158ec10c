"""Which facts become models and endpoints, and under which names.

A model is taken when it is current: OpenRouter serves it, or its author's own provider does under a plain name that two sources list,
or it gives embeddings. Its id is OpenRouter's spelling; other hosts' spellings of it are recognised. It must be a chat or give
embeddings, and its prompt must have a price. At a provider that lists it under several names, the plainest is called; dated names of
the same price at its home become aliases.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from tools.catalogue.facts import Fact

HOMES = {
    "anthropic": "anthropic", "openai": "openai", "google": "google-ai-studio", "x-ai": "xai", "deepseek": "deepseek",
    "mistralai": "mistral",
    "moonshotai": "moonshotai", "z-ai": "z-ai", "minimax": "minimax", "cohere": "cohere", "qwen": "alibaba", "perplexity": "perplexity",
    "amazon": "amazon-bedrock", "nvidia": "nvidia", "meta": "meta", "xiaomi": "xiaomi", "stepfun": "stepfun", "tencent": "tencent",
    "upstage": "upstage", "arcee-ai": "arcee-ai", "ai21": "ai21", "inception": "inception", "voyageai": "voyageai",
}  # fmt: skip
"""Author → the provider that is its own."""

ORDER = (
    "anthropic", "openai", "google-ai-studio", "xai", "deepseek", "mistral", "moonshotai", "z-ai", "minimax", "cohere", "alibaba",
    "perplexity",
    "meta", "xiaomi", "stepfun", "tencent", "upstage", "arcee-ai", "ai21", "inception", "voyageai",
    "groq", "cerebras", "fireworks", "together", "deepinfra", "amazon-bedrock", "google-vertex", "azure", "sambanova", "nebius", "novita",
    "baseten", "cloudflare", "nvidia", "siliconflow", "friendli", "crusoe", "gmicloud", "chutes", "wandb", "ovhcloud", "scaleway",
    "venice",
    "huggingface", "openrouter",
)  # fmt: skip
"""Providers that are taken, the preferred one first: the author's own, then hosts, then routers."""

OWN_MODELS_ONLY = frozenset({"perplexity", "mistral", "meta", "xiaomi", "stepfun", "tencent", "arcee-ai"})
"""Providers whose models of other authors are reached in a way of their own, or are resold: left out."""

_DATED = re.compile(r"[-@](20\d\d-?[01]\d-?[0-3]\d)$")


@dataclass
class Chosen:
    """A model, where it is served, and its other names."""

    id: str
    endpoints: list[Fact] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)

    @property
    def best(self) -> Fact:
        """The view of it that its own facts are taken from: its home's, else OpenRouter's, else the first host's."""
        home = HOMES.get(self.id.partition("/")[0])
        for provider in (home, "openrouter"):
            for fact in self.endpoints:
                if fact.provider == provider:
                    return fact
        return self.endpoints[0]


def choose(facts: Iterable[Fact], as_of: date) -> dict[str, Chosen]:
    """Models by id, with endpoints in the order of preference."""
    taken = [fact for fact in facts if _is_taken(fact, as_of)]
    spelt = _canonical(taken)
    offers: dict[str, dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    for fact in taken:
        if (id := spelt.get(spelling(_undated(fact)))) is not None:
            offers[id][fact.provider].append(fact)
    chosen = {}
    for id in sorted(offers):
        model = Chosen(id)
        home = HOMES.get(id.partition("/")[0])
        for provider in sorted(offers[id], key=lambda provider: (provider != home, ORDER.index(provider))):
            plain, dated = _plainest(id, offers[id][provider])
            model.endpoints.append(plain)
            if provider == home:
                model.aliases += dated
        if model.best.context or model.best.mode == "embedding":
            chosen[id] = model
    _name(chosen)
    return chosen


def _canonical(facts: list[Fact]) -> dict[str, str]:
    """Spelling → id of every model that is current."""
    spelt: dict[str, str] = {}
    for provider in ("openrouter", ""):
        for fact in facts:
            home = HOMES.get(fact.model.partition("/")[0])
            if fact.provider == provider or (not provider and (fact.provider == home or fact.mode == "embedding") and _is_plain(fact)):
                spelt.setdefault(spelling(fact.slug), _undated(fact))
    return spelt


_ODD = re.compile(r"latest|beta|preview|experimental|exp$|@|-\d{4}$|-\d{2}-\d{2}$|tts|realtime|-image|asr|translate|mt-|ocr|vision|^chat")
_OUT = re.compile(
    r"c4ai-|open-mi|mistral-(tiny|medium$)|zai-glm|-ada-002-v2|pixtral-12b|light-v3|voyage-(01|02|2|lite|large-2|3$|3-lite|multimodal|law)"
    r"|grok-4.20-0309|grok-code-fast$|glm-4-32b|glm-4.5-(airx|x)$|qwq-plus|qwen-turbo|sonar-reasoning$"
)
"""Left behind by their own vendors, though lists still have them; or priced in the lists by something else than tokens."""


def _is_plain(fact: Fact) -> bool:
    """Whether a name is one to be offered: no snapshot, alias, trial or speech of a model."""
    listed = fact.mode == "embedding" or fact.sources >= 2
    return listed and not fact.guessed and not _ODD.search(fact.slug) and not _OUT.search(fact.slug)


def _is_taken(fact: Fact, as_of: date) -> bool:
    author = fact.model.partition("/")[0]
    return (
        bool(fact.slug)
        and fact.provider in ORDER
        and (fact.provider not in OWN_MODELS_ONLY or HOMES.get(author) == fact.provider)
        and not author.startswith("~")
        and fact.mode in ("chat", "responses", "embedding")
        and (not fact.output or "text" in fact.output)
        and (not fact.guessed or fact.mode == "embedding" or spelling(fact.upstream_model) == spelling(fact.slug))
        and has_price(fact)
        and (fact.shutdown_on is None or fact.shutdown_on >= as_of)
        and _can_be_called(fact, author)
    )


def has_price(fact: Fact) -> bool:
    """Zero is unknown unless the id says that it is free; a reply without a price is only right for embeddings."""
    prompt, completion = fact.prices.get("prompt"), fact.prices.get("completion")
    if fact.slug.endswith(":free") and prompt == 0 == completion:
        return True
    return bool(prompt) and (bool(completion) or fact.mode == "embedding") and (prompt or Decimal(0)) < 10_000


def _can_be_called(fact: Fact, author: str) -> bool:
    """Whether the provider serves it in a dialect that there is."""
    name = fact.upstream_model
    match fact.provider:
        case "amazon-bedrock":
            # Profiles of a geography work from its own regions only, and embeddings are no part of its dialect.
            return fact.mode == "chat" and not re.match(r"(us|eu|jp|apac|au|ca|us-gov)\.|arn:", name) and "/" not in name
        case "google-vertex":
            return fact.mode == "chat" and "@" not in name
        case "azure":
            return not name.startswith(("eu/", "us/", "global/", "global-standard/"))
        case "fireworks":
            return name.startswith("accounts/fireworks/models/")
        case "openrouter":
            return ":" not in name or name.endswith(":free")
        case "openai":
            return author == "openai" and "/" not in name and not name.startswith("gpt-oss")  # open weights: hosts have them, OpenAI not
        case "google-ai-studio":
            return author == "google" and "/" not in name
        case _:
            return True


def _undated(fact: Fact) -> str:
    """The id without the date of a snapshot: hosts and OpenRouter keep theirs, which are models of their own there."""
    return _DATED.sub("", fact.model) if fact.provider in ("openai", "azure", "anthropic") else fact.model


def spelling(name: str) -> str:
    """A name as everybody spells it: without its author, host, version of packaging and punctuation; `5p3` is 5.3."""
    name = name.rpartition("/")[2].lower()
    name = re.sub(r"^(global\.)?((openai|zai|qwen|deepseek|mistral|minimax|moonshotai?|amazon|nvidia|google|meta|anthropic)\.)", "", name)
    name = re.sub(r"^(nvidia-|meta-)", "", name)
    free = ":free" if name.endswith(":free") else ""
    name = re.sub(r"(-v?\d+:\d+|-tee|-maas|@default|:free)$", "", name)
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(?<=\d)p(?=\d)", ".", name)) + free


def _plainest(id: str, facts: list[Fact]) -> tuple[Fact, list[str]]:
    """The fact whose name is called, and the dated names of the same price."""
    wanted = spelling(id)
    facts = sorted(
        facts,
        key=lambda fact: (
            spelling(fact.upstream_model) != wanted,
            not fact.upstream_model.startswith("global."),
            -fact.sources,
            len(fact.upstream_model),
            fact.upstream_model != fact.upstream_model.lower(),
            fact.upstream_model,
        ),
    )
    plain = facts[0]
    dated = [other.upstream_model for other in facts[1:] if _DATED.search(other.upstream_model) and other.prices == plain.prices]
    return plain, sorted(dated)


def _name(chosen: dict[str, Chosen]) -> None:
    """Other names: without the author, as the home calls it, its dated names. A name that two models could mean is nobody's."""
    claims: dict[str, set[str]] = defaultdict(set)
    wanted: dict[str, list[str]] = {}
    for id, model in chosen.items():
        author, _, slug = id.partition("/")
        home = [fact.upstream_model for fact in model.endpoints if fact.provider == HOMES.get(author)]
        names = [slug, *home, *model.aliases]
        if author in ("openai", "anthropic", "google"):
            names += [f"{author}/{name}" for name in model.aliases]
        wanted[id] = [name for name in dict.fromkeys(names) if name not in chosen and _is_a_name(name)]
        for name in wanted[id]:
            claims[name].add(id)
    for id, model in chosen.items():
        model.aliases = [name for name in wanted[id] if len(claims[name]) == 1]


def _is_a_name(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}", name))
