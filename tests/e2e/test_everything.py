"""Everything at once: what each feature promises of money alone must hold where they meet.

Customers of every dialect ask at random, with the response cache, `Idempotency-Key`, shadows, hedges, splits, presets, fallbacks,
faults, tight budgets, rates and prepaid credit, while an operator changes prices, limits, keys and credit, and the process is killed
and started again. The simulator's ledger says what was billed. Afterwards every sum that can be asked for must be that of the rows,
and the rows that of the ledger.
"""

import contextlib
import http.client
import itertools
import json
import random
import re
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from e2e.house import ADMIN_TOKEN, KEY, MANAGEMENT_KEY, REPLY_SECONDS, Gateway, ProviderProcess, cost_nanousd, split, until

CHAT, RESPONSES, MESSAGES, GEMINI, COMPLETIONS, EMBEDDINGS = (
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "completions",
    "embeddings",
)
CLIENTS = (CHAT, CHAT, RESPONSES, MESSAGES, GEMINI, COMPLETIONS, EMBEDDINGS)
SPOKEN = (CHAT, RESPONSES, MESSAGES, GEMINI)
EMBEDDINGS_RECORD = "openai_embeddings"
CUSTOMERS = 8
DAY_MS = 86_400_000
# Flags of a record, as `rust/ledger/src/record.rs` has them.
ESTIMATED, RECOVERED, INSURED, RESENT, CONTENT, SHADOW = 1, 4, 8, 16, 64, 128
FIRST_SHADOW = 64
# Odd on purpose: few sums of these are whole nano-dollars.
PRICES = {
    "one": {"prompt": "1.234567", "completion": "7.654321", "cache_read": "0.123457", "cache_write": "1.543211"},
    "two": {"prompt": "2.345679", "completion": "9.876543", "cache_read": "0.234569", "cache_write": "2.932101"},
    "runs": {"prompt": "0.777777", "completion": "3.333331", "cache_read": "0.077777", "cache_write": "0.972221"},
}
LONG_ABOVE, LONG = 500, {"prompt": "3.141593", "completion": "11.271829", "cache_read": "0.314159", "cache_write": "3.926991"}
FACTORS = (1, 2)
"""What all prices are multiplied by, in turn."""
FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": "0"},
    {"kind": "status", "status": 400},
    {"kind": "error_event", "after_frames": 0},
    {"kind": "error_event", "after_frames": 4},
    {"kind": "cut", "after_frames": 1},
    {"kind": "cut", "after_frames": 5, "how": "rst"},
    {"kind": "stall", "after_frames": 3},
    {"kind": "stall_head"},
    {"kind": "empty"},
    {"kind": "garbage", "after_frames": 3},
    {"kind": "close_before_head"},
]


def secret(name: str) -> str:
    """A key of the configuration."""
    return "sk-fl-v1-" + name.encode().hex().ljust(64, "0")


KEYS = {
    "plain": "",
    "cached": "response_cache = true",
    "tight": 'limit_usd = "0.004"\nlimit_reset = "daily"',
    "strict": 'limit_usd = "0.006"\nstrict_budget = true',
    "reds": 'team = "red"',
    "reds_strict": 'team = "red"\nstrict_budget = true',
    "hasty": "rpm = 30\nmax_concurrency = 2",
    "wordy": "tpm = 20000",
    "payer": 'account = "prepaid"',
    "payer_cached": 'account = "prepaid"\nresponse_cache = true\nstrict_budget = true',
}
STRICT = ("strict", "reds_strict", "payer_cached")
LIMITS_NANOUSD = {"tight": 4_000_000, "strict": 6_000_000}
RED_NANOUSD = 5_000_000


