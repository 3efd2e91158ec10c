"""`fairlead.Router` and `fairlead.SyncRouter`: calls without a listener. The simulator's ledger is the judge, of costs and of leaving."""

import asyncio
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import fairlead
import pytest
import uvloop
from fairlead import errors
from token_server import TokenServer, key_file

from e2e.house import (
    COMPLETION_NANOUSD,
    PROMPT_NANOUSD,
    PROVIDER_SECRET,
    Gateway,
    Provider,
    billed_nanousd,
    clean_environment,
    configuration,
    free_port,
    run,
    send,
    until,
)
from e2e.stub import Stub
from e2e.test_signing_in import ASK, gemini, sent

Runner = Callable[[Awaitable[Any]], Any]
LOOPS: dict[str, Runner] = {"asyncio": asyncio.run, "uvloop": uvloop.run}  # type: ignore[dict-item]
HELLO = [{"role": "user", "content": "Hello there"}]


class Dialect(NamedTuple):
    """How to ask in it, and where a reply and an event have their text."""

    method: str
    fields: dict[str, Any]
    text: Callable[[Any], str]
    piece: Callable[[Any], str]


def chat_piece(chunk: Any) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


def gemini_text(reply: Any) -> str:
    return "".join(part.get("text", "") for each in reply["candidates"] for part in each.get("content", {}).get("parts", ()))


DIALECTS = {
    "openai_chat": Dialect("chat", {"messages": HELLO}, lambda reply: str(reply["choices"][0]["message"]["content"]), chat_piece),
    "openai_responses": Dialect(
        "responses",
        {"input": "Hello there"},
        lambda reply: "".join(part["text"] for item in reply["output"] for part in item["content"]),
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
    ),
    "anthropic_messages": Dialect(
        "messages",
        {"messages": HELLO, "max_tokens": 100},
        lambda reply: str(reply["content"][0]["text"]),
        lambda event: event["delta"].get("text", "") if event["type"] == "content_block_delta" else "",
    ),
    "gemini_generate": Dialect("generate_content", {"contents": ASK["contents"]}, gemini_text, gemini_text),
}
SAID = {name: "Hello" if name == "gemini_generate" else "Hello there" for name in DIALECTS}


