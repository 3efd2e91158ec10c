"""Crowds at a limit: a thousand requests at the same moment on a budget for fifty, and rates that let in exactly their number.

`FAIRLEAD_PROOF=1`: 1,000 requests, 20 times, for every scope.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.house import CACHE_WRITE_NANOUSD, COMPLETION_NANOUSD, Gateway, Provider, configuration, split

BODY = {"model": "lab/echo", "messages": [{"role": "user", "content": "Say something about ropes."}], "max_tokens": 60, "user": "ann"}
AT_ONCE = 50
"""As many as the budget is for."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Provider() as provider, Gateway(configuration(provider.address)) as gateway:
        yield gateway


async def _ask(address: tuple[str, int], head: str, body: bytes, start: asyncio.Barrier) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        # All but the last byte: what is left of each request is one packet.
        writer.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body[:-1])
        await writer.drain()
        await start.wait()
        writer.write(body[-1:])
        reply = await reader.read()
        return int(reply.split(b" ", 2)[1]), reply
    finally:
        writer.close()


def crowd(gateway: Gateway, key: str, bodies: list[dict[str, Any]]) -> list[tuple[int, bytes]]:
    """All of these at the same moment; each status and reply."""

    async def run() -> list[tuple[int, bytes]]:
        address, start = split(gateway.address), asyncio.Barrier(len(bodies))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        return await asyncio.gather(*(_ask(address, head, json.dumps(body).encode(), start) for body in bodies))

    return asyncio.run(run())


def _payer(gateway: Gateway, scope: str, turn: int, limit: dict[str, Any], strict: bool) -> str:
    """A key whose calls are paid by somebody new of this kind with these limits."""
    name = f"{scope}-{turn}-{'strict' if strict else 'usual'}"

    def made(path: str, body: dict[str, Any]) -> Any:
        reply = gateway.operate("POST", path, body)
        assert reply.status == 201, reply.body
        return reply.json()

    owners: dict[str, Any] = {}
    if scope == "account":
        made("/admin/accounts", {"name": name, **limit})
        owners = {"account": name}
    elif scope in ("team", "user"):
        made(f"/admin/{scope}s", {"name": name, **limit})
        owners = {scope: name}
    elif scope == "end user":
        owners = {"end_user": limit}
    else:
        owners = limit
    return str(made("/admin/keys", {"name": name, "strict_budget": strict, **owners})["key"])


@pytest.mark.parametrize("scope", ["key", "user", "team", "account", "end user"])
def test_a_thousand_at_once_spend_no_more_than_there_is(gateway: Gateway, scope: str, counts: Callable[[int, int], int]) -> None:
    """Strict or not: what is held is enough for what these come to, so that nothing is overspent either way."""
    held = Counter[bool]()
    for turn in range(counts(1, 20)):
        for strict in (True, False):
            prompt_tokens = len(json.dumps(BODY)) if strict else -(-len(json.dumps(BODY)) // 3)
            # Any token of a prompt may be written to the provider's cache: nobody knows before.
            ceiling = prompt_tokens * CACHE_WRITE_NANOUSD + 60 * COMPLETION_NANOUSD
            limit_nanousd = AT_ONCE * ceiling
            limit = {"limit_usd": f"{limit_nanousd / 1e9:.9f}", "limit_reset": "daily"}
            key = _payer(gateway, scope, turn, limit, strict)
            replies = crowd(gateway, key, [BODY] * counts(300, 1000))
            statuses = Counter(status for status, _ in replies)
            assert set(statuses) <= {200, 402}, statuses
            # At least those for whose ceilings there is money; as what they leave over is given back, some more.
            assert statuses[200] >= AT_ONCE, statuses
            rows = gateway.generations("key_id = (SELECT MAX(id) FROM keys)")
            spent = sum(row["charged_nanousd"] for row in rows)
            assert len(rows) == statuses[200] and 0 < spent <= limit_nanousd, (strict, spent, limit_nanousd)
            assert {row["reserved_nanousd"] for row in rows} == {ceiling}
            assert not any(row["charged_nanousd"] > row["reserved_nanousd"] for row in rows)
            held[strict] += statuses[200]
            told = b"this " + scope.encode()
            assert all(told in reply for status, reply in replies if status == 402)
    print(f"{scope}: let in {dict(held)}")
    assert 'fairlead_ledger_violations_total{invariant="reserved"} 0' in gateway.operate("GET", "/metrics").body.decode()


@pytest.mark.parametrize("limit", [{"rpm": 37}, {"tpm": 37 * 80}, {"max_concurrency": 37}])
def test_rates_let_in_exactly_their_number(provider: Provider, limit: dict[str, int], counts: Callable[[int, int], int]) -> None:
    """Of a key, of an account, and of a model. Rates come back while the crowd is served: as much as the clock says, and no more."""
    (name,) = limit
    tables = "".join(f"{key} = {value}\n" for key, value in limit.items())
    config = configuration(provider.address).replace('[models."lab/slow"]\n', f'[models."lab/slow"]\n{tables}')
    # For as long as nobody's tokens are settled nothing is given back.
    body = {"model": "lab/slow", "messages": [{"role": "user", "content": "."}], "max_tokens": 60}
    with Gateway(config) as gateway:
        plain = gateway.operate("POST", "/admin/keys", {"name": "plain"}).json()["key"]
        limited = gateway.operate("POST", "/admin/keys", {"name": "limited", **limit}).json()["key"]
        gateway.operate("POST", "/admin/accounts", {"name": "acme", **limit})
        of_account = gateway.operate("POST", "/admin/keys", {"name": "member", "account": "acme"}).json()["key"]
        for key, model in ((limited, "lab/echo"), (of_account, "lab/echo"), (plain, "lab/slow")):
            began = asyncio.run(_clock())
            replies = crowd(gateway, key, [body | {"model": model}] * counts(200, 1000))
            seconds = asyncio.run(_clock()) - began
            statuses = Counter(status for status, _ in replies)
            assert set(statuses) == {200, 429}, statuses
            refused = [reply.lower() for status, reply in replies if status == 429]
            resource = {"rpm": b"requests", "tpm": b"tokens", "max_concurrency": b"concurrency"}[name]
            named = resource + (b":lab/slow" if model == "lab/slow" else b"")
            assert all(b"x-ratelimit-resource: " + named + b"\r\n" in reply and b"retry-after: " in reply for reply in refused), refused[0]
            if name == "rpm":
                assert 37 <= statuses[200] <= 37 + 37 * seconds / 60 + 1, (statuses, seconds)
            else:
                # Places, and tokens that were not used, come back as calls end; never more at a time than there are.
                assert statuses[200] >= 30, statuses


async def _clock() -> float:
    return asyncio.get_running_loop().time()
