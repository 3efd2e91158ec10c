"""Finds and reads `fairlead.toml`: text → tree → references resolved → unbuilt names refused → `Config`."""

import contextlib
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.catalog.document import Document, Mistakes, Problem
from fairlead.catalog.positions import Path as Place
from fairlead.config import unbuilt
from fairlead.config.schema import Config

MOST_FILE_BYTES = 16 << 20
"""More than any configuration; a wrong path (a device, a dump) fails early."""
MOST_REFERENCE_BYTES = 1 << 20


@dataclass
class Loaded:
    """A configuration as its author wrote it, with references resolved. Compiled once: a reload loads anew."""

    config: Config
    document: Document
    """For positions of problems found later; without text in the zero configuration."""
    path: Path | None
    """The file. `None`: there is none, everything is at its default."""
    references: dict[Place, str]
    """The values that were `env:NAME` or `file:PATH`, as written."""
    watched: tuple[Path, ...]
    """Every file that the configuration was read from."""


def find(option: str | None, environ: Mapping[str, str], directory: Path | None = None) -> Path | None:
    """Which file is the configuration: `--config`, `FAIRLEAD_CONFIG`, `./fairlead.toml`, `~/.config/fairlead/fairlead.toml`; or none.

    A file that is named need not exist (reading it will say so); the others are taken when they do.
    """
    if option is not None:
        return Path(option).expanduser()
    if named := environ.get("FAIRLEAD_CONFIG"):
        return Path(named).expanduser()
    home = environ.get("HOME")
    usual = [(directory or Path.cwd()) / "fairlead.toml"] + ([Path(home) / ".config/fairlead/fairlead.toml"] if home else [])
    return next((path for path in usual if path.is_file()), None)


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Reads a configuration file, or gives the zero configuration.

    Raises:
        Mistakes: with everything that is wrong in it, as far as that can be said without the catalogue.
    """
    if path is None:
        config, document = Config(), Document("", {})
        _make_paths_absolute(config, document, Path.cwd(), environ)
        return Loaded(config, document, None, {}, ())
    return read(_text(path), path, environ)


def read(text: str, path: Path, environ: Mapping[str, str], known: Container[str] | None = None) -> Loaded:
    """As `load`, for a text that stands in the file `path`; relative paths in it start at that file's folder.

    Args:
        text: The configuration.
        path: Where it stands, or would.
        environ: The variables that `env:NAME` names.
        known: The references and paths that are looked up, for a text of somebody who may not find out what else there is; each of the
            others is warned of, and nothing is said of what depends on it. None: all.

    Raises:
        Mistakes: as `load`.
    """
    document = Document.parse(str(path), text)
    document.other_names = unbuilt.names_in
    document.secret_paths.update(place for place, _ in _leaves(document.tree) if is_secret(place))
    references, files = _resolve(document, path.parent, environ, known)
    unbuilt.refuse(document)
    config = document.decode(Config)
    if config is None:
        raise Mistakes(document.problems)
    _make_paths_absolute(config, document, path.parent, environ, known)
    return Loaded(config, document, path, references, (path, *files))


def _text(path: Path) -> str:
    def refuse(message: str) -> Mistakes:
        return Mistakes([Problem(str(path), None, None, "", message)])

    try:
        if path.exists() and not path.is_file():
            raise refuse("is not a file")
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror or error}") from None
    if len(data) > MOST_FILE_BYTES:
        raise refuse(f"is longer than {MOST_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Mistakes([Problem(str(path), line, None, "", f"not valid UTF-8 at byte {error.start}")]) from None


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _resolve(
    document: Document, folder: Path, environ: Mapping[str, str], known: Container[str] | None
) -> tuple[dict[Place, str], list[Path]]:
    """Replaces every `env:NAME` and `file:PATH` in the tree by what it refers to; one that cannot be resolved is reported and left."""
    references: dict[Place, str] = {}
    files: list[Path] = []
    for place, text in [*_leaves(document.tree)]:
        if not isinstance(text, str) or not text.startswith(("env:", "file:")):
            continue
        kind, _, name = text.partition(":")
        references[place] = text
        document.secret_paths.add(place)
        value = f"reference-{len(references)}-that-could-not-be-resolved"  # long and unique, as a good secret would be
        if not _may_look(text, place, document, known):
            document.unresolved.add(place)
        else:
            try:
                if kind == "env":
                    value = _variable(name, environ)
                else:
                    files.append(_absolute(name, folder, environ))
                    value = content(files[-1])
            except ValueError as error:
                document.report(place, str(error))
                document.unresolved.add(place)
        _set(document.tree, place, value)
    return references, files


def _may_look(text: str, place: Place, document: Document, known: Container[str] | None) -> bool:
    """Whether a reference or path may be looked up; warns where it may not."""
    if known is None or text in known:
        return True
    document.report(place, f"not looked up, as it is new: whether {text} can be used is told to who may write the configuration", "warning")
    return False


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f'"env:{name}" does not name an environment variable')
    value = environ.get(name)
    if value is None:
        raise ValueError(f"environment variable {name} is not set")
    if not value:
        raise ValueError(f"environment variable {name} is empty")
    return value


def content(path: Path) -> str:
    """The text of a file that a setting refers to, without its last line ends. Raises `ValueError`."""
    try:
        # A pipe without a writer would hold up the start, and each reload.
        if path.exists() and not path.is_file():
            raise ValueError(f"file {path} is no regular file")
        with path.open("rb") as file:
            data = file.read(MOST_REFERENCE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"file {path} cannot be read: {error.strerror or error}") from None
    if len(data) > MOST_REFERENCE_BYTES:
        raise ValueError(f"file {path} is longer than {MOST_REFERENCE_BYTES} bytes")
    try:
        text = data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"file {path} is not valid UTF-8") from None
    if not text:
        raise ValueError(f"file {path} is empty")
    return text


def _make_paths_absolute(
    config: Config, document: Document, folder: Path, environ: Mapping[str, str], known: Container[str] | None = None
) -> None:
    def existing(text: str, *place: str) -> str:
        path = _absolute(text, folder, environ)
        # What a reference stands for was looked up by that.
        if place in document.secret_paths or _may_look(text, place, document, known):
            _check_exists(path, place, document)
        return str(path)

    server = config.server
    server.data_dir = str(_absolute(server.data_dir, folder, environ))
    if server.tls is not None:
        server.tls.cert = existing(server.tls.cert, "server", "tls", "cert")
        server.tls.key = existing(server.tls.key, "server", "tls", "key")
    if server.ca_file is not None:
        server.ca_file = existing(server.ca_file, "server", "ca_file")
    if config.oidc is not None and config.oidc.ca_file is not None:
        config.oidc.ca_file = existing(config.oidc.ca_file, "oidc", "ca_file")
    for slug, provider in (config.providers or {}).items():
        if provider.ca_file is not None:
            provider.ca_file = existing(provider.ca_file, "providers", slug, "ca_file")


def _check_exists(path: Path, place: Place, document: Document) -> None:
    try:
        is_there = path.is_file()
    except OSError:
        # A name that no file can have.
        is_there = False
    if not is_there:
        # What a reference stands for may be a secret that was meant for another place.
        document.report(place, "no such file" if place in document.secret_paths else f"no such file: {path}")


def _absolute(text: str, folder: Path, environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    if home and (text == "~" or text.startswith("~/")):
        return Path(home + text[1:])
    with contextlib.suppress(RuntimeError, ValueError):
        # Raised for the home of a user that there is not, or that nobody can be called: a folder may be called so.
        return (folder / Path(text).expanduser()).absolute()
    return (folder / text).absolute()


def _leaves(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value that is neither table nor list."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if children is None:
        yield place, tree
        return
    for key, child in children:
        yield from _leaves(child, (*place, key))


def content_of(text: str) -> dict[str, Any]:
    """The tree of a text, with references as they are written. Raises `Mistakes`."""
    return Document.parse("", text).tree


def is_secret(place: Place) -> bool:
    """Whether what stands there may not be shown."""
    return place[-1] in ("secret", "admin_token", "webhook_secret", "client_secret", "password") or (
        place[0] == "providers" and ("keys" in place or "headers" in place)
    )


def _set(tree: Any, place: Place, value: str) -> None:
    for part in place[:-1]:
        tree = tree[part]
    tree[place[-1]] = value
