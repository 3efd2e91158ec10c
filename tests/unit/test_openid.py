"""Logging in through a provider of OpenID Connect: whom it lets in, as what, and everything that is not to be believed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fairlead import config
from fairlead.catalog import shipped
from fairlead.catalog.document import Mistakes
from fairlead.config.oidc import OidcSettings
from fairlead.control.directory import NewScope
from fairlead.control.operator import openid
from fairlead.control.operator.openid import OpenId
from openid_provider import CLIENT, OpenIdProvider, signed
from operator_rig import PASSWORD, SECRET, TOKEN, Browser, Port, tell

MINUTE_MS = 60_000
Claims = dict[str, Any]


def settings(provider: OpenIdProvider, tmp_path: Path, **more: str) -> OidcSettings:
    text = provider.configuration(**more)
    found = config.compile(config.read(text, tmp_path / "fairlead.toml", {}), shipped(), {}).oidc
    assert found is not None
    return found


def at(tmp_path: Path, story: Callable[[Port, OpenIdProvider], Any], **more: str) -> None:
    """A story at an admin port whose provider has the port's clock."""

    async def told(port: Port) -> None:
        with OpenIdProvider(lambda: port.now_ms / 1000) as provider:
            port.desk.openid = OpenId(settings(provider, tmp_path, **more), SECRET, lambda: port.now_ms)
            await story(port, provider)

    tell(tmp_path, told)


async def sent(provider: OpenIdProvider, browser: Browser) -> dict[str, str]:
    """Begins a log-in and lets the provider send the browser back: what it comes with."""
    begun = await browser.send("POST", "/admin/login/oidc")
    assert begun.status_code == 200, begun.text
    back = urlsplit(provider.authorize(begun.json()["data"]["url"]))
    assert f"{back.scheme}://{back.netloc}{back.path}" == f"{browser.headers['origin']}/login"
    return {name: value for name, [value] in parse_qs(back.query).items()}


async def logged_in(provider: OpenIdProvider, browser: Browser) -> Any:
    return await browser.log_in(oidc=await sent(provider, browser))


def test_whom_the_provider_knows_is_let_in(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        browser = port.browser()
        ways = (await browser.send("GET", "/admin/login")).json()["data"]
        assert ways["oidc"] == "Acme" and "oidc" in ways["methods"]
        response = await logged_in(provider, browser)
        assert response.status_code == 200, response.text
        shown = response.json()["data"]
        assert (shown["user"], shown["role"], shown["way"], shown["account"]) == ("ada@acme.example", "admin", "oidc", None)
        ticket = next(line for line in response.headers.get_list("set-cookie") if "_oidc=" in line)
        assert "_oidc=;" in ticket and "Max-Age=0" in ticket and "SameSite=Strict" in ticket and "HttpOnly" in ticket
        assert (await browser.send("GET", "/admin/status")).status_code == 200
        log = [(row["actor_kind"], row["action"], row["target"]) for row in port.audit()][-3:]
        assert log == [
            ("process", "user.create", "ada@acme.example"),
            ("process", "user.login", "ada@acme.example"),
            ("user", "session.open", "ada@acme.example"),
        ]
        # The second time it is the same user, whatever it is called now; what was fetched is fetched once.
        provider.claims |= {"email": "ada@elsewhere.example", "groups": ["guests", 7]}
        again = (await logged_in(provider, port.browser())).json()["data"]
        assert (again["user"], again["user_id"], again["role"]) == ("ada@acme.example", shown["user_id"], "viewer")
        assert provider.asked.count("/realm/keys") == provider.asked.count("/realm/.well-known/openid-configuration") == 1
        # Who is logged in with the old role has the new one at once.
        assert (await browser.send("GET", "/admin/status")).status_code == 403
        port.now_ms += openid.KEPT_MS
        assert (await logged_in(provider, port.browser())).status_code == 200
        assert provider.asked.count("/realm/keys") == 2

    at(tmp_path, story)


def test_behind_a_proxy_the_browser_comes_back_there(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        port.desk.gate.admin_urls = ("https://llm.acme.example",)
        browser = port.browser("https://llm.acme.example")
        response = await logged_in(provider, browser)
        assert response.status_code == 200
        assert all(line.startswith("__Host-fairlead") and "; Secure" in line for line in response.headers.get_list("set-cookie"))
        # What was begun at one address does not end at another.
        arrival = await sent(provider, browser)
        other = port.browser()
        other.client.cookies.set("fairlead_local_oidc", browser.client.cookies["__Host-fairlead_oidc"])
        assert (await other.log_in(oidc=arrival)).status_code == 401
        for headers in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"content_type": "text/plain"}):
            assert (await browser.send("POST", "/admin/login/oidc", **headers)).status_code == 403, headers

    at(tmp_path, story)


