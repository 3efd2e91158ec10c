"""A server of access tokens as Google has it: it believes who signs with the right key, and says no in the same words."""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

EMAIL = "robot@acme-1.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
REFUSED = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


@cache
def private_key(number: int = 0) -> RSAPrivateKey:
    """A key; another number, another key."""
    return generate_private_key(65537, 2048)


def pem(number: int = 0) -> str:
    """The same as a key file has it."""
    return private_key(number).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_file(token_uri: str, number: int = 0, **changes: Any) -> str:
    """The text of a key file."""
    known: dict[str, Any] = {
        "type": "service_account",
        "project_id": "acme-1",
        "private_key_id": f"key-{number}",
        "private_key": pem(number),
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    return json.dumps({name: value for name, value in (known | changes).items() if value is not None}, indent=2)


class TokenServer:
    """Gives `ya29.1`, `ya29.2` … to who signs with the key `number`, or what stands in `answers` first: a status and a body."""

    def __init__(self, number: int = 0, expires_in: int = 3599) -> None:
        self.number = number
        self.expires_in = expires_in
        self.answers: deque[tuple[int, bytes]] = deque()
        self.claims: list[dict[str, Any]] = []
        self.heads: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._answer))
        self.uri = f"http://127.0.0.1:{self._server.server_port}/token?v=1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            assert path == "/token?v=1"
            form = parse_qs(body.decode(), strict_parsing=True)
            assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
            (statement,) = form["assertion"]
            signed, _, signature = statement.rpartition(".")
            head, claims = (json.loads(decoded(part)) for part in signed.split("."))
            self.heads.append(head)
            self.claims.append(claims)
            if self.answers:
                return self.answers.popleft()
            try:
                private_key(self.number).public_key().verify(decoded(signature), signed.encode(), PKCS1v15(), SHA256())
            except InvalidSignature:
                return 400, json.dumps(REFUSED).encode()
            assert claims["aud"] == self.uri and claims["scope"] == SCOPE and claims["exp"] - claims["iat"] == 3600
            if abs(claims["iat"] - time.time()) > 300:
                said = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
                return 400, json.dumps({"error": "invalid_grant", "error_description": said}).encode()
            given = {"access_token": f"ya29.{len(self.claims)}", "expires_in": self.expires_in, "token_type": "Bearer"}
            return 200, json.dumps(given).encode()


def decoded(part: str) -> bytes:
    """Base64 of URLs, without its filling."""
    assert "=" not in part
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _handler(answer: Callable[[str, bytes], tuple[int, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler
