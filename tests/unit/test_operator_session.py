"""Logging in at the admin port: cookies, their lives, what a browser must say with them, and who is slowed down."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from fairlead.control import secret
from fairlead.control.directory import NewScope
from fairlead.control.operator import gate, passwords
from fairlead.control.operator.gate import FAILURES
from fairlead.control.replies import Refusal
from operator_rig import BEARER, PASSWORD, TOKEN, Port, tell

MINUTE_MS = 60_000


def cookie(response: httpx.Response) -> tuple[str, str, set[str]]:
    """Name, value and attributes of the one cookie that a reply sets."""
    [line] = response.headers.get_list("set-cookie")
    first, *attributes = line.split("; ")
    name, _, value = first.partition("=")
    return name, value, set(attributes)


def test_the_token_logs_in_and_out(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        browser = port.browser()
        assert (await browser.send("GET", "/admin/session")).status_code == 401
        response = await browser.log_in(token=TOKEN)
        name, value, attributes = cookie(response)
        assert name == "fairlead_local" and len(value) >= 43
        assert attributes == {"Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"}
        assert value not in str(port.database.read_now(lambda c: c.execute("SELECT * FROM sessions").fetchall()))
        shown = (await browser.send("GET", "/admin/session")).json()["data"]
        assert (shown["user"], shown["role"], shown["way"], shown["account"]) == ("admin token", "owner", "token", None)
        assert shown["csrf"] == browser.headers["x-fairlead-csrf"]
        assert (await browser.send("GET", "/admin/keys")).status_code == 200
        gone = await browser.send("DELETE", "/admin/session")
        assert gone.status_code == 200 and cookie(gone)[1] == ""
        # The cookie itself is worth nothing any more, whoever kept it.
        browser.client.cookies.set("fairlead_local", value)
        assert (await browser.send("GET", "/admin/session")).status_code == 401
        assert [(row["action"], row["actor_kind"]) for row in port.audit()][-2:] == [("session.open", "token"), ("session.end", "token")]

    tell(tmp_path, story)


def test_behind_a_proxy_with_a_certificate(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.desk.gate.admin_urls = ("https://llm.acme.example",)
        browser = port.browser("https://llm.acme.example")
        name, _, attributes = cookie(await browser.log_in(token=TOKEN))
        assert name == "__Host-fairlead" and "Secure" in attributes and not any(a.startswith("Domain") for a in attributes)
        assert (await browser.send("GET", "/admin/session")).status_code == 200
        for host in (
            "http://llm.acme.example.evil.example",
            "https://evil.example",
            "http://10.0.0.1:8081",
            "http://127.0.0.1.evil.example",
        ):
            stranger = port.browser(host)
            assert (await stranger.log_in(token=TOKEN)).status_code == 421, host
            stranger.client.cookies.update({"fairlead_local": "x", "__Host-fairlead": "x"})
            assert (await stranger.send("GET", "/admin/keys")).status_code == 421, host
        # The token needs no page.
        assert (await port.script.get("/admin/keys")).status_code == 200

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("localhost:8081", True), ("127.0.0.1:1", True), ("127.9.9.9", True), ("[::1]:8081", True), ("[::1]", True),
        ("", False), ("evil.example", False), ("localhost.evil.example", False), ("10.0.0.1:8081", False), ("127.0.0.1:x", False),
        ("0.0.0.0", False), ("[::]", False), ("127.1", False), ("2130706433", False), ("localhost:80:80", False),
    ],
)  # fmt: skip
def test_loopback_hosts(host: str, expected: bool) -> None:
    assert gate.is_loopback(host) is expected


CHANGE = ("POST", "/admin/teams", {"name": "infra"})


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": None},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1:8081"},
        {"origin": "http://localhost:8081"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"content_type": "text/plain"},
        {"content_type": None},
        {"content_type": "application/x-www-form-urlencoded"},
        {"x_fairlead_csrf": None},
        {"x_fairlead_csrf": "0" * 64},
        {"x_fairlead_csrf": "ü"},
    ],
)
def test_a_change_must_come_from_our_own_page(tmp_path: Path, headers: dict[str, Any]) -> None:
    async def story(port: Port) -> None:
        browser = await port.as_role("owner")
        if headers.get("x_fairlead_csrf") == "ü":
            browser.headers["x-fairlead-csrf"] = "\x7f"
            refused = await browser.send(*CHANGE)
        else:
            refused = await browser.send(*CHANGE, **headers)
        assert refused.status_code == 403, refused.text
        assert (await browser.send("GET", "/admin/teams")).json()["data"] == []

    tell(tmp_path, story)


def test_what_a_page_of_ours_says_is_enough(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        browser = await port.as_role("owner")
        assert (await browser.send(*CHANGE, sec_fetch_site=None, content_type="application/json; charset=utf-8")).status_code == 201
        other = await port.as_role("owner")
        refused = await browser.send("POST", "/admin/teams", {"name": "b"}, x_fairlead_csrf=other.headers["x-fairlead-csrf"])
        assert refused.status_code == 403
        # Logging in is a change of one's own state, too.
        stranger = port.browser()
        stranger.headers["origin"] = "http://evil.example"
        assert (await stranger.log_in(token=TOKEN)).status_code == 403
        # A wrong bearer is not helped by a cookie.
        both = await browser.send("GET", "/admin/keys", authorization="Bearer wrong")
        assert both.status_code == 401

    tell(tmp_path, story)


def test_a_log_in_ends(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        idle, busy = await port.as_role("viewer"), await port.as_role("viewer")
        for _ in range(13):
            port.now_ms += 55 * MINUTE_MS
            alive = (await busy.send("GET", "/admin/session")).status_code
            assert alive == 200
        assert (await idle.send("GET", "/admin/session")).status_code == 401
        port.now_ms += 5 * MINUTE_MS
        assert (await busy.send("GET", "/admin/session")).status_code == 401, "twelve hours"
        # What is over is forgotten at the next log-in.
        await port.as_role("viewer")
        assert port.database.read_now(lambda c: c.execute("SELECT COUNT(*) FROM sessions").fetchone()[0]) == 1

    tell(tmp_path, story)


def test_an_idle_hour_is_counted_to_the_minute(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        browser = await port.as_role("viewer")
        port.now_ms += 60 * MINUTE_MS - 1
        assert (await browser.send("GET", "/admin/session")).status_code == 200
        port.now_ms += 60 * MINUTE_MS
        assert (await browser.send("GET", "/admin/session")).status_code == 401

    tell(tmp_path, story)


@pytest.mark.parametrize(("path", "status"), [("/admin/status", 200), ("/admin/nothing", 404)])
def test_a_new_role_makes_a_new_cookie(tmp_path: Path, path: str, status: int) -> None:
    async def story(port: Port) -> None:
        owner, browser = await port.as_role("owner"), await port.as_role("viewer")
        old = browser.client.cookies["fairlead_local"]
        assert (await browser.send("GET", "/admin/status")).status_code == 403
        etag = (await owner.send("GET", "/admin/users/viewer/login")).headers["etag"]
        assert (await owner.send("PUT", "/admin/users/viewer/login", {"role": "admin"}, if_match=etag)).status_code == 200
        response = await browser.send("GET", path)
        assert response.status_code == status and cookie(response)[1] != old
        assert browser.client.cookies["fairlead_local"] != old
        # The page's token goes on; a request that was on its way comes through, a stolen old cookie not much longer.
        assert (await browser.send("POST", "/admin/teams", {"name": "x"})).status_code == 201
        late = port.browser()
        late.client.cookies.set("fairlead_local", old)
        assert (await late.send("GET", "/admin/session")).status_code == 200
        port.now_ms += 31_000
        assert (await late.send("GET", "/admin/session")).status_code == 401
        assert (await browser.send("GET", "/admin/session")).status_code == 200

    tell(tmp_path, story)


def test_what_ends_log_ins(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        async def alive(browser: Any) -> bool:
            return (await browser.send("GET", "/admin/session")).status_code == 200

        owner = await port.as_role("owner")
        first, second = await port.as_role("member"), await port.as_role("member")
        lines = (await first.send("GET", "/admin/sessions")).json()["data"]
        assert [line["user"] for line in lines] == ["member", "member"] and [line["current"] for line in lines] == [False, True]
        everybody = (await owner.send("GET", "/admin/sessions")).json()["data"]
        assert {line["user"] for line in everybody} == {"owner", "member"}
        # Nobody ends what he does not see; an admin ends what is below.
        theirs = next(line["id"] for line in everybody if line["user"] == "owner")
        assert (await first.send("DELETE", f"/admin/sessions/{theirs}")).status_code == 404
        admin = await port.as_role("admin")
        assert (await admin.send("DELETE", f"/admin/sessions/{theirs}")).status_code == 403
        assert (await owner.send("DELETE", f"/admin/sessions/{lines[0]['id']}")).status_code == 200
        assert await alive(first) and not await alive(second)
        # A new password ends the others.
        second = await port.as_role("member")
        new = {"current": PASSWORD, "new": "another long password"}
        assert (await first.send("POST", "/admin/session/password", {**new, "current": "wrong"})).status_code == 403
        assert (await first.send("POST", "/admin/session/password", {**new, "new": "short"})).status_code == 400
        assert (await first.send("POST", "/admin/session/password", new)).status_code == 200
        assert await alive(first) and not await alive(second)
        assert (await port.browser().log_in(name="member", password=PASSWORD)).status_code == 401
        # Without a log-in, without the user, nothing.
        assert (await owner.send("DELETE", "/admin/users/member/login", if_match="*")).status_code == 200
        assert not await alive(first)
        assert (await owner.send("DELETE", "/admin/users/admin", if_match="*")).status_code == 200
        assert not await alive(admin)
        # Another admin token ends those of the old one.
        holder = port.browser()
        await holder.log_in(token=TOKEN)
        port.desk.admin_token_digest = secret.token_digest("another")
        assert not await alive(holder) and await alive(owner)

    tell(tmp_path, story)


def test_logging_in_anew_leaves_nothing_of_before(tmp_path: Path) -> None:
    """Whatever cookie a browser was made to bring, its log-in has another."""

    async def story(port: Port) -> None:
        browser = await port.as_role("viewer")
        old = browser.client.cookies["fairlead_local"]
        assert (await browser.log_in(token=TOKEN)).status_code == 200
        assert browser.client.cookies["fairlead_local"] != old
        thief = port.browser()
        thief.client.cookies.set("fairlead_local", old)
        assert (await thief.send("GET", "/admin/session")).status_code == 401
        planted = port.browser()
        planted.client.cookies.set("fairlead_local", "planted")
        response = await planted.log_in(token=TOKEN)
        assert cookie(response)[1] != "planted"

    tell(tmp_path, story)


def test_who_fails_is_slowed_down(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.user("ann", "viewer")
        browser = port.browser()
        bodies = [{"name": "ann", "password": "wrong"}, {"name": "nobody", "password": PASSWORD}, {"token": "x"}, {"code": "x"}]
        said = set()
        for body in [*bodies, bodies[0]]:
            response = await browser.log_in(**body)
            assert response.status_code == 401
            said.add(response.text)
        assert len(said) == 1, "it does not say what was wrong"
        slow = await browser.log_in(name="ann", password=PASSWORD)
        assert slow.status_code == 429 and slow.headers["retry-after"] == "1"
        port.now_ms += 1000
        assert (await browser.log_in(token="x")).status_code == 401
        assert (await browser.log_in(name="ann", password=PASSWORD)).headers["retry-after"] == "2"
        port.now_ms += 2000
        assert (await browser.log_in(name="ann", password=PASSWORD)).status_code == 200
        port.now_ms += MINUTE_MS
        assert (await browser.log_in(token="x")).status_code == 401, "a minute later all is forgotten"
        # Scripts are not concerned.
        assert (await port.script.get("/admin/keys")).status_code == 200

    tell(tmp_path, story)


def test_who_tries_many_at_once_is_slowed_down_as_well(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.user("ann", "viewer")
        browser = port.browser()
        replies = await asyncio.gather(*(browser.log_in(name="ann", password=f"wrong {n}") for n in range(40)))
        assert sorted(reply.status_code for reply in replies) == [401] * FAILURES + [429] * (40 - FAILURES)
        port.now_ms += MINUTE_MS
        for _ in range(FAILURES + 1):
            # What succeeded is no failure.
            assert (await browser.log_in(name="ann", password=PASSWORD)).status_code == 200
        assert not any(port.desk.gate.failures.values())

    tell(tmp_path, story)


def test_few_wait_for_their_password_to_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(passwords, "is_same", lambda password, kept: done.wait(30))

    async def main() -> None:
        waiting = [asyncio.create_task(passwords.fits("x", "y")) for _ in range(passwords.MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await passwords.fits("x", "y")
        assert refused.value.status == 429
        # Nobody else waits for them.
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
        done.set()
        assert await asyncio.gather(*waiting) == [True] * passwords.MOST_WAITING
        assert await passwords.fits("x", "y")

    asyncio.run(main())


def test_the_link_works_once_and_for_ten_minutes(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        code = port.desk.gate.new_code()
        assert (await port.browser().log_in(code=code)).json()["data"]["role"] == "owner"
        assert (await port.browser().log_in(code=code)).status_code == 401
        code = port.desk.gate.new_code()
        port.now_ms += gate.CODE_MS
        assert (await port.browser().log_in(code=code)).status_code == 401

    tell(tmp_path, story)


@pytest.mark.parametrize("body", [{}, {"token": TOKEN, "code": "x"}, {"name": "ann"}, {"password": "x"}, {"tokn": "x"}, {"token": 1}])
def test_a_log_in_that_says_nothing_of_use(tmp_path: Path, body: dict[str, Any]) -> None:
    async def story(port: Port) -> None:
        assert (await port.browser().log_in(**body)).status_code == 400

    tell(tmp_path, story)


def test_every_reply_tells_browsers_what_not_to_do(tmp_path: Path) -> None:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )

    async def story(port: Port) -> None:
        for path, headers in [("/admin/keys", BEARER), ("/admin/keys", {}), ("/admin/nothing", BEARER), ("/healthz", {})]:
            response = await port.browser().client.get(path, headers=headers)
            assert response.headers["content-security-policy"] == policy
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["referrer-policy"] == "no-referrer"
            assert response.headers["cross-origin-opener-policy"] == response.headers["cross-origin-resource-policy"] == "same-origin"
            assert response.headers["permissions-policy"] == "camera=(), microphone=(), geolocation=()"
            assert response.headers["cache-control"] == "no-store"

    tell(tmp_path, story)


def test_nobody_gives_or_takes_more_than_he_has(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        admin = await port.as_role("admin")
        port.user("boss", "owner")
        port.directory.create_scope(port_user("new"))
        path = "/admin/users/{}/login"
        assert (await admin.send("PUT", path.format("new"), {"role": "owner", "password": PASSWORD})).status_code == 403
        assert (await admin.send("PUT", path.format("boss"), {"role": "viewer"}, if_match="*")).status_code == 403
        assert (await admin.send("PUT", path.format("boss"), {"role": "admin", "password": PASSWORD}, if_match="*")).status_code == 403
        assert (await admin.send("DELETE", path.format("boss"), if_match="*")).status_code == 403
        assert (await admin.send("PUT", path.format("new"), {"role": "boss"})).status_code == 400
        assert (await admin.send("PUT", path.format("new"), {"role": "viewer", "password": "short"})).status_code == 400
        assert (await admin.send("GET", path.format("nobody"))).status_code == 404
        assert (await admin.send("GET", path.format("new"))).status_code == 404
        assert (await admin.send("PUT", path.format("new"), {"role": "viewer", "password": PASSWORD})).status_code == 200
        entry = port.audit()[-1]
        assert (entry["actor"], entry["action"], entry["target"]) == ("admin", "user.login", "new")
        assert entry["after"] == {"role": "viewer", "password": "set anew"} and PASSWORD not in str(port.audit())
        assert (await port.browser().log_in(name="new", password=PASSWORD)).status_code == 200

    tell(tmp_path, story)


def port_user(name: str) -> Any:
    from fairlead.control.directory import NewScope

    return NewScope("user", name)


def test_passwords() -> None:
    kept = passwords.hashed("pass word é")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$") and passwords.hashed("pass word é") != kept
    assert passwords.is_same("pass word e\u0301", kept), "the same characters"
    assert not passwords.is_same("pass word e", kept) and not passwords.is_same("x", "") and not passwords.is_same("x" * 10_000, kept)


def test_an_edit_of_a_log_in_that_comes_too_late_says_what_changed(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        owner = await port.as_role("owner")
        port.user("ada", "viewer")
        path = "/admin/users/ada/login"
        seen = (await owner.send("GET", path)).headers["etag"]
        assert (await owner.send("PUT", path, {"role": "member"}, if_match=seen)).status_code == 200
        late = await owner.send("PUT", path, {"role": "admin"}, if_match=seen)
        assert late.status_code == 412
        assert (late.json()["error"]["changed"], late.json()["error"]["current"]["role"]) == (["role"], "member")
        # While a password is hashed somebody else is faster.
        seen = (await owner.send("GET", path)).headers["etag"]
        bodies = ({"role": "member", "password": f"{PASSWORD} {n}"} for n in range(2))
        both = await asyncio.gather(*(owner.send("PUT", path, body, if_match=seen) for body in bodies))
        assert sorted(response.status_code for response in both) == [200, 412]
        [late] = [response for response in both if response.status_code == 412]
        assert late.json()["error"]["changed"] == ["password"] and "password" in late.json()["error"]["message"]

    tell(tmp_path, story)


def test_a_log_in_that_was_deleted_or_made_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        owner = await port.as_role("owner")
        port.user("ada", "viewer")
        path = "/admin/users/ada/login"
        seen = (await owner.send("GET", path)).headers["etag"]
        assert (await owner.send("DELETE", path, if_match=seen)).status_code == 200
        late = await owner.send("PUT", path, {"role": "viewer"}, if_match=seen)
        assert late.status_code == 412 and late.json()["error"]["changed"] == ["role", "password", "subject", "issuer"]
        assert (await owner.send("GET", path)).status_code == 404
        # Two who saw that there is none: one makes it, the other is told.
        assert (await owner.send("PUT", path, {"role": "viewer"}, if_match='""')).status_code == 200
        late = await owner.send("PUT", path, {"role": "owner"}, if_match='""')
        assert late.status_code == 412 and late.json()["error"]["current"]["role"] == "viewer"

    tell(tmp_path, story)


def test_users_of_every_account_log_in(tmp_path: Path) -> None:
    """By their names alone. Of several of one name the default account's is meant, or that of the account that is said."""

    async def story(port: Port) -> None:
        for account in ("red", "blue"):
            port.directory.create_scope(NewScope("account", account))
        for name, account in (("ada", "red"), ("eve", "red"), ("eve", "default"), ("bob", "red"), ("bob", "blue")):
            port.user(name, "viewer", account=account)

        async def account_of(**said: str) -> str | None:
            response = await port.browser().log_in(password=PASSWORD, **said)
            return response.json()["data"]["account"] if response.status_code == 200 else None

        assert await account_of(name="ada") == "red" and await account_of(name="eve") == "default"
        assert await account_of(name="eve", account="red") == "red" and await account_of(name="bob", account="blue") == "blue"
        assert await account_of(name="bob") is None and await account_of(name="ada", account="blue") is None

    tell(tmp_path, story)
