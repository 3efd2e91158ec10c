"""The figures: documented as they are exposed, open to who may see them, and equal to what the ledger and the books say."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Provider, configuration, until
from e2e.wire import DIALECTS, PATHS, Wire, body_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
CHAT = PATHS["openai_chat"]


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose figures begin at nothing."""
    with Gateway(configuration(provider.address)) as running:
        yield running


def exposed(text: str) -> dict[str, tuple[str, str]]:
    """Name → type and help of every family."""
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    types = dict(re.findall(r"^# TYPE (\S+) (.+)$", text, re.MULTILINE))
    assert list(helps) == list(types)
    return {name: (types[name], helps[name]) for name in types}


def samples(text: str) -> dict[str, float]:
    """Sample with its labels → value."""
    found = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    assert len({name for name, _, _ in found}) == len(found)
    return {name: float(value) for name, _, value in found}


def text_of(gateway: Gateway) -> str:
    """From the admin port."""
    reply = gateway.operate("GET", "/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return reply.body.decode()


def test_every_figure_is_documented_as_it_is(gateway: Gateway) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: type for name, type, _ in rows} == {name: type for name, (type, _) in exposed(text_of(gateway)).items()}
    assert len({name for name, _, _ in rows}) == len(rows)
    for name, type, meaning in rows:
        assert meaning.endswith("."), name
        assert name.startswith("fairlead_") and name.endswith("_total") == (type == "counter"), name
        assert type != "histogram" or name.endswith("_seconds"), name


def test_labels_are_documented(gateway: Gateway) -> None:
    document = DOCUMENT.read_text()
    found = re.findall(r'^(\w+)\{(\w+)="([^"]+)"\}', text_of(gateway), re.MULTILINE)
    assert {label for _, label, _ in found} == {"class", "outcome", "severity", "invariant", "le"}
    for name, label, value in found:
        if label != "le":
            assert f"`{label}`" in document, name
        if label in ("outcome", "severity"):
            assert f"`{value}`" in document, (name, value)


def test_who_may_see_them(gateway: Gateway) -> None:
    for token, status in (("", 401), (KEY, 401), (ADMIN_TOKEN, 200)):
        assert gateway.operate("GET", "/metrics", token=token).status == status
        assert gateway.get("/metrics", key=token or None).status == status
    assert exposed(gateway.get("/metrics", key=ADMIN_TOKEN).body.decode()) == exposed(text_of(gateway))


def test_the_text_is_well_formed(gateway: Gateway) -> None:
    text = text_of(gateway)
    assert text.endswith("\n")
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
        elif not line.startswith("# TYPE "):
            assert re.fullmatch(rf'{family}(_bucket|_sum|_count)?(\{{\w+="[^"\\]*"\}})? [0-9.]+', line), line
    found = samples(text)
    for name, (type, _) in exposed(text).items():
        if type == "histogram":
            buckets = [(sample, value) for sample, value in found.items() if sample.startswith(f"{name}_bucket{{")]
            assert [value for _, value in buckets] == sorted(value for _, value in buckets)
            assert buckets[-1] == (f'{name}_bucket{{le="+Inf"}}', found[f"{name}_count"])


