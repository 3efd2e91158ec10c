"""Anthropic's SDK: one whole reply and one stream, each with what it cost.

FAIRLEAD_KEY=sk-fl-v1-… python examples/anthropic_sdk.py
"""

import os

from anthropic import Anthropic

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")

client = Anthropic(base_url=URL, api_key=os.environ["FAIRLEAD_KEY"])

reply = client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Good morning"}])
print(reply.content[0].text)
print("cost in dollars:", reply.usage.model_extra["cost"])

with client.messages.stream(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": "Good night"}]) as stream:
    for event in stream:
        if event.type == "text":
            print(event.text, end="", flush=True)
        elif event.type == "message_delta":
            print("\ncost in dollars:", event.usage.model_extra["cost"])
