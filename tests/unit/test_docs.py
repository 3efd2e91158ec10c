"""The documentation says what the code does: keys, routes, errors, dependencies, links, commands and samples."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fairlead import _native, config
from fairlead.catalog import shipped
from fairlead.catalog.schema import CHARGED_EACH, CHARGED_PER_MILLION
from fairlead.cli import COMMANDS
from fairlead.config import schema
from fairlead.config.fields import RequestFields
from fairlead.config.google import TOKEN_URI
from fairlead.config.unbuilt import UNBUILT
from fairlead.control.app import ADMIN, FORWARDED, GEMINI
from msgspec import NODEFAULT
from token_server import key_file

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "rust").glob("*.md"), *ROOT.glob("rust/*/README.md"), ROOT / "benches/README.md"]
)
# What `make bench` writes.
MADE_BY_BENCH = ROOT / "benches/results"


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    text = (DOCS / page).read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, head rows left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        row
        for row, following in zip(tables, [*tables[1:], [""]], strict=True)
        if not row[0].startswith("---") and not following[0].startswith("---")
    ]


def names(text: str) -> set[str]:
    """What stands in backticks, blocks of code left out."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def samples(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


# --- configuration.md -------------------------------------------------------------------------------------------------

TABLES: dict[str, type[msgspec.Struct]] = {
    "`[server]`": schema.Server,
    "`tls`": schema.Tls,
    "`[providers.NAME]`": schema.Provider,
    "`keys`, as tables": schema.ProviderKey,
    '`[models."VENDOR/MODEL"]`': schema.Model,
    '`[[models."VENDOR/MODEL".endpoints]]`': schema.Endpoint,
    "`[keys.NAME]`": schema.Key,
    "`[teams.NAME]`": schema.Team,
    "`[users.NAME]`": schema.User,
    "Limits of keys, teams and users": schema.Limited,
    "`budgets`": schema.Budget,
    "`end_user`": schema.EndUser,
    "`[free_tier]`": schema.FreeTier,
    "`[alerts]`": schema.Alerts,
    "`smtp`": schema.Smtp,
    "`[oidc]`": schema.Oidc,
    "`roles`": schema.OidcRoles,
    "`[presets.NAME]`": schema.Preset,
    "What a preset says for requests": RequestFields,
    "`provider`": schema.ProviderWishes,
    "`sort`, as a table": schema.Sort,
    "Percentiles": schema.Percentiles,
    "`max_price`": schema.MaxPrice,
    "`[splits.NAME]`": schema.Split,
    "`arms`": schema.Arm,
    "`[shadows.MODEL]`": schema.Shadow,
    "`[timeouts]`": schema.Timeouts,
    "`[limits]`": schema.Limits,
    "`[routing]`": schema.Routing,
    "`[response_cache]`": schema.ResponseCache,
    "`[idempotency]`": schema.Idempotency,
}
SMALL_TABLES = ("credits", "storage", "logging", "responses")


ABSENT = "\N{EN DASH}"


def shown_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    default: Any = field.default
    if default is NODEFAULT:
        default = field.default_factory()  # type: ignore[operator]
        if isinstance(default, list) and (default or field.name in ("models", "budgets")):
            return f"`{json.dumps(default)}`"
        default = None
    match default:
        case None | msgspec.UnsetType():
            return ABSENT
        case bool():
            return f"`{str(default).lower()}`"
        case int():
            return f"`{default:_}`"
        case _:
            return f'`"{default}"`'


def keys_of(struct: type[msgspec.Struct]) -> list[tuple[str, str]]:
    """Without those that it has from another one, which has a table of its own."""
    inherited = {name for base in struct.__bases__ for name in getattr(base, "__struct_fields__", ())}
    return [(f"`{field.encode_name}`", shown_default(field)) for field in msgspec.structs.fields(struct) if field.name not in inherited]


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_with_its_default(heading: str) -> None:
    table = rows(section("configuration.md", heading))
    assert [(row[0], row[1]) for row in table] == keys_of(TABLES[heading])


def test_the_small_tables_and_nothing_else() -> None:
    documented = [(row[0], row[1]) for row in rows(section("configuration.md", "`[credits]`, `[storage]`, `[logging]`, `[responses]`"))]
    tables = {field.encode_name: field.type for field in msgspec.structs.fields(schema.Config)}
    small = [(f"`{table}.{key[1:]}", default) for table in SMALL_TABLES for key, default in keys_of(tables[table])]
    assert documented == small
    named = {"providers", "models", "keys", "teams", "users", "presets", "splits", "shadows"}
    own = {"timeouts", "limits", "routing", "free_tier", "alerts", "oidc", "response_cache", "idempotency"}
    assert tables.keys() == {"server", *named, *own, *SMALL_TABLES}