def configuration(address: str, factor: int) -> str:
    """Three providers in every dialect: two whose meters stop with the connection, one that bills a reply whole."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 2\n']
    parts.append("[timeouts]\nupstream_head_ms = 1500\nidle_ms = 1500\ncontent_idle_ms = 1500\nearly_head_ms = 250\nkeepalive_ms = 200\n")
    parts.append("[routing]\nhedge = true\n[storage]\nretention_days = 3\n[credits]\nenforce = true\n")
    parts.append("[limits]\nreserve_completion_tokens = 40\n[free_tier]\nrequests_per_minute = 100000\nrequests_per_day = 25\n")
    parts.append(f'[keys.e2e]\nsecret = "{KEY}"\n')
    parts.append(f'[keys.manager]\nsecret = "{MANAGEMENT_KEY}"\nmanagement = true\n')
    parts.append(f'[keys.prepaid-manager]\nsecret = "{secret("prepaid_manager")}"\nmanagement = true\naccount = "prepaid"\n')
    parts.append(f'[teams.red]\nbudgets = [{{ limit_usd = "{Decimal(RED_NANOUSD).scaleb(-9)}", reset = "daily" }}]\n')
    parts += [f'[keys.{name}]\nsecret = "{secret(name)}"\n{lines}\n' for name, lines in KEYS.items()]
    for place in PRICES:
        for dialect in SPOKEN:
            base = f"http://{address}/v1" if dialect.startswith("openai") else f"http://{address}"
            parts.append(
                f'[providers.{slug(place, dialect)}]\ndialect = "{dialect}"\nbase_url = "{base}"\nkeys = ["acme.1", "acme.2"]\n'
                f"cancel_stops_billing = {str(place != 'runs').lower()}\n"
            )
    for dialect in SPOKEN:
        other = SPOKEN[(SPOKEN.index(dialect) + 1) % len(SPOKEN)]
        parts += model(f"mix/{dialect}", factor, ("one", dialect), ("two", dialect))
        parts += model(f"cross/{dialect}", factor, ("one", other), ("two", dialect))
        parts += model(f"runs/{dialect}", factor, ("runs", dialect))
    parts += model("flaky/chat", factor, ("one", CHAT), ("two", MESSAGES), upstream="sim/flaky")
    parts += model("tried/chat", factor, ("two", CHAT))
    parts += model("gift/chat:free", 0, ("one", CHAT))
    parts += model("old/completions", factor, ("one", CHAT), ("two", CHAT), more='quirks = ["native_completions"]\n')
    parts += model("vectors/small", factor, ("one", CHAT), ("two", CHAT), upstream="sim/fast", head='output = ["embeddings"]\n')
    parts.append('[shadows."mix/openai_chat"]\nmodel = "tried/chat"\nshare = 0.3\n')
    parts.append(
        '[splits."acme/assistant"]\narms = [{ model = "mix/openai_chat", weight = 2 }, { model = "cross/openai_chat", weight = 1 }]\n'
    )
    parts.append('[presets.resilient]\nmodels = ["flaky/chat", "cross/openai_chat", "runs/openai_chat"]\n')
    parts.append('[presets.kept]\nmodel = "mix/openai_chat"\ncache_enabled = true\ncache_ttl_seconds = 60\n')
    return "\n".join(parts)


def slug(place: str, dialect: str) -> str:
    return f"{place}-{dialect.replace('_', '-')}"


def times(prices: Mapping[str, str], factor: int) -> dict[str, str]:
    return {name: str(Decimal(usd) * factor) for name, usd in prices.items()}


def model(id: str, factor: int, *endpoints: tuple[str, str], upstream: str = "sim/fast", head: str = "", more: str = "") -> Iterator[str]:
    """A model's tables; at `two` a long prompt has prices of its own."""
    yield f'[models."{id}"]\ncontext_length = 100000\n{head}'
    for place, dialect in endpoints:
        at = f'models."{id}".endpoints'
        prices = at_prices(times(PRICES[place], factor))
        yield f'[[{at}]]\nprovider = "{slug(place, dialect)}"\nupstream_model = "{upstream}"\n{more}{prices}'
        if place == "two":
            yield f"[[{at}.override]]\nwhen = {{ prompt_tokens_above = {LONG_ABOVE} }}\n{at_prices(times(LONG, factor))}"


def at_prices(prices: Mapping[str, str]) -> str:
    listed = ", ".join(f'{name} = "{usd}"' for name, usd in prices.items())
    return f"usd_per_million = {{ {listed} }}\n"


def price(record: Mapping[str, Any], attempt: Mapping[str, Any], factor: int) -> int:
    """What a completed record of the simulator's costs at the endpoint of an attempt."""
    place = attempt["provider"].partition("-")[0]
    prices = LONG if place == "two" and record["prompt_tokens"] > LONG_ABOVE else PRICES[place]
    return cost_nanousd(record, times(prices, factor))


# --- customers ----------------------------------------------------------------------------------------------------------------------------


@dataclass
class Deal:
    """One request and what its client saw."""

    number: int
    key: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    stream: bool
    status: int = 0
    generation: str = ""
    replayed: bool = False
    hit: bool = False
    reply: bytes = b""
    complete: bool = False
    """All of the reply came."""

    @property
    def cost(self) -> Decimal | None:
        """The last cost that the reply tells, in dollars."""
        found = re.findall(rb'"cost": ?([-+.0-9eE]+)', self.reply)
        return Decimal(found[-1].decode()) if found else None


