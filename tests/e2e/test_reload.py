"""A new configuration while traffic flows: it holds for what begins later, and what has begun keeps what it began with."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, OTHER_KEY, PRICES, Gateway, Provider, configuration, cost_nanousd, until
from e2e.wire import DIALECTS, PATHS, Wire, body_of, is_terminal

DEARER = {"prompt": "31.4159", "completion": "271.828", "cache_read": "3.14", "cache_write": "31.4159"}


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    """One per test: its file changes."""
    with Gateway(configuration(provider.address)) as running:
        yield running


def write(gateway: Gateway, text: str) -> None:
    """Puts another text into the configuration file."""
    assert gateway.config is not None
    gateway.config.write_text(text)


def signalled(gateway: Gateway) -> str:
    """Reloads with SIGHUP; what the log says about it."""
    before = len(gateway.stderr())
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)
    return str(
        until(lambda: gateway.stderr()[before:] if gateway.stderr()[before:].endswith("\n") else "", "the log says what became of it")
    )


def requested(gateway: Gateway) -> str:
    """Reloads with the operator's route; what it says."""
    reply = gateway.operate("POST", "/admin/reload")
    if reply.status == 200:
        return str(reply.json()["data"]["message"])
    assert reply.status == 422
    return str(reply.json()["error"]["message"])


Reload = Callable[[Gateway], str]
WAYS = pytest.mark.parametrize("reload", [signalled, requested])


def status(gateway: Gateway, *, key: str = KEY, model: str = "lab/echo") -> int:
    """Of a small call."""
    return gateway.post("/v1/chat/completions", body_of(model=model), key=key).status


@WAYS
def test_a_good_file_is_in_force_at_once(gateway: Gateway, provider: Provider, reload: Reload) -> None:
    assert status(gateway, model="lab/more") == 404
    more = '[models."lab/more"]\n[[models."lab/more".endpoints]]\nprovider = "lab"\nupstream_model = "sim/fast"\n'
    write(gateway, configuration(provider.address, tables=more).replace(f'secret = "{OTHER_KEY}"', 'secret = "another-key-of-the-file"'))
    assert "configuration 2 in force" in reload(gateway)
    assert status(gateway, model="lab/more") == 200
    assert status(gateway, key=OTHER_KEY) == 401
    assert status(gateway, key="another-key-of-the-file") == 200
    assert "lab/more" in {model["id"] for model in gateway.get("/api/v1/models").json()["data"]}


@WAYS
def test_a_bad_file_changes_nothing_and_is_told(gateway: Gateway, provider: Provider, reload: Reload) -> None:
    good = configuration(provider.address)
    write(gateway, good.replace("upstream_model", "upstream_modl", 1).replace(f'[keys.e2e]\nsecret = "{KEY}"', ""))
    said = reload(gateway)
    assert "stays in force" in said
    assert f"{gateway.config}:" in said and 'did you mean "upstream_model"?' in said
    assert [status(gateway, key=key) for key in (KEY, OTHER_KEY)] == [200, 200]
    assert gateway.config is not None
    gateway.config.unlink()
    assert "stays in force" in reload(gateway)
    assert status(gateway) == 200
    write(gateway, good)
    assert "in force" in reload(gateway)
    assert status(gateway) == 200


def test_a_saved_file_is_noticed_when_that_is_asked_for(gateway: Gateway, provider: Provider) -> None:
    write(gateway, configuration(provider.address, server="watch = true"))
    requested(gateway)
    write(gateway, configuration(provider.address, server="watch = true", tables="[keys.x\n"))
    until(lambda: "stays in force" in gateway.stderr(), "the bad file is noticed")
    assert status(gateway) == 200
    write(gateway, configuration(provider.address, server="watch = true", tables='[keys.saved]\nsecret = "a-key-that-was-just-saved"\n'))
    until(lambda: status(gateway, key="a-key-that-was-just-saved") == 200, "the saved key works")


