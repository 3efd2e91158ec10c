"""What the console is made of: where its packages come from, types that are those of the API, source that makes no HTML of text."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fairlead import console
from starlette.datastructures import Headers

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "python/console"
MOST_PACKAGES = 15


def test_packages_are_pinned_few_and_from_the_registry() -> None:
    package = json.loads((SOURCE / "package.json").read_text())
    lock = json.loads((SOURCE / "package-lock.json").read_text())
    assert len(package["dependencies"]) <= MOST_PACKAGES
    for name, version in {**package["dependencies"], **package["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name}: an exact version is expected, not {version}"
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for name, facts in lock["packages"].items():
        place = facts.get("resolved", "https://registry.npmjs.org/")
        assert place.startswith("https://registry.npmjs.org/"), f"{name}: from {place}"
        assert not name or facts.get("integrity") or facts.get("inBundle"), f"{name}: no check sum"


def test_types_are_those_of_the_api(tmp_path: Path) -> None:
    tool = SOURCE / "node_modules/.bin/openapi-typescript"
    if not tool.exists():
        pytest.fail("the console's packages are not installed: make console")
    made = tmp_path / "schema.d.ts"
    subprocess.run([tool, ROOT / "docs/openapi.json", "-o", made], check=True, capture_output=True, cwd=SOURCE)
    assert made.read_text() == (SOURCE / "src/api/schema.d.ts").read_text(), "the API changed: npm run types in python/console"


@pytest.mark.parametrize("path", sorted((SOURCE / "src").rglob("*.ts*")), ids=lambda path: path.name)
def test_no_text_becomes_markup_or_code(path: Path) -> None:
    found = re.findall(
        r"dangerouslySetInnerHTML|\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function\(", path.read_text()
    )
    assert not found, found


def _built(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True)
    for name, text in {"index.html": "<p>page", "assets/a-1.js": "script"}.items():
        (folder / name).write_text(text)
        (folder / f"{name}.gz").write_text(f"gz of {text}")
        (folder / f"{name}.br").write_text(f"br of {text}")
    return folder


@pytest.mark.parametrize(
    ("path", "accept", "encoding", "status", "body", "keeping"),
    [
        ("/", "text/html", "gzip, br", 200, b"br of <p>page", "no-cache"),
        ("/requests/x", "text/html", "gzip", 200, b"gz of <p>page", "no-cache"),
        ("/requests/x", "text/html", "br;q=0, identity", 200, b"<p>page", "no-cache"),
        ("/assets/a-1.js", "*/*", "", 200, b"script", console.FOR_EVER),
        ("/assets/a-1.js", "*/*", "br;q=0.5", 200, b"br of script", console.FOR_EVER),
        ("/assets/b-2.js", "text/html", "", None, b"", ""),
        ("/admin/nothing", "text/html", "", None, b"", ""),
        ("/", "application/json", "", None, b"", ""),
        ("/assets/../index.html", "*/*", "", None, b"", ""),
        ("/assets/a-1.js.br", "*/*", "", None, b"", ""),
    ],
)
def test_what_is_served(tmp_path: Path, path: str, accept: str, encoding: str, status: int | None, body: bytes, keeping: str) -> None:
    reply = console.answer(path, Headers({"accept": accept, "accept-encoding": encoding}), _built(tmp_path / "dist"))
    if status is None:
        assert reply is None
    else:
        assert reply is not None
        assert (reply.status_code, bytes(reply.body), reply.headers["cache-control"]) == (status, body, keeping)


def test_without_the_built_files_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    reply = console.answer("/", Headers({"accept": "text/html"}), tmp_path / "nothing")
    assert reply is not None and reply.status_code == 503
    assert b"make build" in bytes(reply.body) and b"Node 20.19" in bytes(reply.body)


def test_the_build_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = shutil.which("python3") or "python3"
    monkeypatch.setenv("PATH", str(tmp_path))
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import build_backend; print(build_backend.what_is_lacking())"
    done = subprocess.run(
        [ROOT / ".venv/bin/python" if (ROOT / ".venv/bin/python").exists() else python, "-c", code], capture_output=True, text=True
    )
    assert "Node 20.19 or newer with npm is needed" in done.stdout, done.stderr
