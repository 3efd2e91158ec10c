"""Fairlead: a self-hosted LLM gateway, and its hot path as a library.

`fairlead.sse` decodes server-sent events, `fairlead.tokens` counts tokens, `fairlead.translate` goes from one provider's dialect to
another's. They are loaded when they are first used, because they need the native half of the package, which most of the command line does
not.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from fairlead import sse, tokens, translate

__version__ = "0.1.0"
__all__ = ["__version__", "sse", "tokens", "translate"]


def __getattr__(name: str) -> _ModuleType:
    if name in ("sse", "tokens", "translate"):
        return _import_module(f"fairlead.{name}")
    raise AttributeError(f"module 'fairlead' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