def test_what_belongs_to_no_log_in_of_this_browser(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        ann, eve = port.browser(), port.browser()
        arrival = await sent(provider, eve)
        asked = len(provider.asked)
        for browser, body in (
            (port.browser(), arrival),
            (ann, {"code": "x", "state": "x"}),
            (eve, {**arrival, "state": arrival["state"][::-1]}),
            (eve, {**arrival, "state": "\u00fc"}),
        ):
            refused = await browser.log_in(oidc=body)
            assert refused.status_code == 401 and "this browser" in refused.text, body
            port.now_ms += MINUTE_MS
        # Ann's own log-in does not make Eve's answer hers.
        own = await sent(provider, ann)
        assert (await ann.log_in(oidc=arrival)).status_code == 401
        assert (await ann.log_in(oidc={**own, "iss": "https://evil.example"})).status_code == 401
        assert len(provider.asked) == asked, "nobody was asked about any of these"
        port.now_ms += MINUTE_MS
        assert (await ann.log_in(oidc=own)).status_code == 200
        # Once.
        ann.client.cookies.set("fairlead_local_oidc", eve.client.cookies["fairlead_local_oidc"])
        assert (await ann.log_in(oidc=arrival)).status_code == 200
        ann.client.cookies.set("fairlead_local_oidc", eve.client.cookies["fairlead_local_oidc"])
        replayed = await ann.log_in(oidc=arrival)
        assert replayed.status_code == 401 and "once" in replayed.text
        bob = port.browser()
        late = await sent(provider, bob)
        port.now_ms += openid.TICKET_MS
        # The browser has forgotten its cookie by then; who keeps it has nothing of it.
        assert "10 minutes" in (await bob.log_in(oidc=late)).text
        unknown = await sent(provider, bob)
        assert "invalid_grant: the code is not good" in (await bob.log_in(oidc={**unknown, "code": "guessed"})).text

    at(tmp_path, story)


def test_what_comes_back_twice_at_once_logs_in_once(tmp_path: Path) -> None:
    """A double click, or the same answer in two tabs."""

    async def story(port: Port, provider: OpenIdProvider) -> None:
        browser = port.browser()
        await sent(provider, browser)
        port.now_ms += openid.KEPT_MS - 1
        arrival = await sent(provider, browser)
        # What the provider says of itself is asked for anew, and all of them wait for that.
        port.now_ms += 1
        found = await asyncio.gather(*(browser.log_in(oidc=arrival) for _ in range(4)))
        assert sorted(response.status_code for response in found) == [200, 401, 401, 401]
        assert provider.asked.count("/realm/token") == 1, "who shows a code twice may lose what it was given for it"
        for refused in (response for response in found if response.status_code == 401):
            assert "works once; begin again" in refused.json()["error"]["message"] and "set-cookie" not in refused.headers
        assert (await browser.send("GET", "/admin/session")).status_code == 200
        assert [row["action"] for row in port.audit()].count("session.open") == 1

    at(tmp_path, story)


def test_who_comes_for_the_first_time_twice_at_once_is_one_user(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        browsers = [port.browser() for _ in range(4)]
        arrivals = [await sent(provider, browser) for browser in browsers]
        found = await asyncio.gather(*(browser.log_in(oidc=arrival) for browser, arrival in zip(browsers, arrivals, strict=True)))
        assert [response.status_code for response in found] == [200] * 4, [response.text for response in found]
        assert len({response.json()["data"]["user_id"] for response in found}) == 1
        assert [row["action"] for row in port.audit()].count("user.create") == 1

    at(tmp_path, story)


def changed(**changes: Any) -> Callable[[Claims, Claims], str]:
    return lambda head, claims: signed(head, {name: value for name, value in (claims | changes).items() if value is not None})


def by(changes: Claims, number: int = 1) -> Callable[[Claims, Claims], str]:
    return lambda head, claims: signed({name: value for name, value in (head | changes).items() if value is not None}, claims, number)


def torn(head: Claims, claims: Claims) -> str:
    begin, middle, end = signed(head, claims).split(".")
    return f"{begin}.{signed(head, claims | {'groups': ['owners']}).split('.')[1]}.{end}" if middle else ""


OTHER = 2
BAD_TOKENS: list[tuple[str, Callable[[Claims, Claims], str], str]] = [
    ("another issuer", changed(iss="http://127.0.0.1:1/realm"), "iss"),
    ("no issuer", changed(iss=None), "iss"),
    ("for another client", changed(aud="other"), "aud"),
    ("for others", changed(aud=["other", "more"]), "aud"),
    ("for several, by nobody", changed(aud=[CLIENT, "other"]), "aud"),
    ("for us, by another", changed(azp="other"), "aud"),
    ("for nobody", changed(aud=None), "aud"),
    ("of another log-in", changed(nonce="n" * 43), "nonce"),
    ("of no log-in", changed(nonce=None), "nonce"),
    ("expired", changed(exp=1_700_000_000), "exp"),
    ("without an end", changed(exp=None), "exp"),
    ("a text for an end", changed(exp="2030-01-01"), "exp"),
    ("without a beginning", changed(iat=None), "iat"),
    ("of the future", changed(iat=4_000_000_000), "iat"),
    ("not yet", changed(nbf=4_000_000_000), "iat"),
    ("of nobody", changed(sub=None), "sub"),
    ("of an empty name", changed(sub=""), "sub"),
    ("of a number", changed(sub=7), "sub"),
    ("signed by none", by({"alg": "none"}), "proves nothing"),
    ("signed by None", by({"alg": "None"}), "proves nothing"),
    ("signed with the public key as a secret", by({"alg": "HS256"}), "proves nothing"),
    ("two parts", lambda head, claims: signed(head, claims).rpartition(".")[0], "does not hold"),
    ("signed by an unknown key", by({"kid": "key-9"}), "does not publish"),
    ("signed by a key that only has the name", by({}, OTHER), "does not hold"),
    ("what must be understood and is not", by({"crit": ["x-own"]}), "does not hold"),
    ("other claims under the same signature", torn, "does not hold"),
    ("no token", lambda head, claims: "x", "proves nothing"),
    ("five parts", lambda head, claims: "a.b.c.d.e", "proves nothing"),
]


@pytest.mark.parametrize(("forge", "said"), [row[1:] for row in BAD_TOKENS], ids=[row[0] for row in BAD_TOKENS])
def test_tokens_that_are_not_to_be_believed(tmp_path: Path, forge: Callable[[Claims, Claims], str], said: str) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        provider.forge = forge
        refused = await logged_in(provider, port.browser())
        assert refused.status_code == 401 and said in refused.text, refused.text
        assert "fairlead_local=" not in str(refused.headers)
        assert not any(row["action"] in ("user.create", "session.open") for row in port.audit())
        provider.forge = signed
        assert (await logged_in(provider, port.browser())).status_code == 200

    at(tmp_path, story)


def test_keys_are_replaced_and_asked_for_once_more(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        assert (await logged_in(provider, port.browser())).status_code == 200
        provider.published = [1, OTHER]
        provider.forge = lambda head, claims: signed(head, claims, OTHER)
        assert (await logged_in(provider, port.browser())).status_code == 200
        assert provider.asked.count("/realm/keys") == 2
        # The one that is no longer published proves nothing, as soon as anybody looks.
        provider.published = [OTHER]
        port.now_ms += openid.KEPT_MS
        provider.forge = by({"kid": "key-1"}, 1)
        assert (await logged_in(provider, port.browser())).status_code == 401
        # Without a name the only key of its kind is meant, and of two none is.
        provider.forge = by({"kid": None}, OTHER)
        assert (await logged_in(provider, port.browser())).status_code == 200
        provider.published = [1, OTHER]
        port.now_ms += openid.KEPT_MS
        assert (await logged_in(provider, port.browser())).status_code == 401

    at(tmp_path, story)


def test_clocks_may_differ_a_little(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        for skew, status in ((59, 200), (-59, 200), (62, 401), (-362, 401)):
            provider.now = lambda skew=skew: port.now_ms / 1000 + skew  # type: ignore[misc]
            assert (await logged_in(provider, port.browser())).status_code == status, skew

    at(tmp_path, story)


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
def test_while_the_provider_is_away_other_ways_work(tmp_path: Path, path: str) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        provider.fails = {f"/realm{path}"}
        browser = port.browser()
        begun = await browser.send("POST", "/admin/login/oidc")
        refused = begun if path.startswith("/.well") else await logged_in(provider, browser)
        assert refused.status_code == 503 and "Acme cannot be used now" in refused.text and "passwords still work" in refused.text
        if path.startswith("/.well"):
            # It is not asked again by everybody who tries.
            await browser.send("POST", "/admin/login/oidc")
            assert provider.asked == ["/realm/.well-known/openid-configuration"]
            port.now_ms += openid.FAILED_MS
        assert (await port.browser().log_in(token=TOKEN)).status_code == 200
        await port.as_role("viewer")
        provider.fails = set()
        assert (await logged_in(provider, port.browser())).status_code == 200
        provider.stop()
        port.now_ms += openid.KEPT_MS
        away = await browser.send("POST", "/admin/login/oidc")
        assert away.status_code == 503 and "cannot be reached" in away.text

    at(tmp_path, story)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"issuer": "http://127.0.0.1:1/other"}, "calls itself"),
        ({"token_endpoint": 7}, "something else than expected"),
        ({"jwks_uri": None}, "something else than expected"),
    ],
)
def test_a_provider_that_says_something_else(tmp_path: Path, metadata: Claims, said: str) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        provider.metadata = metadata
        refused = await port.browser().send("POST", "/admin/login/oidc")
        assert refused.status_code == 503 and said in refused.text

    at(tmp_path, story)