def test_they_agree_with_the_ledger_and_the_books(gateway: Gateway, provider: Provider) -> None:
    before, mark = samples(text_of(gateway)), provider.mark()
    with Wire(gateway.address) as wire:
        for dialect in DIALECTS:
            for stream in (False, True):
                for sim in ({"cached_tokens": 5}, {"tokens": 17}, {"fault": {"kind": "status", "status": 503}}):
                    wire.post(PATHS[dialect], body_of("some words to count", model="lab/fast", dialect=dialect, stream=stream, sim=sim))
                    wire.answer()
        for _ in range(3):
            wire.post(CHAT, body_of(model="lab/nothing"))
            assert wire.answer().status == 404
    with Wire(gateway.address) as leaving:
        leaving.post(CHAT, body_of(model="lab/fast", stream=True, sim={"tokens": 100_000, "pace_ms": 5}))
        next(leaving.events(leaving.head()))
    records = provider.since(mark, expected=13)
    until(lambda: samples(text_of(gateway))["fairlead_requests_open"] == 0, "the client that left is noticed")
    rows = gateway.generations()
    after = samples(text_of(gateway))

    def grown(sample: str) -> int:
        return round(after[sample] - before[sample])

    assert grown('fairlead_generations_total{outcome="completed"}') == 8
    assert grown('fairlead_generations_total{outcome="failed"}') == 4
    assert grown('fairlead_generations_total{outcome="cancelled"}') == 1
    # 8 good ones, the one that was left and our own question about the key, 4 refusals of the provider, 3 of ours.
    assert [grown(f'fairlead_replies_total{{class="{status}xx"}}') for status in range(6)] == [0, 0, 10, 0, 3, 4]
    for sample, column in (
        ("fairlead_charged_nanousd_total", "charged_nanousd"),
        ("fairlead_upstream_cost_nanousd_total", "upstream_cost_nanousd"),
        ("fairlead_reserved_nanousd_total", "reserved_nanousd"),
        ("fairlead_completion_tokens_total", "completion_tokens"),
        ("fairlead_cached_tokens_total", "cache_read_tokens"),
    ):
        assert grown(sample) == sum(row[column] for row in rows) > 0, sample
    complete = [record for record in records if record["outcome"] == "complete"]
    left = next(row for row in rows if row["outcome"] == "cancelled")
    assert grown("fairlead_prompt_tokens_total") == sum(record["prompt_tokens"] for record in complete) + left["prompt_tokens"]
    assert grown("fairlead_cached_tokens_total") == sum(record["cached_tokens"] for record in complete)
    assert grown("fairlead_completion_tokens_total") == sum(record["completion_tokens"] for record in complete) + left["completion_tokens"]
    for name, count in (("generation_duration", 13), ("own_work", 13), ("first_content", 9)):
        assert grown(f"fairlead_{name}_seconds_count") == count, name
    longest = max(row["total_us"] for row in rows) / 1e6
    assert after["fairlead_generation_duration_seconds_sum"] - before["fairlead_generation_duration_seconds_sum"] >= longest
    assert after["fairlead_ready"] == after["fairlead_journal_healthy"] == 1
    assert after["fairlead_draining"] == after["fairlead_journal_failures_total"] == 0
    assert after["fairlead_keys"] == len(gateway.operate("GET", "/admin/keys").json()["data"])
    assert gateway.post(CHAT, body_of()).status == 200
    until(lambda: samples(text_of(gateway))["fairlead_upstream_idle_connections"] >= 1, "a connection is kept")


def test_clients_that_leave_before_a_reply_are_counted(gateway: Gateway, provider: Provider) -> None:
    name = 'fairlead_replies_total{class="0xx"}'
    before, mark = samples(text_of(gateway))[name], provider.mark()
    with Wire(gateway.address) as leaving:
        leaving.post(CHAT, body_of(sim={"fault": {"kind": "stall_head"}}))
        until(lambda: provider.open_requests() == 1, "it is at the provider")
    provider.since(mark, expected=1)
    until(lambda: samples(text_of(gateway))["fairlead_requests_open"] == 0, "the client that left is noticed")
    assert samples(text_of(gateway))[name] == before + 1


def test_no_turn_keeps_a_worker(provider: Provider, counts: Callable[[int, int], int]) -> None:
    """Bodies, replies and events of all sizes at once. Prints how long turns took: to be looked at, not failed by on a busy machine."""
    requests = counts(60, 2_000)

    def send(number: int) -> None:
        tokens, token_bytes = ((20, 4), (200, 40), (40, 20_000), (5, 400_000))[number % 4]
        text = "some words, \\n and \\u00e9 " * (1, 1_000, 40_000)[number % 3]
        body = body_of(text, model="lab/fast", stream=number % 2 == 0, sim={"tokens": tokens, "token_bytes": token_bytes})
        with Wire(gateway.address) as wire:
            wire.post(CHAT, body)
            assert wire.answer().status == 200

    with Gateway(configuration(provider.address, server="workers = 1")) as gateway, ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(requests)))
        found = samples(text_of(gateway))
    turns = found["fairlead_turn_seconds_count"]
    slow = turns - found['fairlead_turn_seconds_bucket{le="0.000256"}']
    print(f"{turns:.0f} turns timed, {slow:.0f} took longer than 256 us")
    assert turns > 0
