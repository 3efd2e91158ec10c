"""`/admin/config`: what is in force and where each value comes from; a text that is judged, compared, and put in force.

Secrets that stand in the file do not leave it: a page is shown marks in their places (`«kept 1f2e3d4c5b6a»`), and what it sends back with
such a mark gets the secret again, from the file or from one that it replaced. Nothing is written before the whole text was judged; the
file that there was is kept beside the data.
"""

import asyncio
import contextlib
import difflib
import hashlib
import hmac
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.catalog import positions, synced
from fairlead.catalog.document import HIDDEN, Problem
from fairlead.catalog.positions import Path as Place
from fairlead.config import Compiled, Loaded, Mistakes, report
from fairlead.config.load import content_of, is_secret
from fairlead.config.made import TABLES, Made, in_force, left_out
from fairlead.control import trail
from fairlead.control.access import Access
from fairlead.control.db import names
from fairlead.control.desk import Call
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import Refusal, invalid, not_found, reply, rfc3339

MOST_TEXT = 1 << 20
HISTORY, MOST_KEPT = "config-history", 50
_MARK = re.compile(r"«kept ([0-9a-f]{12})»")
SHORT_SECRET = 8
"""Characters below which a secret is hidden only where it is the whole of a text: it may be a part of any word."""
_ID = re.compile(r"[0-9]{13}")
_FIX = re.compile(r'did you mean "([^"]+)"\?')
Text = Annotated[str, Meta(max_length=MOST_TEXT)]


class Configured(Protocol):
    """The process's configuration."""

    loaded: Loaded
    compiled: Compiled
    data_dir: Path
    failure: Any
    """Why the last reload failed, as `at_ms` and `message`; None where it did not."""
    from_command_line: frozenset[Place]
    """Settings that the command line says."""

    def judge(self, text: str, known: Container[str] | None = None) -> tuple[Loaded, Compiled]:
        """A text in place of the file's, compiled and not put in force. `known` as for `config.read`. Raises `Mistakes`. Blocks."""
        ...

    async def change_names(self, key: tuple[str, str], work: Callable[[sqlite3.Connection], None]) -> None:
        """Changes a name that was made at run time: `work` in a transaction, and all of them in force as they are then. Raises what `work`
        raises, and `Mistakes` where that name cannot stand for what it shall; then nothing has changed."""
        ...


class TextBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole `fairlead.toml`."""

    text: Text


class ProblemShown(Shape):
    """What is wrong, or doubtful, and where."""

    line: int | None
    column: int | None
    path: str
    message: str
    fix: str | None
    """The name that was probably meant."""
    severity: Literal["error", "warning"]


class ValueShown(Shape):
    """A value in force. Secrets are hidden, whatever they come from."""

    path: str
    value: Any
    source: Literal["default", "file", "env", "reference", "command", "database"]
    """`reference`: a file that the configuration names; `command`: the command line; `database`: it was made at run time."""
    line: int | None
    reference: str | None
    """`env:NAME` or `file:PATH`."""


class FailureShown(Shape):
    """Why the last reload changed nothing."""

    at: str
    message: str


class ConfigShown(Shape):
    """The configuration in force."""

    path: str | None
    """Null: there is no file, everything is at its default."""
    writable: bool
    why_not: str | None
    text: str | None
    """As it stands in the file, with marks for secrets; null where there is no file or it cannot be shown."""
    values: list[ValueShown]
    warnings: list[ProblemShown]
    changed_since: bool
    """The file is another one than what is in force: reload, or look at why that failed."""
    failure: FailureShown | None
    """Of the last reload; null where it went well."""
    etag: str | None
    """Of the file; what `PUT` says in `If-Match`."""


class ConfigData(Shape):
    """A reply."""

    data: ConfigShown


class Judged(Shape):
    """What there is to say about a text."""

    ok: bool
    problems: list[ProblemShown]


class JudgedData(Shape):
    """A reply."""

    data: Judged


class Difference(Shape):
    """A value that would change; null: there was or will be none. Secrets are hidden."""

    path: str
    before: Any
    after: Any


class Names(Shape):
    """What would come, go and change."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Comparison(Shape):
    """What a text would change."""

    ok: bool
    problems: list[ProblemShown]
    lines: list[str]
    """A unified diff of the texts, with marks for secrets."""
    values: list[Difference]
    models: Names
    providers: Names
    keys: Names
    at_next_start: list[str]
    """What changes only when the process starts anew."""