def test_quirks() -> None:
    assert rows(section("configuration.md", "Quirks")) == [[f"`{name}`", meaning] for name, meaning in _native.QUIRKS]


def test_prices() -> None:
    per_million, each = (
        [row[0] for row in rows(part)]
        for part in re.split(r"\n\n(?=\| `usd_each`)", section("configuration.md", "`usd_per_million` and `usd_each`"))
    )
    assert per_million == [f"`{name}`" for name in CHARGED_PER_MILLION]
    assert each == [f"`{name}`" for name in CHARGED_EACH]


def test_what_is_not_in_this_version() -> None:
    """All of it; and what the page says is refused is refused."""
    documented = names(section("configuration.md", "Not in this version")) - {"*"}
    unbuilt = {row.pattern[-1] if {"usd_per_million", "usd_each"} & {*row.pattern} else ".".join(map(str, row.pattern)) for row in UNBUILT}
    assert documented == unbuilt


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_configuration_samples_run(page: Path, tmp_path: Path) -> None:
    (tmp_path / "service-account.json").write_text(key_file(TOKEN_URI))
    environ = {"OPENAI_API_KEY": "sk-openai", "FAIRLEAD_ADMIN_TOKEN": "token", "FAIRLEAD_CI_KEY": "sk-fl-v1-" + "c1" * 32}
    environ |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AZURE_OPENAI_API_KEY": "azure"}
    for sample in samples(page, "toml"):
        compiled = config.compile(config.read(sample, tmp_path / "fairlead.toml", environ), shipped(), environ)
        assert not compiled.warnings


# --- api.md -----------------------------------------------------------------------------------------------------------


def source(path: str) -> str:
    """A source file without its tests."""
    return (ROOT / path).read_text().partition("#[cfg(test)]")[0]


def error_table() -> Iterator[list[str]]:
    """(meaning, status, three words, retry) of every kind of failure, as the one table of the code has it."""
    text = source("rust/ir/src/error.rs")
    meanings = {name: meaning for meaning, name in re.findall(r"    /// (.*)\n    (\w+),\n", text)}
    pattern = r'ErrorKind::(\w+) =>\s+of\((\d+),\s+"(\w+)",\s+"(\w+)",\s+"(\w+)",\s+\w+,\s+(true|false),\s+\w+\)'
    for kind, status, openrouter, openai, anthropic, retry in re.findall(pattern, text):
        yield [meanings[kind], status, f"`{openrouter}`", f"`{openai}`", f"`{anthropic}`", "yes" if retry == "true" else "no"]


def test_errors() -> None:
    table = [*error_table()]
    assert len(table) == len(re.findall(r"=>\s+of\(", source("rust/ir/src/error.rs"))) > 0
    assert rows(section("api.md", "Errors")) == table


def test_routes_of_the_traffic_port() -> None:
    documented = names(section("api.md", "Traffic port"))
    forwarded = {f"{resource.method} /api/v1{resource.path}" for resource in FORWARDED} | {f"{each.method} {each.path}" for each in GEMINI}
    forwarded = {route.replace(":path}", "}") for route in forwarded}
    routes = source("rust/gateway/src/routes.rs")
    inferring = [path for arm in re.findall(r'^ +("/.*) => Purpose::', routes, re.MULTILINE) for path in re.findall(r'"(/[^"]+)"', arm)]
    actions = re.findall(r'\("(:\w+)", ', routes)
    probes = re.findall(r'"(/\w+)" => Route::', routes)
    assert len(inferring) > 5 and actions and probes
    expected = forwarded | {f"POST {prefix}{path}" for prefix in ("/v1", "/api/v1") for path in inferring}
    expected |= {f"POST /v1beta/models/{{model}}{action}" for action in actions} | {f"GET {path}" for path in probes}
    assert '"/cursor/chat/completions"' in routes
    expected |= {f"POST {prefix}/cursor/chat/completions" for prefix in ("/v1", "/api/v1")}
    stated = {name.partition("?")[0] for name in documented if name.startswith(("GET /", "POST /", "PATCH /", "DELETE /", "/"))}
    assert stated - {"GET /v1/models", "GET /api/v1/…", "/v1"} == expected


