"""OpenAI's SDK: one whole reply and one stream, each with what it cost.

FAIRLEAD_KEY=sk-fl-v1-… python examples/openai_sdk.py
"""

import os

from openai import OpenAI

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ["FAIRLEAD_KEY"])

reply = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Good morning"}])
print(reply.choices[0].message.content)
print("cost in dollars:", reply.usage.model_extra["cost"])

stream = client.chat.completions.create(
    model=MODEL,
    messages=[{"role": "user", "content": "Good night"}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print("\ncost in dollars:", chunk.usage.model_extra["cost"])
