"""One instance's way through the compiled policy: builds the new data set level by level; the received one stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.tags import content, dates, dummies
from radanon_node.tags.identifiers import Identifiers
from radanon_node.tags.plan import Do, Node, Step
from radanon_node.tags.policy import describe_path
from radanon_node.tags.private import block_creators
from radanon_node.tags.pseudonyms import PatientKey
from radanon_node.tags.raw import Element, ascii_text, decode, elements, encode, encodings_of, guess, make, text_of, value_bytes
from radanon_node.tags.sequences import items_of, public_vr
from radanon_node.tags.text import clean, hunt
from radanon_node.tags.values import DUMMY_TEXT, STRING_VRS, TEXT_VRS, dummy_bytes, dummy_text, is_identifier
from radanon_node.tags.words import plain

if TYPE_CHECKING:
    from radanon_node.tags.engine import Scrubber

MAX_DEPTH = 32
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
_PATIENT_ID, _PATIENT_NAME = 0x00100020, 0x00100010
_SEPARATOR = "\n\x00\n"


@dataclass
class Walk:
    """State of one instance's scrub.

    Parameters
    ----------
    scrubber : Scrubber
    patient : PatientKey
    hunted : Identifiers
        What must not stand in kept text: the instance's identifiers without those the policy keeps.
    sop_class_uid : str
    fates : list of ElementFate or None
        Filled when somebody wants to know.
    has_evidence : bool
        The instance lists the series it refers to (PS3.3 C.12.2).
    """

    scrubber: Scrubber
    patient: PatientKey
    hunted: Identifiers
    sop_class_uid: str
    fates: list[ElementFate] | None = None
    new_days: set[date] = field(default_factory=set)
    site_kept: list[str] = field(default_factory=list)
    shift: int = 0
    seconds: int = 0
    has_evidence: bool = False

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
                    if do in (Do.KEEP, Do.HUNT) and isinstance(made, RawDataElement) and made.value:
                        texts.append((tag, step, made.value))
        result = Dataset(kept)
        implicit, little = source.original_encoding
        if implicit is not None and little is not None:
            result.set_original_encoding(implicit, little, source.original_character_set)
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
        is_sequence = step.vr == "SQ" or element.VR == "SQ"
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
        return self.value(source, element, step, codecs, number)

    def _sequence(self, source: Dataset, tag: BaseTag, step: Step, items: list[Dataset]) -> Element | None:
        """A kept sequence; one of which nothing is left goes, unless it was empty or the IOD wants it."""
        if not items and items_of(source, tag):
            # Of a sequence that no table lists the type is not known: it may be required, so an empty item stays.
            if step.kind in ("1", "1C") or (step.kind is None and step.do is Do.RECURSE):
                return DataElement(tag, "SQ", Sequence([Dataset()]))
            return DataElement(tag, "SQ", Sequence()) if step.kind in ("2", "2C") else None
        return DataElement(tag, "SQ", Sequence(items))

    def value(self, source: Dataset, element: Element, step: Step, codecs: list[str], number: int) -> Element | None:
        """The new element of one that is no sequence."""
        do, vr = step.do, step.vr or (element.VR if element.VR in STRING_VRS else None) or "LO"
        if number == _PATIENT_ID:
            return make(number, "LO", self._nested_id(text_of(element, codecs)).encode("utf-8"), source)
        if number == _PATIENT_NAME:
            name = self.scrubber.pseudonyms.patient_name(self.patient)
            return make(number, "PN", name.encode("ascii", "replace"), source)
        if do is Do.UID:
            return make(number, "UI", self._uids(element), source)
        if do is Do.EMPTY:
            return make(number, vr, b"", source)
        if do is Do.SHIFT:
            moved = self._shifted(source, element, vr, number)
            if moved is not None:
                return make(number, vr, moved, source)
            return self._fallback(source, element, step, vr, number, codecs)
        if do is Do.CLEAN:
            text = text_of(element, codecs, vr)
            cleaned = "\\".join(clean(part, self.hunted) for part in text.split("\\")) if vr not in ("ST", "LT", "UT") else clean(
                text, self.hunted
            )
            if not cleaned.strip("\\ "):
                return self._fallback(source, element, step, vr, number, codecs) if text else make(number, vr, b"", source)
            return make(number, vr, self._encoded(cleaned, codecs), source)
        if do is Do.DAY:
            days = {dates.parse_date(part[:8]) for part in ascii_text(element).split("\\")}
            return None if days & (self.hunted.days | self.hunted.birth_days) else element
        if do is Do.AGE:
            ages = [dates.cap_age(part) for part in ascii_text(element).split("\\")]
            known = [age for age in ages if age is not None]
            return make(number, "AS", "\\".join(known).encode("ascii"), source) if known else None
        return self._dummy(source, element, step, vr, number, codecs)

    def _fallback(self, source: Dataset, element: Element, step: Step, vr: str, number: int, codecs: list[str]) -> Element | None:
        """What could not be cleaned: gone, empty or a dummy, as the type in the IOD wants it."""
        if step.kind in ("1", "1C"):
            return self._dummy(source, element, step, vr, number, codecs)
        return make(number, vr, b"", source) if step.kind in ("2", "2C") else None

    def _dummy(self, source: Dataset, element: Element, step: Step, vr: str, number: int, codecs: list[str]) -> Element:
        if vr == "UI":
            return make(number, vr, self._uids(element) or self.scrubber.pseudonyms.uid(f"none {number}").encode(), source)
        if vr in ("LO", "SH", "UC", "ST") and is_identifier(step.keyword):
            text = text_of(element, codecs)
            if text:
                return make(number, vr, self.scrubber.pseudonyms.code(step.keyword, text).encode("ascii"), source)
        return make(number, vr, dummy_bytes(vr, step.keyword), source)

    def _nested_id(self, text: str) -> str:
        if not text or text == self.patient.patient_id:
            return self.scrubber.pseudonyms.patient_id(self.patient)
        return self.scrubber.pseudonyms.code("other patient", text)

    def _uids(self, element: Element) -> bytes:
        uid = self.scrubber.pseudonyms.uid
        return "\\".join(uid(part.strip(" \0")) for part in ascii_text(element).split("\\")).encode("ascii", "replace")

    def _shifted(self, source: Dataset, element: Element, vr: str, number: int) -> bytes | None:
        """A moved DA, DT or TM, or a checked zone offset; None if it cannot be read."""
        parts = ascii_text(element).split("\\")
        if parts == [""]:
            return b""
        days, seconds = self.shift, self.seconds
        made: list[str | None]
        if vr == "DA":
            earlier = self._borrowed(source, number, len(parts)) if seconds else [0] * len(parts)
            made = [dates.shift_date(part, days + more) for part, more in zip(parts, earlier, strict=True)]
        elif vr == "DT":
            made = [dates.shift_datetime(part, days, seconds) for part in parts]
        elif vr == "TM":
            if seconds:
                moved = [dates.shift_time(part, seconds) for part in parts]
                made = [None if time is None else time[0] for time in moved]
            else:
                made = [part.strip() if dates.valid_time(part) else None for part in parts]
        else:
            zone = parts[0]
            made = [zone if len(zone) == 5 and zone[0] in "+-" and zone[1:].isdigit() else None]
        if None in made:
            return None
        if vr in ("DA", "DT"):
            self.new_days.update(day for part in made if part and (day := dates.parse_date(part[:8])) is not None)
        return "\\".join(part or "" for part in made).encode("ascii")

    def _borrowed(self, source: Dataset, number: int, count: int) -> list[int]:
        """How many days more a date moves because its time of day moves over midnight."""
        companion = self.scrubber.time_of(number)
        element = elements(source).get(BaseTag(companion)) if companion else None
        times = ascii_text(element).split("\\") if element is not None else []
        moved = [dates.shift_time(part, self.seconds) for part in times]
        return [time[1] if index < len(moved) and (time := moved[index]) is not None else 0 for index in range(count)]

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
            new = self._encoded(hunted, codecs if vr in TEXT_VRS else []) or (DUMMY_TEXT.encode() if ending else b"")
            into[tag] = make(int(tag), vr, new, source)

    def _encoded(self, text: str, codecs: list[str]) -> bytes:
        """`text` in the declared character sets; what they cannot hold without accents, else as question marks."""
        encoded = encode(text, codecs)
        if encoded is not None:
            return encoded
        bare = "".join(mark if mark.isascii() else plain(mark) for mark in text)
        return bare.encode("ascii", "replace")