@pytest.fixture(scope="module")
def config(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration with the provider `lab`, one that is dead, and a model that both have."""
    dead = f'[providers.dead]\nname = "Dead"\ndialect = "openai_chat"\nbase_url = "http://127.0.0.1:{free_port()}/v1"\nkeys = ["x"]\n'
    both = '[models."lab/both"]\n' + "".join(
        f'[[models."lab/both".endpoints]]\nprovider = "{name}"\nupstream_model = "sim/echo"\n'
        'usd_per_million = { prompt = "3", completion = "15" }\n'
        for name in ("dead", "lab")
    )
    file = tmp_path_factory.mktemp("library") / "fairlead.toml"
    file.write_text(configuration(provider.address, tables=dead + both))
    return file


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine to its end in a loop of its own."""
    return LOOPS[request.param]


def opened(config: Path, work: Callable[[fairlead.Router], Awaitable[Any]], **options: Any) -> Any:
    """What work with an open Router gives; to be run in a loop."""

    async def go() -> Any:
        async with fairlead.Router(config, environ={}, **options) as router:
            return await work(router)

    return go()


# --- replies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIALECTS)
def test_a_reply_in_every_dialect(loop: Runner, config: Path, provider: Provider, name: str) -> None:
    dialect, mark = DIALECTS[name], provider.mark()
    reply = loop(opened(config, lambda router: getattr(router, dialect.method)(model="lab/echo", **dialect.fields)))
    [record] = provider.since(mark, 1)
    assert isinstance(reply, fairlead.router.Reply)
    assert dialect.text(reply.body) == SAID[name]
    assert (reply.model, reply.provider, reply.attempts, reply.outcome, reply.finish) == ("lab/echo", "lab", 1, "completed", "stop")
    assert reply.cost_nanousd == reply.upstream_cost_nanousd == billed_nanousd(record) > 0
    assert reply.cost == Decimal(reply.cost_nanousd) / 10**9
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (record["prompt_tokens"], record["completion_tokens"])
    assert reply.generation.startswith("gen-") and not reply.estimated


@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_in_every_dialect(loop: Runner, config: Path, provider: Provider, name: str) -> None:
    dialect, mark = DIALECTS[name], provider.mark()

    async def work(router: fairlead.Router) -> tuple[list[Any], fairlead.router.Stream]:
        stream = await getattr(router, dialect.method)(model="lab/echo", stream=True, **dialect.fields)
        assert stream.generation.startswith("gen-")
        return [event async for event in stream], stream

    events, stream = loop(opened(config, work))
    [record] = provider.since(mark, 1)
    assert "".join(dialect.piece(event) for event in events) == SAID[name]
    receipt = stream.receipt
    assert receipt is not None and receipt.generation == stream.generation
    assert (receipt.outcome, receipt.cost_nanousd, receipt.model) == ("completed", billed_nanousd(record), "lab/echo")


def test_bytes_pass_as_they_are(loop: Runner, config: Path, provider: Provider) -> None:
    """But for the model's name. Fields that nobody here knows pass too."""
    text = '{ "model":"lab/echo",  "unheard_of":[1.50e1], "messages":[{"role":"user","content":"H\\u0069"}]}'
    loop(opened(config, lambda router: router.chat(text.encode())))
    assert provider.last_request()["body"] == text.replace("lab/echo", "sim/echo")
    loop(opened(config, lambda router: router.chat({"model": "lab/echo", "a": 1}, messages=HELLO, b=2)))
    assert json.loads(provider.last_request()["body"]) == {"model": "sim/echo", "a": 1, "messages": HELLO, "b": 2}


def test_embeddings(config: Path, provider: Provider) -> None:
    mark = provider.mark()
    reply = asyncio.run(opened(config, lambda router: router.embeddings(model="lab/echo", input=["one", "two"])))
    [record] = provider.since(mark, 1)
    assert len(reply.body["data"]) == 2
    assert reply.cost_nanousd == billed_nanousd(record)


def test_losses_and_strictness(config: Path) -> None:
    """The provider `lab` speaks no Gemini, so that Gemini's `topK` is lost on the way to it."""

    async def work(router: fairlead.Router) -> None:
        body = {"contents": ASK["contents"], "generationConfig": {"responseLogprobs": True, "logprobs": 3, "topK": 40}}
        reply = await router.generate_content(body, model="lab/echo")
        assert reply.losses and all(loss.path and loss.reason for loss in reply.losses)
        with pytest.raises(errors.CallError) as refused:
            await router.generate_content(body, model="lab/echo", extra_headers={"X-Fairlead-Strict": "true"})
        assert (refused.value.status, refused.value.receipt) == (404, None)

    asyncio.run(opened(config, work))


# --- errors and failover ----------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no model": ({"messages": HELLO}, 400, "invalid_request"),
    "an unknown model": ({"model": "nowhere/none", "messages": HELLO}, 404, "not_found"),
    "a provider that is busy": (
        {"model": "lab/echo", "messages": HELLO, "sim": {"fault": {"kind": "status", "status": 503}}},
        503,
        "provider_overloaded",
    ),
    "a provider that refuses": (
        {"model": "lab/echo", "messages": HELLO, "sim": {"fault": {"kind": "status", "status": 400}}},
        400,
        "invalid_request",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_the_servers_words(config: Path, gateway: Gateway, name: str, stream: bool) -> None:
    body, status, kind = REFUSALS[name]
    body = body | ({"stream": True} if stream else {})
    with pytest.raises(errors.CallError) as raised:
        asyncio.run(opened(config, lambda router: router.chat(body | {"stream": stream}, stream=stream)))
    error = raised.value
    served = gateway.post("/api/v1/chat/completions", body)
    gateway.forget_health()
    told = served.json()["error"]
    assert (error.status, error.error_type) == (status, kind) == (served.status, told["metadata"]["error_type"])
    assert (str(error), error.metadata) == (told["message"], told["metadata"])
    assert error.provider == told["metadata"].get("provider_name")


def test_failover(loop: Runner, config: Path, provider: Provider) -> None:
    """The first provider is dead: the next one answers, and nobody notices but the receipt."""
    mark = provider.mark()

    async def work(router: fairlead.Router) -> None:
        order = {"order": ["dead", "lab"]}
        reply = await router.chat(model="lab/both", messages=HELLO, provider=order)
        assert (reply.provider, reply.attempts, chat(reply)) == ("lab", 2, "Hello there")
        stream = await router.chat(model="lab/both", messages=HELLO, provider=order, stream=True)
        assert "".join([chat_piece(event) async for event in stream]) == "Hello there"
        with pytest.raises(errors.CallError) as raised:
            fault = {"fault": {"kind": "status", "status": 503}}
            await router.chat(model="lab/both", messages=HELLO, provider=order, sim=fault)
        assert raised.value.provider == "Lab"
        assert [previous["provider"] for previous in raised.value.previous_errors] == ["Dead"]
        assert raised.value.receipt is not None and raised.value.receipt.cost_nanousd == 0

    loop(opened(config, work))
    assert len(provider.since(mark)) == 3


def chat(reply: fairlead.router.Reply) -> str:
    return str(reply.body["choices"][0]["message"]["content"])


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic_messages"])
def test_a_stream_that_breaks(loop: Runner, config: Path, provider: Provider, name: str) -> None:
    """What came is delivered, then the failure is raised; each time anybody asks."""
    dialect = DIALECTS[name]

    async def work(router: fairlead.Router) -> None:
        stream = await getattr(router, dialect.method)(model="lab/fast", stream=True, **dialect.fields)
        events = []
        with pytest.raises(errors.CallError, match="Lab") as raised:
            async for event in stream:
                events.append(event)
        assert "".join(dialect.piece(event) for event in events)
        assert raised.value.status == 502 and raised.value.provider == "Lab"
        assert raised.value.receipt is not None and raised.value.receipt == stream.receipt
        assert (raised.value.receipt.outcome, raised.value.receipt.cost_nanousd > 0) == ("failed", True)
        with pytest.raises(errors.CallError):
            await anext(stream)

    # Not in the body, which is translated.
    assert send(provider.address, "POST", "/sim/next", b'[{"fault": {"kind": "cut", "after_frames": 10}}]').status == 200
    loop(opened(config, work))


def test_misuse_is_told(config: Path) -> None:
    async def work(router: fairlead.Router) -> None:
        with pytest.raises(ValueError, match="say stream=True"):
            await router.chat({"model": "lab/echo", "messages": HELLO, "stream": True})
        with pytest.raises(ValueError, match="does not ask for a stream"):
            await router.chat(json.dumps({"model": "lab/echo", "messages": HELLO}).encode(), stream=True)
        with pytest.raises(TypeError, match="stays as it is"):
            await router.chat(b"{}", model="lab/echo")
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, router.chat(model="lab/echo", messages=HELLO))
        with pytest.raises(RuntimeError, match="open already"):
            await router.open()

    asyncio.run(opened(config, work))
    with pytest.raises(errors.ClosedError, match="not open"):
        asyncio.run(fairlead.Router(config, environ={}).chat(model="lab/echo", messages=HELLO))


# --- why, and when again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", DIALECTS)
def test_why_a_call_went_where_it_went(config: Path, name: str, stream: bool) -> None:
    dialect = DIALECTS[name]

    async def work(router: fairlead.Router) -> list[Any]:
        ask = getattr(router, dialect.method)
        more = {"stream": True} if stream else {}
        found = []
        for asked in ({"explain": True}, {"extra_headers": {"x-fairlead-explain": "true"}}, {}):
            answer = await ask(model="lab/both", **dialect.fields, **asked, **more)
            if stream:
                async for _ in answer:
                    pass
            found.append(answer.explanation)
        return found

    *explained, unasked = asyncio.run(opened(config, work))
    assert unasked is None
    for explanation in explained:
        assert isinstance(explanation, fairlead.router.Explanation)
        assert {candidate.provider for candidate in explanation.candidates} == {"dead", "lab"}
        assert all(candidate.expected_usd > 0 and candidate.health.breaker in ("closed", "open") for candidate in explanation.candidates)
        assert explanation.removed == () and explanation.seed > 0


def test_why_nothing_can_serve_it(config: Path) -> None:
    async def work(router: fairlead.Router) -> list[errors.CallError]:
        found = []
        for stream in (False, True):
            for asked in (
                {"model": "lab/both", "provider": {"max_price": {"prompt": "0.1"}}, "explain": True},
                {"model": "lab/nothing"},
                {"model": "lab/echo", "sim": {"fault": {"kind": "status", "status": 429, "retry_after": "7"}}, "explain": True},
            ):
                with pytest.raises(errors.CallError) as caught:
                    await router.chat(messages=HELLO, stream=stream, **asked)
                found.append(caught.value)
        return found

    dear, unknown, limited, *streamed = asyncio.run(opened(config, work))
    for error in (dear, streamed[0]):
        assert error.status == 404 and error.retry_after_ms is None
        assert isinstance(error.availability, errors.Availability)
        assert (error.availability.code, error.availability.retryable) == ("constraint_filtered", False)
        assert error.availability.excluded_by == ["max_price"] and set(error.availability.affected_providers) == {"dead", "lab"}
        assert error.availability.constraint == errors.Constraint("provider.max_price.prompt", "raise provider.max_price.prompt to 3")
        assert error.explanation is not None and error.explanation.candidates == ()
        assert [removed.excluded_by for removed in error.explanation.removed] == ["max_price"] * 2
    for error in (unknown, streamed[1]):
        assert error.availability is not None and error.availability.code == "model_not_found"
        assert error.explanation is None and error.retry_after_ms is None
    for error in (limited, streamed[2]):
        assert (error.status, error.retry_after_ms, error.availability) == (429, 7_000, None)
        assert error.explanation is not None and len(error.explanation.candidates) == 1


def test_who_waits_too_long_is_told_when_to_come_again(provider: Provider, tmp_path: Path) -> None:
    """In line, where a stream's failure comes behind its early head."""
    text = configuration(provider.address, tables="[timeouts]\nqueue_ms = 400\nearly_head_ms = 100\nkeepalive_ms = 50\n")
    (tmp_path / "fairlead.toml").write_text(
        text.replace(f'"{PROVIDER_SECRET}"', f'{{ secret = "{PROVIDER_SECRET}", max_concurrency = 1 }}')
    )

    async def work(router: fairlead.Router) -> list[errors.CallError]:
        mark = provider.mark()
        first = asyncio.create_task(router.chat(model="lab/echo", messages=HELLO, sim={"delay_ms": 2_000}))
        await asyncio.to_thread(until, lambda: provider.open_requests() == 1, "the only key is in use")
        found = []
        with pytest.raises(errors.CallError) as caught:
            await router.chat(model="lab/echo", messages=HELLO)
        found.append(caught.value)
        stream = await router.chat(model="lab/echo", messages=HELLO, stream=True, explain=True)
        assert stream.receipt is None and stream.explanation is not None, "its head came early"
        with pytest.raises(errors.CallError) as caught:
            await anext(stream)
        found.append(caught.value)
        await first
        assert provider.mark() == mark + 1
        return found

    unary, streamed = asyncio.run(opened(tmp_path / "fairlead.toml", work))
    for error in (unary, streamed):
        assert (error.status, error.error_type, error.receipt) == (429, "rate_limit_exceeded", None)
        assert error.retry_after_ms == 1_000
        assert error.availability is not None and (error.availability.code, error.availability.retry_after) == ("capacity_exhausted", 1)
    assert unary.explanation is None and streamed.explanation is not None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": float("nan")}, "temperature: nan is"),
        ({"temperature": float("-inf")}, "temperature: -inf is"),
        (
            {"messages": [HELLO[0], {"role": "user", "content": [{"weight": [1.5, float("inf")]}]}]},
            "messages[1].content[0].weight[1]: inf is",
        ),
        ({"logit_bias": {"50256": float("nan")}}, "logit_bias.50256: nan is"),
    ],
)
def test_numbers_that_json_has_not_are_refused(config: Path, provider: Provider, fields: dict[str, Any], said: str) -> None:
    mark = provider.mark()

    async def work(router: fairlead.Router) -> None:
        for asked in (router.chat, router.responses, router.messages, router.embeddings):
            for body in ((), (fields,)):
                with pytest.raises(ValueError) as caught:
                    await asked(*body, model="lab/echo", **({} if body else fields))  # type: ignore[operator]
                assert str(caught.value) == said + " no number that JSON has; give a finite one or leave it out"
        # What is none at all is, and so is a text that speaks of it.
        await router.chat(model="lab/echo", messages=[{"role": "user", "content": "null, nan"}], temperature=None, top_p=0.5)

    asyncio.run(opened(config, work))
    assert provider.mark() == mark + 1


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_a_cancelled_task_cancels_the_provider(loop: Runner, config: Path, provider: Provider) -> None:
    mark = provider.mark()

    async def work(router: fairlead.Router) -> None:
        call = asyncio.ensure_future(router.chat(model="lab/fast", messages=HELLO, sim={"delay_ms": 60_000}))
        await asyncio.to_thread(until, lambda: provider.open_requests() > 0, "the provider is at work")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(provider.since, mark, 1)
        assert chat(await router.chat(model="lab/echo", messages=HELLO)) == "Hello there"

    loop(opened(config, work))
    record = provider.since(mark)[0]
    assert record["outcome"] == "client_gone"