class ComparisonData(Shape):
    """A reply."""

    data: Comparison


class Kept(Shape):
    """A file that was replaced."""

    id: str
    at: str
    bytes: int


class KeptList(Shape):
    """A reply, the newest first."""

    data: list[Kept]


class KeptText(Shape):
    """One of them, with marks for secrets."""

    id: str
    text: str


class KeptData(Shape):
    """A reply."""

    data: KeptText


_writing = asyncio.Lock()


# --- routes -----------------------------------------------------------------------------------------------------------


async def show(call: Call) -> Response:
    """What is in force, value by value with its source, and the file as it stands."""
    configured = configured_of(call)
    text = await asyncio.to_thread(_present, configured)
    masked = None if text is None else _masked(text, call)
    made = await call.desk.database.read(names.made)
    failure = configured.failure
    why_not = _why_not(configured)
    data = {
        "path": None if configured.loaded.path is None else str(configured.loaded.path),
        "writable": why_not is None and masked is not None,
        "why_not": why_not
        or ("a secret in it is written with escapes, or is a name, too; name it with env: or file:" if text and masked is None else None),
        "text": masked,
        "values": [*_values(configured), *_values_made(configured.compiled, made)],
        "warnings": [problem_shown(each) for each in [*configured.compiled.warnings, *left_out(configured.compiled)]],
        "changed_since": text is not None and text != configured.loaded.document.text,
        "failure": None if failure is None else {"at": rfc3339(failure.at_ms), "message": failure.message},
    }
    etag = None if text is None else _etag(call, text)
    return reply({"data": data | {"etag": etag}}, headers={"etag": etag} if etag else {})


async def validate(call: Call) -> Response:
    """Judges a text: every mistake with its line and the nearest name that there is. Nothing is changed."""
    wanted = await call.body(TextBody)
    problems, _ = await _judged(call, wanted.text)
    return reply({"data": {"ok": not any(each["severity"] == "error" for each in problems), "problems": problems}})


async def diff(call: Call) -> Response:
    """What a text would change: values, models, providers, keys. Nothing is changed."""
    wanted = await call.body(TextBody)
    problems, judged = await _judged(call, wanted.text)
    if judged is None:
        none: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
        lists = {"lines": [], "values": [], "models": none, "providers": none, "keys": none, "at_next_start": []}
        return reply({"data": {"ok": False, "problems": problems, **lists}})
    return reply({"data": {"ok": True, "problems": problems, **_compared(call, *judged)}})


async def write(call: Call) -> Response:
    """Puts a text in force: judged as a whole, written with the old one kept, reloaded. 422 with every mistake, and nothing is changed."""
    configured, wanted = configured_of(call), await call.body(TextBody)
    given = call.if_match()
    async with _writing:
        if (why_not := _why_not(configured)) is not None:
            raise Refusal(409, "invalid_request", why_not)
        before = await asyncio.to_thread(_present, configured)
        if before is None:
            raise Refusal(409, "invalid_request", "the configuration file is gone; reload says more")
        if given is not None and given.strip() not in ("*", _etag(call, before)):
            message = "the file has been changed meanwhile: look at it again"
            raise Refusal(412, "precondition_failed", message, changed=["text"], current={"text": _masked(before, call)})
        problems, judged = await _judged(call, wanted.text)
        if judged is None:
            raise Refusal(422, "unprocessable", "the text cannot be used; nothing was changed", problems=problems)
        after = judged[0].document.text
        values = [each["path"] for each in _compared(call, *judged)["values"]]
        path = configured.loaded.path
        assert path is not None
        await asyncio.to_thread(_keep, configured.data_dir, before, call.desk.now_ms())
        await asyncio.to_thread(_replace, path, after)
        failure = configured.failure
        try:
            message = await call.desk.reload()
        except ValueError as error:
            await asyncio.to_thread(_replace, path, before)
            # The file that could not be put in force is gone.
            configured.failure = failure
            raise Refusal(422, "unprocessable", f"it could not be put in force, and the old file is back: {error}") from None
        except Exception:
            # Nobody knows what is in force: the next reload or start takes the file that was, and the log says what went wrong.
            await asyncio.to_thread(_replace, path, before)
            raise
        at_ms = call.desk.now_ms()
        await call.desk.database.write(
            lambda connection: trail.note(connection, at_ms, "config.write", ("config", 0, str(path)), None, {"changed": values})
        )
    return reply({"data": {"message": message}}, headers={"etag": _etag(call, after)})


