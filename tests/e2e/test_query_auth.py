"""A provider that wants its credential in the query of the URL."""

import pytest

from e2e.house import PROVIDER_SECRET, Gateway, Provider, configuration
from e2e.wire import body_of


@pytest.mark.parametrize("stream", [False, True])
def test_the_credential_is_in_the_query_and_nowhere_else(provider: Provider, stream: bool) -> None:
    tables = (
        f'[providers.gem]\ndialect = "gemini_generate"\nbase_url = "http://{provider.address}"\nkeys = ["{PROVIDER_SECRET}"]\n'
        'auth = { query = "key" }\n[models."gem/echo"]\n[[models."gem/echo".endpoints]]\nprovider = "gem"\nupstream_model = "sim/echo"\n'
    )
    with Gateway(configuration(provider.address, tables=tables)) as gateway:
        provider.forget_requests()
        reply = gateway.post("/v1/chat/completions", body_of(model="gem/echo") | {"stream": stream})
        assert reply.status == 200, reply.body
        [seen] = provider.requests()
        action = "streamGenerateContent?alt=sse&key=" if stream else "generateContent?key="
        assert seen["head"].split("\r\n")[0] == f"POST /v1beta/models/sim/echo:{action}{PROVIDER_SECRET} HTTP/1.1"
        assert not {"authorization", "x-goog-api-key"} & {name for name, _ in seen["headers"]}
        assert PROVIDER_SECRET not in str(seen["headers"])