async def leave_by_closing(stream: Any) -> None:
    await stream.aclose()
    assert [event async for event in stream] == []
    await stream.aclose()


async def leave_by_an_error(stream: Any) -> None:
    with pytest.raises(KeyError):
        async with stream:
            async for _ in stream:
                raise KeyError


async def leave_by_cancelling(stream: Any) -> None:
    async def read() -> None:
        async with stream:
            async for _ in stream:
                pass

    task = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("leave", [leave_by_closing, leave_by_an_error, leave_by_cancelling])
def test_a_stream_that_is_left(loop: Runner, config: Path, provider: Provider, leave: Callable[[Any], Awaitable[None]]) -> None:
    """The provider stops at once, and what came by then is paid for."""
    mark = provider.mark()

    async def work(router: fairlead.Router) -> fairlead.router.Receipt | None:
        stream = await router.chat(model="lab/fast", messages=HELLO, stream=True, sim={"tokens": 1000, "pace_ms": 20})
        for _ in range(3):
            await anext(stream)
        await leave(stream)
        return stream.receipt

    receipt = loop(opened(config, work))
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"
    assert receipt is not None and (receipt.outcome, receipt.estimated) == ("cancelled", True)
    usage, billed = receipt.usage, record["billed"]["cancel_stops"]
    assert receipt.cost_nanousd == PROMPT_NANOUSD * usage.prompt_tokens + COMPLETION_NANOUSD * usage.completion_tokens
    assert 0 < usage.completion_tokens <= billed["completion_tokens"] + 2


