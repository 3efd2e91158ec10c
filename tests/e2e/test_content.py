"""Logging of content: what is kept of prompts and replies, for whom, and what happens where it cannot be kept."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from openrouter import OpenRouter

from e2e.house import ADMIN_TOKEN, KEY, MANAGEMENT_KEY, OTHER_KEY, PROVIDER_SECRET, Gateway, Provider, Reply, until

QUIET_KEY = "sk-fl-v1-" + "9a1e" * 16
STRANGER_KEY = "sk-fl-v1-" + "57a1" * 16
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
CACHE = {"x-openrouter-cache": "true"}
SECRET_WORDS = "the password is swordfish"


def configuration(provider: str, logging: str = "content = true", stranger: str = 'account = "strangers"') -> str:
    """A provider that speaks everything, a key that does as the file says, one that is never logged, one of another account."""
    urls = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic_messages": "", "gemini_generate": ""}
    listed = ", ".join(f'{dialect} = "http://{provider}{path}"' for dialect, path in urls.items())
    models = "".join(
        f'[models."lab/{name}"]\n[[models."lab/{name}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/{name}"\n'
        "usd_per_million = { prompt = '3', completion = '15' }\n"
        for name, slug in (("echo", "lab"), ("reason", "lab"), ("tools", "lab"))
    )
    chat_only = (
        f'[providers.chat]\ndialect = "openai_chat"\nbase_url = "http://{provider}/v1"\nkeys = ["{PROVIDER_SECRET}"]\n'
        '[models."chat/echo"]\n[[models."chat/echo".endpoints]]\nprovider = "chat"\nupstream_model = "sim/echo"\n'
        "usd_per_million = { prompt = '3', completion = '15' }\n"
    )
    return (
        f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n[keys.quiet]\nsecret = "{QUIET_KEY}"\ncontent = false\n'
        f'[keys.loud]\nsecret = "{OTHER_KEY}"\ncontent = true\n[keys.stranger]\nsecret = "{STRANGER_KEY}"\n{stranger}\n'
        f'[keys.manager]\nsecret = "{MANAGEMENT_KEY}"\nmanagement = true\n[logging]\n{logging}\n'
        f'[providers.lab]\nname = "Lab"\ndialects = {json.dumps([*urls])}\nkeys = ["{PROVIDER_SECRET}"]\nbase_urls = {{ {listed} }}\n'
        f"{models}{chat_only}"
    )


@pytest.fixture(scope="module")
def logging(provider: Provider) -> Iterator[Gateway]:
    """A gateway that logs content, but not of every key."""
    with Gateway(configuration(provider.address)) as running:
        yield running


def ask(
    gateway: Gateway,
    dialect: str,
    *,
    stream: bool = False,
    model: str = "lab/echo",
    key: str = KEY,
    text: str = "Hello there",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Reply:
    """A call in a dialect."""
    said = {"role": "user", "content": text}
    match dialect:
        case "openai_chat":
            path, body = "/v1/chat/completions", {"messages": [{"role": "system", "content": "Be brief."}, said]}
        case "openai_responses":
            path, body = "/v1/responses", {"instructions": "Be brief.", "input": text}
        case "anthropic_messages":
            path, body = "/v1/messages", {"system": "Be brief.", "messages": [said], "max_tokens": 100}
        case _:
            verb = "streamGenerateContent" if stream else "generateContent"
            path = f"/v1beta/models/{model}:{verb}" + ("?alt=sse" if stream else "")
            body = {"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"role": "user", "parts": [{"text": text}]}]}
            return gateway.post(path, body | fields, key=key, headers=headers)
    return gateway.post(path, body | {"model": model, "stream": stream} | fields, key=key, headers=headers)


def content(gateway: Gateway, reply: Reply, key: str = KEY) -> dict[str, Any]:
    """What is kept of a call, at once."""
    found = gateway.get(f"/api/v1/generation/content?id={reply.generation}", key=key)
    assert found.status == 200, found.body
    data: dict[str, Any] = found.json()["data"]
    return data


@pytest.mark.parametrize("model", ["lab/echo", "chat/echo"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_was_asked_and_said_is_there_when_the_reply_ends(logging: Gateway, dialect: str, stream: bool, model: str) -> None:
    """Whatever the client speaks, and whether or not its reply was translated."""
    reply = ask(logging, dialect, stream=stream, model=model)
    assert reply.status == 200, reply.body
    kept = content(logging, reply)
    system = {"parts": [{"text": "Be brief."}]} if dialect == "gemini_generate" else "Be brief."
    said = (
        {"role": "user", "parts": [{"text": "Hello there"}]} if dialect == "gemini_generate" else {"role": "user", "content": "Hello there"}
    )
    assert kept["input"] == {"messages": [{"role": "system", "content": system}, said]}
    assert (kept["error"], kept["truncated"]) == (None, [])
    text = kept["output"]["completion"]
    assert text and json.dumps(text)[1:5] in reply.body.decode() and kept["output"]["reasoning"] is None
    assert logging.gauge("content_lost_total") == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_hit_in_the_cache_is_logged_like_any_call(logging: Gateway, dialect: str, stream: bool) -> None:
    """Under its own id: what it asked, and the reply that it got. Not of a key that is not logged."""
    first, hit = (ask(logging, dialect, stream=stream, text="Again and again", headers=CACHE) for _ in range(2))
    assert (first.headers["x-openrouter-cache-status"], hit.headers["x-openrouter-cache-status"]) == ("MISS", "HIT")
    assert first.generation != hit.generation
    assert content(logging, hit) == content(logging, first)
    assert content(logging, hit)["output"]["completion"]
    quiet = [ask(logging, dialect, stream=stream, text="Again and again", key=QUIET_KEY, headers=CACHE) for _ in range(2)][1]
    assert quiet.headers["x-openrouter-cache-status"] == "HIT"
    assert logging.get(f"/api/v1/generation/content?id={quiet.generation}", key=QUIET_KEY).status == 404


@pytest.mark.parametrize("hit", [False, True])
def test_the_elements_of_an_array(logging: Gateway, hit: bool) -> None:
    """Gemini's streams without `alt=sse`, those of the cache among them."""
    body = {"contents": [{"role": "user", "parts": [{"text": "In an array"}]}]}
    headers = CACHE if hit else {}
    path = "/v1beta/models/lab/echo:streamGenerateContent"
    reply = [logging.post(path, body, headers=headers) for _ in range(2)][1]
    assert reply.headers.get("x-openrouter-cache-status") == ("HIT" if hit else None)
    assert reply.status == 200 and isinstance(reply.json(), list)
    kept = content(logging, reply)
    assert kept["input"] == {"messages": body["contents"]}
    assert (kept["error"], kept["truncated"]) == (None, []) and "In an array" in kept["output"]["completion"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_thoughts_are_not_what_was_said(logging: Gateway, dialect: str, stream: bool) -> None:
    said = content(logging, ask(logging, dialect, stream=stream, model="lab/reason", text="think"))["output"]
    assert said["completion"]
    if dialect in ("openai_chat", "anthropic_messages"):
        assert said["reasoning"] and said["reasoning"] != said["completion"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_whose_head_goes_out_before_anybody_has_answered(provider: Provider, dialect: str) -> None:
    """Signs of life are none of its content."""
    text = configuration(provider.address) + "[timeouts]\nearly_head_ms = 100\nkeepalive_ms = 100\n"
    with Gateway(text) as gateway:
        reply = ask(gateway, dialect, stream=True, sim={"first_token_ms": 400})
        kept = content(gateway, reply)
        assert kept["output"]["completion"] and (kept["truncated"], kept["error"]) == ([], None)


@pytest.mark.parametrize("stream", [False, True])
def test_legacy_completions(logging: Gateway, stream: bool) -> None:
    reply = logging.post("/v1/completions", {"model": "lab/echo", "prompt": "Once upon", "stream": stream})
    kept = content(logging, reply)
    assert kept["input"] == {"prompt": "Once upon"} and kept["output"]["completion"] and kept["truncated"] == []


def test_a_gemini_stream_that_is_one_array(logging: Gateway) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    reply = logging.post("/v1beta/models/lab/echo:streamGenerateContent", body)
    assert reply.body.lstrip().startswith(b"[")
    kept = content(logging, reply)
    assert kept["output"]["completion"] and kept["truncated"] == []


def test_a_failure_is_kept_with_those_before_it(logging: Gateway) -> None:
    reply = ask(logging, "openai_chat", sim={"fault": {"kind": "status", "status": 500}}, models=["chat/echo"])
    assert reply.status == 502
    kept = content(logging, reply)
    error = kept["error"]
    assert error["status"] == 502 and error["message"] in reply.body.decode() and error["provider_name"]
    previous = {"code": 500, "message": "provider_unavailable", "provider_name": "Lab", "raw": None}
    assert error["previous_errors"] == [previous]
    assert kept["output"] == {"completion": None, "reasoning": None} and kept["truncated"] == []
    assert kept["input"]["messages"][1]["content"] == "Hello there"


def test_what_was_said_before_a_stream_broke_off(logging: Gateway) -> None:
    reply = ask(logging, "openai_chat", stream=True, sim={"tokens": 9, "fault": {"kind": "cut", "after_frames": 4}})
    kept = content(logging, reply)
    assert kept["output"]["completion"] and kept["error"]["status"] == 502


def test_whose_it_is(logging: Gateway) -> None:
    """Another key of the account may see it, as it sees the generation; another account does not learn that there is one."""
    reply = ask(logging, "openai_chat")
    path = f"/api/v1/generation/content?id={reply.generation}"
    assert logging.get(path, key=QUIET_KEY).status == 200
    refused = logging.get(path, key=STRANGER_KEY)
    assert refused.status == 404 and "no generation" in refused.json()["error"]["message"]
    assert logging.get(path, key=None).status == 401
    assert logging.get("/api/v1/generation/content").status == 400
    assert logging.get("/api/v1/generation/content?id=gen-none").status == 404
    # The provider's own id does as well, as with /generation.
    upstream = logging.get(f"/api/v1/generation?id={reply.generation}").json()["data"]["upstream_id"]
    assert logging.get(f"/v1/generation/content?id={upstream}").json()["data"] == content(logging, reply)


def test_each_key_may_say_otherwise(provider: Provider, logging: Gateway) -> None:
    def status(gateway: Gateway, key: str) -> int:
        reply = ask(gateway, "openai_chat", key=key)
        found = gateway.get(f"/api/v1/generation/content?id={reply.generation}", key=key)
        if found.status == 404:
            assert "logging of content was off" in found.json()["error"]["message"]
        return found.status

    assert [status(logging, key) for key in (KEY, QUIET_KEY, OTHER_KEY)] == [200, 404, 200]
    with Gateway(configuration(provider.address, "")) as silent:
        assert [status(silent, key) for key in (KEY, QUIET_KEY, OTHER_KEY)] == [404, 404, 200]
        assert silent.gauge("content_kept") == 1
        made = silent.operate("POST", "/admin/keys", {"name": "made", "content": True}).json()
        assert status(silent, made["key"]) == 200
        path = f"/admin/keys/{made['data']['id']}"
        assert silent.operate("PATCH", path, {"content": None}).json()["data"]["content"] is None
        assert status(silent, made["key"]) == 404
        assert silent.run("keys", "limit", str(made["data"]["id"]), "--content", "on").returncode == 0
        assert status(silent, made["key"]) == 200


def test_openrouters_sdk_reads_it(logging: Gateway) -> None:
    reply = ask(logging, "openai_chat")
    with OpenRouter(api_key=KEY, server_url=f"{logging.url}/api/v1") as client:
        found = client.generations.list_generation_content(id=reply.generation).data
    assert found.output.completion and found.error is None and found.input is not None


def test_what_is_too_long_is_cut_and_says_so(provider: Provider) -> None:
    with Gateway(configuration(provider.address, "content = true\ncontent_text_bytes = 1024")) as small:
        for stream in (False, True):
            kept = content(small, ask(small, "openai_chat", stream=stream, text="word " * 1000))
            assert kept["truncated"] == ["input", "output"]
            assert len(kept["output"]["completion"]) == 1024 and len(kept["input"]["prompt"]) == 1024


def files(gateway: Gateway) -> list[Path]:
    """What lies on the disk."""
    folder = gateway.data_dir / "content"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def test_what_lies_on_the_disk_tells_nothing_and_goes_with_the_key(provider: Provider) -> None:
    with Gateway(configuration(provider.address, "")) as gateway:
        made = gateway.operate("POST", "/admin/keys", {"name": "made", "content": True}).json()
        reply = ask(gateway, "openai_chat", key=made["key"], text=SECRET_WORDS)
        assert SECRET_WORDS in content(gateway, reply)["input"]["messages"][1]["content"]
        [file] = files(gateway)
        stored = file.read_bytes()
        assert b"swordfish" not in stored and b"role" not in stored and file.stat().st_mode & 0o077 == 0
        for suffix in ("", "-wal"):
            assert b"swordfish" not in (gateway.data_dir / f"fairlead.db{suffix}").read_bytes()
        # Without a running process as with one.
        shown = gateway.run("generation", reply.generation, "--content", "--json")
        gateway.stop()
        assert json.loads(gateway.run("generation", reply.generation, "--content", "--json").stdout) == json.loads(shown.stdout)
        text = gateway.run("generation", reply.generation, "--content").stdout
        assert f"--- user\n{SECRET_WORDS}\n--- completion\n" in text
        gateway.start()
        assert content(gateway, reply)["truncated"] == []
        assert gateway.operate("DELETE", f"/admin/keys/{made['data']['id']}").status == 200
        refused = gateway.get(f"/api/v1/generation/content?id={reply.generation}")
        assert refused.status == 404 and "gone with its key" in refused.json()["error"]["message"]
        until(lambda: not files(gateway), "the file is erased")
        assert gateway.run("generation", reply.generation, "--content").returncode == 1


def test_a_disk_that_takes_nothing_costs_the_content_and_no_reply(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        (gateway.data_dir / "content").write_text("in the way")
        took_s = []
        for stream in (False, True):
            reply = ask(gateway, "openai_chat", stream=stream)
            assert reply.status == 200 and gateway.generation(reply.generation)["outcome"] == "completed"
            began = time.monotonic()
            assert gateway.get(f"/api/v1/generation/content?id={reply.generation}").status == 404
            took_s.append(time.monotonic() - began)
        assert min(took_s) < 4, "nobody waits for what is lost already"
        assert gateway.gauge("content_lost_total") == 2
        assert "nothing can be kept in" in gateway.stderr()
