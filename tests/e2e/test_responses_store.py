"""Responses that the gateway keeps, with OpenAI's SDK against every kind of upstream; and what becomes of them on the disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from openai import OpenAI

from e2e.house import ADMIN_TOKEN, KEY, PROVIDER_SECRET, Gateway, Provider, until

UPSTREAMS = {"native": "openai_responses", "chat": "openai_chat", "messages": "anthropic_messages"}
MODELS: dict[str, list[str]] = {"echo": ["none"], "tools": ["none"], "reason": []}
"""The simulator's models, and the efforts that each knows."""
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def configuration(provider: str, store: str = "store = true") -> str:
    """A provider per upstream dialect, each with the simulator's models."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n[responses]\n{store}\n']
    for slug, dialect in UPSTREAMS.items():
        root = f"http://{provider}" + ("" if dialect == "anthropic_messages" else "/v1")
        parts.append(f'[providers.{slug}]\ndialect = "{dialect}"\nbase_url = "{root}"\nkeys = ["{PROVIDER_SECRET}"]\n')
        for model, efforts in MODELS.items():
            parts.append(
                f'[models."{slug}/{model}"]\n[[models."{slug}/{model}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/{model}"\n'
                f"efforts = {efforts}\nusd_per_million = {{ prompt = '3', completion = '15' }}\n"
            )
    return "\n".join(parts)


@pytest.fixture(scope="module")
def keeper(provider: Provider) -> Iterator[Gateway]:
    """A gateway that keeps responses."""
    with Gateway(configuration(provider.address)) as running:
        yield running


class Asking(NamedTuple):
    """An SDK, an upstream, and whether replies are streamed."""

    client: OpenAI
    slug: str
    streams: bool

    def create(self, model: str, **wishes: Any) -> Any:
        """A whole response, however it came."""
        if not self.streams:
            return self.client.responses.create(model=f"{self.slug}/{model}", **wishes)
        events = list(self.client.responses.create(model=f"{self.slug}/{model}", stream=True, **wishes))
        last: Any = events[-1]
        assert last.type == "response.completed"
        begun: Any = events[0]
        assert begun.response.id == last.response.id
        return last.response


@pytest.fixture(
    params=[(manner, slug, streams) for manner in ("/v1", "/api/v1") for slug in UPSTREAMS for streams in (False, True)], ids=str
)
def asking(request: pytest.FixtureRequest, keeper: Gateway) -> Iterator[Asking]:
    """Both manners, every upstream, unary and streamed."""
    manner, slug, streams = request.param
    with OpenAI(base_url=keeper.url + manner, api_key=KEY, max_retries=0) as client:
        yield Asking(client, slug, streams)


def sent(provider: Provider) -> Any:
    """The body that reached the provider last."""
    return json.loads(provider.last_request()["body"])


def test_a_conversation_of_three_turns(asking: Asking, provider: Provider) -> None:
    first = asking.create("echo", input="one", instructions="Be brief")
    second = asking.create("echo", input=[{"role": "user", "content": "two"}], previous_response_id=first.id)
    third = asking.create("echo", input="three", previous_response_id=second.id)
    body = sent(provider)
    said = json.dumps(body)
    assert [said.index(f'"{word}"') for word in ("one", "two", "three")] == sorted(
        said.index(f'"{word}"') for word in ("one", "two", "three")
    )
    assert said.count('"one"') == 2, "what the user said, and what the model answered"
    assert "Be brief" not in said, "instructions are not inherited"
    assert "previous_response_id" not in body
    assert body.get("store") is (False if asking.slug == "native" else None)
    assert (first.previous_response_id, third.previous_response_id) == (None, second.id)
    shown = asking.client.responses.retrieve(third.id)
    assert (shown.output_text, shown.previous_response_id, shown.to_dict()["store"]) == ("three", second.id, True)
    assert shown.to_dict() == third.to_dict()
    items: Any = asking.client.responses.input_items.list(third.id, order="asc")
    texts = [item.content[0].text for item in items]
    assert texts == ["one", "one", "two", "two", "three"]
    pages = asking.client.responses.input_items.list(third.id, limit=2)
    assert pages.has_more and len(list(pages)) == 5, "the SDK goes through all pages"


@pytest.mark.parametrize("slug", UPSTREAMS)
@pytest.mark.parametrize("streams", [False, True])
def test_large_replies(keeper: Gateway, slug: str, streams: bool) -> None:
    """Their ends are looked at beside the worker."""
    words = " ".join(f"word{number}" for number in range(12_000))
    with OpenAI(base_url=keeper.url + "/v1", api_key=KEY, max_retries=0) as client:
        asking = Asking(client, slug, streams)
        first = asking.create("echo", input=words, max_output_tokens=100_000)
        assert client.responses.retrieve(first.id).output_text == words
        second = asking.create("echo", input="and then", previous_response_id=first.id)
        items: Any = client.responses.input_items.list(second.id, order="asc")
        assert [len(item.content[0].text) for item in items] == [len(words), len(words), len("and then")]


def test_tools(asking: Asking) -> None:
    first = asking.create("tools", input="What is the weather in Oslo?", tools=[TOOL])
    [call] = [item for item in first.output if item.type == "function_call"]
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": "4 degrees"}
    second = asking.create("tools", input=[answer], previous_response_id=first.id, tools=[TOOL])
    assert "4 degrees" in second.output_text


def test_reasoning_goes_back_to_who_thought(asking: Asking, provider: Provider) -> None:
    first = asking.create("reason", input="Think", reasoning={"effort": "low", "summary": "auto"}, tools=[TOOL])
    assert first.output[0].type == "reasoning"
    calls = [item for item in first.output if item.type == "function_call"]
    answers: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "cold"} for call in calls]
    asking.create("reason", input=answers or "Go on", previous_response_id=first.id, reasoning={"effort": "low"}, tools=[TOOL])
    body = sent(provider)
    if asking.slug == "native":
        assert body["include"] == ["reasoning.encrypted_content"]
        [thought] = [item for item in body["input"] if item.get("type") == "reasoning"]
        assert thought["encrypted_content"] and "fAiRsEaL" not in json.dumps(body)
    elif asking.slug == "messages":
        [thought] = [
            block for message in body["messages"] for block in message["content"] if isinstance(block, dict) and block["type"] == "thinking"
        ]
        assert thought["signature"] and "fAiRsEaL" not in json.dumps(body)


def test_a_conversation_moves_between_providers(keeper: Gateway, provider: Provider) -> None:
    with OpenAI(base_url=keeper.url + "/v1", api_key=KEY, max_retries=0) as client:
        last: Any = None
        for slug in ("messages", "native", "chat", "native", "messages"):
            ask: Any = {"model": f"{slug}/reason", "input": f"to {slug}", "reasoning": {"effort": "low"}}
            last = client.responses.create(**ask, previous_response_id=last and last.id)
            assert last.status == "completed"
        said = json.dumps(sent(provider))
        assert said.count("to native") >= 2 and "fAiRsEaL" not in said


def test_who_does_not_want_it_kept(asking: Asking) -> None:
    first = asking.create("echo", input="one")
    second = asking.create("echo", input="two", previous_response_id=first.id, store=False)
    with pytest.raises(openai.NotFoundError):
        asking.client.responses.retrieve(second.id)
    assert second.to_dict().get("store") is False


def test_deleted_is_gone(asking: Asking) -> None:
    first = asking.create("echo", input="one")
    asking.client.responses.delete(first.id)
    for gone in (asking.client.responses.retrieve, asking.client.responses.delete, asking.client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(first.id)
    with pytest.raises(openai.BadRequestError) as raised:
        asking.create("echo", input="two", previous_response_id=first.id)
    assert "not found" in str(raised.value)
    if "/api/" not in str(asking.client.base_url):
        assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")


def test_what_cannot_be_asked(keeper: Gateway) -> None:
    with OpenAI(base_url=keeper.url + "/v1", api_key=KEY, max_retries=0) as client:
        first = client.responses.create(model="chat/echo", input="one")
        with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
            client.responses.cancel(first.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.cancel("resp_unknown")
        with pytest.raises(openai.BadRequestError, match="conversation"):
            client.responses.create(model="native/echo", input="two", conversation="conv_1")
        with pytest.raises(openai.BadRequestError, match="background"):
            client.responses.create(model="native/echo", input="two", background=True)
        for query in ("limit=0", "order=up", "after=nobody"):
            assert keeper.get(f"/v1/responses/{first.id}/input_items?{query}").status == 400, query
        assert keeper.get(f"/v1/responses/{first.id}?stream=true").status == 400
        before = client.responses.input_tokens.count(model="chat/echo", input="two").input_tokens
        assert client.responses.input_tokens.count(model="chat/echo", input="two", previous_response_id=first.id).input_tokens > before


def files(gateway: Gateway) -> list[Path]:
    folder = gateway.data_dir / "responses"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_what_lies_on_the_disk(provider: Provider) -> None:
    """Sealed, there after a restart, gone with its key; damage is a 404 and counted."""
    with Gateway(configuration(provider.address)) as gateway:
        asked = {"model": "native/echo", "input": "a word that nobody else says"}
        first = gateway.post("/v1/responses", asked).json()
        [file] = files(gateway)
        assert b"nobody" not in file.read_bytes() and first["id"] not in file.name
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        made = gateway.run("keys", "create", "hers", "--json")
        hers = json.loads(made.stdout)["key"]
        second = gateway.post("/v1/responses", asked | {"previous_response_id": first["id"]}, key=hers).json()
        assert second["previous_response_id"] == first["id"], "keys of one account share"

        gateway.stop()
        gateway.start()
        assert gateway.get(f"/v1/responses/{first['id']}").json() == first
        until(lambda: gateway.gauge("responses_kept") == 2, "the files are counted")
        assert gateway.run("keys", "delete", "hers").returncode == 0
        assert gateway.get(f"/v1/responses/{second['id']}").status == 404
        until(lambda: files(gateway) == [file], "what the key made is erased")

        file.write_bytes(file.read_bytes()[:-1] + b"?")
        assert gateway.get(f"/v1/responses/{first['id']}").status == 404
        assert gateway.gauge("responses_unreadable_total") == 1


def test_a_folder_that_cannot_be_written_costs_no_reply(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        (gateway.data_dir / "responses").write_text("no folder")
        reply = gateway.post("/v1/responses", {"model": "native/echo", "input": "one"})
        assert reply.status == 200
        assert gateway.get(f"/v1/responses/{reply.json()['id']}").status == 404
        assert gateway.gauge("responses_unwritten_total") == 1
        assert "nothing can be kept in" in gateway.stderr()


def test_switched_off_nothing_is_kept_here(provider: Provider) -> None:
    """A provider of the same dialect may keep what it likes; others have nothing to go on from."""
    with Gateway(configuration(provider.address, "store = false")) as gateway:
        with OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=0) as client:
            first = client.responses.create(model="native/echo", input="one")
            client.responses.create(model="native/echo", input="two", previous_response_id=first.id)
            assert sent(provider) == {"model": "sim/echo", "input": "two", "previous_response_id": first.id}
            for wish in ({"previous_response_id": first.id}, {"conversation": "conv_1"}):
                with pytest.raises(openai.BadRequestError, match=r"\[responses\] store is false"):
                    client.responses.create(model="chat/echo", input="two", **wish)  # type: ignore[call-overload]
            with pytest.raises(openai.BadRequestError, match=r"\[responses\] store is false"):
                client.responses.input_tokens.count(model="native/echo", input="two", previous_response_id=first.id)
            with pytest.raises(openai.NotFoundError, match=r"\[responses\] store is false"):
                client.responses.retrieve(first.id)
        assert files(gateway) == []
