"""The gateway's whole pipeline in this process: routing, translation, failover and exact cost, without a listener.

    async with fairlead.Router("fairlead.toml") as router:
        reply = await router.chat(model="acme/fast", messages=[{"role": "user", "content": "Hello"}])
        print(reply.body["choices"][0]["message"]["content"], reply.cost)

`Router` is for a program with an event loop of asyncio's, `SyncRouter` for one without. A thread of Rust does the work; it takes the GIL
never, and hands over what has come in batches.
"""

from fairlead.router.asynchronous import Router
from fairlead.router.blocking import SyncRouter, SyncStream
from fairlead.router.explanation import Candidate, Explanation, Health, Removed, ToolCalls
from fairlead.router.reply import Receipt, Reply, Stream

__all__ = [
    "Candidate",
    "Explanation",
    "Health",
    "Receipt",
    "Removed",
    "Reply",
    "Router",
    "Stream",
    "SyncRouter",
    "SyncStream",
    "ToolCalls",
]
