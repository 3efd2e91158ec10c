"""A real OpenAI- and Anthropic-compatible model server that is not ours (llama.cpp) answers through the gateway, in both manners."""

import json
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from e2e.foreign import CONTEXT_TOKENS, ModelServer
from e2e.house import ADMIN_TOKEN, COMPLETION_NANOUSD, KEY, PROMPT_NANOUSD, Gateway, send
from e2e.shapes import check_error_body

MODEL_KEY = "key-of-the-model-server"
MESSAGES: list[Any] = [{"role": "user", "content": "Say something, please."}]
PLAIN: dict[str, Any] = {"temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def llama() -> Iterator[ModelServer]:
    with ModelServer(MODEL_KEY) as running:
        yield running


@pytest.fixture(scope="module")
def house(llama: ModelServer) -> Iterator[Gateway]:
    """A gateway whose only provider it is, once with its key and once with a wrong one."""
    config = f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n'
    for slug, key in (("llama", MODEL_KEY), ("stranger", "a-key-it-does-not-know")):
        urls = f'{{ openai_chat = "http://{llama.address}/v1", anthropic_messages = "http://{llama.address}" }}'
        config += f'[providers.{slug}]\ndialects = ["openai_chat", "anthropic_messages"]\nbase_urls = {urls}\nkeys = ["{key}"]\n'
        config += f'[[models."{slug}/random".endpoints]]\nprovider = "{slug}"\nupstream_model = "random"\n'
        config += 'usd_per_million = { prompt = "3", completion = "15", cache_read = "3" }\n'
    with Gateway(config) as running:
        yield running


def direct(llama: ModelServer, path: str, body: dict[str, Any]) -> str:
    """What it says without us."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {MODEL_KEY}"}
    reply = send(llama.address, "POST", path, json.dumps({**body, "model": "random"}).encode(), headers)
    assert reply.status == 200, reply.body
    return reply.body.decode()


@pytest.fixture(scope="module")
def said(llama: ModelServer) -> str:
    """The model's answer to `MESSAGES`."""
    text = json.loads(direct(llama, "/v1/chat/completions", {"messages": MESSAGES, **PLAIN}))["choices"][0]["message"]["content"]
    assert text
    return str(text)


def check_bill(house: Gateway, generation: str, prompt: int, completion: int, cost: float) -> None:
    row = house.generation(generation)
    assert (row["outcome"], row["completion_tokens"]) == ("completed", completion)
    assert row["prompt_tokens"] + row["cache_read_tokens"] == prompt
    assert row["charged_nanousd"] == round(cost * 10**9) == prompt * PROMPT_NANOUSD + completion * COMPLETION_NANOUSD


@pytest.mark.parametrize("manner", ["/v1", "/api/v1"])
@pytest.mark.parametrize("stream", [False, True])
def test_chat(house: Gateway, said: str, manner: str, stream: bool) -> None:
    with OpenAI(base_url=house.url + manner, api_key=KEY, max_retries=0) as client:
        create = client.chat.completions.with_raw_response.create
        if stream:
            reply = create(model="llama/random", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **PLAIN)
            chunks = list(reply.parse())
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
            usage, last = chunks[-1].usage, reasons[-1]
        else:
            reply = create(model="llama/random", messages=MESSAGES, **PLAIN)
            completion = reply.parse()
            text, usage, last = completion.choices[0].message.content or "", completion.usage, completion.choices[0].finish_reason
    assert (text, last) == (said, "length")
    assert usage is not None and usage.completion_tokens == 24 and usage.model_extra is not None
    check_bill(house, reply.headers["x-generation-id"], usage.prompt_tokens, usage.completion_tokens, usage.model_extra["cost"])


@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("stream", [False, True])
def test_messages(house: Gateway, said: str, base: str, stream: bool) -> None:
    with Anthropic(base_url=house.url + base, api_key=KEY, max_retries=0) as client:
        if stream:
            with client.messages.stream(model="llama/random", messages=MESSAGES, max_tokens=24, extra_body=PLAIN) as events:
                cost = [event.usage.model_extra["cost"] for event in events if event.type == "message_delta" and event.usage.model_extra]
                message = events.get_final_message()
                generation = events.response.headers["x-generation-id"]
        else:
            reply = client.messages.with_raw_response.create(model="llama/random", messages=MESSAGES, max_tokens=24, extra_body=PLAIN)
            message, generation = reply.parse(), reply.headers["x-generation-id"]
            cost = [message.usage.model_extra["cost"]] if message.usage.model_extra else []
    [block] = message.content
    assert block.type == "text" and (block.text, message.stop_reason) == (said, "max_tokens")
    prompt = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    check_bill(house, generation, prompt, message.usage.output_tokens, cost[0])


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_its_bytes_pass_as_they_are(house: Gateway, llama: ModelServer, path: str, stream: bool) -> None:
    """But for the cost, and for what differs from one call to the next."""
    body: dict[str, Any] = {"messages": MESSAGES, **PLAIN, "stream": stream}
    if stream and path == "/v1/chat/completions":
        body["stream_options"] = {"include_usage": True}
    direct(llama, path, body)  # Twice the same prompt: from here on its cache answers alike.
    alone = direct(llama, path, body)
    through = house.post(path, {**body, "model": "llama/random"})
    assert through.status == 200
    text, costs = re.subn(r'"cost":[0-9.e-]+,', "", through.body.decode())
    assert costs == 1 and comparable(text) == comparable(alone)


def comparable(text: str) -> str:
    return re.sub(r'"(id|created)":("[^"]*"|\d+)', r'"\1":0', re.sub(r'"timings":\{[^}]*\}', '"timings":{}', text))


@pytest.mark.parametrize(
    ("base", "dialect"), [("", "openai_chat"), ("/api", "openai_chat"), ("", "anthropic_messages"), ("/api", "anthropic_messages")]
)
def test_its_errors(house: Gateway, base: str, dialect: str) -> None:
    path = base + ("/v1/messages" if dialect == "anthropic_messages" else "/v1/chat/completions")
    long = [{"role": "user", "content": "x" * (CONTEXT_TOKENS * 2)}]
    for stream in (False, True):
        reply = house.post(path, {"model": "llama/random", "messages": long, "stream": stream, **PLAIN})
        assert reply.status == 400
        check_error_body(reply, base, dialect, own_type=True)
        assert "context" in reply.json()["error"]["message"]
        reply = house.post(path, {"model": "stranger/random", "messages": MESSAGES, "stream": stream, **PLAIN})
        assert reply.status == 502
        check_error_body(reply, base, dialect)


def test_exceptions_of_the_sdks(house: Gateway) -> None:
    too_long: list[Any] = [{"role": "user", "content": "x" * (CONTEXT_TOKENS * 2)}]
    with OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0) as client, pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="llama/random", messages=too_long, **PLAIN)
    with Anthropic(base_url=house.url, api_key=KEY, max_retries=0) as client, pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="llama/random", messages=too_long, max_tokens=24)


def test_leaving_it_frees_it(house: Gateway) -> None:
    """It serves one request at a time: the next is answered because the one that was left has stopped."""
    with OpenAI(base_url=f"{house.url}/v1", api_key=KEY, max_retries=0) as client:
        reply = client.chat.completions.with_raw_response.create(
            model="llama/random", messages=MESSAGES, stream=True, temperature=0, max_tokens=CONTEXT_TOKENS - 100
        )
        stream = reply.parse()
        for _, chunk in zip(range(3), stream, strict=False):
            assert chunk.choices
        stream.close()
        assert client.chat.completions.create(model="llama/random", messages=MESSAGES, **PLAIN).choices
    assert house.generation(reply.headers["x-generation-id"])["outcome"] == "cancelled"
