"""What the data plane hands to the control plane, seen from the traffic port: methods, and errors that both planes tell alike."""

from typing import Any

import pytest
from anthropic import Anthropic
from google import genai
from google.genai import types
from openai import OpenAI

from e2e.house import KEY, Gateway, send
from e2e.wire import Wire, request


@pytest.mark.parametrize("path", ["/v1/models", "/api/v1/models", "/api/v1/key", "/api/v1/generation?id=gen-unknown", "/v1/nothing"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    with Wire(gateway.address) as wire:
        wire.get(path)
        expected = wire.answer()
        # Twice on one connection: a body that came all the same would be taken for the next reply.
        for _ in range(2):
            wire.send(request("HEAD", path))
            answer = wire.head()
            assert answer.status == expected.status
            for name in ("content-type", "content-length"):
                assert answer.header(name) == expected.header(name) is not None
        wire.get("/healthz", key=None)
        assert wire.answer().body == b"ok\n"


def test_both_planes_refuse_a_method_alike(gateway: Gateway) -> None:
    def refused(path: str, method: str) -> Any:
        reply = send(gateway.address, method, path, None, {"authorization": f"Bearer {KEY}"})
        assert reply.status == 405
        error = reply.json()["error"]
        return {name: value for name, value in error.items() if name != "message"}

    assert refused("/v1/chat/completions", "GET") == refused("/v1/models", "DELETE")
    assert refused("/api/v1/chat/completions", "GET") == refused("/api/v1/models", "DELETE")


def test_every_sdk_lists_the_models(gateway: Gateway) -> None:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as openai:
        ids = [model.id for model in openai.models.list()]
        assert len(ids) > 1 and openai.models.retrieve(ids[0]).id == ids[0]
    with Anthropic(base_url=gateway.url, api_key=KEY) as anthropic:
        assert [model.id for model in anthropic.models.list(limit=2)] == ids
        assert anthropic.models.retrieve(ids[1]).id == ids[1]
    with genai.Client(api_key=KEY, vertexai=False, http_options=types.HttpOptions(base_url=gateway.url)) as gemini:
        assert [model.name for model in gemini.models.list(config={"page_size": 2})] == [f"models/{id}" for id in ids]
        assert gemini.models.get(model=f"models/{ids[0]}").name == f"models/{ids[0]}"
    in_query = send(gateway.address, "GET", f"/v1beta/models?key={KEY}", None, {})
    assert [model["name"] for model in in_query.json()["models"]] == [f"models/{id}" for id in ids]


def test_openrouters_name_before_a_models(gateway: Gateway) -> None:
    [first, *_] = gateway.get("/api/v1/models").json()["data"]
    for path in (f"/api/v1/models/{first['id']}", f"/api/v1/models/{first['id']}/endpoints"):
        plain, prefixed = gateway.get(path), gateway.get(path.replace("/models/", "/models/openrouter/"))
        assert plain.status == prefixed.status == 200 and plain.json() == prefixed.json()
        assert plain.json()["data"]["description"]
