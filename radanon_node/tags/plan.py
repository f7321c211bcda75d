"""The policy compiled for one SOP class: per nesting path, what to do with each tag. Made once, then only looked up."""

from __future__ import annotations

from enum import IntEnum, auto

from radanon_node.tags.iods import IodTypes
from radanon_node.tags.policy import Action, Decision, TagPolicy
from radanon_node.tags.sequences import is_named, public_vr
from radanon_node.tags.tables import keyword_of
from radanon_node.tags.values import STRING_VRS


class Do(IntEnum):
    """What the engine does with an element: the actions of the policy, those that keep split by what must be looked at."""

    KEEP = auto()  # as it is
    HUNT = auto()  # kept text: looked through for identifiers
    RECURSE = auto()  # kept sequence: its items are scrubbed
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    CLEAN = auto()
    SHIFT = auto()
    UID = auto()
    REPLACE = auto()
    AGE = auto()  # kept age: capped
    DAY = auto()  # kept date that no table lists: goes if it is a date of this patient
    PIXELS = auto()  # pixels inside a sequence, which nothing has looked at
    DOCUMENT = auto()


class Step:
    """What to do with one tag at one path, and why."""

    __slots__ = ("do", "keyword", "kind", "rule", "tag", "value", "vr")

    def __init__(self, tag: int, do: Do, rule: str, vr: str, kind: str | None, value: str = "") -> None:
        self.tag = tag
        self.do = do
        self.rule = rule
        self.vr = vr
        self.kind = kind
        self.value = value
        self.keyword = keyword_of(tag)


_DO = {
    Action.REMOVE: Do.REMOVE, Action.EMPTY: Do.EMPTY, Action.DUMMY: Do.DUMMY, Action.CLEAN: Do.CLEAN, Action.SHIFT: Do.SHIFT,
    Action.UID: Do.UID, Action.REPLACE: Do.REPLACE,
}  # fmt: skip
# Numbers as text cannot be cleaned without being spoilt; the second look still reads them.
_HUNTED = STRING_VRS - {"DS", "IS", "UI", "DA", "TM", "DT", "AS"} | {"UN", "OB"}
_DELETED_GROUPS = frozenset({0x0000, 0x0002, 0x0004, 0x0006})
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_COEFFICIENTS = frozenset({0x7FE00020, 0x7FE00030, 0x7FE00040})
_DOCUMENT = 0x00420011
_LUMPS = frozenset({"ICCProfile", "WaveformData", "SpectroscopyData", "EncapsulatedDocument"})
_CHARACTER_SET, _AGE = 0x00080005, 0x00101010


class Node:
    """The steps of one path of enclosing sequences.

    Parameters
    ----------
    policy : TagPolicy
    types : IodTypes
    tags : tuple of int
        The enclosing sequences, outermost first; empty at the top level.
    """

    def __init__(self, policy: TagPolicy, types: IodTypes, tags: tuple[int, ...] = ()) -> None:
        self.policy = policy
        self.types = types
        self.tags = tags
        self.path = tuple(keyword_of(tag) for tag in tags)
        self.steps: dict[int, Step] = {}
        self.children: dict[int, Node] = {}

    def child(self, tag: int) -> Node:
        """The node of the items of a sequence; a sequence that holds itself stays on its own node."""
        if self.tags and self.tags[-1] == tag:
            return self
        node = self.children.get(tag)
        if node is None:
            node = self.children[tag] = Node(self.policy, self.types, (*self.tags, tag))
        return node

    def step(self, tag: int) -> Step:
        """What to do with a public tag; decided at the first look and kept."""
        step = self._decide(tag)
        self.steps[tag] = step
        return step

    def _decide(self, tag: int) -> Step:
        group, vr = tag >> 16, public_vr(tag)
        if group in _DELETED_GROUPS or tag & 0xFFFF == 0:
            return Step(tag, Do.REMOVE, "no attribute of an instance: command, file and directory groups, group lengths", vr, None)
        if 0x5000 <= group <= 0x50FF:
            return Step(tag, Do.REMOVE, "E.1-1 basic: X (50xx,xxxx)", vr, None)
        if 0x6000 <= group <= 0x60FF:
            return self._overlay(tag, vr)
        if group >> 8 == 0x7F and (group != 0x7FE0 or tag in _COEFFICIENTS):
            return Step(tag, Do.REMOVE, "retired pixel data (7Fxx,0010) and image coefficients, which nothing looks at", vr, None)
        if tag in _PIXELS and self.tags:
            return Step(tag, Do.PIXELS, "pixels inside a sequence are not looked at", vr, None)
        kind = self.types.type_of(self.path, keyword_of(tag))
        decision = self.policy.decide((*self.tags, tag), kind, vr)
        if decision is None:
            if not vr or not is_named(tag):
                return Step(tag, Do.REMOVE, "no attribute of the standard", vr, None)
            return Step(tag, self._kept(tag, vr), "not in E.1-1: kept", vr, kind)
        if decision.action is Action.KEEP:
            return Step(tag, self._kept(tag, vr), decision.rule, vr, kind, "site" if decision.rule.startswith("site") else "")
        if tag == _DOCUMENT and decision.action is Action.DUMMY and not self.tags:
            return Step(tag, Do.DOCUMENT, decision.rule, vr, kind)
        return Step(tag, _DO[decision.action], decision.rule, vr, kind, decision.value)

    def _kept(self, tag: int, vr: str) -> Do:
        if vr == "SQ":
            return Do.RECURSE
        if tag == _CHARACTER_SET:
            return Do.KEEP
        if tag == _AGE:
            return Do.AGE
        if vr in ("DA", "DT") and self.policy.row(tag) is None:
            return Do.DAY
        return Do.HUNT if vr in _HUNTED and keyword_of(tag) not in _LUMPS else Do.KEEP

    def _overlay(self, tag: int, vr: str) -> Step:
        """An overlay goes or stays as a whole: without its data the rest of the group would be an invalid Overlay Plane Module."""
        data: Decision | None = self.policy.site_decision((*self.tags, 0x60003000))
        own = self.policy.decide((*self.tags, 0x60000000 | tag & 0xFFFF), None, vr)
        if data is not None and data.action is Action.KEEP and (own is None or own.action is Action.KEEP):
            return Step(tag, Do.HUNT if vr in _HUNTED - {"OB"} else Do.KEEP, data.rule, vr, None)
        return Step(tag, Do.REMOVE, "E.1-1 basic: X (60xx,3000), and with the data its whole overlay", vr, None)


class Plans:
    """The compiled policies of a profile, by SOP class."""

    def __init__(self, policy: TagPolicy) -> None:
        self.policy = policy
        self._roots: dict[str, Node] = {}

    def root(self, sop_class_uid: str, types: IodTypes) -> Node:
        """The top-level node of a SOP class."""
        node = self._roots.get(sop_class_uid)
        if node is None:
            node = self._roots[sop_class_uid] = Node(self.policy, types)
        return node
