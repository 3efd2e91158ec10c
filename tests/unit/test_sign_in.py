"""Tokens of service accounts: one exchange with a server that verifies what is signed, and renewal at a clock that tests turn."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fairlead.cli import doctor
from fairlead.config import SignIn
from fairlead.config.google import read
from fairlead.control import sign_in as module
from fairlead.control.sign_in import Lease, SignInError, SignIns, Token, mint
from token_server import EMAIL, TokenServer, key_file


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as running:
        yield running


def signing_in(uri: str, number: int = 0, provider: str = "google-vertex", **changes: object) -> SignIn:
    return SignIn(provider=provider, key=read(key_file(uri, number, **changes)))


# --- one exchange -----------------------------------------------------------------------------------------------------


def test_a_token_is_given_for_a_signature_that_is_right(server: TokenServer) -> None:
    now = float(int(time.time()))
    token = mint(signing_in(server.uri), now)
    assert token == Token("ya29.1", now + 3599)
    assert "ya29" not in repr(token)
    scope = "https://www.googleapis.com/auth/cloud-platform"
    assert server.claims == [{"iss": EMAIL, "scope": scope, "aud": server.uri, "iat": now, "exp": now + 3600}]
    assert server.heads == [{"alg": "RS256", "typ": "JWT", "kid": "key-0"}]


LONG = "x" * 60
BUSY = "is busy or broken"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, "the service account was deleted"),
        (400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, "make a new key"),
        (401, {"error": "unauthorized_client"}, "refused with 401 (unauthorized_client): look at the service account"),
        (403, {"error": "no", "error_description": f"you\nsent {LONG}"}, "(no: you sent …)"),
        (404, None, "answered 404; is token_uri in the key file right?"),
        (302, None, "answered 302; is token_uri in the key file right?"),
        (429, None, f"answered 429: it {BUSY}"),
        (503, {"error": "internal_failure"}, f"answered 503: it {BUSY}"),
        (200, {"access_token": "x"}, "answered with something that is no token"),
        (200, None, "answered with something that is no token"),
        (200, {"access_token": "a b", "expires_in": 9}, "gave a token that cannot be used"),
        (200, {"access_token": "", "expires_in": 9}, "gave a token that cannot be used"),
        (200, {"access_token": "a", "expires_in": 0}, "gave a token that cannot be used"),
    ],
)
def test_what_is_said_when_none_is_given(server: TokenServer, status: int, body: object, said: str) -> None:
    server.answers.append((status, b"<html>" if body is None else json.dumps(body).encode()))
    with pytest.raises(SignInError) as caught:
        mint(signing_in(server.uri), time.time())
    assert said in str(caught.value) and "127.0.0.1" in str(caught.value)
    assert LONG not in str(caught.value) and len(server.claims) == 1


def test_another_key_and_a_clock_that_is_wrong_are_told_apart(server: TokenServer) -> None:
    with pytest.raises(SignInError, match="make a new key"):
        mint(signing_in(server.uri, 1), time.time())
    with pytest.raises(SignInError, match="look at this machine's clock"):
        mint(signing_in(server.uri), time.time() - 4000)


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SignInError, match=rf"127.0.0.1:{port} cannot be reached \(.*refused.*\); look at network"):
        mint(signing_in(f"http://127.0.0.1:{port}/token"), time.time())


# --- when something is due --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("life", "due"), [(3600, 3000), (1201, 601), (1200, 600), (10, 5), (1, 1)])
def test_a_token_is_renewed_before_it_ends(life: float, due: float) -> None:
    lease = Lease()
    assert (lease.due_at, lease.secret(0)) == (0, "")
    lease.succeed(Token("t", 100 + life), 100)
    assert lease.due_at == 100 + due
    assert (lease.secret(100 + life - 0.001), lease.secret(100 + life)) == ("t", "")


def test_failures_wait_longer_and_longer_and_the_old_token_lives_on() -> None:
    lease = Lease()
    lease.succeed(Token("t", 3600), 0)
    assert [lease.fail("why", 3000, 0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert lease.fail("why", 3000, 1) == 30
    assert (lease.due_at, lease.failure, lease.secret(3000)) == (3030, "why", "t")
    lease.failures = 10**6
    assert lease.fail("why", 3700, 0) == 60
    assert lease.secret(3700) == ""
    lease.succeed(Token("u", 9999), 4000)
    assert (lease.failures, lease.failure) == (0, None)


# --- all of them ------------------------------------------------------------------------------------------------------


class Turned:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._slept = asyncio.Event()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, woken))
        self._slept.set()
        await woken

    async def turn(self, seconds: float) -> None:
        """Lets time pass, sleeper by sleeper, and returns when everybody sleeps again."""
        end = self.time + seconds
        while self._sleepers and min(self._sleepers)[0] <= end:
            due = min(self._sleepers, key=lambda one: one[0])
            self._sleepers.remove(due)
            if not self._sleepers:
                self._slept.clear()
            self.time = max(self.time, due[0])
            due[1].set_result(None)
            await self.asleep()
        self.time = end

    async def asleep(self) -> None:
        """Returns when somebody sleeps again."""
        await self._slept.wait()


class Story:
    """One account under a turned clock; `answers` says what each attempt brings."""

    def __init__(self) -> None:
        self.clock = Turned()
        self.answer: Callable[[], Token] = self.give
        self.attempts: list[float] = []
        self.seen: list[str] = []
        self.account = signing_in("https://h/token")
        self.sign_ins = SignIns(self.changed, self.mint, self.clock)  # type: ignore[arg-type]

    def give(self) -> Token:
        return Token(f"t{len(self.attempts)}", self.clock.time + 3600)

    def refuse(self) -> Token:
        raise SignInError("refused")

    def mint(self, sign_in: SignIn, now: float) -> Token:
        self.attempts.append(now)
        return self.answer()

    async def changed(self) -> None:
        self.seen.append(self.token())

    def token(self) -> str:
        return self.sign_ins.tokens([self.account]).get(("google-vertex", EMAIL), "")


def test_a_day_of_renewals() -> None:
    async def story() -> None:
        day = Story()
        await day.sign_ins.add([day.account])
        assert day.token() == "t1"
        await day.clock.asleep()
        await day.clock.turn(2999)
        assert len(day.attempts) == 1
        await day.clock.turn(1)
        assert (day.attempts, day.token()) == ([1000, 4000], "t2")
        await day.clock.turn(86_400)
        assert day.attempts == [1000 + 3000 * n for n in range(30)]
        assert day.seen == [f"t{n}" for n in range(1, 31)]
        day.sign_ins.keep_only(())
        assert day.token() == ""

    asyncio.run(story())


def test_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        day = Story()
        await day.sign_ins.add([day.account])
        await day.clock.asleep()
        day.answer = day.refuse
        await day.clock.turn(3599)
        assert day.token() == "t1"
        (state,) = day.sign_ins.states()
        expected = {"provider": "google-vertex", "account": EMAIL, "signed_in": True, "expires_at_ms": 4_600_000, "failure": "refused"}
        assert state == expected
        waits = [later - earlier for earlier, later in zip(day.attempts[1:], day.attempts[2:], strict=False)]
        for wait, most in zip(waits, [1, 2, 4, 8, 16, 32, *[60] * len(waits)], strict=False):
            assert most / 2 <= wait <= most
        assert len(waits) > 10
        await day.clock.turn(61)
        assert day.token() == ""
        assert day.seen[-1] == "", "that it ended is told"
        assert not day.sign_ins.states()[0]["signed_in"]
        day.answer = day.give
        await day.clock.turn(61)
        assert day.token() == f"t{len(day.attempts)}"
        assert day.sign_ins.states()[0]["failure"] is None

    asyncio.run(story())
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith(f"google-vertex: cannot sign in as {EMAIL}: refused; again in ")
    assert said[0].endswith("the old token still lives")
    assert "until then nothing can be sent as this account" in said[-1]


def test_a_clock_that_jumps_is_noticed() -> None:
    async def story() -> None:
        day = Story()
        await day.sign_ins.add([day.account])
        await day.clock.asleep()
        day.clock.time += 100_000
        await day.clock.turn(0)
        assert len(day.attempts) == 2

    asyncio.run(story())


def test_who_is_kept() -> None:
    async def story() -> None:
        day = Story()
        other = signing_in("https://h/token", provider="other")
        await day.sign_ins.add([day.account])
        await day.sign_ins.add([day.account, other])
        assert len(day.attempts) == 2, "who is kept already is not asked for again"
        assert day.sign_ins.tokens([day.account, other]) == {("google-vertex", EMAIL): "t1", ("other", EMAIL): "t2"}
        # The key is another, the account the same: its token is asked for with the new key.
        renewed = signing_in("https://h/token", 1)
        await day.sign_ins.add([renewed])
        day.sign_ins.keep_only([renewed])
        assert day.sign_ins.tokens([renewed]) == {("google-vertex", EMAIL): "t3"}
        assert [state["provider"] for state in day.sign_ins.states()] == ["google-vertex"]

    asyncio.run(story())


def test_a_start_does_not_wait_for_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.01)

    async def story() -> None:
        async def nothing() -> None:
            pass

        with socket.create_server(("127.0.0.1", 0)) as listener:
            silent = signing_in(f"http://127.0.0.1:{listener.getsockname()[1]}/token")
            sign_ins = SignIns(nothing)
            await sign_ins.add([silent])
            assert sign_ins.tokens([silent]) == {}
            assert [(state["signed_in"], state["failure"]) for state in sign_ins.states()] == [(False, None)]
            sign_ins.keep_only(())

    asyncio.run(story())


def test_mistakes_of_our_own_do_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        day = Story()

        def broken() -> Token:
            raise RuntimeError("broken")

        day.answer = broken
        await day.sign_ins.add([day.account])
        assert day.sign_ins.states()[0]["failure"] == "RuntimeError; the log has the details"
        await day.clock.asleep()
        day.answer = day.give
        day.seen = None  # type: ignore[assignment]
        await day.clock.turn(5)
        assert day.token() == "t2"
        day.seen = []
        await day.clock.turn(3600)
        assert day.seen == ["t3"]

    asyncio.run(story())
    assert any("could not be put in force" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("signed_in", "failure", "level", "said"),
    [
        (True, None, "ok", f"google-vertex as {EMAIL}"),
        (True, "refused", "warn", "the token lives on but cannot be renewed: refused"),
        (False, "refused", "fail", "refused"),
        (False, None, "fail", "no answer yet"),
    ],
)
def test_what_the_doctor_says(signed_in: bool, failure: str | None, level: str, said: str) -> None:
    state = {"provider": "google-vertex", "account": EMAIL, "signed_in": signed_in, "expires_at_ms": 1, "failure": failure}
    finding = doctor._sign_in(state)
    assert (finding.level, finding.text.endswith(said)) == (level, True)


def test_only_who_signs_in_pays_for_the_library(tmp_path: Path) -> None:
    (tmp_path / "sa.json").write_text(key_file("https://h/token"))
    script = (
        "import sys, fairlead.runtime, fairlead.config as c; c.compile(c.read(sys.argv[1], __import__('pathlib').Path(sys.argv[2]), {}), "
    )
    script += "__import__('fairlead.catalog').catalog.shipped(), {}); print('cryptography' in sys.modules)"

    def loads(text: str) -> str:
        command = [sys.executable, "-c", script, text, str(tmp_path / "fairlead.toml")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert loads("[providers.openai]\nkeys = ['k']") == "False"
    assert loads("[providers.google-vertex]\nregion = 'us-east5'\nkeys = ['file:sa.json']") == "True"
