"""Every dialect behind one gateway: a provider per dialect, all of them one simulator that judges everybody, and both sides' books.

A lane is a provider's slug; its models are called `lane/model`, and are what the catalogue says of the simulator's families.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from fairlead import config
from fairlead.catalog import shipped

from e2e.house import ADMIN_TOKEN, KEY, PRICES, Gateway, cost_nanousd, until
from e2e.judge import Judge

LANES = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "gemini": "gemini_generate",
    "converse": "bedrock_converse",
}
THINKERS = [
    ("chat", "deepseek"),
    ("responses", "gpt-new"),
    ("messages", "claude"),
    ("messages", "claude-new"),
    ("gemini", "gemini-new"),
    ("converse", "claude"),
    ("converse", "claude-new"),
]
"""Models that call tools, think, and refuse a conversation whose thoughts were lost, altered or are somebody else's."""
SEALS = {
    "chat": "reasoning_content",
    "responses": "encrypted_content",
    "messages": "signature",
    "gemini": "thoughtSignature",
    "converse": "signature",
}
"""Where the state of thoughts stands in a request to a lane."""
FAULTS: list[tuple[int, int]] = [(400, 400), (401, 502), (429, 429), (500, 502), (503, 503), (529, 503)]
"""What a provider answers, and what the caller gets."""
BASES = {
    "openai_chat": "http://{}/v1",
    "openai_responses": "http://{}/v1",
    "anthropic_messages": "http://{}",
    "gemini_generate": "http://{}",
    "bedrock_converse": "http://{}",
}


def settings(provider: str) -> str:
    """A `fairlead.toml` with a provider per dialect at `provider` (host and port), and every model of the simulator's in each."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n']
    for lane, dialect in LANES.items():
        parts.append(f'[providers.{lane}]\nname = "{lane.title()}"\ndialect = "{dialect}"\nbase_url = "{BASES[dialect].format(provider)}"')
        parts.append("cancel_stops_billing = true")
        if lane == "converse":
            parts.append('region = "eu-central-1"\nkeys = [{ access_key_id = "AKIDACME", secret_access_key = "simulator" }]')
        else:
            parts.append('keys = ["acme.1"]')
    prices = ", ".join(f'{name} = "{usd}"' for name, usd in PRICES.items())
    for lane, name, quirks, efforts in served():
        parts.append(f'[models."{lane}/{name}"]\ncontext_length = 128000\nmax_completion_tokens = 16384')
        parts.append(f'[[models."{lane}/{name}".endpoints]]\nprovider = "{lane}"\nupstream_model = "sim/{name}"')
        parts.append(f"quirks = {json.dumps(quirks)}\nefforts = {json.dumps(efforts)}\nusd_per_million = {{ {prices} }}")
    # Legacy completions where the provider has them, and vectors.
    parts.append('[models."native/echo"]\n[[models."native/echo".endpoints]]\nprovider = "chat"\nupstream_model = "sim/echo"')
    parts.append(f'quirks = ["native_completions"]\nusd_per_million = {{ {prices} }}')
    parts.append('[presets.marked]\nmodel = "messages/echo"\nautomatic_cache = true')
    return "\n".join(parts) + "\n"


def served() -> Iterator[tuple[str, str, list[str], list[str]]]:
    """Lane, model, quirks and efforts, as the catalogue has them; without the model that fails on purpose."""
    lanes = {dialect: lane for lane, dialect in LANES.items()}
    for model in config.compile(config.load(None, {}), shipped(), {}).models:
        for endpoint in model.endpoints:
            for dialect in endpoint.dialects:
                if model.id.startswith("sim/") and model.id != "sim/flaky":
                    yield lanes[dialect], model.id.removeprefix("sim/"), list(endpoint.quirks), list(endpoint.efforts)


class Entry(NamedTuple):
    """One call, as the gateway's database and the simulator's ledger have it."""

    row: dict[str, Any]
    record: dict[str, Any]

    def check(self, shown_usd: Any = None) -> "Entry":
        """A completed call: both sides count the same tokens, and its price is right to the nano-dollar, also where it is shown."""
        row, record = self
        assert (row["outcome"], record["outcome"], record["status"]) == ("completed", "complete", 200), (row, record)
        plain = record["prompt_tokens"] - record["cached_tokens"] - record["cache_write_tokens"]
        expected = (plain, record["cached_tokens"], record["cache_write_tokens"], record["completion_tokens"])
        assert (row["prompt_tokens"], row["cache_read_tokens"], row["cache_write_tokens"], row["completion_tokens"]) == expected
        assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost_nanousd(record, PRICES) > 0
        if shown_usd is not None:
            assert round(shown_usd * 10**9) == row["charged_nanousd"]
        return self


class Matrix:
    """The gateway, the simulator, and what both wrote down."""

    def __init__(self, gateway: Gateway, judge: Judge) -> None:
        self.gateway = gateway
        self.judge = judge
        self.url = gateway.url
        self.begin()

    def begin(self) -> None:
        """Forgets what was: scripts that nobody took, calls that are on the books."""
        self.judge.forget_scripts()
        self._mark = self.judge.mark()
        self.gateway.get("/api/v1/key")
        self._row: int = self.gateway.select("SELECT coalesce(max(rowid), 0) AS last FROM generations")[0]["last"]

    def script(self, *scripts: dict[str, Any]) -> None:
        """What the next calls meet, one each."""
        self.judge.script(*scripts)

    def entry(self) -> Entry:
        """The one call since the last look."""
        [entry] = self.entries(1)
        return entry

    def entries(self, number: int) -> list[Entry]:
        """The calls since the last look, which were so many, one after the other."""
        records = self.judge.since(self._mark, number)

        def news() -> tuple[list[dict[str, Any]]] | None:
            rows = self.gateway.generations("rowid > ?", [self._row])
            return (rows,) if len(rows) >= number else None

        (rows,) = until(news, f"{number} generations")
        assert len(rows) == number, rows
        self._mark += number
        self._row += number
        return [Entry(row, record) for row, record in zip(rows, records, strict=True)]

    def sent(self) -> dict[str, Any]:
        """The latest request that the simulator got: its body."""
        found: dict[str, Any] = json.loads(self.judge.last_request()["body"])
        return found


def spoken(lane: str, client: str) -> str:
    """How a generation's row names the provider's dialect: not at all where it is the client's own."""
    return "" if LANES[lane] == client else LANES[lane]


def thought_of(body: dict[str, Any]) -> Any:
    """What a request that reached the simulator says about thinking; `None`: nothing."""
    places = [
        body.get("reasoning_effort"),
        body.get("reasoning"),
        body.get("thinking"),
        body.get("generationConfig", {}).get("thinkingConfig"),
        body.get("additionalModelRequestFields", {}).get("thinking"),
    ]
    return next((place for place in places if place is not None), None)
