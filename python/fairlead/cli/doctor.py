"""`fairlead doctor`: looks for what is wrong with this installation, running or not, and says what to do about it."""

import argparse
import http.client
import importlib
import os
import sqlite3
import ssl
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fairlead import __version__, config
from fairlead.catalog import current
from fairlead.cli import FAILED, FINE
from fairlead.cli.output import print_json
from fairlead.cli.reach import Refused, add_options, path_of, reached, settings
from fairlead.config import Compiled, Mistakes, report
from fairlead.config.schema import Server
from fairlead.control import place
from fairlead.control.place import InUse, PlaceError

NAME = "doctor"
HELP = "look for what is wrong with this installation"

OK, WARN, FAIL = "ok", "warn", "fail"
# Before this program was written: a clock that was never set. Generation ids and windows of usage depend on it.
LEAST_CLOCK_MS = 1_760_000_000_000
CLOCK_SLACK_MS = 5_000
# A backlog that the drain carries away in the blink of an eye is none.
MOST_BACKLOG_BYTES = 1 << 20
READY_SECONDS = 2.0


class Finding(NamedTuple):
    """One line."""

    level: str
    subject: str
    text: str


class Patient(NamedTuple):
    """What is examined."""

    config: str | None
    data_dir_option: str | None
    server: Server
    data_dir: Path
    running: bool


