"""The code of docs/translation.md runs as it stands, from top to bottom, against a gateway with the page's own configuration."""

import contextlib
import gc
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from google import genai

from e2e.house import Gateway, clean_environment, send

PAGE = Path(__file__).resolve().parents[2] / "docs" / "translation.md"
SHOWN_URL = "http://127.0.0.1:8080"


class Block(NamedTuple):
    """A block of code, and what the page says it prints, which is the block of text right behind it."""

    line: int
    language: str
    code: str
    printed: str | None


def blocks() -> list[Block]:
    text = PAGE.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.MULTILINE | re.DOTALL)
    return [Block(text.count("\n", 0, block.start()) + 1, block[1], block[2], block[3]) for block in found]


def of(language: str) -> list[Block]:
    return [block for block in blocks() if block.language == language]


@pytest.fixture(scope="module")
def running() -> Iterator[Gateway]:
    [config] = of("toml")
    with Gateway(config.code) as gateway:
        yield gateway


@pytest.fixture
def environment(running: Gateway, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a reader has who started the gateway: `KEY`, and nothing of ours."""
    key = str(running.ready["key"])
    monkeypatch.setenv("KEY", key)
    return {**clean_environment(running.folder), "KEY": key, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_every_block_is_of_a_kind_that_is_tried() -> None:
    assert {block.language for block in blocks()} == {"python", "sh", "toml", "ini"}
    # A block of text that follows nothing would be compared with nothing.
    assert PAGE.read_text().count("```text\n") == sum(block.printed is not None for block in blocks())


# A page that closed every client would be hard to read; here they are let go where nobody minds that they were not closed.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_python(running: Gateway, environment: dict[str, str]) -> None:
    """One after the other in one namespace, as somebody who reads types them."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in of("python"):
        # The line numbers of what fails are the page's.
        code = compile("\n" * block.line + block.code.replace(SHOWN_URL, running.url), str(PAGE), "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == (block.printed or ""), f"line {block.line}"
    names.clear()
    gc.collect()


@pytest.mark.parametrize("block", of("sh"), ids=lambda block: f"line {block.line}")
def test_shell(block: Block, running: Gateway, environment: dict[str, str]) -> None:
    code = block.code.replace(SHOWN_URL, running.url)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", code],
        env=environment,
        cwd=running.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if block.printed is not None:
        assert done.stdout.replace("\r", "") == block.printed
    assert '"error":{' not in done.stdout


def test_a_question_in_four_dialects_has_one_answer(running: Gateway, environment: dict[str, str]) -> None:
    [block] = [block for block in of("sh") if "generateContent" in block.code]
    code = block.code.replace(SHOWN_URL, running.url)
    done = subprocess.run(["bash", "-eu", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == 4 and all('"Hello"' in answer for answer in answers)


def test_sdks_that_are_told_by_the_environment(running: Gateway, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = [block for block in of("sh") if "OPENAI_BASE_URL" in block.code]
    code = f"{block.code.replace(SHOWN_URL, running.url)}\nenv"
    done = subprocess.run(["bash", "-eu", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True)
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    for name in told.keys() - environment.keys():
        monkeypatch.setenv(name, told[name])
    with openai.OpenAI() as client:
        assert client.responses.create(model="sim/claude-new", input="One").output_text == "One"
    with anthropic.Anthropic() as claude:
        message = claude.messages.create(model="sim/gpt-new", max_tokens=200, messages=[{"role": "user", "content": "Two"}])
    assert message.content[-1].text == "Two"
    with genai.Client() as google:
        assert google.models.generate_content(model="sim/claude-new", contents="Three").text == "Three"


# --- coding agents: where their settings point to, the calls they make are answered -----------------------------------


def test_codex_settings_point_at_responses() -> None:
    [block] = of("ini")
    settings = tomllib.loads(block.code)
    provider = settings["model_providers"][settings["model_provider"]]
    assert (provider["base_url"], provider["wire_api"]) == (f"{SHOWN_URL}/v1", "responses")


USER = {"role": "user", "content": "Hello"}
AGENT_TOOL = {"name": "Bash", "description": "Runs it", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "A patch", "format": {"type": "text"}}
SHELL = {
    "type": "function",
    "name": "shell",
    "strict": False,
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
}
CALLS: dict[str, tuple[str, str, dict[str, str], Any]] = {
    "Claude Code": (
        "POST",
        "/v1/messages?beta=true",
        {"authorization": "Bearer {key}", "anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14"},
        {
            "model": "sim/gpt-new",
            "max_tokens": 500,
            "stream": True,
            "system": [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}],
            "messages": [USER, {"role": "system", "content": "A reminder"}],
            "tools": [AGENT_TOOL],
            "metadata": {"user_id": "user_1"},
        },
    ),
    "Claude Code counts": (
        "POST",
        "/v1/messages/count_tokens?beta=true",
        {"authorization": "Bearer {key}", "anthropic-version": "2023-06-01"},
        {"model": "sim/gpt-new", "messages": [USER], "tools": [AGENT_TOOL]},
    ),
    "Claude Code looks for models": (
        "GET",
        "/v1/models?limit=1000",
        {"authorization": "Bearer {key}", "anthropic-version": "2023-06-01"},
        None,
    ),
    "Codex": (
        "POST",
        "/v1/responses",
        {"authorization": "Bearer {key}", "originator": "codex_cli_rs", "session_id": "s"},
        {
            "model": "sim/claude-new",
            "instructions": "Be brief",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
            "tools": [SHELL, PATCH],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "store": False,
            "stream": True,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "k",
        },
    ),
    "Gemini CLI": (
        "POST",
        "/v1beta/models/sim/claude-new:streamGenerateContent?alt=sse",
        {"x-goog-api-key": "{key}"},
        {
            "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
            "systemInstruction": {"role": "user", "parts": [{"text": "Be brief"}]},
            "generationConfig": {"temperature": 0, "topP": 1, "thinkingConfig": {"includeThoughts": True}},
            "tools": [{"functionDeclarations": [{"name": "ls", "parametersJsonSchema": {"type": "object", "properties": {}}}]}],
        },
    ),
}


@pytest.mark.parametrize("agent", CALLS)
def test_calls_of_coding_agents(agent: str, running: Gateway) -> None:
    method, path, headers, body = CALLS[agent]
    headers = {name: value.format(key=running.ready["key"]) for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    reply = send(running.address, method, path, data, {"content-type": "application/json", **headers})
    assert reply.status == 200, reply.body
    end = {"Claude Code": b"event: message_stop", "Codex": b"event: response.completed", "Gemini CLI": b'"finishReason":"STOP"'}
    assert end.get(agent, b"") in reply.body
