"""The digest of a day: what came, what left, what is held and what needs a person, in a few lines for a mail of the site's own."""

from __future__ import annotations

from datetime import date
from typing import Any

from radanon_node.ledger.ledger import Ledger
from radanon_node.report import Span
from radanon_node.settings import Config
from radanon_node.status import full_status


def digest(config: Config, ledger: Ledger, day: date) -> dict[str, Any]:
    """Facts of a day (UTC), and the state of this moment.

    Returns
    -------
    dict
        ``day``, ``received`` (state -> instances received that day), ``released``, ``held`` (reason -> count), ``deliveries``, ``acts`` of
        the day; ``now``: ``quarantined``, ``failed``, ``waiting``, ``oldest_waiting_s``, ``down`` (destinations), ``disk``,
        ``recalls`` (open ones), ``audit_untold``, ``audit_end``.
    """
    period = ledger.period(*Span(day, day).seconds)
    status = full_status(config, ledger)
    states, head = status["states"], ledger.audit_head()
    return {
        "day": day.isoformat(), "received": period.received, "released": period.released, "held": period.reasons,
        "deliveries": period.deliveries, "acts": period.acts,
        "now": {
            "quarantined": states["quarantined"], "failed": states["failed"],
            "waiting": states["received"] + states["processing"] + states["released"], "oldest_waiting_s": status["oldest_waiting_s"],
            "down": sorted(name for name, place in status["destinations"].items() if not place["up"]), "disk": status["disk"],
            "recalls": [recall.id for recall in ledger.recalls_list(opened=True)],
            "audit_untold": ledger.untold(), "audit_end": f"{head.id}:{head.link}" if head else "",
        },
    }


def as_text(found: dict[str, Any]) -> str:
    """The digest in lines for people; what needs one of them comes first."""
    now, disk = found["now"], found["now"]["disk"]
    needs = [f"destination {name} is down" for name in now["down"]]
    if now["quarantined"]:
        needs.append(f"{now['quarantined']} instances are in quarantine (radanon quarantine list)")
    if now["failed"]:
        needs.append(f"{now['failed']} instances failed (radanon deliveries list --state failed)")
    needs += [f"recall {number} is open: do the archives still have what it names? (radanon recall show {number})"
              for number in now["recalls"]]
    if disk["free"] < 2 * disk["min_free"]:
        needs.append(f"disk: {disk['free'] / 2**30:.1f} GiB free, intake stops below {disk['min_free'] / 2**30:.1f}")
    if now["audit_untold"]:
        needs.append(f"{now['audit_untold']} audit messages wait for their collector")
    lines = [f"radanon_node, {found['day']} (UTC)", ""]
    lines += ["Needs a person:", *(f"  {need}" for need in needs)] if needs else ["Nothing needs a person."]
    lines += ["", f"Received: {sum(found['received'].values())}; released: {found['released']}"]
    lines += [f"  {state}: {count}" for state, count in sorted(found["received"].items())]
    if found["held"]:
        lines += ["Held that day:", *(f"  {reason}: {count}" for reason, count in found["held"].items())]
    for name, states in sorted(found["deliveries"].items()):
        lines.append(f"Deliveries to {name}: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    lines.append(f"Waiting now: {now['waiting']}, the oldest for {now['oldest_waiting_s'] / 60:.0f} minutes; "
                 f"disk: {disk['free'] / 2**30:.1f} GiB free")
    if found["acts"]:
        lines.append("Acts: " + ", ".join(f"{action} {count}" for action, count in sorted(found["acts"].items())))
    if now["audit_end"]:
        lines.append(f"End of the audit trail: {now['audit_end']}")
    return "\n".join(lines) + "\n"
