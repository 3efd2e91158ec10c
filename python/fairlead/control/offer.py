"""What this configuration offers: its models by every name they have, and its providers' display names."""

from collections.abc import Sequence

from fairlead.config.view import ModelView, ProviderView


class Offer:
    """Made once per (re)load; read by every request."""

    def __init__(self, models: Sequence[ModelView], providers: Sequence[ProviderView]) -> None:
        self.models = tuple(models)
        self._by_name = {name: model for model in self.models for name in (*model.aliases, model.id)}
        self.providers = {provider.slug: provider for provider in providers}

    def model(self, name: str) -> ModelView | None:
        """The model that this id or alias means, also with OpenRouter's own name before it, as requests may say it."""
        return self._by_name.get(name) or self._by_name.get(name.removeprefix("openrouter/"))

    def provider_name(self, slug: str) -> str:
        """What to show for a provider: its name, or the slug of one that is not configured any more."""
        provider = self.providers.get(slug)
        return provider.name if provider else slug
