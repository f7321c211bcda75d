"""The de-identification report: what was done under which policy in a period, as one HTML page for people who must answer for it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from html import escape

import radanon_node
from radanon_node.errors import ConfigError
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.reporting import Period, PolicyUse
from radanon_node.reasons import REASON_HELP
from radanon_node.settings import Config
from radanon_node.settings_profile import ProfileSettings
from radanon_node.tags.tables import METHOD_CODES, method_meanings

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 "DejaVu Sans", "Liberation Sans", Arial, sans-serif; color: #1b1f24 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; border-bottom: 1px solid #8a929c }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 } caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #d5d9de }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
code { font: 12px "DejaVu Sans Mono", monospace; word-break: break-all }
.note { color: #4a525c } .bad { font-weight: 600; color: #9b1c1c }
@page { size: A4; margin: 18mm 15mm }
@media print { body { margin: 0; max-width: none; font-size: 10pt } h2 { break-after: avoid } tr, table { break-inside: avoid } }
"""


CONTENT_SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
"""For whoever serves the page: nothing but its own style is needed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days (UTC), both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigError("--to: is before --from")

    @property
    def seconds(self) -> tuple[float, float]:
        """Begin and end in seconds since 1970, the end not included."""
        return _seconds(self.first), _seconds(self.last + timedelta(days=1))


def report_html(config: Config, ledger: Ledger, first: date, last: date, route: str | None = None) -> str:
    """The report of the days from `first` to `last` (UTC, both included), self-contained and fit to be printed.

    Parameters
    ----------
    config : Config
        Names the routes' profiles and says what their options are.
    route : str, optional
        Of one project's route alone.

    Raises
    ------
    ConfigError
        No such route, or the days are in the wrong order.
    LedgerUnavailable
        The database does not answer.
    """
    if route is not None and config.route(route) is None:
        raise ConfigError(f"--route: no route with AE title {route!r}; there are: {', '.join(r.ae_title for r in config.routes) or 'none'}")
    span = Span(first, last)
    period = ledger.period(*span.seconds, route)
    title = f"De-identification report, {first} to {last}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _paragraph(f"{'Route ' + route if route else 'All routes'}. Days in UTC. Made {datetime.now(UTC):%Y-%m-%d %H:%M} by "
                   f"radanon_node {radanon_node.__version__}. Rows and receipts that retention has removed are not counted."),
        *_counts(period), *_policies(period.policies, config), *_residual(ledger, config, span), *_chains(ledger), *_acts(period),
    ]
    return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n")


def _counts(period: Period) -> list[str]:
    parts = ["<h2>Instances</h2>", _paragraph(
        f"{period.total} received in the period; {period.released} released, of {period.patients} patients in {period.studies} studies. "
        "An instance received on the last days may be decided after them.")]
    parts.append(_table("Received in the period, by the state they are in now", ("state", "#instances"), sorted(period.received.items())))
    if period.reasons:
        parts.append(_table("Held in quarantine, by reason", ("reason", "what it means", "#instances"),
                            [(code, next((text for reason, text in REASON_HELP.items() if reason == code), ""), count)
                             for code, count in period.reasons.items()]))
    if period.recalls:
        parts.append(_table("Recalls ordered in the period: identity was found in what had left", ("#recall", "#instances", "state"),
                            [(number, count, "closed" if closed else "open") for number, count, closed in period.recalls]))
    if period.deliveries:
        parts.append(_table("Deliveries of what was released in the period", ("destination", "state", "#deliveries"),
                            [(name, state, count) for name, states in sorted(period.deliveries.items())
                             for state, count in sorted(states.items())]))
    return parts


def _policies(uses: Sequence[PolicyUse], config: Config) -> list[str]:
    parts = ["<h2>Policies</h2>"]
    if not uses:
        return [*parts, _paragraph("Nothing was released.")]
    parts.append(_paragraph("From the receipts: what was in force for each instance, also where the settings have changed since. The hash "
                            "covers all settings of the profile and the version of the program."))
    for use in uses:
        codes = [METHOD_CODES[name] for name in METHOD_CODES if name == "basic" or name in use.options]
        rows = [
            ("released", f"{use.released} instances by version {use.program}"),
            ("hash", f"<code>{escape(use.hash)}</code>"),
            ("options of PS3.15 Annex E", escape(", ".join(use.options) or "Basic Profile alone")),
            ("codes (CID 7050)", "<br>".join(escape(f"{code} {method_meanings()[code]}") for code in codes)),
            ("models", "<br>".join(f"<code>{escape(model)}</code> ({count})" for model, count in use.models.most_common()) or "none ran"),
            ("regions", escape(_listed(use.boxes)) or "none"),
            ("pixels written", escape(_listed(use.methods)) or "no pixels"),
            ("passed without a look", f"{use.unseen} (site policy <code>pixels.unknown: pass</code> or a reviewer)"),
        ]
        profile = config.profiles.get(use.profile)
        if profile is not None:
            rows.append(("pseudonyms and dates, as configured now", escape(_pseudonyms(profile))))
        parts.append(_table(f"Profile {use.profile}", ("", ""), rows, raw=True))
    return parts


def _pseudonyms(profile: ProfileSettings) -> str:
    low, high = profile.tags.date_shift_days
    source = "a table of the site" if profile.pseudonyms.table else "keyed (HMAC), recomputable only with the node's key"
    return f"scope {profile.pseudonyms.scope}; {source}; dates, where kept modified, moved back {low} to {high} days per patient"


def _residual(ledger: Ledger, config: Config, span: Span) -> list[str]:
    months = {f"{span.first:%Y-%m}", f"{span.last:%Y-%m}"} | {
        f"{span.first + timedelta(days=n):%Y-%m}" for n in range((span.last - span.first).days + 1)}
    found = [row for row in ledger.residual_bounds(config.sampling.level, 1200) if row.month in months]
    parts = ["<h2>Residual risk, measured</h2>"]
    looked = [row for row in found if row.looked]
    if not looked:
        return [*parts, _paragraph("No sampled instance of these months has been looked at: there is no figure to give. What the detectors "
                                   "miss on test films is in the model card.")]
    parts.append(_paragraph("Of a random sample that reviewers looked at: instances in which identity was left, and the one-sided "
                            f"upper {config.sampling.level:.0%} bound of its share among all released (Clopper-Pearson). Whole months; all "
                            "routes; devices by keyed tokens."))
    parts.append(_table("Per device and month", ("month", "device", "#released", "#looked at", "#with identity left", "#upper bound"),
                        [(row.month, row.device, row.released or "not counted", row.looked, row.found, f"{row.upper:.2%}")
                         for row in found]))
    return parts


def _chains(ledger: Ledger) -> list[str]:
    receipts, broken_receipts = ledger.verify_receipts()
    rows, broken_rows = ledger.verify_audit()
    head = ledger.audit_head()
    verdict = '<span class="bad">{} do not hold</span>'
    return ["<h2>Evidence</h2>", _table("Checked while this report was made", ("", ""), [
        ("receipts", f"{receipts} in the chain, " + (verdict.format(len(broken_receipts)) if broken_receipts else "all hold")),
        ("audit trail", f"{rows} rows, " + (verdict.format(len(broken_rows)) if broken_rows else "all hold")),
        ("end of the audit trail", f"<code>{head.id}:{head.link}</code>" if head else "empty"),
    ], raw=True), _paragraph("The end, kept with this report, shows later whether rows were cut off: radanon audit verify --head ID:LINK.")]


def _acts(period: Period) -> list[str]:
    if not period.acts:
        return []
    return ["<h2>Acts</h2>", _table("In the audit trail, all routes", ("act", "#times"), sorted(period.acts.items()))]


def _listed(counts: Iterable[str]) -> str:
    found = dict(counts) if isinstance(counts, dict) else {}
    return ", ".join(f"{count} {name}" for name, count in sorted(found.items(), key=lambda item: -item[1]))


def _paragraph(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], raw: bool = False) -> str:
    """A head that begins with ``#`` is a column of numbers; `raw` cells are HTML already, except the first."""
    classes = [' class="n"' if head.startswith("#") else "" for head in heads]
    top = "".join(f'<th scope="col"{css}>{escape(head.lstrip("#"))}</th>' for head, css in zip(heads, classes, strict=True))
    body = "".join("<tr>" + "".join(
        f"<td{css}>{cell if raw and place else escape(str(cell))}</td>" for place, (cell, css) in enumerate(zip(row, classes, strict=True))
    ) + "</tr>" for row in rows)
    head = f"<thead><tr>{top}</tr></thead>" if any(heads) else ""
    return f"<table><caption>{escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