def test_what_needs_a_restart_is_said(gateway: Gateway, provider: Provider) -> None:
    write(gateway, configuration(provider.address, server="drain_ms = 5\nworkers = 1"))
    said = requested(gateway)
    assert "server.drain_ms" in said and "server.workers" in said and "next start" in said


def test_a_new_admin_token_opens_both_ports_and_the_old_one_neither(gateway: Gateway, provider: Provider) -> None:
    def opens(token: str) -> list[int]:
        return [gateway.operate("GET", "/metrics", token=token).status, gateway.get("/metrics", key=token).status]

    assert (opens(ADMIN_TOKEN), opens("another-admin-token")) == ([200, 200], [401, 401])
    write(gateway, configuration(provider.address).replace(ADMIN_TOKEN, "another-admin-token"))
    assert "next start" not in requested(gateway)
    assert (opens(ADMIN_TOKEN), opens("another-admin-token")) == ([401, 401], [200, 200])
    # Without one in the file, it is the one that follows from the secret.
    write(gateway, configuration(provider.address).replace(f'admin_token = "{ADMIN_TOKEN}"', ""))
    signalled(gateway)
    assert opens("another-admin-token") == [401, 401]


def test_streams_go_on_at_the_price_they_began_with(gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    sim = {"tokens": 30, "pace_ms": 30}
    wires = [Wire(gateway.address) for _ in DIALECTS]
    streams: list[Iterator[bytes]] = []
    for wire, dialect in zip(wires, DIALECTS, strict=True):
        wire.post(PATHS[dialect], body_of(model="lab/fast", dialect=dialect, stream=True, sim=sim))
        streams.append(wire.events(wire.head()))
        next(streams[-1])
    # Everything that carries them is gone from the file, and prices are others.
    write(gateway, configuration("127.0.0.1:1", prices=DEARER).replace(KEY, "a-wholly-different-key-of-the-file"))
    requested(gateway)
    write(gateway, configuration(provider.address, prices=DEARER))
    requested(gateway)
    for stream, dialect in zip(streams, DIALECTS, strict=True):
        assert is_terminal(dialect, list(stream)[-1])
    # The next call on the same connection begins under the new one.
    for wire, dialect in zip(wires, DIALECTS, strict=True):
        wire.post(PATHS[dialect], body_of(model="lab/fast", dialect=dialect, sim={"tokens": 7}))
        assert wire.answer().status == 200
        wire.close()
    records = {record["reply_id"]: record for record in provider.since(mark, expected=4)}
    rows = gateway.generations()
    assert [row["price_version"] for row in rows] == [1, 1, 3, 3]
    for row in rows:
        cost = cost_nanousd(records[row["upstream_id"]], PRICES if row["streamed"] else DEARER)
        assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost


def test_every_call_is_charged_by_the_prices_it_was_reserved_at(
    gateway: Gateway, provider: Provider, counts: Callable[[int, int], int]
) -> None:
    """Prices that change all the time, under load: each row names the version it was reserved at, and its cost is that of this version,
    whole or streamed, finished or left. The books agree."""
    over = threading.Event()
    failed: list[Exception] = []

    def customer(dialect: str, stream: bool) -> None:
        try:
            number = 0
            while not over.is_set():
                number += 1
                with Wire(gateway.address) as wire:
                    wire.post(PATHS[dialect], body_of(dialect=dialect, model="lab/fast", stream=stream, sim={"tokens": 5, "pace_ms": 5}))
                    if not stream:
                        assert wire.answer().status == 200
                        continue
                    events = wire.events(wire.head())
                    # Every third one is left in the middle.
                    for _ in range(3) if number % 3 == 0 else iter(int, 1):
                        if next(events, None) is None:
                            break
        except Exception as error:
            failed.append(error)

    def prices(version: int) -> dict[str, str]:
        return {"prompt": f"{version}.5", "completion": f"{2 * version}.25", "cache_read": "1", "cache_write": "1"}

    mark = provider.mark()
    customers = [threading.Thread(target=customer, args=(dialect, stream)) for dialect in DIALECTS for stream in (False, True)]
    write(gateway, configuration(provider.address, prices=prices(2)))
    requested(gateway)
    for thread in customers:
        thread.start()
    versions = counts(20, 400)
    for version in range(3, versions + 3):
        write(gateway, configuration(provider.address, prices=prices(version)))
        assert "in force" in requested(gateway)
        time.sleep(0.1)
    over.set()
    for thread in customers:
        thread.join()
    assert not failed
    assert gateway.gauge("snapshot_version") == versions + 2
    until(lambda: provider.open_requests() == 0, "nothing is left open")
    rows = until(lambda: len(found := gateway.generations()) == provider.mark() - mark and found, "all are settled")
    records = {record["reply_id"]: record for record in provider.since(mark)}
    assert len({row["price_version"] for row in rows}) > versions / 2
    for row in rows:
        usd = prices(row["price_version"])
        cost = Decimal(usd["prompt"]) * 1000 * row["prompt_tokens"] + Decimal(usd["completion"]) * 1000 * row["completion_tokens"]
        assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == int(cost.to_integral_value(ROUND_CEILING)), row
        if row["outcome"] == "completed":
            assert row["charged_nanousd"] == cost_nanousd(records[row["upstream_id"]], usd)
    assert {row["outcome"] for row in rows} == {"completed", "cancelled"}
    verified = gateway.run("ledger", "verify", "--json")
    assert verified.returncode == 0, verified.stdout


def test_what_lives_in_the_process_survives(gateway: Gateway, provider: Provider) -> None:
    made = gateway.operate("POST", "/admin/keys", {"name": "made"}).json()
    gateway.operate("PATCH", f"/admin/keys/{made['data']['id']}", {"disabled": True})
    kept = gateway.operate("POST", "/admin/keys", {"name": "kept"}).json()["key"]
    assert status(gateway, key=kept) == 200
    counted = sample(gateway, "fairlead_generations_total", 'outcome="completed"')

    def ids() -> dict[str, int]:
        return {key["name"]: key["id"] for key in gateway.operate("GET", "/admin/keys").json()["data"]}

    known = ids()
    text = configuration(provider.address)
    write(gateway, text.replace(f'[keys.other]\nsecret = "{OTHER_KEY}"\nmodels = ["lab/echo"]\n', ""))
    requested(gateway)
    assert (status(gateway, key=made["key"]), status(gateway, key=kept), status(gateway, key=OTHER_KEY)) == (401, 200, 401)
    write(gateway, text)
    requested(gateway)
    assert status(gateway, key=OTHER_KEY) == 200
    # A key that comes back is the one it was, with its usage.
    assert ids() == known
    assert sample(gateway, "fairlead_generations_total", 'outcome="completed"') == counted + 2


def sample(gateway: Gateway, name: str, labels: str) -> int:
    """A figure of the metrics."""
    text = gateway.operate("GET", "/metrics").body.decode()
    return int(next(line for line in text.splitlines() if line.startswith(f"{name}{{{labels}}} ")).rpartition(" ")[2])


def test_no_request_notices_a_reload(gateway: Gateway, provider: Provider, counts: Callable[[int, int], int]) -> None:
    over = threading.Event()
    seen: list[Any] = []

    def customer(dialect: str) -> None:
        try:
            with Wire(gateway.address) as wire:
                while not over.is_set():
                    wire.post(PATHS[dialect], body_of(dialect=dialect, stream=True))
                    seen.append(is_terminal(dialect, list(wire.events(wire.head()))[-1]))
        except Exception as error:
            seen.append(error)

    customers = [threading.Thread(target=customer, args=(dialect,)) for dialect in DIALECTS]
    for thread in customers:
        thread.start()
    for number in range(counts(15, 300)):
        write(gateway, configuration(provider.address, prices=(PRICES, DEARER)[number % 2]))
        assert "in force" in requested(gateway)
    over.set()
    for thread in customers:
        thread.join()
    assert len(seen) >= 15
    assert set(seen) == {True}