def test_a_stream_that_is_forgotten(loop: Runner, config: Path, provider: Provider) -> None:
    mark = provider.mark()

    async def work(router: fairlead.Router) -> None:
        async for _ in await router.chat(model="lab/fast", messages=HELLO, stream=True, sim={"tokens": 1000, "pace_ms": 20}):
            break
        gc.collect()
        [record] = await asyncio.to_thread(provider.since, mark, 1)
        assert record["outcome"] == "client_gone"

    loop(opened(config, work))


def test_a_reader_that_is_behind(loop: Runner, config: Path) -> None:
    """More than is kept for one waits at the provider, and arrives whole."""
    words = " ".join(f"word{number}" for number in range(20_000))

    async def work(router: fairlead.Router) -> None:
        stream = await router.chat(model="lab/echo", messages=[{"role": "user", "content": words}], stream=True)
        pieces = [chat_piece(await anext(stream))]
        await asyncio.sleep(0.2)
        pieces += [chat_piece(event) async for event in stream]
        assert "".join(pieces) == words

    loop(opened(config, work))


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop], ids=LOOPS)
def test_a_loop_that_ends_before_its_router(config: Path, provider: Provider, make: Callable[[], Any]) -> None:
    """Nobody closes anything. The call ends with the Router's last reference."""
    mark = provider.mark()

    async def begin() -> tuple[Any, Any]:
        router = await fairlead.Router(config, environ={}).open()
        stream = await router.chat(model="lab/fast", messages=HELLO, stream=True, sim={"tokens": 1000, "pace_ms": 20})
        await anext(stream)
        return router, stream

    loop = make()
    router, stream = loop.run_until_complete(begin())
    loop.close()
    assert provider.open_requests() == 1
    del router, stream
    gc.collect()
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"


