"""The control plane's routes through their ASGI interface, on a real database."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_rig import DAY_MS, NOW_MS, FakeJournal, attempt, generation, loss
from fairlead.catalog.schema import DataPolicy
from fairlead.config import ConfigKey
from fairlead.config.view import EndpointView, ModelView, Price, ProviderView, ReasoningView
from fairlead.control import access, drain, replies, secret
from fairlead.control.access import ROLES, Access
from fairlead.control.app import ADMIN, FORWARDED, PREFIXES, admin_app, private_app
from fairlead.control.db import Database, migrate, queries
from fairlead.control.desk import Desk
from fairlead.control.directory import Directory, NewKey
from fairlead.control.drain import Drainer
from fairlead.control.offer import Offer

SECRET = bytes(range(32))
TOKEN = "fl-admin-secret"
OPERATOR = {"x-fairlead-principal": "operator"}
KEY = {"x-fairlead-principal": "key=1;account=1;management=0"}
MANAGER = {"x-fairlead-principal": "key=1;account=1;management=1"}
STRANGER = {"x-fairlead-principal": "key=9;account=2;management=0"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


def endpoint(**changes: Any) -> EndpointView:
    fields: dict[str, Any] = {
        "id": 7, "provider": "lab", "provider_name": "The Lab", "upstream_model": "gpt-x", "dialects": ("openai_chat",), "region": "",
        "quantization": "unknown", "status": "ga", "deprecated_on": None, "shutdown_on": None,
        "context_length": None, "max_prompt_tokens": None, "max_completion_tokens": 16384, "supported_parameters": None,
        "efforts": (),
        "quirks": (),
        "supports_implicit_caching": False, "cache_ttl_seconds": (), "pricing": {"prompt": "0.000003", "completion": "0.000015"},
        "tier_pricing": {}, "price": Price(3_000_000, 15_000_000), "price_source": "configuration", "not_applied": (),
    }  # fmt: skip
    return EndpointView(**(fields | changes))


def model(**changes: Any) -> ModelView:
    fields: dict[str, Any] = {
        "id": "acme/fast", "aliases": ("fast", "acme/quick"), "name": "Acme Fast", "description": "Quick.", "created": 1_700_000_000,
        "context_length": 128_000, "max_prompt_tokens": None, "max_completion_tokens": None, "input_modalities": ("text", "image"),
        "output_modalities": ("text",), "known_inputs": ("text", "image"), "known_outputs": ("text",),
        "tokenizer": "", "hugging_face_id": "", "knowledge_cutoff": "", "open_weights": None,
        "supported_parameters": ("tools", "tool_choice"), "reasoning": ReasoningView(False, ("low", "high"), "low", True),
        "expiration_date": None, "source": "configuration", "endpoints": (endpoint(),),
    }  # fmt: skip
    return ModelView(**(fields | changes))


CHEAP = model(
    id="acme/cheap:free",
    aliases=(),
    name="Acme Cheap",
    created=1_600_000_000,
    supported_parameters=None,
    reasoning=None,
    endpoints=(endpoint(price=Price(0, 0), pricing={"prompt": "0", "completion": "0"}, region="eu", context_length=8_000),),
)
OFFER = Offer(
    [model(), CHEAP],
    [
        ProviderView(
            "lab",
            "The Lab",
            {},
            1,
            "configuration",
            "configuration",
            DataPolicy(zdr=True),
            "FR",
            ("FR", "DE"),
            "https://lab/privacy",
            "",
            "",
        )
    ],
)


@dataclass
class House:
    """A control plane in a test: its two clients and what lies behind."""

    private: httpx.AsyncClient
    admin: httpx.AsyncClient
    journal: FakeJournal
    desk: Desk

    async def get(self, path: str, headers: dict[str, str] = KEY, status: int = 200) -> Any:
        """A GET on the private socket; the decoded body."""
        response = await self.private.get(path, headers=headers)
        assert response.status_code == status, response.text
        return response.json()


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    journal = FakeJournal()
    database = Database(folder / "fairlead.db")
    directory = Directory(database, SECRET, journal, lambda: NOW_MS)
    drainer = Drainer(database, journal.open_reader, journal)

    async def reload() -> str:
        raise ValueError("fairlead.toml:3: no")

    desk = Desk(database, directory, journal, drainer, OFFER, secret.token_digest(TOKEN), reload, lambda: NOW_MS, {"version": "0"})
    directory.publish_all()
    directory.create(NewKey(name="first"))
    task = asyncio.create_task(drainer.run())

    def client(app: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host")

    async with client(private_app(desk)) as private, client(admin_app(desk)) as admin:
        yield House(private, admin, journal, desk)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    database.close()


def tell(folder: Path, story: Callable[[House], Awaitable[None]]) -> None:
    """Runs a story in a house."""

    async def main() -> None:
        async with house(folder) as built:
            await story(built)

    asyncio.run(main())


# --- who may call what ----------------------------------------------------------------------------------------------------

CALLERS = {
    "nobody": {},
    "anonymous": {"x-fairlead-principal": "anonymous"},
    "key": KEY,
    "manager": MANAGER,
    "operator": OPERATOR,
}
ALLOWED = {
    Access.ANYONE: {"nobody", "anonymous", "key", "manager", "operator"},
    Access.CATALOGUE: {"anonymous", "key", "manager", "operator"},
    Access.KEY: {"key", "manager"},
    Access.MANAGEMENT: {"manager"},
    **{role: {"operator"} for role in ROLES},
}


def test_each_route_lets_in_whom_it_names_and_nobody_else(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        forwarded = [resource._replace(path=prefix + resource.path) for prefix in PREFIXES for resource in FORWARDED]
        routes = [resource for resource in ADMIN if not resource.path.startswith(("/admin/login", "/admin/session", "/admin/events"))]
        for resource in (*forwarded, *routes):
            path = re.sub(r"\{.*?\}", "x", resource.path)
            for caller, headers in CALLERS.items():
                response = await house.private.request(resource.method, path, headers=headers)
                refused = response.status_code in (401, 403)
                assert refused == (caller not in ALLOWED[resource.access]), (resource, caller, response.text)
            if resource in routes:
                for headers, expected in [(BEARER, True), ({}, False), (OPERATOR, False), ({"authorization": "Bearer x"}, False)]:
                    status = (await house.admin.request(resource.method, path, headers=headers)).status_code
                    assert (status not in (401, 403)) == (expected or resource.access is Access.ANYONE), (resource, headers)

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-fairlead-principal", b"key=3;account=2;management=1")], access.Principal("key", 3, 2, True)),
        ([(b"X-Fairlead-Principal", b"operator")], access.OPERATOR),
        ([(b"x-fairlead-principal", b"anonymous")], access.ANONYMOUS),
        ([], None),
        ([(b"x-fairlead-principal", b"operator"), (b"x-fairlead-principal", b"anonymous")], None),
        ([(b"x-fairlead-principal", b"operator ")], None),
        ([(b"x-fairlead-principal", b"key=3;account=2")], None),
        ([(b"x-fairlead-principal", b"key=3;account=2;management=1\n")], None),
        ([(b"x-fairlead-principal", b"key=-1;account=2;management=1")], None),
        ([(b"x-fairlead-principal", "key=³;account=2;management=1".encode())], None),
    ],
)
def test_the_private_principal_is_read_strictly(headers: list[tuple[bytes, bytes]], expected: access.Principal | None) -> None:
    assert access.private_principal(headers) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"Bearer fl-admin-secret"], True),
        ([b"bearer  fl-admin-secret "], True),
        ([b"Bearer fl-admin-secre"], False),
        ([b"Bearer "], False),
        ([b"Basic fl-admin-secret"], False),
        ([b"fl-admin-secret"], False),
        ([b"Bearer fl-admin-secret", b"Bearer fl-admin-secret"], False),
        ([b"Bearer \xff\xfe"], False),
        ([], False),
    ],
)
def test_only_the_admin_token_is_the_operator(values: list[bytes], expected: bool) -> None:
    headers = [(b"authorization", value) for value in values]
    assert (access.admin_principal(headers, secret.token_digest(TOKEN)) == access.OPERATOR) == expected


def test_errors_have_the_words_of_the_data_plane() -> None:
    """Of each status that both planes answer with, by the one table of the data plane."""
    table = (Path(__file__).parents[2] / "rust/ir/src/error.rs").read_text()
    rows = re.findall(r'=>\s+of\((\d+),\s+"(\w+)",\s+"(\w+)",\s+"(\w+)"', table)
    assert {int(row[0]) for row in rows} >= replies._WORDS.keys()
    for status, (openai_type, openai_code, anthropic_type) in replies._WORDS.items():
        words = {row[1] for row in rows if row[0] == str(status)}
        assert (str(status), openai_type, anthropic_type) in {(row[0], row[2], row[3]) for row in rows}
        assert openai_code in words | {None, "invalid_api_key"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"),
    [
        ("GET", "/api/v1/presets", KEY, 404, "there is no GET /api/v1/presets here"),
        ("POST", "/v1/embeddings", KEY, 404, "there is no POST /v1/embeddings here"),
        ("GET", "/api/v1/models/", KEY, 404, "there is no GET /api/v1/models/ here"),
        ("GET", "/v1//admin/keys", OPERATOR, 404, "there is no GET /v1//admin/keys here"),
        ("POST", "/api/v1/key", KEY, 405, "/api/v1/key does not take POST"),
        ("GET", "/api/v1/presets", {}, 401, "no valid credential"),
        ("GET", "/admin/keys", KEY, 403, "this is for the operator"),
        ("GET", "/admin/keys/../../api/v1/key", KEY, 200, None),
    ],
)
def test_what_is_not_there_is_said_in_the_callers_shape(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], status: int, message: str | None
) -> None:
    async def story(house: House) -> None:
        for host in ("host", "evil/admin", "x@/v1/models"):
            response = await house.private.request(method, path, headers=headers | {"host": host})
            assert response.status_code == status
            if message is not None:
                error = response.json()["error"]
                assert error["message"] == message
                if path.startswith("/v1/"):
                    assert (error["type"], error["param"]) == ("invalid_request_error", None)
                else:
                    assert error["code"] == status and isinstance(error["metadata"]["error_type"], str)

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("path", "headers", "error"),
    [
        ("/v1/nothing", {}, {"type": "invalid_request_error", "param": None, "code": "not_found"}),
        ("/v1/nothing", {"anthropic-version": "2023-06-01"}, {"type": "not_found_error"}),
        ("/v1/messages/nothing", {}, {"type": "not_found_error"}),
        ("/api/v1/nothing", {"anthropic-version": "2023-06-01"}, {"code": 404, "metadata": {"error_type": "not_found"}}),
    ],
)
def test_each_dialect_reads_its_own_errors(tmp_path: Path, path: str, headers: dict[str, str], error: dict[str, object]) -> None:
    async def story(house: House) -> None:
        body = (await house.private.get(path, headers=KEY | headers)).json()
        assert body["error"] == {"message": f"there is no GET {path} here"} | error
        assert body.get("type") == ("error" if error.get("type") == "not_found_error" else None)

    tell(tmp_path, story)


def test_every_reply_has_the_security_headers_and_no_error_tells_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is 1234")

    async def story(house: House) -> None:
        monkeypatch.setattr(queries, "keys", broken)
        failed = await house.private.get("/admin/keys", headers=OPERATOR)
        assert failed.status_code == 500
        assert "1234" not in failed.text
        for response in (failed, await house.private.get("/healthz"), await house.private.get("/nowhere")):
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"

    tell(tmp_path, story)


# --- models ---------------------------------------------------------------------------------------------------------------


def test_openrouters_list(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        listed = await house.get("/api/v1/models")
        assert listed["links"] == {"next": None}
        assert listed["total_count"] == 2
        assert listed["data"][0] == {
            "id": "acme/fast",
            "canonical_slug": "acme/fast",
            "name": "Acme Fast",
            "created": 1_700_000_000,
            "description": "Quick.",
            "context_length": 128_000,
            "hugging_face_id": None,
            "knowledge_cutoff": None,
            "expiration_date": None,
            "architecture": {
                "modality": "text+image->text",
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "tokenizer": "Other",
                "instruct_type": None,
            },
            "pricing": {"prompt": "0.000003", "completion": "0.000015"},
            "top_provider": {"context_length": 128_000, "max_completion_tokens": 16384, "is_moderated": False},
            "per_request_limits": None,
            "supported_parameters": ["tools", "tool_choice"],
            "default_parameters": None,
            "supported_voices": None,
            "links": {"details": "/api/v1/models/acme/fast/endpoints"},
            "reasoning": {"mandatory": False, "supported_efforts": ["low", "high"], "default_effort": "low", "supports_max_tokens": True},
        }
        assert await house.get("/api/v1/models/count") == {"data": {"count": 2}}

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["acme/fast", "acme/cheap:free"]),
        ("?limit=1", ["acme/fast"]),
        ("?offset=1", ["acme/cheap:free"]),
        ("?offset=5", []),
        ("?q=CHEAP", ["acme/cheap:free"]),
        ("?supported_parameters=tools,tool_choice", ["acme/fast"]),
        ("?output_modalities=image", []),
        ("?output_modalities=all", ["acme/fast", "acme/cheap:free"]),
        ("?arch=other", ["acme/fast", "acme/cheap:free"]),
        ("?arch=gpt", []),
        ("?sort=pricing-low-to-high", ["acme/cheap:free", "acme/fast"]),
        ("?sort=pricing-high-to-low", ["acme/fast", "acme/cheap:free"]),
        ("?sort=newest", ["acme/fast", "acme/cheap:free"]),
        ("?sort=nicest", None),
        ("?limit=0", None),
        ("?limit=1001", None),
        ("?offset=-1", None),
        ("?offset=%C2%B2", None),
        ("?zdr=true", ["acme/fast", "acme/cheap:free"]),
        ("?zdr=perhaps", None),
        ("?region=eu", ["acme/fast", "acme/cheap:free"]),
        ("?region=us", []),
        ("?region=mars", None),
        ("?providers=LAB", ["acme/fast", "acme/cheap:free"]),
        ("?providers=The Lab,other", ["acme/fast", "acme/cheap:free"]),
        ("?providers=other", []),
        ("?model_authors=acme,other", ["acme/fast", "acme/cheap:free"]),
        ("?model_authors=other", []),
        ("?context=128000", ["acme/fast", "acme/cheap:free"]),
        ("?context=128001", []),
        ("?context=much", None),
        ("?max_price=2.9", ["acme/cheap:free"]),
        ("?max_price=3", ["acme/fast", "acme/cheap:free"]),
        ("?min_price=0.1", ["acme/fast"]),
        ("?max_output_price=14", ["acme/cheap:free"]),
        ("?min_output_price=15", ["acme/fast"]),
        ("?max_price=cheap", None),
        ("?max_price=-1", None),
        ("?max_price=NaN", None),
        ("?arch=claude", []),
        ("?max_age_days=1", []),
        ("?min_age_days=1", ["acme/fast", "acme/cheap:free"]),
        ("?sort=most-popular", ["acme/cheap:free", "acme/fast"]),
        ("?sort=top-weekly", ["acme/cheap:free", "acme/fast"]),
        ("?category=roleplay", None),
        ("?min_coding_index=3", None),
    ],
)
def test_openrouters_parameters_of_the_list(tmp_path: Path, query: str, ids: list[str] | None) -> None:
    async def story(house: House) -> None:
        if "sort=" in query:
            house.journal.records.append((generation(1, model="acme/cheap:free"), [attempt(1, 1)]))
            await house.desk.drainer.catch_up()
        listed = await house.get(f"/api/v1/models{query}", status=200 if ids is not None else 400)
        if ids is not None:
            assert [shown["id"] for shown in listed["data"]] == ids

    tell(tmp_path, story)


def test_what_writes_no_text_is_listed_where_it_is_asked_for(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        vectors = model(id="acme/vectors", aliases=(), output_modalities=("embeddings",))
        house.desk.offer = Offer([*OFFER.models, vectors], tuple(OFFER.providers.values()))
        for query, count in (("", 2), ("?output_modalities=text", 2), ("?output_modalities=embeddings", 1), ("?output_modalities=all", 3)):
            assert (await house.get(f"/api/v1/models{query}"))["total_count"] == count, query
            assert (await house.get(f"/api/v1/models/count{query}"))["data"]["count"] == count, query
        assert len((await house.get("/v1/models"))["data"]) == 3

    tell(tmp_path, story)


def test_sorts_by_statistics(tmp_path: Path) -> None:
    """By a model's best endpoint; those without figures come last."""

    def report(endpoint: int, model: str, first_token_ms: float | None, tokens_per_second: float | None) -> dict[str, Any]:
        quantiles = [value and dict.fromkeys(("p50", "p75", "p90", "p99"), value) for value in (first_token_ms, tokens_per_second)]
        return {
            "endpoint": endpoint, "model": model, "provider": "lab", "service_tier": None, "breaker": "closed", "outage": False,
            "standing": "normal", "uptime": [None, None, None], "first_token_ms": quantiles[0], "tokens_per_second": quantiles[1],
            "tool_calls": None, "keys": [1, 1],
        }  # fmt: skip

    async def story(house: House) -> None:
        cheap = OFFER.models[1].id
        house.desk.offer = Offer([model(id="acme/idle", aliases=()), *OFFER.models], tuple(OFFER.providers.values()))
        reports = [
            report(1, "acme/fast", 900, 10),
            report(2, "acme/fast", 300, None),
            report(3, cheap, 500, 60),
            report(4, cheap, None, 20),
        ]
        house.journal.known_health = json.dumps(reports).encode()
        for sort, ids in (
            ("latency-low-to-high", ["acme/fast", cheap, "acme/idle"]),
            ("throughput-high-to-low", [cheap, "acme/fast", "acme/idle"]),
        ):
            listed = await house.get(f"/api/v1/models?sort={sort}")
            assert [shown["id"] for shown in listed["data"]] == ids

    tell(tmp_path, story)


