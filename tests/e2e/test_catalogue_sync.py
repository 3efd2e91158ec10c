"""`fairlead models sync` from a server, in each shape, into the data folder of a running gateway that reloads."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from e2e.house import FAIRLEAD, Gateway, Provider, configuration

MODEL = "openai/gpt-4.1-mini"


class Feeds(BaseHTTPRequestHandler):
    """What stands under each path."""

    bodies: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        body = self.bodies.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def feeds() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Feeds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """With a model of the catalogue, at two of its providers."""
    at = f'base_url = "http://{provider.address}/v1"\nkeys = ["k"]\n'
    tables = f'[providers.openai]\ndialects = ["openai_chat"]\n{at}[providers.openrouter]\ndialects = ["openai_chat"]\n{at}'
    with Gateway(configuration(provider.address, tables=tables)) as running:
        yield running


def sync(gateway: Gateway, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [FAIRLEAD, "models", "sync", "--config", str(gateway.config), "--data-dir", str(gateway.data_dir), "--from", source, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def prompt_prices(gateway: Gateway) -> dict[str, str]:
    endpoints = gateway.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]["endpoints"]
    return {endpoint["tag"]: endpoint["pricing"]["prompt"] for endpoint in endpoints}


def models_dev(usd: float) -> Any:
    return {"openai": {"models": {"gpt-4.1-mini": {"cost": {"input": usd, "output": 1.6}, "modalities": {"output": ["text"]}}}}}


def litellm(usd: float) -> Any:
    row = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": usd / 1e6, "output_cost_per_token": 1.6e-06}
    return {"gpt-4.1-mini": row}


def openrouter(usd: float) -> Any:
    def row(id: str) -> Any:
        pricing = {"prompt": f"{usd / 1e6:.9f}", "completion": "0.0000016"}
        return {"id": id, "name": id, "context_length": 7000, "pricing": pricing, "architecture": {"output_modalities": ["text"]}}

    return {"data": [row(MODEL), row("acme/brand-new")]}


@pytest.mark.parametrize(
    ("path", "feed", "tag", "price"),
    [
        ("/api.json", models_dev(0.35), "openai", "0.00000035"),
        ("/litellm.json", litellm(0.3), "openai", "0.0000003"),
        ("/api/v1/models", openrouter(0.25), "openrouter", "0.00000025"),
    ],
)
def test_a_running_server_takes_it_at_its_reload(gateway: Gateway, feeds: str, path: str, feed: Any, tag: str, price: str) -> None:
    Feeds.bodies[path] = json.dumps(feed).encode()
    before = prompt_prices(gateway)
    tried = sync(gateway, feeds + path, "--dry-run", "--json")
    assert tried.returncode == 0, tried.stderr
    said = json.loads(tried.stdout)
    assert said["written"] is None
    changed = [change for change in said["changes"] if change["kind"] == "changed" and change["model"] == MODEL]
    assert [change["provider"] for change in changed] == [tag]
    assert gateway.operate("POST", "/admin/reload").status == 200 and prompt_prices(gateway) == before
    done = sync(gateway, feeds + path)
    assert done.returncode == 0 and "changed" in done.stdout and "takes it at its next reload" in done.stdout
    assert prompt_prices(gateway) == before  # not before it reloads
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert prompt_prices(gateway) == before | {tag: price}


def test_a_new_model_is_offered(gateway: Gateway, feeds: str) -> None:
    Feeds.bodies["/more"] = json.dumps(openrouter(0.25)).encode()
    assert sync(gateway, feeds + "/more").returncode == 0
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert "acme/brand-new" in {model["id"] for model in gateway.get("/api/v1/models").json()["data"]}


def test_a_bad_feed_changes_nothing(gateway: Gateway, feeds: str) -> None:
    def stored() -> bytes | None:
        path = gateway.data_dir / "catalogue.jsonl"
        return path.read_bytes() if path.exists() else None

    before = stored()
    Feeds.bodies["/bad"] = json.dumps(models_dev(-1)).encode()
    for source, why in (
        (feeds + "/bad", "openai.models.gpt-4.1-mini.cost.input: -1"),
        (feeds + "/none", "answers 404"),
        ("/no/such", "No such"),
    ):
        failed = sync(gateway, source)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert source in failed.stderr and why in failed.stderr and "Nothing was changed." in failed.stderr
    assert stored() == before
    assert subprocess.run([FAIRLEAD, "models", "sync"], capture_output=True, timeout=60, check=False).returncode == 2


def test_what_cannot_be_right_is_named_and_stays(gateway: Gateway, feeds: str) -> None:
    before = prompt_prices(gateway)
    feed = openrouter(0.2)
    feed["data"] += [{**feed["data"][1], "id": "acme/even newer"}, {**feed["data"][1], "id": "acme/newest"}]
    feed["data"][0]["pricing"]["prompt"] = "0.000000000002"
    Feeds.bodies["/odd"] = json.dumps(feed).encode()
    told = json.loads(sync(gateway, feeds + "/odd", "--dry-run", "--json").stdout)["changes"]
    why = {change["model"]: change["why"] for change in told if change["kind"] == "refused"}
    assert why.keys() == {MODEL, "'acme/even newer'"} and "in the wrong unit" in why[MODEL]
    done = sync(gateway, feeds + "/odd")
    assert done.returncode == 0 and "2 refused, of which nothing is taken" in done.stdout and why[MODEL] in done.stdout
    assert gateway.operate("POST", "/admin/reload").status == 200
    assert prompt_prices(gateway) == before
    listed = {model["id"] for model in gateway.get("/api/v1/models").json()["data"]}
    assert "acme/newest" in listed and "acme/even newer" not in listed


def broken(whole: bytes) -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Ways in which the file can be broken, each with how it is brought about."""
    for size in (1, len(whole) // 3, len(whole) // 2, len(whole) - 2):
        yield f"its first {size} bytes", partial(Path.write_bytes, data=whole[:size])
    for text in (b"not JSON", b"\xff\xfe", b"[1]", b'{"kind": "prices", "model": 5}', b"[" * 100_000):
        yield f"{text[:40]!r}", partial(Path.write_bytes, data=whole + text)
    yield "a folder", Path.mkdir
    yield "a pipe", os.mkfifo
    yield "a link to itself", lambda path: path.symlink_to(path)
    if os.geteuid() != 0:
        yield "nobody may read it", partial(Path.touch, mode=0)


def test_a_broken_file_leaves_the_running_configuration_in_force(gateway: Gateway, feeds: str) -> None:
    """Pages show what is in force, and who reloads or judges a text is told which file it is, where, and what to do."""
    path = gateway.data_dir / "catalogue.jsonl"
    Feeds.bodies["/whole"] = json.dumps(openrouter(0.3)).encode()
    assert sync(gateway, feeds + "/whole").returncode == 0 and gateway.operate("POST", "/admin/reload").status == 200
    whole = path.read_bytes()
    before = gateway.operate("GET", f"/admin/models/{MODEL}").json()
    version = gateway.gauge("snapshot_version")
    for what, make in broken(whole):
        path.unlink(missing_ok=True)
        make(path)
        shown = gateway.operate("GET", f"/admin/models/{MODEL}")
        assert shown.status == 200 and shown.json()["prices"] == before["prices"], (what, shown.body)
        reload = gateway.operate("POST", "/admin/reload")
        assert reload.status == 422, (what, reload.body)
        for judged in (gateway.operate("POST", f"/admin/config/{route}", {"text": ""}) for route in ("validate", "diff")):
            [problem] = judged.json()["data"]["problems"]
            # The line is that file's, not the text's.
            assert (judged.status, problem["line"]) == (200, None), (what, problem)
            for message in (reload.json()["error"]["message"], problem["message"]):
                assert str(path) in message and "take it away" in message and "models sync" in message, (what, message)
        assert gateway.get("/api/v1/models").status == 200 and gateway.gauge("snapshot_version") == version
        path.rmdir() if path.is_dir() else path.unlink()
    path.write_bytes(whole)
    assert gateway.operate("POST", "/admin/reload").status == 200
