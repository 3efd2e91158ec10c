"""OpenAI's SDK and its Responses: a call of a tool, its result, and the answer, with what the two cost together.

FAIRLEAD_KEY=sk-fl-v1-… python examples/openai_responses.py
"""

import json
import os

from openai import OpenAI

URL = os.environ.get("FAIRLEAD_URL", "http://127.0.0.1:8080")
MODEL = os.environ.get("FAIRLEAD_TOOL_MODEL", "sim/claude-new")
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ["FAIRLEAD_KEY"])

conversation = [{"role": "user", "content": "What is the weather in Rome?"}]
asked = client.responses.create(model=MODEL, input=conversation, tools=[TOOL], store=False, include=["reasoning.encrypted_content"])
[call] = [item for item in asked.output if item.type == "function_call"]
print("called:", call.name, sorted(json.loads(call.arguments)))

# Everything that came goes back as it is, thoughts included: another model's too, whose state travels sealed.
conversation += [item.model_dump(exclude_none=True) for item in asked.output]
conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
answered = client.responses.create(model=MODEL, input=conversation, tools=[TOOL], store=False)
print(answered.output_text)
print("cost in dollars:", asked.usage.model_extra["cost"])
print("cost in dollars:", answered.usage.model_extra["cost"])
