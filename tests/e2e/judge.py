"""The simulator by itself, without a gateway in front of it: what its own tests have in common."""

import json
from typing import Any

from e2e.house import Provider, Reply, send

PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"place": {"type": "string"}},
    "required": ["place"],
    "additionalProperties": False,
}
"""The schema of a tool's arguments."""
# One red pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"


class Judge(Provider):
    """A simulator that can be told beforehand what to do with requests that bring no script of their own."""

    def script(self, *scripts: dict[str, Any]) -> None:
        """The next requests get these scripts, one each."""
        reply = send(self.address, "POST", "/sim/next", json.dumps(scripts).encode())
        assert reply.status == 200, reply.body

    def judge(self) -> None:
        """From now on everybody is judged, also who names no family of models."""
        assert send(self.address, "POST", "/sim/judge", b'{"on": true}').status == 200

    def forget_scripts(self) -> None:
        """Those that wait are gone."""
        send(self.address, "DELETE", "/sim/next")

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """One request with any key, body as JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        known = {"authorization": "Bearer acme.1", "content-type": "application/json", "anthropic-version": "2023-06-01"}
        return send(self.address, "POST", path, json.dumps(body).encode(), known | named)
