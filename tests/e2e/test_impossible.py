"""What cannot be served or cannot be meant: refused before anybody is asked, with what stands in the way and what would help."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Reply
from e2e.judge import Judge

CHAT = {"messages": [{"role": "user", "content": "Say something"}]}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SEEN = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, PICTURE]}]}
READ = {"max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "a"}}]}]}
MODELS = {
    "acme/reader": 'input = ["text"]\nmax_completion_tokens = 100\nsupported_parameters = ["temperature", "max_tokens", "tools"]\n',
    "acme/seer": 'input = ["text", "image"]\n',
    "acme/unknown": "",
    "acme/vectors": 'output = ["embeddings"]\n',
    "acme/painter": 'output = ["text", "image"]\n',
}
PRESETS = """[presets.calm]
temperature = 0
[presets.strict]
strict_translation = true
provider = { only = ["first"] }
"""


def configuration(address: str) -> str:
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[keys.e2e]\nsecret = "{KEY}"\n{PRESETS}']
    for slug in ("first", "second"):
        parts.append(f'[providers.{slug}]\ndialect = "openai_chat"\nbase_url = "http://{address}/v1"\nkeys = ["s"]\n')
    for model, facts in MODELS.items():
        parts.append(f'[models."{model}"]\n{facts}')
        for slug in ("first", "second"):
            parts.append(
                f'[[models."{model}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/fast"\n'
                'usd_per_million = { prompt = "1", completion = "1" }\n'
            )
    return "\n".join(parts)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(seed=5) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    with Gateway(configuration(judge.address)) as running:
        yield running


def ask(gateway: Gateway, path: str = "/api/v1/chat/completions", **fields: Any) -> Reply:
    messages = {} if "messages" in fields or "embeddings" in path else CHAT
    return gateway.post(path, {"model": "acme/reader", **messages, **fields})


def check_refused(gateway: Gateway, judge: Judge, reply: Reply, status: int, *parts: str) -> dict[str, Any]:
    assert reply.status == status, reply.body
    error: dict[str, Any] = reply.json()["error"]
    for part in parts:
        assert part in error["message"], error["message"]
    assert judge.requests() == [], "nobody was asked"
    return error


@pytest.fixture(autouse=True)
def fresh(gateway: Gateway, judge: Judge) -> None:
    gateway.forget_health()
    judge.forget_requests()


# --- what the catalogue knows an endpoint not to do ----------------------------------------------------------------------


def test_a_picture_goes_to_nobody_who_takes_none(gateway: Gateway, judge: Judge) -> None:
    reply = ask(gateway, **SEEN)
    error = check_refused(
        gateway, judge, reply, 404, "no endpoints found that support image input", "acme/reader at first, acme/reader at second"
    )
    assert error["availability"]["code"] == "constraint_filtered"
    assert error["availability"]["excluded_by"] == ["input_modalities"]
    assert error["availability"]["constraint"] == {"field": "messages", "detail": "it does not take: image"}
    for path in ("/v1/chat/completions", "/api/v1/chat/completions"):
        assert ask(gateway, path, **SEEN, model="acme/seer").status == 200
        assert ask(gateway, path, **SEEN, model="acme/unknown").status == 200, "nobody says what it takes"
    fallen = ask(gateway, **SEEN, models=["acme/seer"])
    assert (fallen.status, fallen.headers["x-fairlead-model"]) == (200, "acme/seer")


def test_the_same_in_other_dialects(gateway: Gateway, judge: Judge) -> None:
    shown = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}]
    reply = gateway.post("/v1/responses", {"model": "acme/reader", "input": shown})
    check_refused(gateway, judge, reply, 404, "support image input")
    seen = [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://pictures.test/a.png"}}]}]
    check_refused(gateway, judge, ask(gateway, "/v1/messages", max_tokens=9, messages=seen), 404, "support image input")
    heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]
    check_refused(gateway, judge, ask(gateway, model="acme/seer", messages=heard), 404, "support audio input")


def test_a_file_goes_to_who_takes_it_and_else_as_text(gateway: Gateway) -> None:
    fallen = ask(gateway, "/api/v1/messages", **READ, models=["acme/unknown"])
    assert (fallen.status, fallen.headers["x-fairlead-model"]) == (200, "acme/unknown")
    assert ask(gateway, "/v1/messages", **READ).status == 200


def test_more_than_an_endpoint_gives_is_asked_of_none(gateway: Gateway, judge: Judge) -> None:
    error = check_refused(gateway, judge, ask(gateway, max_tokens=101), 404, "(max_tokens: lower max_tokens to 100)")
    assert error["availability"]["constraint"] == {"field": "max_tokens", "detail": "lower max_tokens to 100"}
    assert ask(gateway, max_tokens=100).status == 200
    assert ask(gateway, max_tokens=101, models=["acme/seer"]).headers["x-fairlead-model"] == "acme/seer"


def test_a_model_that_does_other_work_is_said_to(gateway: Gateway, judge: Judge) -> None:
    for path in ("/api/v1/chat/completions", "/api/v1/messages"):
        body = {"model": "acme/vectors", "max_tokens": 5, **CHAT}
        error = check_refused(gateway, judge, gateway.post(path, body), 404, "acme/vectors", "at POST /embeddings")
        assert (error["availability"]["code"], error["availability"]["excluded_by"]) == ("wrong_endpoint", ["dialect"])
    body = {"model": "acme/painter", "input": "a"}
    error = check_refused(gateway, judge, gateway.post("/api/v1/embeddings", body), 404, "acme/painter", "vectors")
    assert error["availability"]["code"] == "wrong_endpoint"
    check_refused(gateway, judge, gateway.post("/v1/embeddings", body), 404, "vectors")
    assert gateway.post("/v1/embeddings", {**body, "model": "acme/vectors"}).status == 200
    assert gateway.post("/v1/embeddings", {**body, "model": "acme/unknown"}).status == 200
    assert ask(gateway, model="acme/painter").status == 200


def test_a_parameter_that_nobody_knows_is_named(gateway: Gateway, judge: Judge) -> None:
    reply = ask(gateway, provider={"require_parameters": True}, logit_bias={"5": 1})
    check_refused(gateway, judge, reply, 404, "acme/reader at first, acme/reader at second (require_parameters:", "logit_bias")


def test_advice_is_given_once(gateway: Gateway, judge: Judge) -> None:
    error = check_refused(gateway, judge, ask(gateway, model="openrouter/free"), 404, "openrouter/free picks what costs nothing")
    assert error["message"].count("name the model itself") == 1, error["message"]


def test_every_kind_of_work_can_be_explained(gateway: Gateway, judge: Judge) -> None:
    """Also the past: vectors were said to be nobody's work in the explanation of a call that had brought them."""
    for dialect, body, model, served in (
        ("openai_embeddings", {"input": "a"}, "acme/vectors", 2),
        ("openai_embeddings", {"input": "a"}, "acme/painter", 0),
        ("openai_completions", {"prompt": "a"}, "acme/seer", 2),
        ("openai_completions", {"prompt": "a"}, "acme/vectors", 0),
    ):
        told = gateway.operate("POST", "/admin/explain", {"dialect": dialect, "body": {"model": model, **body}}).json()["data"]
        assert len(told["candidates"]) == served, told
        assert served or "refusal" in told
    assert judge.requests() == []
    wrong = gateway.operate("POST", "/admin/explain", {"dialect": "openai_vectors", "body": {"model": "acme/vectors"}})
    assert wrong.status == 400 and "openai_embeddings" in wrong.json()["error"]["message"]
    made = gateway.post("/v1/embeddings", {"model": "acme/vectors", "input": "a"})
    recalled = gateway.operate("GET", f"/admin/requests/{made.generation}/explain").json()["data"]
    assert recalled["asked"]["dialect"] == "openai_embeddings" and len(recalled["now"]["candidates"]) == 2, recalled


