"""What the data plane hands to the control plane, seen from the traffic port: methods, and errors that both planes tell alike."""

from typing import Any

import pytest

from e2e.house import KEY, Gateway, send
from e2e.wire import Wire, request


@pytest.mark.parametrize("path", ["/v1/models", "/api/v1/models", "/api/v1/key", "/api/v1/generation?id=gen-unknown", "/v1/nothing"])
def test_head_is_get_without_a_body(gateway: Gateway, path: str) -> None:
    with Wire(gateway.address) as wire:
        wire.get(path)
        expected = wire.answer()
        # Twice on one connection: a body that came all the same would be taken for the next reply.
        for _ in range(2):
            wire.send(request("HEAD", path))
            answer = wire.head()
            assert answer.status == expected.status
            for name in ("content-type", "content-length"):
                assert answer.header(name) == expected.header(name) is not None
        wire.get("/healthz", key=None)
        assert wire.answer().body == b"ok\n"


def test_both_planes_refuse_a_method_alike(gateway: Gateway) -> None:
    def refused(path: str, method: str) -> Any:
        reply = send(gateway.address, method, path, None, {"authorization": f"Bearer {KEY}"})
        assert reply.status == 405
        error = reply.json()["error"]
        return {name: value for name, value in error.items() if name != "message"}

    assert refused("/v1/chat/completions", "GET") == refused("/v1/models", "DELETE")
    assert refused("/api/v1/chat/completions", "GET") == refused("/api/v1/models", "DELETE")