Check = Callable[[Patient], Iterator[Finding]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and `--data-dir`."""
    add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: nothing is wrong, or only so that it works; 1: something is."""
    findings = list(examine(arguments.config, arguments.data_dir))
    if arguments.json:
        print_json({"ok": all(finding.level != FAIL for finding in findings), "findings": [finding._asdict() for finding in findings]})
    else:
        sys.stdout.write("".join(f"{finding.level:<5} {finding.subject:<10} {finding.text}\n" for finding in findings))
    return FAILED if any(finding.level == FAIL for finding in findings) else FINE


def examine(config_option: str | None, data_dir_option: str | None) -> Iterator[Finding]:
    """Every check in order; one that breaks is a finding itself."""
    try:
        server, data_dir = settings(config_option, data_dir_option)
    except Mistakes as mistakes:
        yield from _mistakes(mistakes)
        return
    patient = Patient(config_option, data_dir_option, server, data_dir, _is_running(data_dir))
    for subject, check in CHECKS.items():
        try:
            yield from check(patient)
        except (OSError, PlaceError, Refused, Mistakes, sqlite3.Error, ImportError, ValueError) as error:
            yield Finding(FAIL, subject, str(error))


def _compiled(path: Path | None) -> Compiled:
    loaded = config.load(path, os.environ)
    return config.compile(loaded, current(loaded.config.server.data_dir), os.environ)


def _configuration(patient: Patient) -> Iterator[Finding]:
    path = config.find(patient.config, os.environ)
    try:
        compiled = _compiled(path)
    except Mistakes as mistakes:
        yield from _mistakes(mistakes)
        return
    yield Finding(OK, "config", f"{path or 'no file: defaults'}; providers: {len(compiled.providers)}, models: {len(compiled.models)}")
    for problem in compiled.warnings:
        yield Finding(WARN, "config", report.line(problem))


def _providers(patient: Patient) -> Iterator[Finding]:
    try:
        compiled = _compiled(config.find(patient.config, os.environ))
    except Mistakes:
        # Said already.
        return
    for provider in compiled.providers:
        if provider.key_source == "none":
            yield Finding(OK, "provider", f"{provider.slug}: no credential is sent")
        else:
            yield Finding(OK, "provider", f"{provider.slug}: {provider.keys} from {provider.key_source}")
    if not compiled.models:
        yield Finding(WARN, "provider", "no model can be used; add providers or models to the configuration")
    if [provider.slug for provider in compiled.providers] == ["sim"]:
        yield Finding(
            WARN, "provider", "only the simulator is on; set a provider's variable such as OPENAI_API_KEY, or write fairlead.toml"
        )


def _versions(patient: Patient) -> Iterator[Finding]:
    native = importlib.import_module("fairlead._native")
    if native.__version__ != __version__:
        yield Finding(FAIL, "version", f"the package is {__version__}, its native module {native.__version__}; install Fairlead again")
        return
    python = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(OK, "version", f"Fairlead {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}")


def _folders(patient: Patient) -> Iterator[Finding]:
    if not patient.data_dir.is_dir():
        yield Finding(OK, "folder", f"{patient.data_dir} does not exist yet; the first start makes it")
        return
    mode = stat.S_IMODE(patient.data_dir.stat().st_mode)
    if mode & 0o077:
        yield Finding(WARN, "folder", f"others can look into {patient.data_dir}; run: chmod 700 {patient.data_dir}")
    else:
        yield Finding(OK, "folder", str(patient.data_dir))
    run_dir = place.run_dir(patient.data_dir)
    if run_dir.exists() or run_dir.is_symlink():
        place.make_run_dir(run_dir)
        yield Finding(OK, "sockets", str(run_dir))
    else:
        yield Finding(OK, "sockets", f"{run_dir} does not exist yet; a start makes it")


def _lock(patient: Patient) -> Iterator[Finding]:
    holder = place.holder(patient.data_dir)
    if patient.running:
        yield Finding(OK, "lock", f"process {holder.pid} runs on this folder" if holder else "another process runs on this folder")
    else:
        yield Finding(OK, "lock", "free: nothing runs on this folder")


def _secret(patient: Patient) -> Iterator[Finding]:
    if patient.server.secret is not None:
        yield Finding(OK, "secret", "from [server] secret")
    elif not (patient.data_dir / place.SECRET).exists():
        level = FAIL if (patient.data_dir / place.DATABASE).exists() else OK
        text = "is missing although there is a database: no key would work; put its backup back"
        yield Finding(level, "secret", f"{place.SECRET} {text if level == FAIL else 'does not exist yet; the first start makes it'}")
    else:
        place.server_secret(patient.data_dir, None)
        yield Finding(OK, "secret", f"{place.SECRET}, closed to others")


def _store(patient: Patient) -> Iterator[Finding]:
    """Database, journal, and the agreement of secret and database: asked of the running process, or examined under the lock."""
    if not (patient.data_dir / place.DATABASE).exists():
        yield Finding(OK, "database", "does not exist yet; the first start makes it")
        return
    secret_file = patient.data_dir / place.SECRET
    if patient.server.secret is None and not secret_file.exists():
        return
    with reached(patient.config, patient.data_dir_option) as installation:
        status = installation.request("GET", path_of("admin", "status"))["data"]
    yield from _database(status["database"])
    yield from _journal(status["journal"], patient.running)
    yield _clock(status["database"]["newest_settled_at_ms"])
    if not patient.running:
        return
    yield from _readiness(patient, status["data"])
    # One that was started before it knew of them says nothing about them.
    yield from map(_sign_in, status.get("sign_ins", []))
    if status["version"] != __version__:
        yield Finding(WARN, "version", f"the running process is {status['version']}, installed is {__version__}; restart it")


def _database(database: dict[str, Any]) -> Iterator[Finding]:
    if database["integrity"] == "ok":
        yield Finding(OK, "database", f"schema {database['schema']}, intact")
    else:
        yield Finding(FAIL, "database", f"is damaged: {database['integrity']}; stop Fairlead and put a backup back")


def _journal(journal: dict[str, Any], running: bool) -> Iterator[Finding]:
    for problem in journal["problems"]:
        yield Finding(FAIL, "journal", f"{problem}; keep the file and report this")
    if journal["failure"]:
        yield Finding(FAIL, "journal", f"the database takes no records: {journal['failure']}")
    applied = {tuple(cursor[:3]): tuple(cursor[3:]) for cursor in journal["applied"]}
    behind = 0
    for *chain, segment, offset in journal["position"]:
        done_segment, done_offset = applied.get(tuple(chain), (segment, 0))
        behind += offset - done_offset if done_segment == segment else offset + MOST_BACKLOG_BYTES
    if behind > MOST_BACKLOG_BYTES:
        yield Finding(
            WARN, "journal", f"the database is behind by {behind} bytes or more; if that grows, the disk or the process is too slow"
        )
    elif not journal["problems"] and not journal["failure"]:
        yield Finding(OK, "journal", "readable, and the database follows it" if running else "readable, all of it is in the database")


def _sign_in(state: dict[str, Any]) -> Finding:
    """Of a service account that the running process calls a provider as."""
    who = f"{state['provider']} as {state['account']}"
    if state["failure"] is None and state["signed_in"]:
        return Finding(OK, "sign-in", who)
    if state["signed_in"]:
        return Finding(WARN, "sign-in", f"{who}: the token lives on but cannot be renewed: {state['failure']}")
    return Finding(FAIL, "sign-in", f"{who}: {state['failure'] or 'no answer yet'}")


def _clock(newest_settled_at_ms: int | None) -> Finding:
    now_ms = time.time_ns() // 1_000_000
    if now_ms < LEAST_CLOCK_MS:
        return Finding(FAIL, "clock", f"says {time.strftime('%Y-%m-%d')}; set it")
    if newest_settled_at_ms is not None and newest_settled_at_ms > now_ms + CLOCK_SLACK_MS:
        return Finding(FAIL, "clock", f"is {(newest_settled_at_ms - now_ms) // 1000} s behind the newest request; it was set back")
    return Finding(OK, "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _ports(patient: Patient) -> Iterator[Finding]:
    """Of an installation that does not run: whether it could."""
    if not patient.running:
        for address, port in ((patient.server.data, place.Port.TRAFFIC), (patient.server.admin, place.Port.ADMIN)):
            place.free_address(address, port)
            yield Finding(OK, "port", f"{port.value} {address} is free")


def _readiness(patient: Patient, address: str) -> Iterator[Finding]:
    """Of a running one: whether it takes traffic, asked where it really listens."""
    host, port = place.resolved(address, "the traffic address")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is listened on, not what is asked
    connection: http.client.HTTPConnection
    if patient.server.tls:
        # Only whether it answers; the certificate is for its clients to judge.
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=READY_SECONDS, context=trusting)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        yield Finding(FAIL, "port", f"traffic {address} does not answer: {error}")
        return
    finally:
        connection.close()
    if status == 200:
        yield Finding(OK, "port", f"traffic {address} is ready")
    else:
        yield Finding(FAIL, "port", f"traffic {address} says that it is not ready (status {status})")


def _is_running(data_dir: Path) -> bool:
    if not (data_dir / place.LOCK).exists():
        return False
    try:
        place.Lock(data_dir).release()
    except InUse:
        return True
    return False


def _mistakes(mistakes: Mistakes) -> Iterator[Finding]:
    for problem in mistakes.problems:
        yield Finding(WARN if problem.severity == "warning" else FAIL, "config", report.line(problem))


CHECKS: dict[str, Check] = {
    "version": _versions,
    "config": _configuration,
    "provider": _providers,
    "folder": _folders,
    "lock": _lock,
    "secret": _secret,
    "database": _store,
    "port": _ports,
}