class Market:
    """The customers of a gateway that goes away and comes back."""

    def __init__(self, gateway: Gateway, dice: random.Random) -> None:
        self.gateway = gateway
        self.deals: list[Deal] = []
        self.surprises: list[str] = []
        self.names: dict[str, Deal] = {}
        self._dice = dice
        self._numbers = itertools.count(1)
        self._open = threading.Event()
        self._over = threading.Event()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """The customers deal until the block ends."""
        self._open.set()
        customers = [threading.Thread(target=self._customer, args=(random.Random(self._dice.random()),)) for _ in range(CUSTOMERS)]
        for customer in customers:
            customer.start()
        try:
            yield
        finally:
            self._over.set()
            self._open.set()
            for customer in customers:
                customer.join(2 * REPLY_SECONDS)
        assert not any(customer.is_alive() for customer in customers), "somebody was never answered"

    def closed(self) -> contextlib.AbstractContextManager[None]:
        """While the gateway is away nobody begins anything."""

        @contextlib.contextmanager
        def away() -> Iterator[None]:
            self._open.clear()
            yield
            self._open.set()

        return away()

    def odd_tags(self) -> set[int]:
        """Of requests whose replies tell figures that nobody can believe, or none."""
        scripts = [deal.body["sim"] for deal in self.deals]
        return {script["tag"] for script in scripts if "usage" in script}

    def _customer(self, dice: random.Random) -> None:
        while self._open.wait() and not self._over.is_set():
            try:
                self._deal(dice, self._wish(dice))
            except (ConnectionError, http.client.HTTPException):
                # It was killed under the request.
                time.sleep(0.01)
            except Exception as error:
                self.surprises.append(f"{type(error).__name__}: {error}")
                return

    def _wish(self, dice: random.Random) -> Deal:
        """Something new, or the same once more."""
        past = self.deals[-200:]
        if past and dice.random() < 0.25:
            before = dice.choice(past)
            return Deal(next(self._numbers), before.key, before.path, before.body, before.headers, before.stream)
        number, client = next(self._numbers), dice.choice(CLIENTS)
        stream = client != EMBEDDINGS and dice.random() < 0.6
        path, body = asked(number, client, stream, dice)
        headers = {}
        if dice.random() < 0.2:
            headers["idempotency-key"] = f"deal-{number}"
        if dice.random() < 0.2:
            headers["x-openrouter-cache"] = "true"
        return Deal(number, dice.choice([*KEYS]), path, body, headers, stream)

    def _deal(self, dice: random.Random, deal: Deal) -> None:
        self.deals.append(deal)
        leaves_after = dice.randrange(1, 2000) if deal.stream and dice.random() < 0.15 else None
        leaves_before = dice.random() < 0.03
        host, port = split(self.gateway.address)
        headers = {"content-type": "application/json", "authorization": f"Bearer {secret(deal.key)}", **deal.headers}
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=REPLY_SECONDS)) as connection:
            connection.request("POST", deal.path, json.dumps(deal.body).encode(), headers)
            if leaves_before:
                time.sleep(dice.random() / 20)
                return
            response = connection.getresponse()
            deal.status, deal.generation = response.status, response.headers["x-generation-id"] or ""
            deal.replayed = response.headers["idempotent-replay"] == "true"
            deal.hit = response.headers["x-openrouter-cache-status"] == "HIT"
            if leaves_after is not None:
                deal.reply = response.read1(leaves_after)
                return
            deal.reply = response.read()
            deal.complete = True


