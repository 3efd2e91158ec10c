"""A body around a text, as clients of each dialect write it: to ask where such a request would go."""

from typing import Any


def body(dialect: str, text: str, *, model: str = "", stream: bool = False) -> dict[str, Any]:
    """The smallest request of a dialect, of chat for an unknown one. Gemini's has neither model nor streaming: they are in its path."""
    messages = [{"role": "user", "content": text}]
    named: dict[str, Any] = {"model": model} if model else {}
    match dialect:
        case "gemini_generate":
            return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        case "openai_embeddings":
            return named | {"input": text}
        case "openai_completions":
            asked = named | {"prompt": text}
        case "openai_responses":
            asked = named | {"input": text}
        case "anthropic_messages":
            asked = named | {"max_tokens": 1, "messages": messages}
        case _:
            asked = named | {"messages": messages}
    return asked | ({"stream": True} if stream else {})