# --- many of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [7, 1024])
def test_many_calls_at_a_time(loop: Runner, config: Path, provider: Provider, most: int) -> None:
    mark = provider.mark()

    async def one(router: fairlead.Router, number: int) -> int:
        text = f"call {number}"
        if number % 3:
            reply = await router.chat(model="lab/echo", messages=[{"role": "user", "content": text}])
            assert chat(reply) == text
            return reply.cost_nanousd
        stream = await router.chat(model="lab/echo", messages=[{"role": "user", "content": text}], stream=True)
        assert "".join([chat_piece(event) async for event in stream]) == text
        assert stream.receipt is not None
        return stream.receipt.cost_nanousd

    async def work(router: fairlead.Router) -> int:
        return sum(await asyncio.gather(*(one(router, number) for number in range(600))))

    cost = loop(opened(config, work, max_in_flight=most))
    assert cost == sum(billed_nanousd(record) for record in provider.since(mark, 600))


def test_waiting_for_a_turn_can_be_left(config: Path) -> None:
    async def work(router: fairlead.Router) -> None:
        def ask(delay_ms: int) -> "asyncio.Task[Any]":
            return asyncio.ensure_future(router.chat(model="lab/echo", messages=HELLO, sim={"delay_ms": delay_ms}))

        first, second, third = ask(200), ask(0), ask(0)
        await asyncio.sleep(0.05)
        second.cancel()
        assert chat(await third) == chat(await first) == "Hello there"
        assert second.cancelled()

    asyncio.run(opened(config, work, max_in_flight=1))


