"""A key gets another secret: both work for an overlap, over restarts, and what is spent is spent by one key."""

import contextlib
import sqlite3
import time

import pytest

from e2e.house import Gateway, Provider, Reply, configuration

CHAT = {"model": "lab/echo", "messages": [{"role": "user", "content": "Hi"}]}


def made(gateway: Gateway, **body: object) -> tuple[str, str]:
    """The secret and the selector of a new key."""
    reply = gateway.operate("POST", "/admin/keys", {"name": "ci", **body})
    assert reply.status == 201, reply.body
    return reply.json()["key"], reply.json()["data"]["hash"]


def rotated(gateway: Gateway, key: str, **body: object) -> Reply:
    reply = gateway.operate("POST", f"/admin/keys/{key}/rotate", body)
    assert reply.status == 200, reply.body
    return reply


def status(gateway: Gateway, secret: str) -> int:
    return gateway.post("/v1/chat/completions", CHAT, key=secret).status


def test_both_secrets_work_within_the_overlap_and_are_one_key(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        old, hash = made(gateway, limit_usd="1", rpm=5)
        before = gateway.operate("GET", f"/admin/keys/{hash}").json()["data"]
        assert (before["previous_label"], before["previous_until"]) == (None, None)
        reply = rotated(gateway, hash)
        new, after = reply.json()["key"], reply.json()["data"]
        assert new != old and new.startswith("sk-fl-v1-") and new not in str(after)
        kept = ("id", "hash", "name", "limit_usd", "rpm", "created_at", "account")
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        assert after["label"] != before["label"] == after["previous_label"]
        day = time.time() + 86_400
        assert abs(time.mktime(time.strptime(after["previous_until"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - day) < 120
        assert [status(gateway, secret) for secret in (old, new, old, new)] == [200] * 4
        assert (
            gateway.get("/api/v1/key", key=old).json()["data"]["usage"] == gateway.get("/api/v1/key", key=new).json()["data"]["usage"] > 0
        )
        rows = gateway.generations()
        assert len(rows) == 4 and {row["key_id"] for row in rows} == {after["id"]}
        spent = sum(row["charged_nanousd"] for row in rows)
        assert round(gateway.operate("GET", f"/admin/keys/{hash}").json()["data"]["usage"] * 10**9) == spent
        # One bucket for both: five a minute in all.
        assert sorted(status(gateway, secret) for secret in (old, new)) == [200, 429]
        assert gateway.gauge("keys") == 5, "four that there were, and this"
        # A restart forgets neither.
        assert gateway.stop() == 0
        gateway.start()
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"rpm": None})
        assert (status(gateway, old), status(gateway, new)) == (200, 200)
        # What is done to the key is done to both.
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"disabled": True})
        assert (status(gateway, old), status(gateway, new)) == (401, 401)
        gateway.operate("PATCH", f"/admin/keys/{hash}", {"disabled": False, "models": ["lab/fast"]})
        assert (status(gateway, old), status(gateway, new)) == (403, 403)
        assert gateway.operate("DELETE", f"/admin/keys/{hash}").status == 200
        assert (status(gateway, old), status(gateway, new)) == (401, 401)


def test_after_the_overlap_only_the_new_one_works(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        old, hash = made(gateway)
        new = rotated(gateway, hash, overlap_seconds=3600).json()["key"]
        assert (status(gateway, old), status(gateway, new)) == (200, 200)
        # The hour is over while the process is down.
        assert gateway.stop() == 0
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "fairlead.db")) as database, database:
            assert database.execute("UPDATE key_secrets SET until_ms = ?", (time.time_ns() // 1_000_000 - 1,)).rowcount == 1
        gateway.start()
        refused = gateway.post("/v1/chat/completions", CHAT, key=old)
        assert refused.status == 401 and b"has another secret now" in refused.body
        assert status(gateway, new) == 200
        # With no overlap it stops at once, and with it the one before.
        third = rotated(gateway, hash, overlap_seconds=3600).json()["key"]
        fourth = rotated(gateway, hash, overlap_seconds=0).json()["key"]
        assert [status(gateway, secret) for secret in (old, new, third, fourth)] == [401, 401, 401, 200]
        fifth = rotated(gateway, hash).json()["key"]
        sixth = rotated(gateway, hash).json()["key"]
        assert [status(gateway, secret) for secret in (fourth, fifth, sixth)] == [401, 200, 200], "two at most"
        # And when the process lives on past the end.
        last = rotated(gateway, hash, overlap_seconds=1).json()["key"]
        until = time.monotonic() + 20
        while status(gateway, sixth) == 200:
            assert time.monotonic() < until
        assert status(gateway, last) == 200


def test_what_cannot_be_rotated(provider: Provider) -> None:
    own = "sk-fl-v1-" + "5a11" * 16
    with Gateway(configuration(provider.address, tables=f'[keys.small]\nsecret = "{own}"\n')) as gateway:
        old, hash = made(gateway)
        for path, body, expected in (
            ("/admin/keys/small/rotate", {}, 409),
            ("/admin/keys/none/rotate", {}, 404),
            (f"/admin/keys/{hash}/rotate", {"overlap_seconds": -1}, 400),
            (f"/admin/keys/{hash}/rotate", {"overlap_seconds": 30 * 86_400 + 1}, 400),
            (f"/admin/keys/{hash}/rotate", {"overlap": 1}, 400),
        ):
            assert gateway.operate("POST", path, body).status == expected, (path, body)
        assert status(gateway, old) == 200
        rotated(gateway, hash, overlap_seconds=0)
        # Nobody gets a secret that was replaced: not the file either.
        assert gateway.config is not None
        gateway.config.write_text(gateway.config.read_text() + f'[keys.stolen]\nsecret = "{old}"\n')
        refused = gateway.operate("POST", "/admin/reload")
        assert refused.status == 422 and b"made at run time" in refused.body
        assert status(gateway, old) == 401
        log = gateway.operate("GET", "/admin/audit?action=key.rotate").json()["data"]
        assert len(log) == 1 and log[0]["target"] == "ci" and set(log[0]["after"]) == {"label", "previous_until"}


@pytest.mark.parametrize("overlap", [None, "0", "12h"])
def test_the_command(provider: Provider, overlap: str | None) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        old, _ = made(gateway)
        done = gateway.run("keys", "rotate", "ci", *([] if overlap is None else ["--overlap", overlap]))
        assert done.returncode == 0, done.stderr
        new = done.stdout.strip()
        assert "is good until" in done.stderr and new not in done.stderr
        assert (status(gateway, new), status(gateway, old)) == (200, 401 if overlap == "0" else 200)
        assert gateway.run("keys", "rotate", "ci", "--overlap", "soon").returncode == 2
        assert gateway.run("keys", "rotate", "none").returncode == 1