def test_tokenizers_have_openrouters_names(tmp_path: Path) -> None:
    groups = {
        "openai/gpt-4.1": "GPT", "anthropic/claude-opus-4.1": "Claude", "google/gemini-2.5-pro": "Gemini", "qwen/qwen3-max": "Qwen3",
        "qwen/qwen-2.5-7b-instruct": "Qwen", "meta-llama/llama-4-maverick": "Llama4", "meta-llama/llama-3.1-8b-instruct": "Llama3",
        "amazon/nova-lite-v1": "Nova", "deepseek/deepseek-r1": "DeepSeek", "moonshotai/kimi-k3": "Other",
    }  # fmt: skip

    async def story(house: House) -> None:
        house.desk.offer = Offer([model(id=id, aliases=(), tokenizer="estimate:latin") for id in groups], ())
        for id, group in groups.items():
            [shown] = (await house.get(f"/api/v1/models?arch={group}"))["data"]
            assert (shown["id"], shown["architecture"]["tokenizer"]) == (id, group)

    tell(tmp_path, story)


def test_a_model_without_a_description_is_described_by_its_facts(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for changes, said in (
            ({}, "Acme Fast by acme turns text and image into text, with a context of 128,000 tokens. It can reason first."),
            ({"reasoning": None, "context_length": None}, "Acme Fast by acme turns text and image into text."),
            (
                {"input_modalities": ("text", "image", "file"), "context_length": None, "reasoning": None},
                "Acme Fast by acme turns text, image and file into text.",
            ),
        ):
            house.desk.offer = Offer([model(description="", **changes)], ())
            assert (await house.get("/api/v1/models"))["data"][0]["description"] == said
            assert (await house.get("/api/v1/models/acme/fast/endpoints"))["data"]["description"] == said

    tell(tmp_path, story)


def test_pages_follow_each_other(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        first = await house.get("/api/v1/models?limit=1&q=acme")
        assert first["links"]["next"] == "/api/v1/models?q=acme&offset=1&limit=1"
        second = await house.get(first["links"]["next"])
        assert [shown["id"] for shown in second["data"]] == ["acme/cheap:free"]
        assert second["links"]["next"] is None

    tell(tmp_path, story)


def test_the_list_has_the_manner_of_whoever_asks(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert await house.get("/v1/models") == {
            "object": "list",
            "data": [
                {
                    "id": "acme/fast", "object": "model", "created": 1_700_000_000, "owned_by": "acme",
                    "context_length": 128_000, "max_completion_tokens": 16384,
                },
                {
                    "id": "acme/cheap:free", "object": "model", "created": 1_600_000_000, "owned_by": "acme",
                    "context_length": 128_000, "max_completion_tokens": 16384,
                },
            ],
        }  # fmt: skip
        anthropic = KEY | {"anthropic-version": "2023-06-01"}
        fast = {"type": "model", "id": "acme/fast", "display_name": "Acme Fast", "created_at": "2023-11-14T22:13:20.000Z"}
        listed = await house.get("/v1/models?limit=1", anthropic)
        assert listed == {"data": [fast], "has_more": True, "first_id": "acme/fast", "last_id": "acme/fast"}
        after = await house.get("/v1/models?after_id=acme/fast", anthropic)
        assert [shown["id"] for shown in after["data"]] == ["acme/cheap:free"]
        before = await house.get("/v1/models?before_id=acme/cheap:free", anthropic)
        assert (before["data"], before["has_more"]) == ([fast], False)
        await house.get("/v1/models?after_id=nothing", anthropic, 400)
        codex = await house.get("/v1/models?client_version=0.156.0")
        assert [shown["slug"] for shown in codex["models"]] == [shown["id"] for shown in codex["data"]]
        shown = codex["models"][0]
        assert (shown["context_window"], shown["default_reasoning_level"], shown["priority"]) == (128_000, "low", 0)
        assert [level["effort"] for level in shown["supported_reasoning_levels"]] == ["low", "high"]
        assert codex["models"][1]["supported_reasoning_levels"] == []
        for page in (
            await house.get("/v1beta/models?pageSize=1"),
            await house.get("/v1/models?pageSize=1", KEY | {"x-goog-api-key": "present"}),
        ):
            assert page["nextPageToken"] == "1"
            assert [(shown["name"], shown["inputTokenLimit"]) for shown in page["models"]] == [("models/acme/fast", 128_000)]
        assert "nextPageToken" not in await house.get("/v1beta/models?pageSize=1&pageToken=1")
        error = await house.get("/v1beta/models/acme/slow", status=404)
        message = "there is no model 'acme/slow'; did you mean \"acme/fast\"?"
        assert error == {"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}

    tell(tmp_path, story)


def test_one_model_has_the_manner_of_whoever_asks(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await house.get("/api/v1/models/acme/quick"))["data"]["id"] == "acme/fast"
        assert (await house.get("/v1/models/fast"))["object"] == "model"
        assert (await house.get("/v1/models/acme%2Ffast", KEY | {"anthropic-version": "2023-06-01"}))["display_name"] == "Acme Fast"
        assert (await house.get("/v1beta/models/acme/cheap:free"))["displayName"] == "Acme Cheap"
        assert (await house.get("/v1/models/nothing", status=404))["error"]["code"] == "not_found"

    tell(tmp_path, story)


def test_a_key_sees_the_models_that_it_may_use(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        key, _ = house.desk.directory.create(NewKey(name="narrow", models=["other/*", "acme/c*:free"]))
        narrow = {"x-fairlead-principal": f"key={key.id};account=1;management=0"}
        for path, name in (
            ("/v1/models", "data"),
            ("/api/v1/models", "data"),
            ("/api/v1/models/user", "data"),
            ("/v1beta/models", "models"),
        ):
            assert len((await house.get(path, narrow))[name]) == 1, path
            assert len((await house.get(path))[name]) == 2, path
        assert await house.get("/api/v1/models/count", narrow) == {"data": {"count": 1}}
        await house.get("/v1/models/acme/fast", narrow, 404)
        await house.get("/api/v1/models/acme/fast/endpoints", narrow, 404)
        await house.get("/api/v1/models/acme/cheap:free/endpoints", narrow)
        assert len((await house.get("/v1/models", OPERATOR))["data"]) == 2

    tell(tmp_path, story)


def test_providers_and_what_they_keep(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await house.get("/api/v1/providers"))["data"] == [
            {
                "name": "The Lab", "slug": "lab", "privacy_policy_url": "https://lab/privacy", "terms_of_service_url": None,
                "status_page_url": None, "headquarters": "FR", "datacenters": ["FR", "DE"],
            }
        ]  # fmt: skip
        listed = (await house.get("/api/v1/endpoints/zdr"))["data"]
        assert [(shown["model_id"], shown["provider_name"]) for shown in listed] == [
            ("acme/fast", "The Lab"),
            ("acme/cheap:free", "The Lab"),
        ]
        house.desk.offer = Offer(house.desk.offer.models, ())
        assert (await house.get("/api/v1/endpoints/zdr"))["data"] == []

    tell(tmp_path, story)


def test_endpoints_of_a_model(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for name in ("acme/cheap:free", "acme/cheap%3Afree", "openrouter/acme/cheap:free"):
            assert (await house.get(f"/api/v1/models/{name}"))["data"]["id"] == "acme/cheap:free"
            data = (await house.get(f"/api/v1/models/{name}/endpoints"))["data"]
            assert (data["id"], data["name"], data["created"]) == ("acme/cheap:free", "Acme Cheap", 1_600_000_000)
        shown = data["endpoints"][0]
        required = (
            "name model_id model_name context_length pricing provider_name tag quantization max_completion_tokens max_prompt_tokens "
            "supported_parameters uptime_last_5m uptime_last_30m uptime_last_1d supports_implicit_caching latency_last_30m "
            "throughput_last_30m native_tools service_tier supports_diarization supports_tool_choice"
        )
        assert set(required.split()) <= shown.keys()
        assert (shown["context_length"], shown["tag"], shown["name"]) == (8_000, "lab/eu", "The Lab | acme/cheap:free")
        for alias in ("acme/quick", "fast", "openrouter/acme/quick"):
            assert (await house.get(f"/v1/models/{alias}/endpoints"))["data"]["id"] == "acme/fast"
        error = (await house.get("/api/v1/models/acme/slow/endpoints", status=404))["error"]
        assert error["message"] == "there is no model 'acme/slow'; did you mean \"acme/fast\"?"

    tell(tmp_path, story)


# --- a key about itself, generations, credits -----------------------------------------------------------------------------


def test_a_key_about_itself(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        today, monday, month = NOW_MS, NOW_MS - 4 * DAY_MS, NOW_MS - 20 * DAY_MS
        for number, (moment, charged) in enumerate(
            [(today, 1), (monday, 20), (monday - DAY_MS, 300), (month, 4000), (month - DAY_MS, 50000)]
        ):
            house.journal.settle([generation(number, settled_at_ms=moment, charged_nanousd=charged)])
        house.journal.settle([generation(99, key_id=2, charged_nanousd=7_000_000)])
        response = await house.private.get("/api/v1/key", headers=KEY)
        # Exact decimals in the text itself, not what a parser makes of them.
        assert '"usage":0.000054321,"usage_daily":0.000000001,"usage_weekly":0.000000021,"usage_monthly":0.000004321' in response.text
        data = response.json()["data"]
        required = (
            "label limit limit_remaining limit_reset include_byok_in_limit usage usage_daily usage_weekly usage_monthly byok_usage "
            "byok_usage_daily byok_usage_weekly byok_usage_monthly is_free_tier is_management_key is_provisioning_key creator_user_id "
            "expires_at rate_limit budgets effective_budget free_model_daily_requests allowed_data_regions organization_id workspace_id"
        )
        assert set(required.split()) <= data.keys()
        assert re.fullmatch(r"sk-fl-v1-[0-9a-f]{3}\.\.\.[0-9a-f]{3}", data["label"])
        assert await house.get("/v1/auth/key") == {"data": data}
        await house.get("/v1/key", STRANGER, 401)

    tell(tmp_path, story)


GENERATION_FIELDS = {
    "id", "request_id", "session_id", "upstream_id", "model", "provider_name", "router", "preset_id", "api_type", "created_at",
    "origin", "http_referer", "user_agent", "app_id", "external_user", "workspace_id", "data_region", "streamed", "cancelled",
    "finish_reason", "native_finish_reason", "service_tier", "is_byok", "total_cost", "usage", "upstream_inference_cost",
    "cache_discount", "tokens_prompt", "tokens_completion", "native_tokens_prompt", "native_tokens_completion",
    "native_tokens_reasoning", "native_tokens_cached", "native_tokens_completion_images", "num_media_prompt",
    "num_media_completion", "num_input_audio_prompt", "num_search_results", "num_fetches", "web_search_engine", "latency",
    "generation_time", "moderation_latency", "response_cache_source_id", "provider_responses",
    "preset_version", "upstream_dialect", "translation_losses", "translation_losses_more",
}  # fmt: skip


def test_a_generation_can_be_read_the_moment_it_is_settled(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.journal.records.append((generation(1), [attempt(1, 1, provider="gone", status=0), attempt(1, 2)]))
        response = await house.private.get(f"/api/v1/generation?id={generation(1)[0]}", headers=KEY)
        assert '"total_cost":1.000000001,"usage":1.000000001,"upstream_inference_cost":1.000000002' in response.text
        data = response.json()["data"]
        assert data.keys() == GENERATION_FIELDS
        assert (data["preset_id"], data["preset_version"]) == (None, None)
        assert data["created_at"] == "2025-11-21T16:19:58.500Z"
        assert data["provider_name"] == "The Lab"
        assert (data["tokens_prompt"], data["native_tokens_cached"], data["native_tokens_reasoning"]) == (127, 20, 10)
        assert (data["latency"], data["generation_time"]) == (250, 1500)
        assert (data["streamed"], data["cancelled"], data["origin"], data["session_id"]) == (True, False, "", None)
        assert [tried["provider_name"] for tried in data["provider_responses"]] == ["gone", "The Lab"]
        assert [tried["status"] for tried in data["provider_responses"]] == [None, 200]
        required = {"id", "endpoint_id", "model_permaslug", "provider_name", "status", "latency", "is_byok"}
        assert all(required <= tried.keys() for tried in data["provider_responses"])

    tell(tmp_path, story)


LOSSES = [
    {"path": "messages[0].content[0].cache_control", "severity": "hint", "reason": "the target has no place for it"},
    {"path": "tools[0].strict", "severity": "dropped", "reason": "the target has no place for it"},
]


def lossy(house: House) -> None:
    """Generation 2 was translated, 1 was not."""
    house.journal.losses += [loss(2, place, each["path"], each["severity"]) for place, each in enumerate(LOSSES)]
    house.journal.settle([generation(1), generation(2, upstream_dialect="gemini_generate", translation_losses_more=3)])


def test_a_generation_tells_what_was_lost(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        lossy(house)
        for number, expected in ((1, (None, [], 0)), (2, ("gemini_generate", LOSSES, 3))):
            data = (await house.get(f"/api/v1/generation?id={generation(number)[0]}"))["data"]
            assert (data["upstream_dialect"], data["translation_losses"], data["translation_losses_more"]) == expected

    tell(tmp_path, story)


def test_a_generation_is_found_by_either_id_inside_its_account_only(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        foreign = generation(2, account_id=2, upstream_id="chatcmpl-1")
        house.journal.settle([generation(1), foreign, generation(3, upstream_id="twice"), generation(4, upstream_id="twice")])
        for id, headers, expected in [
            ("chatcmpl-1", KEY, generation(1)[0]),
            ("chatcmpl-1", STRANGER, foreign[0]),
            ("twice", KEY, generation(4)[0]),
            (generation(1)[0], STRANGER, None),
            ("nothing", KEY, None),
            ("%25", KEY, None),
            ("", KEY, 400),
            ("x" * 513, KEY, 400),
        ]:
            response = await house.private.get(f"/v1/generation?id={id}", headers=headers)
            if isinstance(expected, str):
                assert response.json()["data"]["id"] == expected
            else:
                assert response.status_code == (expected or 404), response.text
        await house.get("/v1/generation", status=400)

    tell(tmp_path, story)


def test_credits_are_the_accounts(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.journal.settle([generation(1), generation(2, key_id=5), generation(3, account_id=2)])
        response = await house.private.get("/api/v1/credits", headers=MANAGER)
        assert response.text == '{"data":{"total_credits":0,"total_usage":2.000000002}}'

    tell(tmp_path, story)


def test_a_store_that_is_behind_answers_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def behind(_: Drainer, timeout_seconds: float = 5.0) -> None:
        raise drain.Behind("OperationalError: disk is full")

    async def story(house: House) -> None:
        monkeypatch.setattr(Drainer, "catch_up", behind)
        for path in ("/v1/key", "/v1/generation?id=x"):
            assert "disk is full" in (await house.get(path, status=503))["error"]["message"]

    tell(tmp_path, story)


# --- the operator's routes ------------------------------------------------------------------------------------------------


def test_a_key_lives_from_its_making_to_its_deletion(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        def told() -> Any:
            return json.loads(house.journal.deltas[-1])

        admin = house.admin
        wanted = {"name": "ci", "models": ["acme/*"], "expires_at": "2027-01-01T00:00:00+01:00"}
        made = await admin.post("/admin/keys", headers=BEARER, json=wanted)
        assert made.status_code == 201
        key, data = made.json()["key"], made.json()["data"]
        assert re.fullmatch("sk-fl-v1-[0-9a-f]{64}", key)
        stored = secret.stored_hash(SECRET, key)
        assert data["hash"] == secret.public_hash(stored)
        assert stored not in made.text
        assert told() == {
            "epoch": 1,
            "seq": 3,
            "replace": False,
            "upsert": [
                {
                    "id": 2, "hash": stored, "account": 1, "team": 0, "user": 0, "disabled": False, "management": False,
                    "strict_translation": False, "strict_budget": False, "content": None, "response_cache": None,
                    "expires_at_ms": 1_798_758_000_000,
                    "models": ["acme/*"],
                }
            ],
            "delete": [],
            "scopes": [{"kind": "key", "id": 2, "granted_nanousd": None}],
        }  # fmt: skip
        for selector in (data["hash"], "2", "ci", data["label"]):
            assert (await admin.get(f"/admin/keys/{selector}", headers=BEARER)).json()["data"]["id"] == 2
        changed = await admin.patch(
            f"/admin/keys/{data['hash']}",
            headers=BEARER,
            json={"disabled": True, "name": "ci 2", "expires_at": None, "strict_translation": True},
        )
        assert changed.json()["data"]["disabled"] is True
        assert changed.json()["data"]["name"] == "ci 2"
        assert (changed.json()["data"]["strict_translation"], told()["upsert"][0]["strict_translation"]) == (True, True)
        assert (told()["upsert"][0]["disabled"], told()["upsert"][0]["expires_at_ms"], told()["seq"]) == (True, 0, 4)
        gone = await admin.delete("/admin/keys/2", headers=BEARER)
        assert gone.json() == {"data": {"hash": data["hash"], "deleted": True}}
        assert (told()["delete"], told()["seq"]) == ([2], 5)
        assert (await admin.get("/admin/keys/2", headers=BEARER)).status_code == 404
        listed = (await admin.get("/admin/keys", headers=BEARER)).json()["data"]
        assert [shown["id"] for shown in listed] == [1]
        again = (await admin.post("/admin/keys", headers=BEARER, json={"name": "ci", "strict_translation": True})).json()["data"]
        assert (again["id"], again["strict_translation"]) == (3, True), "ids are never given out again"
        assert key not in "".join(str(row) for row in house.desk.database.path.read_bytes().split())

    tell(tmp_path, story)


def test_a_key_that_never_held_does_not_keep_the_process_from_starting(tmp_path: Path) -> None:
    """The data plane counts moments from 1970 on, and 0 is never."""

    async def story(house: House) -> None:
        for expires_at_ms in (-86_400_000, 0):
            house.desk.database.write_now(lambda c, at=expires_at_ms: c.execute("UPDATE keys SET expires_at_ms = ? WHERE id = 1", (at,)))
            house.desk.directory.publish_all()
            assert [key["expires_at_ms"] for key in json.loads(house.journal.deltas[-1])["upsert"]] == [1]

    tell(tmp_path, story)


def test_a_key_may_expire_as_late_as_a_calendar_goes(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for late in ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59-05:00"):
            changed = await house.admin.patch("/admin/keys/1", headers=BEARER, json={"expires_at": late})
            assert (changed.status_code, changed.json()["data"]["expires_at"]) == (200, "9999-01-01T00:00:00.000Z")

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/admin/keys", b"{", 400, "body: Input data was truncated"),
        ("POST", "/admin/keys", b"{}", 400, "body: Object missing required field `name`"),
        ("POST", "/admin/keys", b'{"name":"x","limit":5}', 400, "body: Object contains unknown field `limit`"),
        ("POST", "/admin/keys", b'{"name":"\\u0007"}', 400, "name: 1 to 200 printable characters are expected"),
        ("POST", "/admin/keys", b'{"name":"x","models":[""]}', 400, "models: at most 1000 patterns of 1 to 200 characters are expected"),
        ("POST", "/admin/keys", b'{"name":"x","account":"y"}', 400, "account: there is no account 'y'"),
        ("POST", "/admin/keys", b'{"name":"x","expires_at":"2027-01-01T00:00:00"}', 400, "expires_at: an offset is missing"),
        ("POST", "/admin/keys", b'{"name":"x","expires_at":"2020-01-01T00:00:00Z"}', 400, "expires_at: this moment has passed"),
        ("PATCH", "/admin/keys/1", b'{"expires_at":"1969-12-31T00:00:00Z"}', 400, "expires_at: a moment after 1970-01-01T00:00:00Z is"),
        ("PATCH", "/admin/keys/1", b'{"expires_at":"1970-01-01T00:00:00Z"}', 400, "expires_at: a moment after 1970-01-01T00:00:00Z is"),
        ("PATCH", "/admin/keys/1", b'{"expires_at":"0001-01-01T00:00:00+05:00"}', 400, "expires_at: a moment after 1970"),
        (
            "POST",
            "/admin/credits",
            b'{"account":"default","usd":"1","expires_at":"0001-01-01T00:00:00+05:00"}',
            400,
            "expires_at: a moment ",
        ),
        ("POST", "/admin/keys", b'{"name":"\xff"}', 400, "body: "),
        ("POST", "/admin/keys", b" " * (1 << 20) + b"{}", 413, "the body is longer than 1048576 bytes"),
        ("PATCH", "/admin/keys/1", b"{}", 400, "nothing to change"),
        ("PATCH", "/admin/keys/77", b'{"disabled":true}', 404, "there is no key '77'"),
        ("PATCH", "/admin/keys/twin", b'{"disabled":true}', 409, "several keys are called 'twin': "),
        ("PATCH", "/admin/keys/file", b'{"disabled":true}', 409, "the key 'file' is defined in the configuration file as [keys.file]"),
        ("DELETE", "/admin/keys/file", b"", 409, "the key 'file' is defined in the configuration file as [keys.file]"),
        ("DELETE", "/admin/keys/%27%3B--", b"", 404, "there is no key"),
    ],
)
def test_mistakes_with_keys(tmp_path: Path, method: str, path: str, body: bytes, status: int, message: str) -> None:
    async def story(house: House) -> None:
        for _ in range(2):
            house.desk.directory.create(NewKey(name="twin"))
        house.desk.directory.sync_file([ConfigKey("file", "s" * 40, (), False)])
        told = len(house.journal.deltas)
        response = await house.admin.request(method, path, headers=BEARER, content=body)
        assert response.status_code == status, response.text
        assert response.json()["error"]["message"].startswith(message)
        assert len(house.journal.deltas) == told

    tell(tmp_path, story)


def test_requests_are_listed_newest_first_with_their_attempts(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.journal.records += [(generation(number), [attempt(number)]) for number in range(1, 6)]
        seen, before = [], ""
        while True:
            page = (await house.admin.get(f"/admin/requests?limit=2{before}", headers=BEARER)).json()
            seen += page["data"]
            if page["next"] is None:
                break
            before = f"&before={page['next']}"
        assert [row["id"] for row in seen] == [generation(number)[0] for number in (5, 4, 3, 2, 1)]
        row = seen[0]
        assert (row["charged_usd"], row["settled_at"], row["flags"]) == ("1.000000001", "2025-11-21T16:20:00.000Z", ["content"])
        assert (row["key"]["name"], row["streamed"]) == ("first", True)
        assert [tried["upstream_cost_usd"] for tried in row["attempts"]] == ["1.000000002"]
        for before in ("zzz", "", "5", row["id"] + "0", row["id"].upper()):
            refused = await house.admin.get("/admin/requests", headers=BEARER, params={"before": before})
            assert (refused.status_code, refused.json()["error"]["message"].partition(":")[0]) == (400, "before")

    tell(tmp_path, story)


def test_requests_tell_what_was_lost_in_the_list_and_alone(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        lossy(house)
        listed = (await house.admin.get("/admin/requests", headers=BEARER)).json()["data"]
        assert [(row["upstream_dialect"], row["translation_losses"], row["translation_losses_more"]) for row in listed] == [
            ("gemini_generate", LOSSES, 3),
            ("", [], 0),
        ]
        for row in listed:
            assert (await house.admin.get(f"/admin/requests/{row['id']}", headers=BEARER)).json()["data"] == row
        for id in ("gen-unknown", "chatcmpl-1"):
            assert (await house.admin.get(f"/admin/requests/{id}", headers=BEARER)).status_code == 404

    tell(tmp_path, story)


def test_operations(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await house.admin.get("/healthz")).text == "ok\n"
        assert (await house.admin.get("/metrics", headers=BEARER)).text == "fairlead_up 1\n"
        refused = await house.admin.post("/admin/reload", headers=BEARER)
        assert refused.status_code == 422
        assert refused.json()["error"]["message"] == "the running configuration stays in force: fairlead.toml:3: no"
        status = (await house.admin.get("/admin/status", headers=BEARER)).json()["data"]
        assert (status["version"], status["database"]) == (
            "0",
            {"schema": migrate.shipped()[-1].version, "integrity": "ok", "newest_settled_at_ms": None},
        )

    tell(tmp_path, story)
