"""The site's file of learned device rules: accepted proposals are written here, by this program alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from radanon_node.errors import ConfigError
from radanon_node.ledger.layouts import LayoutEntry, UnknownLayout
from radanon_node.ledger.ledger import Ledger
from radanon_node.markers.layouts import LayoutState, rule_of
from radanon_node.markers.rules import Rule, RuleSet, dump_rules, load_rules
from radanon_node.settings import Config

HEADER = "# Written by `radanon rules accept`: change it by accepting or rejecting proposals. Hand-written rules belong in another file.\n"


def rulebook_path(config: Config) -> Path:
    """Where accepted rules are written unless told otherwise."""
    return config.node.data_dir / "rules" / "learned.yaml"


def proposed_rule(entry: LayoutEntry) -> Rule:
    """The rule of a proposal, as it would be written."""
    return rule_of(entry.device, entry.boxes, f"learned-{entry.token}", f"text at the same places on {entry.instances} pictures")


def accept(ledger: Ledger, path: Path, token: str, who: str, reason: str) -> Rule:
    """Accept a proposal: the rule is written first, then the decision, with who and why.

    Parameters
    ----------
    ledger : Ledger
    path : Path
        A file of this program's making, or one that does not exist yet.
    token : str
        Of the kind of device.
    who, reason : str

    Returns
    -------
    Rule

    Raises
    ------
    UnknownLayout
    ValueError
        There is no open proposal, or no reason is given.
    ConfigError
        The file is another's, or cannot be written.
    """
    entry = ledger.layout_show(token)
    if entry.state != LayoutState.PROPOSED:
        raise ValueError(f"this device has no open proposal, it is {entry.state}")
    if not reason.strip():
        raise ValueError("a reason is needed")
    rule = proposed_rule(entry)
    add_rule(path, rule)
    ledger.layout_decide(token, "accepted", who, reason)
    return rule


def add_rule(path: Path, rule: Rule) -> None:
    """Add a rule to the file, or replace the one of the same id; readers see the old file or the new one, never half of it."""
    known = RuleSet()
    try:
        if path.exists():
            if not path.read_text("utf-8").startswith(HEADER):
                raise ConfigError(f"{path}: was not written by `radanon rules accept`; name another file")
            known = load_rules([path])
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        rules = [*(other for other in known.rules if other.id != rule.id), rule]
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
            file.write(HEADER + dump_rules(rules, known.required))
            file.flush()
            os.fsync(file.fileno())
        private.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


__all__ = ["HEADER", "UnknownLayout", "accept", "add_rule", "proposed_rule", "rulebook_path"]
