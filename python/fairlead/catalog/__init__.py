"""What is known about providers, models and prices: TOML files that ship with the package, and their reader.

A new provider or model is one file, never code. `providers/<slug>.toml` says how to talk to a provider, `models/<vendor>/<model>.toml` what
a model can do, who serves it and what it costs since when; `schema` documents every key. Prices carry their source and the day they were
checked. What is read at run time is `compiled.jsonl`, made from them by `python -m fairlead.catalog`.
"""

from fairlead.catalog.compiled import shipped
from fairlead.catalog.load import Catalogue, load
from fairlead.catalog.synced import current

__all__ = ["Catalogue", "current", "load", "shipped"]