ROLES = '{ admin = ["staff"], viewer = ["guests"], owner = ["owners"] }'
EMAILS = '{ member = ["@acme.example"], owner = ["ada@acme.example"] }'


@pytest.mark.parametrize(
    ("claims", "more", "role"),
    [
        ({"groups": ["guests", "staff"]}, {}, "admin"),
        ({"groups": "guests"}, {}, "viewer"),
        ({"groups": ["Staff", "staff2"]}, {}, None),
        ({"groups": []}, {}, None),
        ({"groups": {"staff": True}}, {}, None),
        ({"realm": {"roles": ["staff"]}}, {"role_claim": '"realm.roles"'}, "admin"),
        ({"https://acme.example/roles": ["staff"]}, {"role_claim": '"https://acme.example/roles"'}, "admin"),
        ({}, {"roles": "{}", "emails": EMAILS}, "owner"),
        ({"email": "bob@ACME.example"}, {"roles": "{}", "emails": EMAILS}, "member"),
        ({"email": "bob@sub.acme.example"}, {"roles": "{}", "emails": EMAILS}, None),
        ({"email": "bob@evil.example,@acme.example"}, {"roles": "{}", "emails": '{ member = ["bob@acme.example"] }'}, None),
        ({"email_verified": False}, {"roles": "{}", "emails": EMAILS}, None),
        ({"email_verified": None}, {"roles": "{}", "emails": EMAILS}, None),
        ({"email_verified": "true"}, {"roles": "{}", "emails": EMAILS}, "owner"),
        ({"groups": ["owners"], "email": None}, {"roles": ROLES}, "owner"),
    ],
)
def test_who_is_let_in_as_what(tmp_path: Path, claims: Claims, more: dict[str, str], role: str | None) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        provider.claims |= claims
        response = await logged_in(provider, port.browser())
        if role is None:
            assert response.status_code == 403 and "nothing gives you a role" in response.text
            assert port.database.read_now(lambda c: c.execute("SELECT COUNT(*) FROM users").fetchone()[0]) == 0
        else:
            assert response.json()["data"]["role"] == role

    at(tmp_path, story, **more)


