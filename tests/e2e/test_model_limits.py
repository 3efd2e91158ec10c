"""Rates of models and limits of end users through the front door: what is let in, how the rest is refused, what outlives a crash."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import KEY, Gateway, Provider, Reply, configuration, until

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Say something about ropes."}]


def ask(gateway: Gateway, model: str = "lab/echo", key: str = KEY, **more: Any) -> Reply:
    return gateway.post(CHAT, {"model": model, "messages": MESSAGES, "max_tokens": 50, **more}, key=key)


def with_models(provider: Provider, limits: dict[str, str], tables: str = "") -> str:
    text = configuration(provider.address, tables=tables)
    for model, lines in limits.items():
        text = text.replace(f'[models."lab/{model}"]\n', f'[models."lab/{model}"]\n{lines}\n')
    return text


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    limits = {"echo": "rpm = 3", "fast": "tpm = 200", "slow": "max_concurrency = 1", "tools": "rpm = 1"}
    with Gateway(with_models(provider, limits)) as gateway:
        yield gateway


def test_a_models_requests_are_those_of_all_keys(gateway: Gateway) -> None:
    keys = [gateway.operate("POST", "/admin/keys", {"name": f"k{n}", "rpm": 10}).json()["key"] for n in range(2)]
    assert [ask(gateway, key=keys[turn % 2]).status for turn in range(3)] == [200] * 3
    for key in (*keys, KEY):
        refused = ask(gateway, key=key)
        assert refused.status == 429, refused.body
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        told = [refused.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "resource")]
        assert told == ["3", "0", "requests:lab/echo"] and "x-ratelimit-reset" in refused.headers
        assert 'the model "lab/echo" is limited to 3 requests per minute' in refused.json()["error"]["message"]
    # Other models are others, and what was refused took nothing of the keys' own rates: eight more each.
    assert [ask(gateway, "lab/reason", key=keys[0]).status for _ in range(9)] == [200] * 8 + [429]
    # A reload keeps what was taken.
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert ask(gateway).status == 429


def test_a_full_model_is_passed_over(gateway: Gateway) -> None:
    chain = {"models": ["lab/tools", "lab/reason"]}
    first = gateway.post("/api" + CHAT, {"messages": MESSAGES, "max_tokens": 50, **chain}, key=KEY)
    then = gateway.post("/api" + CHAT, {"messages": MESSAGES, "max_tokens": 50, **chain}, key=KEY)
    assert (first.status, then.status) == (200, 200), then.body
    assert (first.headers["x-fairlead-model"], then.headers["x-fairlead-model"]) == ("lab/tools", "lab/reason")
    alone = ask(gateway, "lab/tools")
    assert alone.status == 429 and alone.headers["x-ratelimit-resource"] == "requests:lab/tools"


def test_tokens_come_back_and_so_do_places(gateway: Gateway) -> None:
    never = ask(gateway, "lab/fast", max_tokens=1000)
    assert never.status == 429 and never.headers["x-should-retry"] == "false"
    assert [ask(gateway, "lab/fast", max_tokens=60).status for _ in range(3)] == [200] * 3
    with gateway.stream(CHAT, {"model": "lab/slow", "messages": MESSAGES, "stream": True}) as stream:
        assert stream.status == 200
        refused = ask(gateway, "lab/slow")
        assert refused.status == 429 and refused.headers["x-ratelimit-resource"] == "concurrency:lab/slow", refused.body
    until(lambda: ask(gateway, "lab/slow", max_tokens=1).status == 200, "the place is free again")


def test_another_model_takes_of_its_own_rates(provider: Provider) -> None:
    """A call that goes on to a model whose rates are used up goes to none; one that may go on gives the first one its place back."""
    text = with_models(provider, {"flaky": "max_concurrency = 1", "echo": "rpm = 2"})
    # Nobody listens there.
    text = text.replace(
        "[models.", '[providers.gone]\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:9/v1"\nkeys = ["k"]\n[models.', 1
    )
    text = text.replace('provider = "lab"\nupstream_model = "sim/flaky"', 'provider = "gone"\nupstream_model = "sim/flaky"')
    with Gateway(text) as gateway:
        body = {"models": ["lab/flaky", "lab/echo"], "messages": MESSAGES, "max_tokens": 50}
        replies = [gateway.post("/api" + CHAT, body) for _ in range(4)]
        assert [reply.status for reply in replies[:2]] == [200, 200], replies[0].body
        assert {reply.headers["x-fairlead-model"] for reply in replies[:2]} == {"lab/echo"}
        assert all(reply.status >= 429 for reply in replies[2:]), [reply.status for reply in replies]
        rows = gateway.generations("model = 'lab/echo'")
        assert len(rows) == 2


def test_what_is_passed_over_unsent_takes_nothing(provider: Provider) -> None:
    """The request cannot be said to the second model's first endpoint, but to its second one: that model's rates are taken all the same."""
    text = with_models(provider, {"flaky": "max_concurrency = 1", "echo": "rpm = 1"})
    gone = '[providers.gone]\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:9/v1"\nkeys = ["k"]\n'
    strict = f'[providers.strict]\ndialect = "anthropic_messages"\nbase_url = "http://{provider.address}"\nkeys = ["k"]\n'
    text = text.replace("[models.", gone + strict + "[models.", 1)
    text = text.replace('provider = "lab"\nupstream_model = "sim/flaky"', 'provider = "gone"\nupstream_model = "sim/flaky"')
    table = '[[models."lab/echo".endpoints]]'
    first = f'{table}\nprovider = "strict"\nupstream_model = "sim/echo"\nusd_per_million = {{ prompt = "1", completion = "1" }}\n'
    text = text.replace(table, first + table, 1)
    with Gateway(text) as gateway:
        body = {"models": ["lab/flaky", "lab/echo"], "messages": MESSAGES, "max_tokens": 50, "logit_bias": {"50256": -100}}
        body |= {"provider": {"order": ["strict", "lab"]}}
        replies = [gateway.post("/api" + CHAT, body, headers={"X-Fairlead-Strict": "true"}) for _ in range(3)]
        assert (replies[0].status, replies[0].headers["x-fairlead-provider"]) == (200, "lab"), replies[0].body
        assert all(reply.status >= 429 for reply in replies[1:]), [reply.status for reply in replies]
        assert len(gateway.generations("model = 'lab/echo'")) == 1


def test_replies_from_the_cache_take_nothing_of_a_model(provider: Provider) -> None:
    """They do not while the gateway runs, and do not after a restart, which reads what was taken in the minute before."""
    with Gateway(with_models(provider, {"echo": "rpm = 3"})) as gateway:
        body, cache = {"model": "lab/echo", "messages": MESSAGES, "max_tokens": 50}, {"X-OpenRouter-Cache": "true"}
        assert [gateway.post(CHAT, body, headers=cache).headers["x-openrouter-cache-status"] for _ in range(9)] == ["MISS"] + ["HIT"] * 8
        # Once the database has everything.
        gateway.stop(signal.SIGTERM)
        gateway.start()
        assert [ask(gateway).status for _ in range(3)] == [200, 200, 429]


END_USERS = """
[keys.app]
secret = "sk-fl-v1-{app}"
rpm = 100
end_user = {{ limit_usd = "0.0012", limit_reset = "daily", rpm = 10, required = true }}
"""


def test_each_end_user_has_a_budget(provider: Provider) -> None:
    app = "sk-fl-v1-" + "a" * 64
    with Gateway(with_models(provider, {"echo": "rpm = 50"}, END_USERS.format(app="a" * 64))) as gateway:
        nobody = ask(gateway, key=app)
        assert nobody.status == 400 and nobody.json()["error"]["param"] == "user", nobody.body

        def spend(user: str) -> Reply:
            for _ in range(12):
                reply = ask(gateway, key=app, user=user, max_tokens=50)
                if reply.status != 200:
                    return reply
            raise AssertionError("never refused")

        refused = spend("ann")
        assert refused.status == 402 and "this end user has" in refused.json()["error"]["message"], refused.body
        assert "daily limit of $0.0012" in refused.json()["error"]["message"]
        assert ask(gateway, key=app, user="ben").status == 200
        rows = gateway.generations("end_user = 'ann'")
        assert 0 < sum(row["charged_nanousd"] for row in rows) <= 1_200_000 and len({row["end_user_id"] for row in rows}) == 1
        # Neither a reload nor a crash makes ann rich again.
        assert gateway.operate("POST", "/admin/reload").status == 200
        assert ask(gateway, key=app, user="ann").status == 402
        gateway.kill()
        gateway.start()
        assert ask(gateway, key=app, user="ann").status == 402
        assert ask(gateway, key=app, user="ben").status == 200
        # Also when the database has everything, and the journal nothing more to say.
        gateway.stop(signal.SIGTERM)
        gateway.start()
        assert ask(gateway, key=app, user="ann").status == 402
        shown = gateway.run("keys", "list").stdout
        assert "end-user:0.0012/daily,10rpm,required" in shown, shown
        # Ten a minute each.
        statuses = [ask(gateway, key=app, user="cleo", max_tokens=1).status for _ in range(11)]
        assert statuses[:10] == [200] * 10 and statuses[10] == 429


def test_end_users_are_bounded(provider: Provider) -> None:
    with Gateway(configuration(provider.address, tables="[limits]\nend_users = 2\n")) as gateway:
        limits = {"limit_usd": "1", "limit_reset": "monthly", "rpm": 5}
        made = gateway.operate("POST", "/admin/keys", {"name": "app", "end_user": limits})
        assert made.status == 201, made.body
        told = made.json()["data"]["end_user"]
        assert told == {"limit_usd": "1", "limit_reset": "monthly", "rpm": 5, "tpm": None, "max_concurrency": None, "required": False}
        key = made.json()["key"]
        assert [ask(gateway, key=key, user=user).status for user in ("ann", "ben", "ann")] == [200] * 3
        refused = ask(gateway, key=key, user="cleo")
        assert refused.status == 429 and "limits.end_users" in refused.json()["error"]["message"], refused.body
        assert ask(gateway, key=key).status == 200, "nobody is nobody"
        for wrong in ({"limit_usd": "1"}, {"limit_reset": "daily"}, {"limit_usd": "x", "limit_reset": "daily"}, {"rpm": 0}, {"rmp": 1}):
            assert gateway.operate("PATCH", "/admin/keys/app", {"end_user": wrong}).status == 400, wrong
        assert gateway.operate("PATCH", "/admin/keys/app", {"end_user": None}).json()["data"]["end_user"] is None
        assert ask(gateway, key=key, user="cleo").status == 200
        done = gateway.run("keys", "limit", "app", "--end-user", "0.5/weekly,7tpm,2at-once")
        assert done.returncode == 0 and "end-user:0.5/weekly,7tpm,2at-once" in done.stdout, done.stderr


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def search(gateway: Gateway, key: str, **tool: Any) -> Reply:
    body = {"model": "lab/echo", "messages": MESSAGES, "max_tokens": 50, "tools": [SEARCH | tool]}
    return gateway.post("/v1/messages", body, key=key)


def test_searches_are_held_for(provider: Provider) -> None:
    """At a cent each; the limit of the key that is not strict is for four of them."""
    text = configuration(provider.address).replace("usd_per_million = ", 'usd_each = { web_search = "0.01" }\nusd_per_million = ')
    with Gateway(text) as gateway:
        made = {
            strict: {"name": str(strict), "limit_usd": "0.2" if strict else "0.045", "strict_budget": strict} for strict in (False, True)
        }
        keys = {strict: gateway.operate("POST", "/admin/keys", body).json()["key"] for strict, body in made.items()}
        assert search(gateway, keys[False], max_uses=4).status == 200
        for many in (search(gateway, keys[False], max_uses=5), search(gateway, keys[False])):
            assert many.status == 402 and "this call may cost $0." in many.json()["error"]["message"], many.body
        assert ask(gateway, key=keys[False]).status == 200
        unbounded = search(gateway, keys[True])
        assert unbounded.status == 400 and "max_uses" in unbounded.json()["error"]["message"], unbounded.body
        # A prompt of the whole window for each.
        assert search(gateway, keys[True], max_uses=1).status == 402
        assert ask(gateway, key=keys[True]).status == 200
        rows = gateway.generations("reserved_nanousd >= 40000000")
        assert len(rows) == 1 and rows[0]["charged_nanousd"] < 5_000_000