async def history(call: Call) -> Response:
    """Files that were replaced here, the newest first."""
    folder = configured_of(call).data_dir / HISTORY
    found = [(path.stem, path.stat().st_size) for path in _kept_files(folder)]
    return reply({"data": [{"id": id, "at": rfc3339(int(id)), "bytes": size} for id, size in found]})


async def past(call: Call) -> Response:
    """One of them."""
    id = call.place("id")
    path = configured_of(call).data_dir / HISTORY / f"{id}.toml"
    if not _ID.fullmatch(id) or not path.is_file():
        raise not_found(f"there is no file {id[:40]!r} in the history")
    if (text := await asyncio.to_thread(_text_of, path)) is None:
        raise Refusal(409, "invalid_request", f"{path} cannot be read, or is no text: look at it there, and take it away if it is broken")
    masked = _masked(text, call)
    if masked is None:
        raise Refusal(
            409, "invalid_request", "a secret in it is written with escapes, or is a name, too, so it is not shown; it is in config-history"
        )
    return reply({"data": {"id": id, "text": masked}})


# --- texts and their secrets ------------------------------------------------------------------------------------------


def secrets_of(text: str) -> list[str] | None:
    """The literal secrets of a file, each once, longer ones first; None when one cannot be found as it is written there."""
    try:
        tree = content_of(text)
    except Mistakes:
        return None
    found: dict[str, None] = {}
    for place, value in _leaves(tree):
        if isinstance(value, str) and value and is_secret(place) and not value.startswith(("env:", "file:")):
            if re.search(_pattern(value), text) is None:
                return None
            found[value] = None
    # Longer ones first, so that none is taken for a part of another.
    return sorted(found, key=len, reverse=True)


def masked(text: str, key: bytes) -> str | None:
    """The text with a mark for each secret, the same one for the same secret; None when one cannot be found as it is written there."""
    secrets = secrets_of(text)
    if not secrets:
        return None if secrets is None else text
    # At once: no mark is looked through for a secret.
    shown = re.sub("|".join(map(_pattern, secrets)), lambda match: _mark(match[0], key), text)
    try:
        content_of(shown)
    except Mistakes:
        # It stands where TOML takes letters and digits alone, too.
        return None
    return shown


def unmasked(text: str, key: bytes, sources: Iterable[str]) -> str:
    """With secrets in the places of their marks, from the first of these files that has them.

    Raises a 400 for a mark that stands for none, and for one where no secret belongs: what is said of other values shows them.
    A text that is no TOML stays as it is.
    """
    if _MARK.search(text) is None:
        return text
    try:
        tree = content_of(text)
    except Mistakes:
        return text
    files = list(sources)
    _check_marks(text, tree, key, files)
    known: dict[str, str] = {}
    left = iter(files)

    def secret(match: re.Match[str]) -> str:
        while match[0] not in known and (source := next(left, None)) is not None:
            known.update({_mark(secret, key): secret for secret in secrets_of(source) or [] if _mark(secret, key) not in known})
        if match[0] not in known:
            line = text[: match.start()].count("\n") + 1
            raise invalid(f"line {line}: {match[0]} stands for no secret of the file; write the secret, or env:NAME", line=line)
        return known[match[0]]

    return _MARK.sub(secret, text)


def _mark(secret: str, key: bytes) -> str:
    return f"«kept {hmac.new(key, b'fairlead: kept' + secret.encode(), hashlib.sha256).hexdigest()[:12]}»"


def _pattern(secret: str) -> str:
    quoted = re.escape(secret)
    return quoted if len(secret) >= SHORT_SECRET else f"(?<=[\"']){quoted}(?=[\"'])"