def test_who_has_no_role_any_more_is_put_out(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        browser = port.browser()
        await logged_in(provider, browser)
        provider.claims["groups"] = []
        assert (await logged_in(provider, port.browser())).status_code == 403
        assert (await browser.send("GET", "/admin/session")).status_code == 401
        user = (await port.script.get("/admin/users/ada@acme.example")).json()["data"]
        assert user["role"] is None and not user["has_password"]
        # Back in the group, the same user.
        provider.claims["groups"] = ["guests"]
        assert (await logged_in(provider, port.browser())).json()["data"]["user_id"] == user["id"]
        # Without the provider its log-ins are over.
        browser = port.browser()
        await logged_in(provider, browser)
        port.desk.openid = None
        assert (await browser.send("GET", "/admin/session")).status_code == 401
        assert (await browser.send("POST", "/admin/login/oidc")).status_code == 404

    at(tmp_path, story)


def test_claims_of_the_userinfo_endpoint(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        assert (await logged_in(provider, port.browser())).status_code == 200
        assert "/realm/userinfo" not in provider.asked, "the ID token said all"
        del provider.claims["groups"]
        provider.userinfo = {"groups": ["guests"], "iss": "x"}
        assert (await logged_in(provider, port.browser())).json()["data"]["role"] == "viewer"
        provider.userinfo["sub"] = "somebody else"
        assert (await logged_in(provider, port.browser())).status_code == 401

    at(tmp_path, story)


def test_a_name_makes_nobody_somebody_else(tmp_path: Path) -> None:
    """Neither a name nor an address takes over a user that is here: an admin says that it is the same person."""

    async def story(port: Port, provider: OpenIdProvider) -> None:
        id = port.user("ada@acme.example", "owner")
        port.user("bob", "viewer")
        refused = await logged_in(provider, port.browser())
        assert refused.status_code == 403 and '"subject": "ada-1"' in refused.json()["error"]["message"]
        admin, owner = await port.as_role("admin"), await port.as_role("owner")
        path = "/admin/users/ada@acme.example/login"
        assert (await admin.send("PUT", path, {"role": "admin", "subject": "ada-1"}, if_match="*")).status_code == 403
        linked = await owner.send("PUT", path, {"role": "owner", "subject": "ada-1"}, if_match="*")
        assert linked.status_code == 200 and linked.json()["data"]["subject"] == "ada-1"
        assert linked.json()["data"]["issuer"] == provider.issuer
        browser = port.browser()
        entered = (await logged_in(provider, browser)).json()["data"]
        assert (entered["user_id"], entered["role"]) == (id, "admin"), "the provider says the role"
        # Her password works as before, and a new one ends what was opened through the provider.
        by_password = port.browser()
        assert (await by_password.log_in(name="ada@acme.example", password=PASSWORD)).status_code == 200
        new = {"current": PASSWORD, "new": "another long password"}
        assert (await browser.send("POST", "/admin/session/password", new)).status_code == 200
        assert (await browser.send("GET", "/admin/session")).status_code == 200
        assert (await by_password.send("GET", "/admin/session")).status_code == 401
        # Nobody else is the same subject, and what can be none is refused.
        taken = await owner.send("PUT", "/admin/users/bob/login", {"role": "viewer", "subject": "ada-1"}, if_match="*")
        assert taken.status_code == 409 and "ada@acme.example" in taken.text
        for subject in ("", "x" * 256, "a\u0000b"):
            body = {"role": "viewer", "subject": subject}
            assert (await owner.send("PUT", "/admin/users/bob/login", body, if_match="*")).status_code == 400
        unlinked = await owner.send("PUT", path, {"role": "admin", "subject": None}, if_match="*")
        assert unlinked.status_code == 200 and unlinked.json()["data"]["subject"] is None
        assert (await browser.send("GET", "/admin/session")).status_code == 401
        assert (await logged_in(provider, port.browser())).status_code == 403
        # Without a log-in the subject is nobody's.
        assert (await owner.send("PUT", path, {"role": "admin", "subject": "ada-1"}, if_match="*")).status_code == 200
        assert (await owner.send("DELETE", path, if_match="*")).status_code == 200
        assert (await logged_in(provider, port.browser())).status_code == 403
        port.desk.openid = None
        refused = await owner.send("PUT", "/admin/users/bob/login", {"role": "viewer", "subject": "x"}, if_match="*")
        assert refused.status_code == 400

    at(tmp_path, story)


def test_a_password_that_an_admin_set_is_no_owners(tmp_path: Path) -> None:
    """Whom the provider makes an owner loses the password of before: who set it may be less."""

    async def story(port: Port, provider: OpenIdProvider) -> None:
        admin = await port.as_role("admin")
        port.directory.create_scope(NewScope("user", "trap"))
        body = {"role": "admin", "password": PASSWORD, "subject": "ada-1"}
        assert (await admin.send("PUT", "/admin/users/trap/login", body, if_match="*")).status_code == 200
        lying_in_wait = port.browser()
        assert (await lying_in_wait.log_in(name="trap", password=PASSWORD)).status_code == 200
        provider.claims["groups"] = ["owners"]
        entered = (await logged_in(provider, port.browser())).json()["data"]
        assert (entered["user"], entered["role"]) == ("trap", "owner")
        assert (await lying_in_wait.send("GET", "/admin/session")).status_code == 401
        assert (await port.browser().log_in(name="trap", password=PASSWORD)).status_code == 401
        assert port.audit()[-2]["after"] == {"role": "owner", "subject": "ada-1", "password": "taken away"}
        # It is the provider's word that counts: while it stays, nothing else changes.
        browser = port.browser()
        assert (await logged_in(provider, browser)).json()["data"]["role"] == "owner"
        assert (await browser.send("GET", "/admin/session")).status_code == 200

    at(tmp_path, story, roles=ROLES)


def test_failures_are_slowed_down(tmp_path: Path) -> None:
    async def story(port: Port, provider: OpenIdProvider) -> None:
        browser = port.browser()
        for _ in range(5):
            assert (await browser.log_in(oidc={"code": "x", "state": "x"})).status_code == 401
        assert (await logged_in(provider, browser)).status_code == 429

    at(tmp_path, story)


@pytest.mark.parametrize(
    ("more", "path", "said"),
    [
        ({"issuer": '"http://accounts.acme.example"'}, "oidc.issuer", "https"),
        ({"issuer": '"https://accounts.acme.example/?x=1"'}, "oidc.issuer", "without a query"),
        ({"issuer": '"accounts.acme.example"'}, "oidc.issuer", "URL"),
        ({"scopes": '["email"]'}, "oidc.scopes", "openid"),
        ({"roles": "{}"}, "oidc.roles", "nobody could log in"),
        ({"roles": '{ boss = ["x"] }'}, "oidc.roles.boss", "unknown key"),
        ({"emails": '{ admin = ["acme.example"] }'}, "oidc.emails.admin[0]", "mail address"),
        ({"client_id": '""'}, "oidc.client_id", ""),
        ({"ca_file": '"none.pem"'}, "oidc.ca_file", "no such file"),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, more: dict[str, str], path: str, said: str) -> None:
    provider = OpenIdProvider()
    with pytest.raises(Mistakes) as raised:
        settings(provider, tmp_path, **more)
    provider.stop()
    [problem] = [problem for problem in raised.value.problems if problem.severity == "error"]
    assert problem.path == path and said in problem.message


def test_nothing_shows_the_secret(tmp_path: Path) -> None:
    provider = OpenIdProvider()
    found = settings(provider, tmp_path)
    provider.stop()
    shown = repr(found) + repr(OpenId(found, SECRET, lambda: 0))
    assert found.client_secret and found.client_secret not in shown and SECRET.hex() not in shown
