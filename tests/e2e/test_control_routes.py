"""What the data plane hands to the control plane, seen from the traffic port."""

import pytest

from e2e.house import Gateway
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
            assert (answer.status, answer.header("content-type")) == (expected.status, expected.header("content-type"))
        wire.get("/healthz", key=None)
        assert wire.answer().body == b"ok\n"