def _masked(text: str, call: Call) -> str | None:
    return masked(text, call.desk.gate.secret)


def _check_marks(text: str, tree: Any, key: bytes, files: Iterable[str]) -> None:
    """A mark is the whole of a secret, or stands where it stood in one of these files, or in a comment."""
    strange = [(place, value) for place, value in _ends(tree) if any(map(_has_mark, (*place, value))) and not _is_marked(place, value)]
    if not strange:
        return
    shown = filter(None, (masked(file, key) for file in files))
    stood = {(place, value) for each in shown for place, value in _ends(content_of(each)) if _has_mark(value)}
    for place, value in strange:
        if not _has_mark(value) or (place, value) not in stood:
            line, _ = positions.nearest(positions.scan(text), place) or (1, 0)
            raise invalid(f"line {line}: «kept …» stands for the whole of a secret, and for nothing else; write the value", line=line)


def _is_marked(place: Place, value: object) -> bool:
    """Whether a secret belongs there, and a mark is all that stands there."""
    return isinstance(value, str) and _MARK.fullmatch(value) is not None and is_secret(place) and not any(map(_has_mark, place))


def _has_mark(part: object) -> bool:
    return isinstance(part, str) and _MARK.search(part) is not None


def _ends(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value, and what is empty."""
    children = [*tree.items()] if isinstance(tree, dict) else [*enumerate(tree)] if isinstance(tree, list) else []
    if not children:
        yield place, tree
    for key, child in children:
        yield from _ends(child, (*place, key))


def _leaves(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if children is None:
        yield place, tree
        return
    for key, child in children:
        yield from _leaves(child, (*place, key))


# --- judging ----------------------------------------------------------------------------------------------------------


async def _judged(call: Call, text: str) -> tuple[list[dict[str, Any]], tuple[Loaded, Compiled] | None]:
    """What there is to say, and what came of it; None where it cannot be used."""
    configured = configured_of(call)
    whole = await asyncio.to_thread(lambda: unmasked(text, call.desk.gate.secret, _texts(configured)))
    may_look = call.principal.role == Access.OWNER.value
    try:
        judged = await asyncio.to_thread(lambda: configured.judge(whole, None if may_look else _written(configured)))
    except Mistakes as mistakes:
        return [_of_text(each, configured) for each in mistakes.problems], None
    return [_of_text(each, configured) for each in judged[1].warnings], judged


def _written(configured: Configured) -> frozenset[str]:
    """What the file says, as it is in force and as it is now. Who may not write it could otherwise find out, by what is said of a reference
    or path, which files and variables there are."""
    found = set[str]()
    for text in (configured.loaded.document.text, _present(configured) or ""):
        with contextlib.suppress(Mistakes):
            found.update(value for _, value in _leaves(content_of(text)) if isinstance(value, str))
    return frozenset(found)


def _of_text(problem: Problem, configured: Configured) -> dict[str, Any]:
    """A problem of a text. One of another file that is read with it, the synced catalogue, has that file's lines, not the text's."""
    if problem.file == str(configured.data_dir / synced.NAME):
        problem = msgspec.structs.replace(problem, line=None, column=None, message=report.line(problem))
    return problem_shown(problem)


def problem_shown(problem: Problem) -> dict[str, Any]:
    """A problem, as `ProblemShown`."""
    fix = _FIX.search(problem.message)
    return {
        "line": problem.line, "column": problem.column, "path": problem.path, "message": problem.message, "severity": problem.severity,
        "fix": fix[1] if fix else None,
    }  # fmt: skip


def _compared(call: Call, loaded: Loaded, compiled: Compiled) -> dict[str, Any]:
    configured = configured_of(call)
    old, new = _flat(configured.loaded), _flat(loaded)
    values = [
        {"path": positions.show(place), "before": _shown(configured.loaded, place, old), "after": _shown(loaded, place, new)}
        for place in sorted({**old, **new}, key=str)
        if old.get(place) != new.get(place)
    ]
    before, after = configured.compiled, compiled
    keys = {each.name: each for each in before.keys}, {each.name: each for each in after.keys}
    old_lines, new_lines = ((_masked(each.document.text, call) or HIDDEN).splitlines() for each in (configured.loaded, loaded))
    return {
        "lines": [line.rstrip("\n") for line in difflib.unified_diff(old_lines, new_lines, "in force", "new", lineterm="")],
        "values": values,
        "models": _named({each.id: each for each in before.models}, {each.id: each for each in after.models}),
        "providers": _named({each.slug: each for each in before.providers}, {each.slug: each for each in after.providers}),
        "keys": _named(*keys),
        "at_next_start": [
            f"server.{name}"
            for name in ("data", "admin", "data_dir", "secret", "tls", "workers", "drain_ms")
            if getattr(before.server, name) != getattr(after.server, name)
        ],
    }


def _named(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }


def _flat(loaded: Loaded) -> dict[Place, Any]:
    return dict(_leaves(msgspec.to_builtins(loaded.config)))


def _shown(loaded: Loaded, place: Place, values: Mapping[Place, Any]) -> Any:
    if place not in values or values[place] is None:
        return None
    if place in loaded.references:
        return loaded.references[place]
    return HIDDEN if is_secret(place) else values[place]


def _values(configured: Configured) -> Iterator[dict[str, Any]]:
    loaded = configured.loaded
    lines = positions.scan(loaded.document.text)
    values = _flat(loaded)
    for place in values:
        reference = loaded.references.get(place)
        at = lines.get(place)
        source = "default" if at is None else "file" if reference is None else "env" if reference.startswith("env:") else "reference"
        if place in configured.from_command_line:
            source, at = "command", None
        yield {
            "path": positions.show(place), "value": _shown(loaded, place, values), "source": source, "line": at[0] if at else None,
            "reference": reference,
        }  # fmt: skip


def _values_made(compiled: Compiled, made: Iterable[Made]) -> Iterator[dict[str, Any]]:
    """What the database has beside the file."""
    present = in_force(compiled)
    for each in made:
        if (each.kind, each.name) in present:
            for place, value in _leaves(each.definition, (TABLES[each.kind], each.name)):
                yield {"path": positions.show(place), "value": value, "source": "database", "line": None, "reference": None}


# --- files ------------------------------------------------------------------------------------------------------------


def configured_of(call: Call) -> Configured:
    """The process's configuration; 503 where there is no process."""
    if call.desk.configured is None:
        raise Refusal(503, "server", "no process runs on this data folder: there is no configuration in force")
    return call.desk.configured


def _present(configured: Configured) -> str | None:
    """The file as it is now."""
    return None if configured.loaded.path is None else _text_of(configured.loaded.path)


def _text_of(path: Path) -> str | None:
    """A file as it is: line ends are the author's. None where it cannot be read, or is no text."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_bytes().decode("utf-8")
    return None


def _texts(configured: Configured) -> Iterator[str]:
    """The file, then those that it replaced."""
    paths = [configured.loaded.path] if configured.loaded.path else []
    yield from (text for path in [*paths, *_kept_files(configured.data_dir / HISTORY)] if (text := _text_of(path)) is not None)


def _why_not(configured: Configured) -> str | None:
    """Why the file cannot be written from here."""
    path = configured.loaded.path
    if path is None:
        return "there is no configuration file: write one, and start with --config"
    path = path.resolve()
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        return f"{path} cannot be written by this process: copy the text and put it there"
    return None


def _etag(call: Call, text: str) -> str:
    # Keyed: a plain hash would let short secrets be guessed.
    return f'"{hmac.new(call.desk.gate.secret, b"fairlead: configuration" + text.encode(), hashlib.sha256).hexdigest()[:32]}"'


def _replace(path: Path, text: str) -> None:
    """Puts the text in the place of the file at once: a reader sees the old or the new one. Links stay links, modes stay."""
    path = path.resolve()
    mode = path.stat().st_mode & 0o777
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _keep(data_dir: Path, text: str, at_ms: int) -> None:
    """Keeps a file that is replaced, for this user alone; of many the oldest go."""
    folder = data_dir / HISTORY
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / f"{at_ms:013d}.toml", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
    for path in _kept_files(folder)[MOST_KEPT:]:
        path.unlink(missing_ok=True)


def _kept_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if path.suffix == ".toml" and _ID.fullmatch(path.stem) and path.is_file()), reverse=True
    )
