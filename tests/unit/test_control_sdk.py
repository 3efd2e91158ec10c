"""OpenRouter's own SDK reads what the control plane writes. It validates every field that it says is mandatory."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_rig import attempt, generation
from openrouter import OpenRouter, errors
from test_control import KEY, MANAGER, House, tell


def sdk(house: House, headers: dict[str, str]) -> OpenRouter:
    """The SDK on the private application; the headers are what the data plane would put there."""
    client = httpx.AsyncClient(transport=house.private._transport, headers=headers)
    return OpenRouter(api_key="unused", server_url="http://host/api/v1", async_client=client)


@pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")
def test_the_sdk_accepts_every_reply(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.journal.records.append((generation(1), [attempt(1, 1, status=0), attempt(1, 2)]))
        key, manager = sdk(house, KEY), sdk(house, MANAGER)
        listed: Any = await key.models.list_async()
        models = getattr(listed, "result", listed)
        assert [model.id for model in models.data] == ["acme/fast", "acme/cheap:free"]
        assert (await key.models.count_async()).data.count == 2
        assert [provider.slug for provider in (await key.providers.list_async()).data] == ["lab"]
        assert len((await key.endpoints.list_zdr_endpoints_async()).data) == 2
        mine: Any = await key.models.list_for_user_async(security={"bearer": "unused"})
        assert len(getattr(mine, "result", mine).data) == 2
        endpoints = await key.endpoints.list_async(author="acme", slug="cheap:free")
        assert endpoints.data.endpoints[0].provider_name == "The Lab"
        assert (await key.api_keys.get_current_key_metadata_async()).data.usage == 1.000000001
        shown = (await key.generations.get_generation_async(id="chatcmpl-1")).data
        assert (shown.id, shown.total_cost, len(shown.provider_responses or [])) == (generation(1)[0], 1.000000001, 2)
        assert (await manager.credits.get_credits_async()).data.total_usage == 1.000000001

    tell(tmp_path, story)


def test_the_sdk_understands_every_refusal(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for headers, call, expected in [
            (KEY, lambda client: client.credits.get_credits_async(), errors.ForbiddenResponseError),
            (KEY, lambda client: client.generations.get_generation_async(id="x"), errors.NotFoundResponseError),
            ({}, lambda client: client.api_keys.get_current_key_metadata_async(), errors.UnauthorizedResponseError),
            (KEY, lambda client: client.endpoints.list_async(author="a", slug="b"), errors.NotFoundResponseError),
        ]:
            answers = await asyncio.gather(call(sdk(house, headers)), return_exceptions=True)
            assert isinstance(answers[0], expected), answers

    tell(tmp_path, story)
