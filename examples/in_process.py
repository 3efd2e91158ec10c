"""The whole gateway in this process: a reply and a stream, and what they cost. No server, no key of Fairlead's.

FAIRLEAD_CONFIG=fairlead.toml python examples/in_process.py
"""

import asyncio
import os

import fairlead

MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")


async def main() -> None:
    async with fairlead.Router() as router:
        reply = await router.chat(model=MODEL, messages=[{"role": "user", "content": "Good morning"}])
        print(reply.body["choices"][0]["message"]["content"])
        print(f"{reply.provider}: {reply.cost} dollars")

        # Another dialect, whatever the provider speaks. Leaving the block early would end the provider's work.
        ask = {"model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "Good night"}]}
        async with await router.messages(ask, stream=True) as stream:
            async for event in stream:
                if event["type"] == "content_block_delta":
                    print(event["delta"]["text"], end="", flush=True)
        print(f"\n{stream.receipt.provider}: {stream.receipt.cost} dollars")


asyncio.run(main())