# --- what cannot be meant ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "parts"),
    [
        ({"ignore": ["firs"]}, ('"provider.ignore.0"', 'did you mean "first"')),
        ({"ignore": ["nobody-at-all"]}, ('"provider.ignore.0"', "no provider")),
        ({"order": ["first/turbo"]}, ('"provider.order.0"', 'no endpoint here is "first/turbo"; "first" means all of that provider')),
        ({"only": ["azure"]}, ('"provider.only.0"', 'provider "azure" is off: add [providers.azure]')),
        ({"order": ["azure/eastus"]}, ('"provider.order.0"', "add [providers.azure]")),
        ([], ('"provider"', "wanted: an object; this is a list")),
        ("", ('"provider"', "this is a text")),
        (False, ('"provider"', "this is a truth value")),
    ],
    ids=str,
)
def test_wishes_that_cannot_be_meant(gateway: Gateway, judge: Judge, provider: object, parts: tuple[str, ...]) -> None:
    check_refused(gateway, judge, ask(gateway, provider=provider), 400, *parts)


def test_who_is_off_may_be_ignored(gateway: Gateway) -> None:
    assert ask(gateway, provider={"ignore": ["azure", "Amazon Bedrock"]}).status == 200
    assert ask(gateway, provider={}).status == 200
    assert ask(gateway, provider=None).status == 200


def test_a_wish_said_twice_is_refused(gateway: Gateway, judge: Judge) -> None:
    body = b'{"model":"acme/reader","messages":[{"role":"user","content":"a"}],"provider":{"only":["first"],"only":["second"]}}'
    check_refused(gateway, judge, gateway.post("/api/v1/chat/completions", body), 400, '"provider"', '"only" is said twice')


