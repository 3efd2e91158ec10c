"""Google's SDK: one whole reply and one stream, each with what it cost.

FAIRLEAD_KEY=sk-fl-v1-… python examples/google_sdk.py
"""

import json
import os

from google import genai
from google.genai.types import GenerateContentConfig

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_MODEL", "sim/echo")

with genai.Client(api_key=os.environ["FAIRLEAD_KEY"], http_options={"base_url": URL}) as client:
    # The SDK knows no field for the cost; the reply as it came has it.
    reply = client.models.generate_content(
        model=MODEL, contents="Good morning", config=GenerateContentConfig(should_return_http_response=True)
    )
    whole = json.loads(reply.sdk_http_response.body)
    print(whole["candidates"][0]["content"]["parts"][0]["text"])
    print("cost in dollars:", whole["usageMetadata"]["cost"])

    for chunk in client.models.generate_content_stream(model=MODEL, contents="Good night"):
        print(chunk.text or "", end="", flush=True)
    print("\ntokens:", chunk.usage_metadata.total_token_count)
