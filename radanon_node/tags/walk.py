"""One instance's way through the compiled policy: builds the new data set level by level; the received one stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.tags import content, dummies
from radanon_node.tags.matching import Identifiers
from radanon_node.tags.plan import Do, Node, Step
from radanon_node.tags.policy import describe_path
from radanon_node.tags.private import block_creators
from radanon_node.tags.raw import Element, dataset_of, decode, elements, encode, encoded, encodings_of, guess, make, text_of, value_bytes
from radanon_node.tags.replacements import Replacer
from radanon_node.tags.sequences import items_of, public_vr
from radanon_node.tags.text import hunt
from radanon_node.tags.values import DUMMY_TEXT, STRING_VRS, TEXT_VRS, dummy_bytes, dummy_text
from radanon_node.tags.words import plain

if TYPE_CHECKING:
    from radanon_node.tags.engine import Scrubber

MAX_DEPTH = 32
_TEXT_LIKE = STRING_VRS - {"DS", "IS", "UI", "DA", "DT", "TM", "AS"} | {"OB", "UN"}
"""VRs in which a writer may have put text; numbers are never looked at as text."""
CONDITIONAL_UID = frozenset({0x00081140, 0x00082112})
"""Referenced and Source Image Sequence, X/Z/U*: emptied where they are Type 2, but kept with new UIDs where the instance lists the
series it refers to (Common Instance Reference Module): a list of references without any would break the IOD."""


@dataclass(frozen=True, slots=True)
class ElementFate:
    """What becomes of one element, for ``radanon explain``; it holds no value.

    Parameters
    ----------
    path : str
        Keywords of the enclosing sequences, with item numbers: ``RequestAttributesSequence[0]``; empty at the top level.
    tag : int
    keyword : str
        The dictionary's, or the tag's digits.
    action : str
        ``K`` keep, ``K hunted``, ``X``, ``Z``, ``D``, ``C``, ``C date``, ``U``, ``replace``.
    rule : str
        Which rule decided.
    """

    path: str
    tag: int
    keyword: str
    action: str
    rule: str


_SHOWN = {
    Do.KEEP: "K", Do.HUNT: "K", Do.RECURSE: "K", Do.REMOVE: "X", Do.EMPTY: "Z", Do.DUMMY: "D", Do.CLEAN: "C", Do.SHIFT: "C date",
    Do.UID: "U", Do.REPLACE: "replace", Do.AGE: "K", Do.DAY: "K", Do.PIXELS: "hold", Do.DOCUMENT: "D",
}  # fmt: skip
_SEPARATOR = "\n\x00\n"


@dataclass
class Walk:
    """State of one instance's scrub.

    Parameters
    ----------
    scrubber : Scrubber
    replacer : Replacer
        Makes new values; knows the patient, and the identifiers that must not stand in kept text.
    sop_class_uid : str
    fates : list of ElementFate or None
        Filled when somebody wants to know.
    has_evidence : bool
        The instance lists the series it refers to (PS3.3 C.12.2).
    """

    scrubber: Scrubber
    replacer: Replacer
    sop_class_uid: str
    fates: list[ElementFate] | None = None
    site_kept: list[str] = field(default_factory=list)
    has_evidence: bool = False

    @property
    def hunted(self) -> Identifiers:
        """The instance's identifiers without those the policy keeps."""
        return self.replacer.hunted

    def level(self, source: Dataset, node: Node, inherited: list[str], depth: int = 0, where: str = "") -> Dataset:
        """The scrubbed copy of one level and all below it."""
        if depth > MAX_DEPTH:
            raise HoldInstance(Reason.UNPARSABLE_DATASET, f"sequences nested deeper than {MAX_DEPTH}")
        stored = elements(source)
        kept: dict[BaseTag, Element] = {}
        texts: list[tuple[BaseTag, Step, bytes]] = []
        codecs: list[str] | None = None
        private: list[BaseTag] = []
        steps, fates = node.steps, self.fates
        for tag, element in stored.items():
            number = int(tag)
            if number & 0x10000:
                private.append(tag)
                continue
            step = steps.get(number) or node.step(number)
            if fates is not None:
                fates.append(ElementFate(where, number, step.keyword, _SHOWN[step.do], step.rule))
            do = step.do
            vr = element.VR
            if do is Do.KEEP and (vr is None or vr == step.vr):
                kept[tag] = element
            elif do is Do.HUNT and (vr is None or vr == step.vr):
                kept[tag] = element
                if step.value:  # the site's own wish: kept as it is
                    self.site_kept.append(text_of(element, encodings_of(source, inherited)))
                    continue
                value = element.value if isinstance(element, RawDataElement) else value_bytes(element)
                if value:
                    texts.append((tag, step, value))
            elif do is Do.REMOVE:
                continue
            else:
                if codecs is None:
                    codecs = encodings_of(source, inherited)
                made = self._other(source, tag, element, step, node, codecs, depth, where)
                if made is not None:
                    kept[tag] = made
                    if do in (Do.KEEP, Do.HUNT) and isinstance(made, RawDataElement) and made.value and vr in _TEXT_LIKE:
                        texts.append((tag, step, made.value))
        implicit, little = source.original_encoding
        whole = implicit is not None and little is not None
        result = dataset_of(kept, implicit, little, source.original_character_set) if whole else Dataset(kept)
        if private:
            self._private(source, result, private, node, inherited, depth, where)
        if texts:
            self._hunt(source, result, texts, inherited)
        return result

    def items(self, source: Dataset, tag: BaseTag, node: Node, codecs: list[str], depth: int, where: str) -> list[Dataset]:
        """The scrubbed items of a sequence; those that lost all they had are left out."""
        found = items_of(source, tag)
        if found is None:
            raise HoldInstance(Reason.UNPARSABLE_DATASET, f"{describe_path((*node.tags, tag))} cannot be parsed as a sequence")
        child = node.child(int(tag))
        made = []
        for index, item in enumerate(found):
            below = f"{where}/{describe_path((tag,))}[{index}]".lstrip("/") if self.fates is not None else ""
            result = self.level(item, child, codecs, depth + 1, below)
            if elements(result) or not elements(item):
                made.append(result)
        return made

    def _other(
        self, source: Dataset, tag: BaseTag, element: Element, step: Step, node: Node, codecs: list[str], depth: int, where: str
    ) -> Element | None:
        """The new element for everything but the plain cases; None removes it."""
        do, number = step.do, int(tag)
        # By tag: a name that comes as a sequence is still a name. Only what is kept may be a sequence against the dictionary.
        is_sequence = step.vr == "SQ" or (element.VR == "SQ" and do in (Do.KEEP, Do.HUNT))
        if do is Do.PIXELS:
            raise HoldInstance(Reason.UNSUPPORTED_PIXELS, f"{describe_path((*node.tags, number))}: {step.rule}")
        if do is Do.DOCUMENT:
            return make(number, "OB", self.scrubber.document(self.sop_class_uid), source)
        if do is Do.EMPTY and is_sequence and not (self.has_evidence and step.tag in CONDITIONAL_UID):
            return DataElement(tag, "SQ", Sequence())
        if do is Do.DUMMY and is_sequence:
            return self._dummy_sequence(source, tag, step, node, codecs, depth)
        if do is Do.CLEAN and step.keyword in content.TREES:
            made = content.clean_items(self, source, tag, node, codecs, depth, where)
            return self._sequence(source, tag, step, made)
        if do is Do.REPLACE:
            return make(number, step.vr, encode(step.value, codecs) or plain(step.value).encode("ascii", "replace"), source)
        if is_sequence:
            return self._sequence(source, tag, step, self.items(source, tag, node, codecs, depth, where))
        if do in (Do.KEEP, Do.HUNT, Do.RECURSE):
            return self._odd_vr(source, tag, element, step, node, codecs, depth, where)
        return self.replacer.value(source, element, step, codecs, number)

    def _sequence(self, source: Dataset, tag: BaseTag, step: Step, items: list[Dataset]) -> Element | None:
        """A kept sequence; one of which nothing is left goes, unless it was empty or the IOD wants it."""
        if not items and items_of(source, tag):
            # Of a sequence that no table lists the type is not known: it may be required, so an empty item stays.
            if step.kind in ("1", "1C") or (step.kind is None and step.do is Do.RECURSE):
                return DataElement(tag, "SQ", Sequence([Dataset()]))
            return DataElement(tag, "SQ", Sequence()) if step.kind in ("2", "2C") else None
        return DataElement(tag, "SQ", Sequence(items))

    def _dummy_sequence(self, source: Dataset, tag: BaseTag, step: Step, node: Node, codecs: list[str], depth: int) -> Element:
        originals = items_of(source, tag) or []
        maker = dummies.MAKERS.get(step.keyword)
        if maker is not None:
            return DataElement(tag, "SQ", Sequence(maker(source, originals)))
        if not originals:
            return DataElement(tag, "SQ", Sequence([dummies.code_item(source)] if step.keyword.endswith("CodeSequence") else []))
        if step.keyword.endswith("CodeSequence"):
            return DataElement(tag, "SQ", Sequence([dummies.code_item(source)]))
        return DataElement(tag, "SQ", Sequence([self._dummy_item(originals[0], node.child(int(tag)), codecs, depth + 1)]))

    def _dummy_item(self, original: Dataset, node: Node, inherited: list[str], depth: int) -> Dataset:
        """An item of which nothing readable is left: what the policy would keep as text or date becomes a dummy."""
        made = self.level(original, node, inherited, depth)
        codecs = encodings_of(original, inherited)
        stored = elements(made)
        for tag, element in list(stored.items()):
            vr = element.VR or public_vr(int(tag))
            step = node.steps.get(int(tag))
            if vr == "SQ" and step is not None and step.do is Do.RECURSE:
                items = items_of(original, tag) or []
                below = node.child(int(tag))
                is_code = step.keyword.endswith("CodeSequence")
                dummy = [
                    dummies.code_item(original) if is_code else self._dummy_item(item, below, codecs, depth + 1) for item in items[:1]
                ]
                stored[tag] = DataElement(tag, "SQ", Sequence(dummy))
            elif step is not None and step.do in (Do.HUNT, Do.KEEP) and vr not in ("CS", "DS", "IS") and dummy_text(vr) is not None:
                stored[tag] = make(int(tag), vr, dummy_bytes(vr, step.keyword), original)
        return made

    def _odd_vr(
        self, source: Dataset, tag: BaseTag, element: Element, step: Step, node: Node, codecs: list[str], depth: int, where: str
    ) -> Element | None:
        """A kept element whose VR is not the dictionary's: a sequence in disguise, UN, or a VR that a writer got wrong."""
        if step.do is Do.RECURSE or (element.VR == "UN" and items_of(source, tag) is not None):
            return self._sequence(source, tag, step, self.items(source, tag, node, codecs, depth, where))
        return element

    def _private(
        self, source: Dataset, result: Dataset, tags: list[BaseTag], node: Node, inherited: list[str], depth: int, where: str
    ) -> None:
        """Private elements: gone, but for the safe ones and those the site keeps, with the creators they need."""
        policy, stored = self.scrubber.private, elements(source)
        creators = policy.creators(source, inherited) if policy.keeps_any else {}
        blocks: set[tuple[int, int]] = set()
        texts: list[tuple[BaseTag, Step, bytes]] = []
        into = elements(result)
        for tag in tags:
            number, element = int(tag), stored[tag]
            keep, vr, rule = policy.verdict(number, element, creators) if creators else (False, "", "E.1-1 basic: X (private)")
            if self.fates is not None:
                self.fates.append(ElementFate(where, number, f"({number >> 16:04X},{number & 0xFFFF:04X})", "K" if keep else "X", rule))
            if not keep:
                continue
            if vr == "SQ" or element.VR == "SQ" or items_of(source, tag) is not None:
                if items_of(source, tag) is None:
                    continue
                codecs = encodings_of(source, inherited)
                into[tag] = DataElement(tag, "SQ", Sequence(self.items(source, tag, node, codecs, depth, where)))
            else:
                into[tag] = element
                value = value_bytes(element)
                if value and (vr or element.VR or "UN") in STRING_VRS | {"UN", "OB"}:
                    texts.append((tag, Step(number, Do.HUNT, rule, vr or element.VR or "UN", None), value))
            blocks.add((number >> 16, number >> 8 & 0xFF))
        into.update(block_creators(blocks, source))  # type: ignore[arg-type]
        if texts:
            self._hunt(source, result, texts, inherited)

    def _hunt(self, source: Dataset, result: Dataset, texts: list[tuple[BaseTag, Step, bytes]], inherited: list[str]) -> None:
        """Look through kept text: this instance's identifiers go, and bytes that are no text of the declared sets become ASCII."""
        plain_texts = [value for _, _, value in texts if value.isascii() and b"\x1b" not in value]
        found = next(self.hunted.find(_SEPARATOR.join(value.decode("ascii") for value in plain_texts)), None) is not None
        if not found and len(plain_texts) == len(texts):
            return
        codecs = encodings_of(source, inherited)
        into = elements(result)
        for tag, step, value in texts:
            is_plain = value.isascii() and b"\x1b" not in value
            if is_plain and not found:
                continue
            vr = into[tag].VR or step.vr or "LO"
            if vr in ("OB", "UN") and not is_plain:
                continue  # bytes that are no text; the second look reads them
            text = decode(value, codecs, vr)
            readable = text is not None and (vr in TEXT_VRS or is_plain)
            if text is None:
                text = guess(value)
            ending = text.rstrip("\0 ")
            hunted = "\\".join(hunt(part, self.hunted) for part in ending.split("\\"))
            if readable and hunted == "\\".join(ending.split("\\")):
                continue
            new = encoded(hunted, codecs if vr in TEXT_VRS else []) or (DUMMY_TEXT.encode() if ending else b"")
            into[tag] = make(int(tag), vr, new, source)
