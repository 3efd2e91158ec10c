"""A model, an endpoint and a provider as OpenRouter, OpenAI, Anthropic, Google and Codex write them."""

from collections.abc import Sequence
from typing import Any

from fairlead.config.view import EndpointView, ModelView, ProviderView
from fairlead.control.health import Known, Report, openrouter_fields
from fairlead.control.replies import rfc3339

OPENROUTER_PREFIX = "/api/v1/"
EFFORTS = {
    "none": "Does not think",
    "minimal": "Thinks as little as it can",
    "low": "Thinks a little",
    "medium": "Thinks a usual amount",
    "high": "Thinks much",
    "xhigh": "Thinks very much",
}
"""Codex's words for efforts, with what its users read; it does not know others."""

CODEX_INSTRUCTIONS = """\
You are a coding agent that works in a user's terminal. Be precise, safe and helpful.

- Keep going until the task is done before you end your turn. Do not guess: read the files, run the code, look at the results.
- Find your way with the shell; prefer `rg` to search and read what you need, not whole trees.
- Change files with `apply_patch` in the shell, in the smallest patches that solve the problem at its root. Keep the style of the code
  around them; do not mend what you were not asked to mend, but say that you saw it.
- Obey every AGENTS.md whose folder holds a file that you change; the deepest one wins, and the user's own words win over all of them.
- You may be in a tree with changes that are not yours: never undo them, never commit unless you are asked to.
- Run the tests nearest to what you changed, then wider ones. If they cannot be run, say so.
- For work of several steps keep a short plan and bring it up to date. Before a group of commands say in a sentence what comes next.
- End with what you changed and why, with paths, and what the user should know or decide. Be brief.
"""
"""What Codex tells a model whose instructions it does not bring itself."""


TOKENIZER_GROUPS = (
    ("openai/", "GPT"),
    ("anthropic/", "Claude"),
    ("google/", "Gemini"),
    ("x-ai/", "Grok"),
    ("cohere/", "Cohere"),
    ("amazon/nova", "Nova"),
    ("qwen/qwen3", "Qwen3"),
    ("qwen/", "Qwen"),
    ("01-ai/", "Yi"),
    ("deepseek/", "DeepSeek"),
    ("mistralai/", "Mistral"),
    ("meta-llama/llama-4", "Llama4"),
    ("meta-llama/llama-3", "Llama3"),
    ("meta-llama/llama-2", "Llama2"),
)
"""How ids begin → OpenRouter's name for their tokenizer; the first that fits. Whatever is not here is `Other` there, too."""


def tokenizer_group(model: ModelView) -> str:
    """OpenRouter's `architecture.tokenizer`, which is a coarse family, and what its `arch` filters by."""
    return next((group for start, group in TOKENIZER_GROUPS if model.id.startswith(start)), "Other")


def description(model: ModelView) -> str:
    """What the catalogue or the configuration says of a model, else a sentence of what is known."""
    if model.description:
        return model.description
    author, slash, _ = model.id.partition("/")
    whose = f" by {author}" if slash else ""
    reads, writes = (_listed(words) for words in (model.input_modalities, model.output_modalities))
    context = f", with a context of {model.context_length:,} tokens" if model.context_length else ""
    thinks = "" if model.reasoning is None else " It always reasons first." if model.reasoning.mandatory else " It can reason first."
    return f"{model.name}{whose} turns {reads} into {writes}{context}.{thinks}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def openrouter_model(model: ModelView) -> dict[str, Any]:
    """OpenRouter's model object. Prices and bounds are those of the preferred endpoint."""
    best = model.endpoints[0]
    shown: dict[str, Any] = {
        "id": model.id,
        "canonical_slug": model.id,
        "name": model.name,
        "created": model.created,
        "description": description(model),
        "context_length": model.context_length,
        "hugging_face_id": model.hugging_face_id or None,
        "knowledge_cutoff": model.knowledge_cutoff or None,
        "expiration_date": model.expiration_date,
        "architecture": architecture(model),
        "pricing": best.pricing,
        "top_provider": {
            "context_length": best.context_length or model.context_length,
            "max_completion_tokens": best.max_completion_tokens or model.max_completion_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(model.supported_parameters or ()),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"{OPENROUTER_PREFIX}models/{model.id}/endpoints"},
    }
    if model.reasoning is not None:
        shown["reasoning"] = {
            "mandatory": model.reasoning.mandatory,
            "supported_efforts": list(model.reasoning.supported_efforts) or None,
            "default_effort": model.reasoning.default_effort,
            "supports_max_tokens": model.reasoning.supports_max_tokens,
        }
    return shown


def openrouter_endpoints(model: ModelView, endpoint: EndpointView, known: Known) -> list[dict[str, Any]]:
    """An endpoint, then each service tier that it sells beside the usual one; each has its own figures."""
    tiers = (None, *endpoint.tier_pricing)
    return [openrouter_endpoint(model, endpoint, known.get((endpoint.id, tier)), tier) for tier in tiers]


