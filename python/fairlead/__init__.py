"""Fairlead: a self-hosted LLM gateway, and its hot path as a library.

`fairlead.Router` is the whole gateway in this process, `fairlead.SyncRouter` the same without an event loop, and `fairlead.errors` has
what they raise. `fairlead.limits` has rates and other limits, `fairlead.sse` decodes server-sent events, `fairlead.tokens` counts tokens,
`fairlead.translate` goes from one provider's dialect to another's. They are loaded when they are first used, because they need the native
half of the package, which most of the command line does not.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from fairlead import errors, limits, router, sse, tokens, translate
    from fairlead.router import Router, SyncRouter

__version__ = "0.1.0"
__all__ = ["Router", "SyncRouter", "__version__", "errors", "limits", "router", "sse", "tokens", "translate"]


def __getattr__(name: str) -> _Any:
    if name in ("errors", "limits", "router", "sse", "tokens", "translate"):
        return _import_module(f"fairlead.{name}")
    if name in ("Router", "SyncRouter"):
        return getattr(_import_module("fairlead.router"), name)
    raise AttributeError(f"module 'fairlead' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