def test_two_routers_beside_each_other_and_a_server(config: Path, gateway: Gateway, provider: Provider, tmp_path: Path) -> None:
    mark = provider.mark()

    async def both() -> None:
        async with fairlead.Router(config, environ={}) as one, fairlead.Router(config, environ={}) as other:
            replies = await asyncio.gather(*(router.chat(model="lab/echo", messages=HELLO) for router in (one, other) for _ in range(20)))
            assert len({reply.generation for reply in replies}) == 40

    threads = [threading.Thread(target=uvloop.run, args=(both(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert gateway.post("/v1/chat/completions", {"model": "lab/echo", "messages": HELLO}).status == 200
    for thread in threads:
        thread.join()
    assert len(provider.since(mark)) == 81


# --- opening and closing ----------------------------------------------------------------------------------------------


def test_closing_waits_for_what_runs(loop: Runner, config: Path, provider: Provider) -> None:
    mark = provider.mark()

    async def go() -> None:
        router = await fairlead.Router(config, environ={}).open()
        call = asyncio.ensure_future(router.chat(model="lab/echo", messages=HELLO, sim={"delay_ms": 300}))
        await asyncio.to_thread(until, lambda: provider.open_requests() > 0, "the provider is at work")
        closing = asyncio.ensure_future(router.close())
        await asyncio.sleep(0)
        with pytest.raises(errors.ClosedError):
            await router.chat(model="lab/echo", messages=HELLO)
        assert chat(await call) == "Hello there"
        await closing
        await router.close()

    loop(go())
    assert len(provider.since(mark)) == 1


def test_closing_cuts_off_what_runs_too_long(loop: Runner, config: Path, provider: Provider) -> None:
    mark = provider.mark()

    async def go() -> None:
        router = await fairlead.Router(config, environ={}).open()
        call = asyncio.ensure_future(router.chat(model="lab/echo", messages=HELLO, sim={"delay_ms": 60_000}))
        stream = await router.chat(model="lab/fast", messages=HELLO, stream=True, sim={"tokens": 1000, "pace_ms": 20})
        await asyncio.to_thread(until, lambda: provider.open_requests() == 2, "the provider is at work")
        await router.close(grace_seconds=0.1)
        for cut_off in (call, read(stream)):
            with pytest.raises(errors.CallError, match="shutting down") as raised:
                await cut_off
            assert raised.value.status == 503
        assert stream.receipt is not None and stream.receipt.cost_nanousd > 0

    async def read(stream: fairlead.router.Stream) -> None:
        async for _ in stream:
            pass

    loop(go())
    assert {record["outcome"] for record in provider.since(mark, 2)} == {"client_gone"}


def test_without_a_data_folder_nothing_is_written(config: Path, tmp_path: Path) -> None:
    script = (
        "import asyncio, fairlead\n"
        "async def main():\n"
        f"    async with fairlead.Router({str(config)!r}) as router:\n"
        "        print((await router.chat(model='lab/echo', messages=[{'role': 'user', 'content': 'Hi'}])).cost)\n"
        "asyncio.run(main())\n"
    )
    environment = clean_environment(tmp_path)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and Decimal(done.stdout) > 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_data_folder_has_its_rows(loop: Runner, config: Path, provider: Provider, tmp_path: Path) -> None:
    """As a server's: one at a time writes there, each call is a row, and a server goes on where a Router ended."""
    data, mark = tmp_path / "data", provider.mark()

    async def work(router: fairlead.Router) -> list[fairlead.router.Reply]:
        with pytest.raises(errors.OpeningError, match="is in use by process"):
            await fairlead.Router(config, environ={}, data_dir=data).open()
        return [await router.chat(model="lab/echo", messages=HELLO) for _ in range(3)]

    replies = loop(opened(config, work, data_dir=data)) + loop(opened(config, work, data_dir=data))
    billed = [billed_nanousd(record) for record in provider.since(mark, 6)]
    with Gateway(config.read_text(), folder=tmp_path) as gateway:
        rows = gateway.generations()
        assert [(row["id"], row["charged_nanousd"]) for row in rows] == [(reply.generation, reply.cost_nanousd) for reply in replies]
        assert [row["charged_nanousd"] for row in rows] == billed
        with pytest.raises(errors.OpeningError, match="is in use by process"):
            loop(opened(config, work, data_dir=data))
        assert gateway.run("usage", "--json").returncode == 0


def test_decisions_are_logged_as_a_server_does(config: Path, provider: Provider, tmp_path: Path) -> None:
    """With a data folder; `fairlead replay` makes them again."""
    data = tmp_path / "data"

    async def work(router: fairlead.Router) -> None:
        for _ in range(3):
            await router.chat(model="lab/both", messages=HELLO, session_id="one")
            stream = await router.messages(model="lab/echo", messages=HELLO, max_tokens=9, stream=True)
            assert [event async for event in stream]
        with pytest.raises(errors.CallError):
            await router.chat(model="lab/both", messages=HELLO, provider={"max_price": {"prompt": "0.1"}})

    def replayed(*words: str) -> tuple[int, dict[str, Any]]:
        done = run(["replay", "--config", str(config), "--data-dir", str(data), "--json", *words], tmp_path)
        return done.returncode, json.loads(done.stdout)

    asyncio.run(opened(config, work, data_dir=data))
    code, summary = replayed("--check")
    assert (code, summary["decisions"], summary["same"]) == (0, 7, 7)
    # A second one goes on with the same log; a configuration may switch it off.
    asyncio.run(opened(config, work, data_dir=data))
    assert replayed("--check")[1]["decisions"] == 14
    off = tmp_path / "off.toml"
    off.write_text(config.read_text() + "[logging]\ndecisions = false\n")
    asyncio.run(opened(off, work, data_dir=data))
    assert replayed("--check")[1]["decisions"] == 14


def test_configuration_errors_are_those_of_check(tmp_path: Path) -> None:
    file = tmp_path / "fairlead.toml"
    file.write_text('[providers.lab]\nbase_url = "http://x/v1"\nkey = "a"\n[servr]\n')
    with pytest.raises(errors.ConfigurationError) as raised:
        asyncio.run(fairlead.Router(file, environ={}).open())
    checked = run(["check", "--config", str(file)], tmp_path)
    assert checked.returncode == 2 and str(raised.value) + "\n" == checked.stderr
    assert len(raised.value.problems) == len(checked.stderr.splitlines()) > 1
    with pytest.raises(errors.ConfigurationError, match="nowhere"):
        fairlead.SyncRouter(tmp_path / "nowhere.toml", environ={})


def test_without_configuration_the_simulator_answers() -> None:
    with fairlead.SyncRouter(environ={}) as router:
        assert chat(router.chat(model="sim/echo", messages=HELLO)) == "Hello there"


def test_tokens_are_renewed(loop: Runner, tmp_path: Path) -> None:
    with Stub() as stub, TokenServer(expires_in=2) as tokens:
        stub.play(gemini)
        (tmp_path / "service-account.json").write_text(key_file(tokens.uri))
        root = f"http://{stub.address}/v1/projects/{{project}}/locations/{{region}}"
        urls = f'base_url = "{root}/publishers/google"\nbase_urls = {{ openai_chat = "{root}/endpoints/openapi" }}\n'
        table = f'[providers.google-vertex]\nregion = "us-east5"\nkeys = ["file:service-account.json"]\n{urls}'
        (tmp_path / "fairlead.toml").write_text(table)

        async def work(router: fairlead.Router) -> None:
            async with asyncio.timeout(60):
                while len({head["authorization"] for head in sent(stub)}) < 3:
                    await router.generate_content(ASK, model="google/gemini-3.5-flash")

        loop(opened(tmp_path / "fairlead.toml", work))


# --- threads and processes --------------------------------------------------------------------------------------------


@pytest.fixture
def synchronous(config: Path) -> Iterator[fairlead.SyncRouter]:
    with fairlead.SyncRouter(config, environ={}) as router:
        yield router


def test_calls_from_many_threads(synchronous: fairlead.SyncRouter, provider: Provider) -> None:
    mark = provider.mark()

    def ask(number: int) -> int:
        text = f"call {number}"
        if number % 2:
            reply = synchronous.chat(model="lab/echo", messages=[{"role": "user", "content": text}])
            assert chat(reply) == text
            return reply.cost_nanousd
        stream = synchronous.chat(model="lab/echo", messages=[{"role": "user", "content": text}], stream=True)
        assert "".join(chat_piece(event) for event in stream) == text
        assert stream.receipt is not None
        return stream.receipt.cost_nanousd

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(100))) == sum(billed_nanousd(record) for record in provider.since(mark, 100))


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_without_a_loop(synchronous: fairlead.SyncRouter, name: str) -> None:
    dialect = DIALECTS[name]
    ask = getattr(synchronous, dialect.method)
    assert dialect.text(ask(model="lab/echo", **dialect.fields).body) == SAID[name]
    assert "".join(dialect.piece(event) for event in ask(model="lab/echo", stream=True, **dialect.fields)) == SAID[name]


def test_errors_and_leaving_without_a_loop(synchronous: fairlead.SyncRouter, provider: Provider) -> None:
    with pytest.raises(errors.CallError) as raised:
        synchronous.chat(model="nowhere/none", messages=HELLO)
    assert raised.value.status == 404 and raised.value.availability is not None
    explained = synchronous.chat(model="lab/echo", messages=HELLO, explain=True).explanation
    assert explained is not None and [candidate.provider for candidate in explained.candidates] == ["lab"]
    with synchronous.chat(model="lab/echo", messages=HELLO, explain=True, stream=True) as stream:
        assert stream.explanation is not None and stream.explanation.candidates[0].model == "lab/echo"
    assert len(synchronous.embeddings(model="lab/echo", input="one").body["data"]) == 1
    mark = provider.mark()
    with synchronous.chat(model="lab/fast", messages=HELLO, stream=True, sim={"tokens": 1000, "pace_ms": 20}) as stream:
        assert stream.generation.startswith("gen-")
        next(stream)
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"
    assert stream.receipt is not None and stream.receipt.outcome == "cancelled"
    synchronous.close()
    synchronous.close()
    with pytest.raises(errors.ClosedError):
        synchronous.chat(model="lab/echo", messages=HELLO)


FORK = """
import asyncio, fairlead, gc, os, sys
HELLO = [{"role": "user", "content": "Hi"}]
synchronous = fairlead.SyncRouter(sys.argv[1])

def refused(call):
    try:
        call()
    except fairlead.errors.ForkedError as error:
        assert str(os.getppid()) in str(error)
        return True

async def main():
    async with fairlead.Router(sys.argv[1]) as router:
        await router.chat(model="lab/echo", messages=HELLO)
        child = os.fork()
        if child == 0:
            try:
                call = router.chat(model="lab/echo", messages=HELLO)
                assert refused(lambda: call.send(None)), "the Router"
                assert refused(lambda: synchronous.chat(model="lab/echo", messages=HELLO)), "the SyncRouter"
                synchronous.close()
                gc.collect()
                await router.close()
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(1)
            # The loop is the parent's too, and must not be taken down here.
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        await router.chat(model="lab/echo", messages=HELLO)

asyncio.run(main())
child = os.fork()
if child == 0:
    # With all that an interpreter does at its end.
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
synchronous.chat(model="lab/echo", messages=HELLO)
synchronous.close()
print("fine")
"""


def script(text: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", text, *arguments],
        env=clean_environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_fork_is_refused(config: Path, tmp_path: Path) -> None:
    """It is told so, ends without waiting for threads that it does not have, and does its parent no harm."""
    done = script(FORK, tmp_path, str(config))
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_a_process_that_closes_nothing_ends(config: Path, provider: Provider, tmp_path: Path) -> None:
    mark = provider.mark()
    text = (
        "import asyncio, fairlead, sys\n"
        "kept = fairlead.SyncRouter(sys.argv[1])\n"
        "async def main():\n"
        "    global router, stream\n"
        "    router = await fairlead.Router(sys.argv[1]).open()\n"
        "    ask = dict(model='lab/fast', messages=[{'role': 'user', 'content': 'Hi'}], stream=True, sim={'tokens': 1000, 'pace_ms': 20})\n"
        "    stream = await router.chat(**ask)\n"
        "    await anext(stream)\n"
        "    global other\n"
        "    other = kept.chat(**ask)\n"
        "    next(other)\n"
        "asyncio.run(main())\n"
        "print('fine')\n"
    )
    done = script(text, tmp_path, str(config))
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
    assert {record["outcome"] for record in provider.since(mark, 2)} == {"client_gone"}


def test_a_secret_is_nowhere_in_an_error(config: Path) -> None:
    fault = {"fault": {"kind": "status", "status": 400, "message": f"bad key {PROVIDER_SECRET}"}}
    with pytest.raises(errors.CallError) as raised:
        asyncio.run(opened(config, lambda router: router.chat(model="lab/echo", messages=HELLO, sim=fault)))
    assert PROVIDER_SECRET not in repr(raised.value) + repr(raised.value.metadata)
