"""OpenRouter's SDK: a reply, and what the gateway recorded about it.

FAIRLEAD_KEY=sk-fl-v1-… python examples/openrouter_sdk.py
"""

import os

from openrouter import OpenRouter

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")

with OpenRouter(api_key=os.environ["FAIRLEAD_KEY"], server_url=f"{URL}/api/v1") as client:
    reply = client.chat.send(model=MODEL, messages=[{"role": "user", "content": "Good morning"}])
    print(reply.choices[0].message.content)
    print("cost in dollars:", reply.usage.cost)

    record = client.generations.get_generation(id=reply.id).data
    print(f"{record.model} at {record.provider_name}, {record.tokens_completion} tokens, {record.total_cost} dollars")
