"""What is to be done with an attribute: Table E.1-1, the profile's options and the site's rules, resolved to one action.

Precedence, where several say something (the first that speaks decides):

1. the site's ``remove``, ``replace``, ``retain``: the rule with the longest path wins; of equally long ones ``remove`` before
   ``replace`` before ``retain``;
2. ``retain_longitudinal_modified_dates`` (C): a date is moved even where another option would keep it, because one date left as it
   was gives away the shift of all others (calibration dates under ``retain_device_identity``);
3. an option that says K: the attribute is kept;
4. an option that says C: the attribute is cleaned;
5. the Basic Profile's code. Compound codes (``X/Z/D``...) are resolved by the attribute's type in the IOD at this nesting path;
   where the IOD requires an attribute (Type 1 or 2) whose row says X, it gets a dummy or becomes empty: the identity is gone
   either way, and the object stays valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from radanon_node.errors import ConfigError
from radanon_node.settings_profile import TagSettings
from radanon_node.tags.tables import Row, parse_tag, profile_rows


class Action(StrEnum):
    """What becomes of an element: the action codes of PS3.15 Table E.1-1a, resolved."""

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    CLEAN = "C"
    SHIFT = "C date"
    UID = "U"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Decision:
    """One action and the rule that decided it; `rule` is shown by ``radanon explain``."""

    action: Action
    rule: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class SiteRule:
    """One entry of ``retain``, ``remove`` or ``replace``: the attribute it names, below which sequences."""

    path: tuple[int, ...]
    action: Action
    text: str
    value: str = ""

    def covers(self, path: tuple[int, ...]) -> bool:
        return path[-len(self.path):] == self.path


_ORDER = {Action.REMOVE: 0, Action.REPLACE: 1, Action.KEEP: 2}
_DATES = "retain_longitudinal_modified_dates"
_BINARY = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN"})


def _tag_of(text: str, key: str) -> int:
    name = text.strip()
    if name.startswith("("):
        try:
            tag = parse_tag(name)
        except ValueError:
            tag = -1
        if not 0 <= tag <= 0xFFFFFFFF:
            raise ConfigError(f"{key}: {name!r} is no tag; write (gggg,eeee)")
        if tag >> 16 & 1:
            raise ConfigError(f"{key}: {name} is a private attribute; use private_keep with its creator")
        return tag
    found = tag_for_keyword(name)
    if found is None:
        raise ConfigError(f"{key}: {name!r} is no keyword of the DICOM dictionary and no (gggg,eeee)")
    return int(found)


def site_rules(settings: TagSettings) -> tuple[SiteRule, ...]:
    """The site's rules, most specific first.

    Raises
    ------
    ConfigError
        Naming the key and the entry that is no attribute.
    """
    rules: list[SiteRule] = []
    entries: list[tuple[Action, str, str, str]] = [
        *((Action.REMOVE, "remove", text, "") for text in settings.remove),
        *((Action.REPLACE, "replace", text, value) for text, value in settings.replace.items()),
        *((Action.KEEP, "retain", text, "") for text in settings.retain),
    ]
    for action, key, text, value in entries:
        path = tuple(_tag_of(part, f"tags.{key}") for part in text.split("/"))
        rules.append(SiteRule(path, action, text, value))
    return tuple(sorted(rules, key=lambda rule: (-len(rule.path), _ORDER[rule.action])))


def by_type(code: str, kind: str | None, is_sequence: bool) -> Action:
    """Resolve a code of the Basic Profile by the attribute's type.

    Parameters
    ----------
    code : str
        As in the column "Basic Prof." of Table E.1-1.
    kind : str or None
        ``1``, ``1C``, ``2``, ``2C``, ``3``; None where the IOD does not have the attribute.
    is_sequence : bool
        An empty sequence is only legal for Type 2.

    Examples
    --------
    >>> by_type("X/Z/D", "2", False), by_type("X/D", "1C", False), by_type("Z/D", None, False)
    (<Action.EMPTY: 'Z'>, <Action.DUMMY: 'D'>, <Action.EMPTY: 'Z'>)
    """
    optional, needs_value, may_be_empty = kind in (None, "3"), kind in ("1", "1C"), kind in ("2", "2C")
    if code == "U":
        return Action.UID
    if code == "D":
        return Action.DUMMY
    if code == "X":
        # The conditions of 1C and 2C cannot be evaluated here: X removes them, as the table says.
        return {"1": Action.DUMMY, "2": Action.EMPTY}.get(kind or "", Action.REMOVE)
    if code == "Z":
        if needs_value:
            return Action.DUMMY
        return Action.REMOVE if is_sequence and optional else Action.EMPTY
    if code == "Z/D":
        if needs_value:
            return Action.DUMMY
        return Action.REMOVE if is_sequence and optional else Action.EMPTY
    if optional:
        return Action.REMOVE
    if code == "X/Z/U*":
        return Action.EMPTY if may_be_empty else Action.UID
    if may_be_empty:
        return Action.EMPTY if "Z" in code or is_sequence else Action.DUMMY
    return Action.DUMMY


class TagPolicy:
    """Table, options and site rules of one profile.

    Parameters
    ----------
    settings : TagSettings

    Raises
    ------
    ConfigError
        When a site rule names no attribute.
    """

    def __init__(self, settings: TagSettings) -> None:
        self.settings = settings
        self.options = frozenset(settings.options)
        self.rules = site_rules(settings)
        self._ruled_tags = frozenset(rule.path[-1] for rule in self.rules)
        self._rows = profile_rows()

    def site_decision(self, tags: tuple[int, ...]) -> Decision | None:
        """What the site's own rules say about the attribute at this path of tags (its own tag last)."""
        if tags[-1] not in self._ruled_tags:
            return None
        for rule in self.rules:
            if rule.covers(tags):
                key = {Action.REMOVE: "remove", Action.REPLACE: "replace", Action.KEEP: "retain"}[rule.action]
                return Decision(rule.action, f"site {key}: {rule.text}", rule.value)
        return None

    def row(self, tag: int) -> Row | None:
        """The row for a tag; the repeating overlay groups share one."""
        if 0x6000 <= tag >> 16 <= 0x60FF:
            tag = 0x60000000 | tag & 0xFFFF
        return self._rows.get(tag)

    def decide(self, tags: tuple[int, ...], kind: str | None, vr: str) -> Decision | None:
        """Resolve one attribute.

        Parameters
        ----------
        tags : tuple of int
            Tags of the enclosing sequences, then the attribute's own.
        kind : str or None
            Its type in the IOD at this path.
        vr : str
            The dictionary's VR, or the element's own where the dictionary has none.

        Returns
        -------
        Decision or None
            None where neither table nor site speaks of it: it is kept, and hunted for identifiers.
        """
        site = self.site_decision(tags)
        if site is not None:
            return site
        row = self.row(tags[-1])
        if row is None:
            return None
        option, code = self._option(row.options.items())
        if code == "K":
            return Decision(Action.KEEP, f"{row.source} {option}: K")
        if code == "C":
            if option == _DATES and vr in ("DA", "DT", "TM", "SH"):
                return Decision(Action.SHIFT, f"{row.source} {option}: C")
            if vr not in _BINARY and option != _DATES:
                return Decision(Action.CLEAN, f"{row.source} {option}: C")
            # Nothing can clean bytes of unknown meaning: the Basic Profile's code holds.
        basic = by_type(row.basic, kind, vr == "SQ")
        resolved = "" if row.basic == basic.value else f" -> {basic.value} (Type {kind or 'none in this IOD'})"
        return Decision(basic, f"{row.source} basic: {row.basic}{resolved}")

    def concept_decision(self, basic: str, options: dict[str, str]) -> tuple[str, str]:
        """(option, code) for a concept of Table E.3.4-1: ``K``, ``C``, or the basic code."""
        option, code = self._option(options.items())
        return (option, code) if code else ("basic", basic)

    def _option(self, codes: Iterable[tuple[str, str]]) -> tuple[str, str]:
        active = {option: code for option, code in codes if option in self.options}
        if _DATES in active:
            return _DATES, "C"
        for wanted in ("K", "C"):
            for option, code in active.items():
                if code == wanted:
                    return option, code
        return "", ""


def describe_path(tags: tuple[int, ...]) -> str:
    """A readable path: ``RequestAttributesSequence/ScheduledProcedureStepID``."""
    return "/".join(keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags)