@pytest.mark.parametrize(
    ("path", "tier", "part"),
    [
        ("/api/v1/chat/completions", "flx", 'did you mean "flex"?'),
        ("/api/v1/chat/completions", "bogus", "is none of auto, default, flex, priority"),
        ("/api/v1/chat/completions", 7, "must be a string; it is 7"),
        ("/v1/chat/completions", {"type": "flex"}, "must be a string; it is an object"),
        ("/v1/chat/completions", "flex", None),
        ("/v1/chat/completions", "default", None),
        ("/api/v1/chat/completions", "auto", None),
        ("/api/v1/chat/completions", None, None),
    ],
    ids=str,
)
def test_service_tiers_have_names(gateway: Gateway, judge: Judge, path: str, tier: object, part: str | None) -> None:
    reply = ask(gateway, path, service_tier=tier)
    if part is None:
        assert reply.status == 200, reply.body
    else:
        check_refused(gateway, judge, reply, 400, '"service_tier"', part)


def test_on_v1_the_provider_judges_a_tier(gateway: Gateway, judge: Judge) -> None:
    ask(gateway, "/v1/chat/completions", service_tier="its-own")
    assert len(judge.requests()) == 1, "the word is the provider's"


@pytest.mark.parametrize(
    ("model", "status", "parts"),
    [
        ("openrouter/auto:florr", 400, ("variant", 'did you mean "floor"')),
        ("openrouter/auto:online", 400, ("not in this version",)),
        ("openai/gpt-5.5", 404, ('the model "openai/gpt-5.5" is not served here: none of its providers is on: openai',)),
        ("acme/something-else-altogether", 404, ('of the same vendor there are "acme/seer"', "acme/")),
        ("@preset/calm", 400, ('the preset "calm" names no model', '"vendor/model@preset/calm"')),
    ],
    ids=str,
)
def test_names_that_stand_for_nothing(gateway: Gateway, judge: Judge, model: str, status: int, parts: tuple[str, ...]) -> None:
    check_refused(gateway, judge, ask(gateway, model=model), status, *parts)


@pytest.mark.parametrize("model", ["openrouter/auto:floor", "openrouter/auto:nitro", "openrouter/auto:exacto"])
def test_routers_take_suffixes(gateway: Gateway, model: str) -> None:
    reply = ask(gateway, model=model)
    assert reply.status == 200, reply.body
    assert (reply.headers["x-fairlead-model"] or "").startswith("acme/")


def test_a_plugin_says_how_auto_picks(gateway: Gateway, judge: Judge) -> None:
    def picked(**plugin: Any) -> Any:
        return ask(gateway, model="openrouter/auto", plugins=[{"id": "web", "enabled": False}, {"id": "auto-router", **plugin}])

    for _ in range(8):
        assert picked(allowed_models=["acme/se*", "acme/reader"], excluded_models=["*seer"]).headers["x-fairlead-model"] == "acme/reader"
    assert all(str(request["body"]).count("plugins") == 0 for request in judge.requests()), "nothing of it reaches a provider"
    judge.forget_requests()
    refused = [
        (picked(cost_tier="lo"), 400, ("plugins.1.cost_tier", "low, medium")),
        (picked(pin_model=True), 400, ("plugins.1.pin_model", "not in this version")),
        (picked(allowed_models=["nobody/*"]), 404, ("none of the models may be picked", "allowed_models")),
        (ask(gateway, plugins=[{"id": "web"}]), 400, ("plugins.0.id", 'the plugin "web" is not in this version')),
    ]
    for reply, status, parts in refused:
        check_refused(gateway, judge, reply, status, *parts)


def test_a_preset_may_leave_the_model_to_the_request(gateway: Gateway, judge: Judge) -> None:
    assert ask(gateway, model="acme/reader@preset/calm").headers["x-fairlead-model"] == "acme/reader"
    assert ask(gateway, preset="strict").headers["x-fairlead-provider"] == "first"
    assert ask(gateway, model="@preset/calm", models=["acme/seer"]).headers["x-fairlead-model"] == "acme/seer"
    sent = [request["body"] for request in judge.requests()]
    assert ['"temperature":0' in str(body).replace(" ", "") for body in sent] == [True, False, True], sent


# --- what a provider cannot mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("said", "told"),
    [("17", "17"), ("0.25", "1"), ("3600", "3600"), ("-5", None), ("soon", None), ("99999999999999999999", None), ("86401", None)],
)
def test_only_times_that_make_sense_reach_clients(gateway: Gateway, judge: Judge, said: str, told: str | None, stream: bool) -> None:
    fault = {"fault": {"kind": "status", "status": 429, "retry_after": said}}
    judge.script(*[fault] * 6)
    reply = ask(gateway, stream=stream, provider={"allow_fallbacks": False})
    judge.forget_scripts()
    assert (reply.status, reply.headers["retry-after"]) == (429, told)
