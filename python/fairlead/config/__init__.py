"""From `fairlead.toml` to one validated snapshot.

`find` → `load` (text, references, schema) → `compile` (with catalogue and environment: everything that only shows as a whole) → `Compiled`.
Whatever is wrong comes as `Mistakes`, complete, with file, line, path and the nearest valid name; `report` renders it.
"""

from fairlead.catalog.document import Mistakes, Problem
from fairlead.config.compile import Compiled, compile, hashed_endpoint_id
from fairlead.config.google import KeyFile, SignIn, with_tokens
from fairlead.config.keys import ConfigKey, ConfigTeam, ConfigUser
from fairlead.config.limits import Budget, Limits
from fairlead.config.load import Loaded, find, load, read
from fairlead.config.providers import simulator_is_on
from fairlead.config.view import ArmView, EndpointView, ModelView, PresetView, Price, ProviderView, ShadowView, SplitView

__all__ = [
    "ArmView",
    "Budget",
    "Compiled",
    "ConfigKey",
    "ConfigTeam",
    "ConfigUser",
    "EndpointView",
    "KeyFile",
    "Limits",
    "Loaded",
    "Mistakes",
    "ModelView",
    "PresetView",
    "Price",
    "Problem",
    "ProviderView",
    "ShadowView",
    "SignIn",
    "SplitView",
    "compile",
    "find",
    "hashed_endpoint_id",
    "load",
    "read",
    "simulator_is_on",
    "with_tokens",
]