def openrouter_endpoint(model: ModelView, endpoint: EndpointView, report: Report | None, tier: str | None = None) -> dict[str, Any]:
    """OpenRouter's endpoint object, with what is known of its health. There a tier beside the usual one is an endpoint of its own."""
    tag = f"{endpoint.provider}/{endpoint.region}" if endpoint.region else endpoint.provider
    parameters = endpoint.supported_parameters if endpoint.supported_parameters is not None else model.supported_parameters
    chooses = "tool_choice" in (parameters or ())
    return {
        "name": f"{endpoint.provider_name} | {model.id}",
        "model_id": model.id,
        "model_name": model.name,
        "context_length": endpoint.context_length or model.context_length or 0,
        "pricing": endpoint.tier_pricing[tier] if tier else endpoint.pricing,
        "provider_name": endpoint.provider_name,
        "tag": f"{tag}/{tier}" if tier else tag,
        "quantization": endpoint.quantization,
        "max_completion_tokens": endpoint.max_completion_tokens or model.max_completion_tokens,
        "max_prompt_tokens": endpoint.max_prompt_tokens or model.max_prompt_tokens,
        "supported_parameters": list(parameters or ()),
        **openrouter_fields(report),
        "perf_last_30m_by_workload": None,
        "supports_implicit_caching": endpoint.supports_implicit_caching,
        "supports_voice_cloning": False,
        "supports_diarization": False,
        "native_tools": {},
        "service_tier": tier,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), chooses),
    }


def openrouter_provider(provider: ProviderView) -> dict[str, Any]:
    """OpenRouter's provider object."""
    return {
        "name": provider.name,
        "slug": provider.slug,
        "privacy_policy_url": provider.privacy_policy or None,
        "terms_of_service_url": provider.terms_of_service or None,
        "status_page_url": provider.status_page or None,
        "headquarters": provider.headquarters,
        "datacenters": list(provider.datacenters) or None,
    }


def architecture(model: ModelView) -> dict[str, Any]:
    """OpenRouter's `architecture`."""
    return {
        "modality": f"{'+'.join(model.input_modalities)}->{'+'.join(model.output_modalities)}",
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "tokenizer": tokenizer_group(model),
        "instruct_type": None,
    }


def openai_model(model: ModelView) -> dict[str, Any]:
    """OpenAI's model object, with the sizes that many of its clients look for."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.id.partition("/")[0],
        "context_length": model.context_length,
        "max_completion_tokens": model.endpoints[0].max_completion_tokens or model.max_completion_tokens,
    }


def anthropic_model(model: ModelView) -> dict[str, Any]:
    """Anthropic's model object."""
    return {"type": "model", "id": model.id, "display_name": model.name, "created_at": rfc3339(model.created * 1000)}


def gemini_model(model: ModelView) -> dict[str, Any]:
    """Google's model object."""
    shown: dict[str, Any] = {
        "name": f"models/{model.id}",
        "displayName": model.name,
        "description": description(model),
        "version": model.id.rpartition("/")[2],
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": model.reasoning is not None,
    }
    most_prompt = model.max_prompt_tokens or model.context_length
    most_completion = model.endpoints[0].max_completion_tokens or model.max_completion_tokens
    bounds = {"inputTokenLimit": most_prompt, "outputTokenLimit": most_completion}
    return shown | {name: bound for name, bound in bounds.items() if bound is not None}


def codex_model(model: ModelView, priority: int) -> dict[str, Any]:
    """Codex's `ModelInfo`: what it must know to run a model that it has never heard of."""
    reasoning = model.reasoning
    levels = [effort for effort in (reasoning.supported_efforts if reasoning else ()) if effort in EFFORTS]
    default = reasoning.default_effort if reasoning else None
    parameters = model.supported_parameters
    return {
        "slug": model.id,
        "display_name": model.name,
        "description": description(model),
        "default_reasoning_level": default if default in levels else (levels[len(levels) // 2] if levels else None),
        "supported_reasoning_levels": [{"effort": effort, "description": EFFORTS[effort]} for effort in levels],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "base_instructions": CODEX_INSTRUCTIONS,
        "supports_reasoning_summaries": reasoning is not None,
        "support_verbosity": "verbosity" in (parameters or ()),
        "default_verbosity": None,
        "apply_patch_tool_type": None,
        "truncation_policy": {"mode": "bytes", "limit": 10_000},
        "supports_parallel_tool_calls": parameters is None or "parallel_tool_calls" in parameters,
        "context_window": model.context_length,
        "experimental_supported_tools": [],
        "input_modalities": [modality for modality in ("text", "image") if modality in model.input_modalities] or ["text"],
    }