def test_routes_of_the_admin_port() -> None:
    documented = [row[:2] for row in rows(section("api.md", "Admin port"))]
    assert documented == [[f"`{each.method} {each.path.replace(':path}', '}')}`", each.access.value] for each in ADMIN]


def test_response_headers() -> None:
    documented = {row[0].strip("`").lower() for row in rows(section("api.md", "Response headers"))}
    makers = "".join(source(f"rust/gateway/src/pipeline/{file}") for file in ("reply.rs", "repeat/played.rs"))
    written = set(re.findall(r'HeaderName::from_static\("([\w-]+)"\)', makers))
    assert documented == written - {"x-accel-buffering"}


def test_request_headers_that_pass() -> None:
    text = "".join(source(shown(path)) for path in (ROOT / "rust/gateway/src/pipeline").glob("*.rs"))
    table = re.search(r"const PASSED: \[\(&str, &str\); \d+\] = \[(.*?)\];", text, re.DOTALL)
    assert table
    assert set(re.findall(r'"([\w-]+)"', table[1])) <= names(section("api.md", "Request headers"))


def test_request_keys() -> None:
    happens = {"Used": "used", "Removed": "removed", "NotInThisVersion": "refused with 400"}
    table = re.findall(r'row\("(\w+)",\s+"([^"]+)",\s+Treatment::(\w+)', source("rust/formats/src/extension.rs"))
    assert table
    assert rows(section("api.md", "Request keys")) == [[f"`{key}`", feature, happens[treatment]] for key, feature, treatment in table]


def test_keys_that_are_said_once() -> None:
    scanner = source("rust/formats/src/request.rs")
    dialects = [path.read_text() for path in (ROOT / "rust/formats/src").glob("*/*.rs")]
    lists = [found for text in dialects for found in re.findall(r"static KEYS: \[&str; [^]]+\] =\s+keys\((.*?)\);", text, re.DOTALL)]
    assert len(lists) == len(re.findall(r"Keys::new\(&", scanner)) == 7
    wanted = set(re.findall(r'all\[[A-Z]+\] = "(\w+)"', scanner)).union(*(re.findall(r'"(\w+)"', found) for found in lists))
    wanted |= {"anthropic_version"} if any("VERSION_NAME]" in found for found in lists) else set()
    documented = names(section("api.md", "Keys that are said once")) - {"Model", "maxOutputTokens", "candidateCount"}
    assert {name for name in documented if name.isidentifier()} == wanted


# --- dependencies.md, library.md (metrics.md is compared with a running gateway: e2e/test_metrics.py) ------------------


def test_dependencies() -> None:
    documented = [names(row[0]) for row in rows((DOCS / "dependencies.md").read_text())]
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    python = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], *project["build-system"]["requires"]]
    expected = {name for name in cargo if not name.startswith("fairlead-")} | {re.split(r"[^\w.-]", name)[0] for name in python}
    console = json.loads((ROOT / "python/console/package.json").read_text())
    assert set().union(*documented) == expected | {*console["dependencies"], *console["devDependencies"]}


@pytest.mark.parametrize("sample", samples(DOCS / "library.md", "python"))
def test_library_samples_run(sample: str) -> None:
    exec(compile(sample, "library.md", "exec"), {})


# --- every page -------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() or target.is_relative_to(MADE_BY_BENCH), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_commands_exist(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    said = [*names(text), *(line for block in samples(page, "sh") for line in block.splitlines())]
    for command in said:
        if made := re.match(r"make ([a-z0-9-]+)", command):
            assert made[1] in targets, command
        if ours := re.match(r"fairlead ([a-z]+)", command):
            assert ours[1] in COMMANDS, command


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_files_that_are_named_exist(page: Path) -> None:
    """Paths in backticks that begin with a folder of the tree; in `rust/README.md`, files of the gateway."""
    for name in names(page.read_text()):
        if re.fullmatch(r"(rust|python|tests|benches|docs|deploy|examples)/[\w./-]+", name) and "results" not in name:
            assert (ROOT / name).exists(), name
        if page == ROOT / "rust/README.md" and re.fullmatch(r"(server|pipeline|upstream|telemetry)/\w+", name):
            assert (ROOT / "rust/gateway/src" / f"{name}.rs").exists(), name
