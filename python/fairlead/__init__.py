"""Fairlead: a self-hosted LLM gateway, and its hot path as a library."""

__version__ = "0.1.0"