def asked(number: int, client: str, stream: bool, dice: random.Random) -> tuple[str, dict[str, Any]]:
    """A request in a dialect, to a model that may be served in it or in another."""
    text = "Say something about ropes. " * dice.choice((1, 1, 3, 100))
    manner = dice.choice(("", "/api"))
    sim: dict[str, Any] = {"tag": number, "tokens": dice.choice((dice.randrange(1, 40), dice.randrange(40, 400)))}
    sim["delay_ms"] = dice.choice((0, 0, 0, 0, 0, 40, 600))
    sim["pace_ms"] = dice.choice((0, 0, 0, 2))
    if dice.random() < 0.2:
        sim["fault"] = dice.choice(FAULTS)
    elif dice.random() < 0.1:
        sim["usage"] = dice.choice(("absent", "zero", "negative", "huge", *(("twice", "changing") if stream else ())))
    if stream and client == CHAT and dice.random() < 0.3:
        # Slow to begin: it may be asked of a second endpoint as well.
        body = {"model": "mix/openai_chat", "messages": [{"role": "user", "content": text}], "stream": True, "session_id": str(number)}
        return f"{manner}/v1/chat/completions", {**body, "sim": {"tag": number, "tokens": 30, "delay_ms": dice.choice((300, 600))}}
    if client == EMBEDDINGS:
        return f"{manner}/v1/embeddings", {"model": "vectors/small", "input": text, "session_id": str(number), "sim": {"tag": number}}
    speaks = client if client in SPOKEN else CHAT
    name = dice.choice([f"mix/{speaks}", f"mix/{speaks}", f"cross/{speaks}", f"runs/{speaks}"])
    if client == CHAT:
        name = dice.choice([name, name, "acme/assistant", "@preset/resilient", "@preset/kept", "gift/chat:free", "flaky/chat"])
    if client == COMPLETIONS:
        name = dice.choice(["old/completions", name])
    limit = dice.choice((None, None, 30, 200))
    more: dict[str, Any] = {"sim": sim}
    if client == GEMINI:
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
        if limit:
            body["generationConfig"] = {"maxOutputTokens": limit}
        return f"/v1beta/models/{name}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent"), body
    more["session_id"] = str(number)
    if stream:
        more["stream"] = True
    if client == RESPONSES:
        return f"{manner}/v1/responses", {"model": name, "input": text, **more, **({"max_output_tokens": limit} if limit else {})}
    if client == MESSAGES:
        return f"{manner}/v1/messages", {"model": name, "messages": [{"role": "user", "content": text}], "max_tokens": limit or 500, **more}
    if stream and dice.random() < 0.7:
        more["stream_options"] = {"include_usage": True}
    more |= {"max_tokens": limit} if limit else {}
    if client == COMPLETIONS:
        return f"{manner}/v1/completions", {"model": name, "prompt": text, **more}
    if dice.random() < 0.2:
        more["models"] = [name, "runs/openai_chat"]
    return f"{manner}/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": text}], **more}


# --- the operator -------------------------------------------------------------------------------------------------------------------------


