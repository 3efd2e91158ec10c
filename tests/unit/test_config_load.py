"""Finding the configuration, references in it, paths in it."""

from pathlib import Path

import pytest
from fairlead import config
from fairlead.catalog.document import Document
from fairlead.config.schema import Config


def test_search_order(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    (home / ".config/fairlead").mkdir(parents=True)
    here.mkdir()
    environ = {"HOME": str(home)}
    assert config.find(None, environ, here) is None
    (home / ".config/fairlead/fairlead.toml").write_text("")
    assert config.find(None, environ, here) == home / ".config/fairlead/fairlead.toml"
    (here / "fairlead.toml").write_text("")
    assert config.find(None, environ, here) == here / "fairlead.toml"
    named = environ | {"FAIRLEAD_CONFIG": "/somewhere/else.toml"}
    assert config.find(None, named, here) == Path("/somewhere/else.toml")
    assert config.find("mine.toml", named, here) == Path("mine.toml")
    assert config.find(None, {}, tmp_path) is None


def test_references(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("from-a-file\r\n\n")
    path = tmp_path / "fairlead.toml"
    path.write_text(
        "[server]\ndata = 'env:WHERE'\n[providers.openai]\nkeys = ['env:A', { secret = 'file:key.txt' }, 'plain']\n"
        "base_url = 'file:~/url'\n[keys.envy]\nsecret = 'env:A'\n"
    )
    (tmp_path / "url").write_text("https://proxy.example/v1")
    loaded = config.load(path, {"WHERE": "127.0.0.1:1", "A": "from-the-environment", "HOME": str(tmp_path)})
    assert loaded.config.server.data == "127.0.0.1:1"
    assert isinstance(loaded.config.providers, dict)
    provider = loaded.config.providers["openai"]
    keys = provider.keys or []
    assert [key if isinstance(key, str) else key.secret for key in keys] == ["from-the-environment", "from-a-file", "plain"]
    assert provider.base_url == "https://proxy.example/v1"
    assert loaded.references[("providers", "openai", "keys", 0)] == "env:A"
    assert {*loaded.watched} == {path, tmp_path / "key.txt", tmp_path / "url"}
    assert loaded.document.problems == []


def test_a_reference_is_not_followed_twice() -> None:
    loaded = config.read("[keys.a]\nsecret = 'env:A'", Path("/x/fairlead.toml"), {"A": "env:B", "B": "no"})
    assert loaded.config.keys["a"].secret == "env:B"


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).write_text("")
    text = "[server]\ndata_dir = 'data'\ntls = { cert = 'cert.pem', key = 'key.pem' }\nca_file = '~/ca.pem'\n"
    loaded = config.read(text, tmp_path / "fairlead.toml", {"HOME": str(tmp_path)})
    server = loaded.config.server
    assert server.tls is not None
    found = (server.data_dir, server.tls.cert, server.tls.key, server.ca_file)
    assert found == tuple(str(tmp_path / name) for name in ("data", "cert.pem", "key.pem", "ca.pem"))


def test_zero_configuration_has_an_absolute_data_folder() -> None:
    loaded = config.load(None, {"HOME": "/home/somebody"})
    assert loaded.config.server.data_dir == "/home/somebody/.local/share/fairlead"
    assert (loaded.path, loaded.watched) == (None, ())


def test_a_document_without_mistakes_is_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("walked")

    monkeypatch.setattr("fairlead.catalog.walk.walk", refuse)
    assert Document.parse("x", "[server]\nwatch = true").decode(Config) is not None
