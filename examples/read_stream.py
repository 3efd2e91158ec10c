"""A streamed reply read with the standard library and fairlead.sse, then its record.

FAIRLEAD_KEY=sk-fl-v1-… python examples/read_stream.py
"""

import json
import os
from urllib.request import Request, urlopen

import fairlead

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")
HEADERS = {"Authorization": f"Bearer {os.environ['FAIRLEAD_KEY']}", "Content-Type": "application/json"}

body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Good morning"}]}
decoder = fairlead.sse.Decoder()
with urlopen(Request(f"{URL}/v1/chat/completions", json.dumps(body).encode(), HEADERS)) as reply:
    generation = reply.headers["X-Generation-Id"]
    while piece := reply.read1():
        for event in decoder.feed(piece):
            if event.data != "[DONE]":
                for choice in json.loads(event.data)["choices"]:
                    print(choice["delta"].get("content") or "", end="", flush=True)

with urlopen(Request(f"{URL}/api/v1/generation?id={generation}", headers=HEADERS)) as reply:
    record = json.load(reply)["data"]
print(f"\n{record['tokens_prompt']} + {record['tokens_completion']} tokens, {record['total_cost']} dollars")