class Operator:
    """Whoever runs it, and cannot leave anything alone."""

    def __init__(self, gateway: Gateway, address: str, dice: random.Random) -> None:
        self.gateway = gateway
        self.factor: dict[tuple[int, int], int] = {}
        """(start of the process, version of the configuration) → what its prices are multiplied by."""
        self.granted: Counter[str] = Counter()
        self._address = address
        self._dice = dice
        self._at = FACTORS[0]
        self.starts: list[int] = []
        """When each process was up, Unix milliseconds."""
        self._numbers = itertools.count(1)

    def started(self) -> None:
        """Notes the prices of a process that has just begun."""
        self.starts.append(int(time.time() * 1000) - self.gateway.ready["ready_ms"])
        self.factor[len(self.starts), 1] = self._at

    def acts(self) -> None:
        """One thing or another."""
        self._dice.choice((self._prices, self._prices, self._credit, self._credit, self._key, self._limit, self._looks))()

    def grant(self, account: str, usd: str, **more: Any) -> None:
        name = {"account": account, "usd": usd, "note": "paid", "external_id": f"x{next(self._numbers)}", **more}
        # Said twice, it is entered once.
        for status in (201, 200):
            reply = self.gateway.operate("POST", "/admin/credits", name)
            assert reply.status == status, reply.body
        self.granted[account] += int(Decimal(usd).scaleb(9))

    def _prices(self) -> None:
        self._at = FACTORS[self._at == FACTORS[0]]
        assert self.gateway.config is not None
        self.gateway.config.write_text(configuration(self._address, self._at))
        reply = self.gateway.operate("POST", "/admin/reload")
        version = re.match(r"configuration (\d+) in force", reply.json()["data"]["message"])
        assert version, reply.body
        self.factor[len(self.starts), int(version[1])] = self._at

    def _credit(self) -> None:
        soon = (datetime.now(UTC) + timedelta(seconds=self._dice.choice((30, 3600)))).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.grant("prepaid", f"0.0{self._dice.randrange(100, 999)}", **self._dice.choice(({}, {"expires_at": soon})))

    def _key(self) -> None:
        """A key that comes and goes."""
        made = self.gateway.operate("POST", "/admin/keys", {"name": f"guest-{next(self._numbers)}", "limit_usd": "0.001"})
        assert made.status == 201, made.body
        body = {"model": "mix/openai_chat", "messages": [{"role": "user", "content": "Hello"}], "sim": {"tokens": 300, "pace_ms": 2}}
        leaving = threading.Thread(target=self._guest, args=(made.json()["key"], body))
        leaving.start()
        time.sleep(self._dice.random() / 10)
        path = f"/admin/keys/{made.json()['data']['id']}"
        for change in ({"limit_usd": "0.000001"}, {"disabled": True}):
            if self._dice.random() < 0.5:
                assert self.gateway.operate("PATCH", path, change).status == 200
        if self._dice.random() < 0.5:
            assert self.gateway.operate("DELETE", path).status in (200, 204)
        leaving.join(REPLY_SECONDS)

    def _guest(self, key: str, body: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            self.gateway.post("/v1/chat/completions", {**body, "stream": True}, key=key)

    def _limit(self) -> None:
        """An account's limit goes up and down."""
        change = {"limit_usd": self._dice.choice(("0.001", "0.05", None))}
        assert self.gateway.operate("PATCH", "/admin/accounts/prepaid", change).status == 200

    def _looks(self) -> None:
        for path in ("/admin/usage", "/admin/budgets", "/admin/requests?limit=50", "/admin/credits", "/metrics"):
            assert self.gateway.operate("GET", path).status == 200


# --- the books ----------------------------------------------------------------------------------------------------------------------------


class Books(NamedTuple):
    """What was written down on both sides, when all is over."""

    gateway: Gateway
    rows: dict[str, dict[str, Any]]
    attempts: dict[str, list[dict[str, Any]]]
    records: dict[str, dict[str, Any]]
    """The simulator's, by the id of the reply."""

    def sum(self, name: str, **where: Any) -> int:
        """Of a column over rows."""
        return sum(row[name] for row in self.rows.values() if all(row[column] == value for column, value in where.items()))


def books(gateway: Gateway, judge: ProviderProcess) -> Books:
    """Reads both, once nothing is in the works."""
    until(lambda: judge.open_requests() == 0, "the simulator has noticed that nobody listens")
    until(lambda: gateway.gauge("requests_open") == 0, "all requests have ended")
    until(lambda: settled(gateway), "everything is settled")
    rows = {row["id"]: row for row in gateway.generations()}
    attempts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for attempt in gateway.select("SELECT * FROM attempts ORDER BY generation_id, n"):
        attempts[attempt["generation_id"]].append(attempt)
    records = judge.since(0)
    by_reply = {record["reply_id"]: record for record in records}
    assert len(by_reply) == len(records)
    return Books(gateway, rows, attempts, by_reply)


def settled(gateway: Gateway) -> bool:
    """No money is held for anything."""
    accounts = gateway.operate("GET", "/admin/credits").json()["accounts"]
    budgets = gateway.operate("GET", "/admin/budgets").json()["data"]
    return all(Decimal(line["reserved_usd"]) == 0 for line in [*accounts, *budgets])


def check_attempts(books: Books, operator: Operator, odd: set[int]) -> Counter[str]:
    """Each attempt costs what the simulator's record of it comes to, or is an estimate and says so; no record is there twice."""
    kinds: Counter[str] = Counter()
    taken: set[str] = set()
    # Vectors have no id of their own.
    vectors: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for record in books.records.values():
        if record["dialect"] == EMBEDDINGS_RECORD:
            vectors[record["tag"], record["status"]].append(record)
    for row in books.rows.values():
        start = sum(began <= row["started_at_ms"] for began in operator.starts)
        factor = 0 if row["model"].endswith(":free") else operator.factor.get((start, row["price_version"]))
        own = [attempt for attempt in books.attempts[row["id"]] if attempt["n"] < FIRST_SHADOW]
        assert row["upstream_cost_nanousd"] == sum(attempt["upstream_cost_nanousd"] for attempt in own), (row, own)
        for attempt in books.attempts[row["id"]]:
            record = books.records.get(attempt["upstream_id"])
            if row["api_type"] == EMBEDDINGS and (left := vectors[int(row["session_id"]), attempt["status"]]):
                record = left.pop()
            cost, flags = attempt["upstream_cost_nanousd"], attempt["flags"]
            where = json.dumps([row, attempt, record])
            kinds["overtaken"] += attempt["error"] == "overtaken"
            if record is None:
                assert not attempt["upstream_id"], where
                assert cost == 0 or flags & (ESTIMATED | RECOVERED) or row["flags"] & RECOVERED, where
                kinds["unnamed"] += 1
                continue
            assert record["reply_id"] not in taken, where
            taken.add(record["reply_id"])
            is_whole = record["outcome"] == "complete" and row["outcome"] == "completed" and row["native_finish_reason"] != "budget"
            if flags & ESTIMATED or row["flags"] & RECOVERED:
                kinds["estimated"] += 1
                # Figures that came, to the end, and can be believed are taken.
                assert not is_whole or record["tag"] in odd, where
                continue
            prices = [price(record, attempt, factor) for factor in (FACTORS if factor is None else (factor,))]
            if record["dialect"] == GEMINI and not is_whole:
                # Gemini counts on the way: what it had said when its stream broke off, or was left at the budget's edge.
                assert cost <= max(prices), where
                kinds["counted on the way"] += 1
                continue
            kinds["exact"] += 1
            assert cost in prices, where
    # What was billed and has no attempt of its name: replies that were left, failed or broke off before they had told it. There are
    # attempts for them that say so; but a process that is killed loses its shadows, and what a customer had just sent.
    kinds["unheard"] = sum(record["status"] == 200 and id not in taken for id, record in books.records.items())
    assert kinds["unheard"] <= kinds["unnamed"] + len(operator.starts) * 2 * CUSTOMERS, kinds
    return kinds


def check_rows(books: Books) -> None:
    """Who is charged what."""
    for row in books.rows.values():
        own = [attempt for attempt in books.attempts[row["id"]] if attempt["n"] < FIRST_SHADOW]
        charged = row["charged_nanousd"]
        if row["response_cache_source_id"]:
            assert (charged, row["upstream_cost_nanousd"], own, row["prompt_tokens"], row["completion_tokens"]) == (0, 0, [], 0, 0), row
            source = books.rows[row["response_cache_source_id"]]
            assert (
                source["key_id"] == row["key_id"] and source["outcome"] == "completed" and row["saved_nanousd"] == source["charged_nanousd"]
            )
        elif row["outcome"] == "completed":
            answered = [attempt for attempt in own if not attempt["error"]]
            assert [attempt["upstream_cost_nanousd"] for attempt in answered] == [charged], (row, own)
        elif row["outcome"] == "void" or (row["outcome"] == "failed" and not row["flags"] & CONTENT):
            assert charged == 0, (row, own)
        else:
            assert 0 <= charged <= row["upstream_cost_nanousd"], (row, own)


def check_deals(books: Books, market: Market) -> Counter[str]:
    """Each reply that names a generation has one record, and said what it cost."""
    kinds: Counter[str] = Counter()
    first: dict[str, Deal] = {}
    for deal in market.deals:
        kinds[str(deal.status)] += 1
        if not deal.generation:
            kinds["no id"] += 1
            continue
        row = books.rows.get(deal.generation)
        if row is None:
            # Its head went out while it waited, for another's reply or for a provider's key, and it came to nothing.
            assert (
                deal.stream and deal.status == 200 and deal.reply.startswith((b": keep-alive", b"event: ping", b"event: response.created"))
            ), deal
            assert not deal.complete or b"error" in deal.reply, deal
            kinds["came to nothing"] += 1
            continue
        if deal.replayed:
            kinds["replayed"] += 1
        kinds["hit"] += deal.hit
        assert deal.hit <= bool(row["response_cache_source_id"]), (deal, row)
        if deal.complete and deal.status == 200 and deal.cost is not None and row["outcome"] == "completed":
            kinds["cost told"] += 1
            assert deal.cost * 10**9 == row["charged_nanousd"], (deal, row)
        if deal.complete and deal.status == 200:
            before = first.setdefault(deal.generation, deal)
            assert before is deal or (before.reply == deal.reply and (before.replayed or deal.replayed)), (before, deal)
    return kinds


def check_limits(books: Books, operator: Operator) -> None:
    """Nobody has spent more than was allowed: without strictness, by no more than calls have cost beyond what was held for them."""
    keys = {row["name"]: row["id"] for row in books.gateway.select("SELECT id, name FROM keys")}
    teams = {row["name"]: row["id"] for row in books.gateway.select("SELECT id, name FROM teams")}
    accounts = {row["name"]: row["id"] for row in books.gateway.select("SELECT id, name FROM accounts")}

    def spent(column: str, id: int) -> tuple[int, int]:
        rows = [row for row in books.rows.values() if row[column] == id]
        return sum(row["charged_nanousd"] for row in rows), sum(max(0, row["charged_nanousd"] - row["reserved_nanousd"]) for row in rows)

    strict = {keys[name] for name in STRICT}
    over = [row for row in books.rows.values() if row["key_id"] in strict and row["charged_nanousd"] > row["reserved_nanousd"]]
    assert not over, json.dumps([(row, books.attempts[row["id"]], books.records.get(row["upstream_id"])) for row in over])
    for name, limit in LIMITS_NANOUSD.items():
        charged, beyond = spent("key_id", keys[name])
        assert charged <= limit + beyond, (name, charged, beyond)
    charged, beyond = spent("team_id", teams["red"])
    assert charged <= RED_NANOUSD + beyond
    charged, beyond = spent("account_id", accounts["prepaid"])
    assert charged <= operator.granted["prepaid"] + beyond


def check_sums(books: Books, operator: Operator) -> None:
    """Every place that adds up says what the rows say."""
    gateway = books.gateway
    charged, cost = books.sum("charged_nanousd"), books.sum("upstream_cost_nanousd")
    shadows = [attempt for all in books.attempts.values() for attempt in all if attempt["n"] >= FIRST_SHADOW]
    cost += sum(attempt["upstream_cost_nanousd"] for attempt in shadows)
    done = gateway.run("usage", "--by", "key", "--by", "model", "--json")
    assert done.returncode == 0, done
    shown = {"command": json.loads(done.stdout)}
    for by in ("model", "key", "provider", "team", "preset", "app", "key,model", "preset,model,provider", "day"):
        shown[by] = gateway.operate("GET", f"/admin/usage?by={by}").json()
    for by, sums in shown.items():
        assert sums["total"]["requests"] == len(books.rows), (by, sums["total"])
        assert [nano(sums["total"][name]) for name in ("charged_usd", "upstream_cost_usd")] == [charged, cost], (by, sums["total"])
        lines = [*sums["data"], *filter(None, [sums.get("other")])]
        assert sum(nano(line["charged_usd"]) for line in lines) == charged, (by, sums)
    for account, key in (("default", MANAGEMENT_KEY), ("prepaid", secret("prepaid_manager"))):
        [standing] = [each for each in gateway.operate("GET", "/admin/credits").json()["accounts"] if each["account"] == account]
        [id] = [row["id"] for row in gateway.select("SELECT id FROM accounts WHERE name = ?", [account])]
        used = books.sum("charged_nanousd", account_id=id)
        assert nano(standing["usage_usd"]) == used
        assert nano(standing["balance_usd"]) == nano(standing["credits_usd"]) - used
        told = json.loads(gateway.get("/api/v1/credits", key=key).body, parse_float=Decimal)["data"]
        assert nano(told["total_usage"]) == used and nano(told["total_credits"]) == nano(standing["credits_usd"]), told
        for dimension in ("model", "provider", "api_key_id", "preset", "split", "team"):
            query = {"metrics": ["total_usage", "request_count"], "dimensions": [dimension], "granularity": "day", "limit": 10000}
            found = json.loads(gateway.post("/api/v1/analytics/query", query, key=key).body, parse_float=Decimal)["data"]["data"]
            expected = sum(row["account_id"] == id for row in books.rows.values())
            if dimension in ("model", "provider", "api_key_id"):
                assert (sum(nano(row["total_usage"]) for row in found), sum(row["request_count"] for row in found)) == (used, expected), (
                    dimension
                )
    ids = {row["name"]: row["id"] for row in gateway.select("SELECT id, name FROM keys")}
    for name in KEYS:
        told = json.loads(gateway.get("/api/v1/key", key=secret(name)).body, parse_float=Decimal)["data"]
        used = books.sum("charged_nanousd", key_id=ids[name])
        assert [nano(told[each]) for each in ("usage", "usage_daily")] == [used, used], (name, told)
        if (limit := LIMITS_NANOUSD.get(name)) is not None:
            assert nano(told["limit_remaining"]) == limit - used, (name, told)
    for line in gateway.operate("GET", "/admin/budgets").json()["data"]:
        assert nano(line["spent_usd"]) == books.sum("charged_nanousd", **{f"{line['kind']}_id": line["id"]}), line
        assert nano(line["reserved_usd"]) == 0
    free = json.loads(gateway.get("/api/v1/key", key=secret("plain")).body)["data"]["free_model_daily_requests"]
    [id] = [row["id"] for row in gateway.select("SELECT id FROM accounts WHERE name = 'default'")]
    assert free["used"] == sum(row["account_id"] == id and row["flags"] >> 8 & 1 for row in books.rows.values()), free


def warm(gateway: Gateway) -> None:
    """What is slow for an endpoint is known after twenty streams, and looked at once a second: from then on some are hedged."""
    body = {"model": "mix/openai_chat", "messages": [{"role": "user", "content": "Hello"}], "stream": True, "session_id": "0"}
    end, asked = time.monotonic() + 1.1, 0
    while asked < 40 or time.monotonic() < end:
        assert gateway.post("/v1/chat/completions", body).status == 200
        time.sleep(0.02)
        asked += 1


def nano(usd: Any) -> int:
    """Nano-dollars of a figure."""
    amount = Decimal(str(usd)) * 10**9
    assert amount == int(amount), usd
    return int(amount)


def check_verified(gateway: Gateway) -> None:
    verified = gateway.run("ledger", "verify", "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["ok"], verified
    assert "violation" not in gateway.stderr(), gateway.stderr()[-3000:]


def check_rows_that_go(books: Books) -> None:
    """When the rows are as old as may be they go, and what they came to stays."""
    gateway = books.gateway
    assert gateway.stop() == 0
    with contextlib.closing(sqlite3.connect(gateway.data_dir / "fairlead.db")) as database, database:
        database.execute("UPDATE generations SET settled_at_ms = settled_at_ms - ?", (40 * DAY_MS,))
        for table in ("usage_rollup", "usage_pair", "latency_hist", "error_rollup"):
            database.execute(f"UPDATE {table} SET start_ms = start_ms - ?", (40 * DAY_MS,))
    gateway.start()
    until(lambda: len(gateway.generations()) == 1, "all rows but the newest are gone")
    ids = {row["name"]: row["id"] for row in gateway.select("SELECT id, name FROM keys")}
    for name in KEYS:
        told = json.loads(gateway.get("/api/v1/key", key=secret(name)).body, parse_float=Decimal)["data"]
        assert nano(told["usage"]) == books.sum("charged_nanousd", key_id=ids[name]), name
    accounts = {row["id"]: row["name"] for row in gateway.select("SELECT id, name FROM accounts")}
    used = {each["account"]: nano(each["usage_usd"]) for each in gateway.operate("GET", "/admin/credits").json()["accounts"]}
    assert used == {name: books.sum("charged_nanousd", account_id=id) for id, name in accounts.items()}
    check_verified(gateway)


@pytest.fixture
def judge() -> Iterator[ProviderProcess]:
    with ProviderProcess() as running:
        until(lambda: running.mark() == 0, "the simulator answers")
        yield running


def test_everything_at_once(
    judge: ProviderProcess, dice: random.Random, counts: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    deals, kills = counts(400, 8_000), counts(1, 12)
    # Intervals that began anew in between would have other sums.
    if (left_s := (DAY_MS - time.time() * 1000 % DAY_MS) / 1000) < counts(90, 300):
        time.sleep(left_s)
    gateway = Gateway(configuration(judge.address, FACTORS[0]))
    try:
        operator = Operator(gateway, judge.address, dice)
        gateway.start()
        operator.started()
        operator.grant("default", "9")
        operator.grant("prepaid", "0.002")
        market = Market(gateway, dice)
        warm(gateway)
        with market.open():
            for part in range(1, kills + 2):
                while len(market.deals) < part * deals // (kills + 1) and not market.surprises:
                    operator.acts()
                    time.sleep(0.02)
                if part <= kills:
                    with market.closed():
                        gateway.kill()
                        gateway.start()
                        operator.started()
                        warm(gateway)
        assert not market.surprises, market.surprises[:5]
        found = books(gateway, judge)
        kinds = check_attempts(found, operator, market.odd_tags())
        check_rows(found)
        replies = check_deals(found, market)
        check_limits(found, operator)
        check_sums(found, operator)
        check_verified(gateway)
        with capsys.disabled():
            outcomes = Counter(f"{row['outcome']} {row['error']}".strip() for row in found.rows.values())
            shadows = sum(attempt["n"] >= FIRST_SHADOW for all in found.attempts.values() for attempt in all)
            print(f"\n{len(market.deals)} requests, {len(found.rows)} generations, {shadows} shadows")
            for counted in (replies, outcomes, kinds):
                print("  " + ", ".join(f"{name}: {number}" for name, number in counted.most_common()))
        check_rows_that_go(found)
        assert gateway.stop() == 0
        check_verified(gateway)
    finally:
        gateway.close()
