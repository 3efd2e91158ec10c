"""A small provider of OpenID Connect: one person is logged in there, and every code is good once, for who began with its challenge.

It shares no code with what it judges: tokens are made and checked here by hand.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT, SECRET = "fairlead", "client:secret/of+tests"


@cache
def private_key(number: int) -> RSAPrivateKey:
    """A key; another number, another key."""
    return generate_private_key(65537, 2048)


def encoded(data: bytes) -> str:
    """Base64 of URLs, without its filling."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(number: int) -> dict[str, Any]:
    """The public half, as a provider publishes it."""
    numbers = private_key(number).public_key().public_numbers()
    n = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": f"key-{number}", "n": encoded(n), "e": "AQAB"}


def public_pem(number: int) -> bytes:
    """The same as text that everybody can have."""
    return private_key(number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signed(head: dict[str, Any], claims: dict[str, Any], number: int = 1) -> str:
    """A token as its head says: RS256, `none`, or HS256 with the public key as if that were a secret."""
    text = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    if head["alg"] == "none":
        return f"{text}."
    if head["alg"] == "HS256":
        return f"{text}.{encoded(hmac.new(public_pem(number), text.encode(), hashlib.sha256).digest())}"
    return f"{text}.{encoded(private_key(number).sign(text.encode(), PKCS1v15(), SHA256()))}"


class Asked(NamedTuple):
    """What a browser was sent with."""

    redirect_uri: str
    challenge: str
    nonce: str


class OpenIdProvider:
    """`claims` are who is logged in there; `forge` makes the ID token of head and claims, `fails` are paths that answer 500."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.claims: dict[str, Any] = {"sub": "ada-1", "email": "Ada@acme.example", "email_verified": True, "groups": ["staff"]}
        self.userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.published = [1]
        self.forge: Callable[[dict[str, Any], dict[str, Any]], str] = signed
        self.fails: set[str] = set()
        self.denies = False
        self.asked: list[str] = []
        """The paths that were asked for."""
        self._codes: dict[str, Asked] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realm"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; harmless twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def configuration(self, **more: str) -> str:
        """`[oidc]` for it; `more` are further lines of TOML."""
        lines = {
            "issuer": f'"{self.issuer}"',
            "client_id": f'"{CLIENT}"',
            "client_secret": f'"{SECRET}"',
            "name": '"Acme"',
            "roles": '{ admin = ["staff"], viewer = ["guests"] }',
        }
        return "[oidc]\n" + "".join(f"{name} = {value}\n" for name, value in (lines | more).items())

    def authorize(self, url: str) -> str:
        """Where a browser that is sent to `url` is sent back to."""
        parts = urlsplit(url)
        said = {name: value for name, [value] in parse_qs(parts.query, strict_parsing=True).items()}
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        assert said["response_type"] == "code" and said["client_id"] == CLIENT and "openid" in said["scope"].split()
        assert said["code_challenge_method"] == "S256" and len(said["nonce"]) >= 43 and len(said["state"]) >= 43
        if self.denies:
            denied = {"error": "access_denied", "error_description": "<b>No.</b>", "state": said["state"]}
            return f"{said['redirect_uri']}?{urlencode(denied)}"
        code = secrets.token_urlsafe(16)
        with self._lock:
            self._codes[code] = Asked(said["redirect_uri"], said["code_challenge"], said["nonce"])
        return f"{said['redirect_uri']}?{urlencode({'code': code, 'state': said['state'], 'iss': self.issuer})}"

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, Any]]:
        """What the back channel says."""
        with self._lock:
            self.asked.append(path)
            if path in self.fails:
                return 500, {}
            if path == "/realm/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    "userinfo_endpoint": f"{self.issuer}/userinfo",
                    **self.metadata,
                }
            if path == "/realm/keys":
                strange = [{"kty": "oct", "k": "AAAA", "kid": "key-1"}, {"kty": "LMS"}, {"kty": "RSA", "kid": "torn", "n": "!"}]
                return 200, {"keys": [*strange, *map(jwk, self.published)]}
            if path == "/realm/userinfo":
                assert headers["authorization"] == "Bearer at-1"
                return 200, {"sub": self.claims["sub"], **self.userinfo}
            assert path == "/realm/token"
            return self._token(headers, {name: value for name, [value] in parse_qs(body.decode(), strict_parsing=True).items()})

    def _token(self, headers: Any, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        id, _, secret = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode().partition(":")
        if (unquote_plus(id), unquote_plus(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        challenge = encoded(hashlib.sha256(form["code_verifier"].encode()).digest())
        if (
            form["grant_type"] != "authorization_code"
            or asked is None
            or (asked.redirect_uri, asked.challenge)
            != (
                form["redirect_uri"],
                challenge,
            )
        ):
            return 400, {"error": "invalid_grant", "error_description": "the code is not good"}
        now = int(self.now())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked.nonce, **self.claims}
        head = {"alg": "RS256", "typ": "JWT", "kid": f"key-{self.published[-1]}", "x-own": "1"}
        return 200, {"access_token": "at-1", "token_type": "Bearer", "id_token": self.forge(head, claims)}


def _handler(provider: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path != "/realm/authorize":
                self._send(*provider.answer(path, self.headers, b""))
                return
            self.send_response(302)
            self.send_header("location", provider.authorize(f"http://{self.headers['host']}{self.path}"))
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self._send(*provider.answer(self.path, self.headers, self.rfile.read(int(self.headers["content-length"]))))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
