"""`[alerts]`: what is told of, and to whom, as the control plane takes it."""

from msgspec import Struct

from fairlead.config.amounts import BadAmount, nanousd
from fairlead.config.load import Loaded
from fairlead.config.schema import Smtp


class AlertSettings(Struct, frozen=True, kw_only=True):
    """Money in nano-dollars. None: not told of, or not sent there."""

    thresholds: tuple[int, ...] = (50, 80, 100)
    """Percent of a budget, ascending."""
    low_balance_nanousd: int | None = None
    unusual_factor: int | None = None
    unusual_nanousd: int = 10**9
    webhook_url: str | None = None
    webhook_secret: str | None = None
    smtp: Smtp | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Where alerts go beside the log."""
        return tuple(name for name, is_on in (("webhook", self.webhook_url), ("smtp", self.smtp)) if is_on)

    def __repr__(self) -> str:
        return f"AlertSettings({self.channels})"


def settings(loaded: Loaded) -> AlertSettings:
    """The file's. Mistakes are reported."""
    alerts, report = loaded.config.alerts, loaded.document.report

    def amount(name: str, text: str) -> int:
        try:
            return nanousd(text)
        except BadAmount as error:
            report(("alerts", name), str(error))
            return 0

    if alerts.webhook_url is not None and alerts.webhook_secret is None:
        report(("alerts", "webhook_url"), "needs a webhook_secret, which alerts are signed with")
    if alerts.webhook_secret is not None and alerts.webhook_url is None:
        report(("alerts", "webhook_secret"), "there is no webhook_url that it could sign for; add one")
    smtp = alerts.smtp
    if smtp is not None and (smtp.user is None) != (smtp.password is None):
        report(("alerts", "smtp"), "user and password belong together")
    if smtp is not None and smtp.password is not None and smtp.tls == "none":
        report(("alerts", "smtp", "tls"), "the password would be sent for all to read; use starttls or tls")
    return AlertSettings(
        thresholds=tuple(sorted(set(alerts.thresholds))),
        low_balance_nanousd=None if alerts.low_balance_usd is None else amount("low_balance_usd", alerts.low_balance_usd),
        unusual_factor=alerts.unusual_factor,
        unusual_nanousd=amount("unusual_usd", alerts.unusual_usd),
        webhook_url=alerts.webhook_url,
        webhook_secret=alerts.webhook_secret,
        smtp=smtp,
    )
