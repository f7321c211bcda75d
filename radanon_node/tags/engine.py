"""The scrubber: a received data set in, the de-identified one out (PS3.15 Annex E), at every depth, by tag number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.settings_profile import TagSettings
from radanon_node.tags.documents import replacement
from radanon_node.tags.identifiers import Identifiers, collect
from radanon_node.tags.iods import has_iod, iod_types
from radanon_node.tags.method import PixelFacts, marks
from radanon_node.tags.plan import Plans
from radanon_node.tags.policy import Action, TagPolicy
from radanon_node.tags.private import PrivatePolicy
from radanon_node.tags.pseudonyms import Pseudonyms, patient_key
from radanon_node.tags.raw import ascii_text, elements, make
from radanon_node.tags.replacements import Replacer
from radanon_node.tags.sequences import items_of, public_vr
from radanon_node.tags.values import STRING_VRS
from radanon_node.tags.walk import CONDITIONAL_UID, ElementFate, Walk

__all__ = ["ElementFate", "PixelFacts", "Scrubbed", "Scrubber"]

_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = (BaseTag(tag) for tag in (0x00080016, 0x00080018, 0x0020000D, 0x0020000E))
_DOCUMENT, _DOCUMENT_LENGTH = BaseTag(0x00420011), BaseTag(0x00420015)
_PATIENT_ID, _PATIENT_NAME = BaseTag(0x00100020), BaseTag(0x00100010)
_ANIMAL = frozenset(BaseTag(tag) for tag in (0x00102201, 0x00102202, 0x00102292, 0x00102293))
"""Species and breed: the patient is an animal."""
_OWNERS = ((BaseTag(0x00102297), "PN"), (BaseTag(0x00102299), "LO"))
_DEVICE = tuple(BaseTag(tag) for tag in (0x00080060, 0x00080070, 0x00081090, 0x00181000, 0x00081010))
_REFERENCED_SERIES = BaseTag(0x00081115)
_REFERENCES = frozenset(BaseTag(tag) for tag in CONDITIONAL_UID)
_KEPT_KINDS = {
    "retain_uids": ("uid",),
    "retain_institution_identity": ("site",),
    "retain_device_identity": ("device",),
    "retain_longitudinal_full_dates": ("date",),
}
"""Option -> kinds of identifiers that are meant to stand in the output."""


@dataclass(frozen=True)
class Scrubbed:
    """A de-identified data set and what must be known of it.

    Parameters
    ----------
    dataset : Dataset
        New; without file meta and top-level pixel element. Elements nobody changed are still raw.
    sop_class_uid, sop_instance_uid : str
        Of the new instance.
    folder : tuple of str
        (patient, study, series): pseudonyms for file names.
    study_key, patient_key : str
        Opaque keyed tokens of the original study and patient: two patients in one study mean a mix-up.
    device_key : str
        Opaque keyed token of the device (modality, make, model, serial number or station).
    """

    dataset: Dataset = field(repr=False)
    sop_class_uid: str
    sop_instance_uid: str
    folder: tuple[str, str, str]
    study_key: str
    patient_key: str
    device_key: str = ""
    kept_kinds: frozenset[str] = frozenset()
    new_days: frozenset[date] = field(default=frozenset(), repr=False)
    kept_texts: tuple[str, ...] = field(default=(), repr=False)

    def searched(self, identifiers: Identifiers) -> Identifiers:
        """Of the original's identifiers those that must not stand in the output: without what the policy keeps on purpose."""
        return identifiers.without(self.kept_kinds, self.new_days, self.kept_texts)


class Scrubber:
    """Applies one profile's tag settings.

    Parameters
    ----------
    settings : TagSettings
    pseudonyms : Pseudonyms
    sop_classes : iterable of str
        Further SOP classes the site accepts though the standard does not know them; they get the strongest form of every rule.

    Raises
    ------
    ConfigError
        When a site rule or private entry cannot be understood.
    """

    def __init__(self, settings: TagSettings, pseudonyms: Pseudonyms, sop_classes: Iterable[str] = ()) -> None:
        self.settings = settings
        self.pseudonyms = pseudonyms
        self.policy = TagPolicy(settings)
        self.private = PrivatePolicy(settings)
        self._plans = Plans(self.policy)
        self._accepted = frozenset(sop_classes)
        self._kinds = frozenset(kind for option in settings.options for kind in _KEPT_KINDS.get(option, ()))
        for rule in self.policy.rules:
            vr = public_vr(rule.path[-1])
            if rule.action is Action.REPLACE and (vr not in STRING_VRS or not rule.value.isprintable() or len(rule.value) > 10240):
                raise ConfigError(f"tags.replace: {rule.text} ({vr or 'no VR'}) cannot be given a text")

    def scrub(self, dataset: Dataset, facts: PixelFacts, transfer_syntax_uid: str, identifiers: Identifiers | None = None) -> Scrubbed:
        """De-identify one data set.

        Parameters
        ----------
        dataset : Dataset
            As received, without the top-level pixel element. It is not changed.
        facts : PixelFacts
            What was done to the pixels.
        transfer_syntax_uid : str
            In which the result will be encoded. Kept elements stay as they are; the encoder converts them where it differs.
        identifiers : Identifiers, optional
            From `collect`; collected here if not given.

        Returns
        -------
        Scrubbed

        Raises
        ------
        HoldInstance
            ``missing_attribute``, ``unknown_sop_class``, ``unknown_patient``, ``unparsable_dataset``, ``encapsulated_document``,
            ``unsupported_pixels`` (pixels inside a sequence).
        """
        scrubbed, _ = self._scrub(dataset, facts, identifiers, None)
        return scrubbed

    def explain(self, dataset: Dataset, identifiers: Identifiers | None = None) -> list[ElementFate]:
        """The fate of every element and the rule that decided it, in the order of the data set; no values.

        Raises
        ------
        HoldInstance
            As `scrub`.
        """
        fates: list[ElementFate] = []
        self._scrub(dataset, PixelFacts(has_pixels=False, looked=False, redacted=False), identifiers, fates)
        return fates

    def _scrub(
        self, dataset: Dataset, facts: PixelFacts, identifiers: Identifiers | None, fates: list[ElementFate] | None
    ) -> tuple[Scrubbed, Walk]:
        stored = elements(dataset)
        sop_class = _required(dataset, _SOP_CLASS, "SOP Class UID")
        sop_instance = _required(dataset, _SOP_INSTANCE, "SOP Instance UID")
        study, series = ascii_text(stored.get(_STUDY)), ascii_text(stored.get(_SERIES))
        if not has_iod(sop_class) and sop_class not in UID_dictionary and sop_class not in self._accepted:
            raise HoldInstance(Reason.UNKNOWN_SOP_CLASS, "no IOD of the standard is known for this SOP class")
        patient = patient_key(dataset)
        pseudonym = self.pseudonyms.patient_id(patient)
        if identifiers is None:
            identifiers = collect(dataset)
        replacer = Replacer(self.pseudonyms, patient, identifiers.without(self._kinds) if self._kinds else identifiers)
        walk = Walk(self, replacer, sop_class, fates)
        if "retain_longitudinal_modified_dates" in self.policy.options:
            replacer.shift = self.pseudonyms.day_shift(patient)
            replacer.seconds = self.pseudonyms.second_shift(patient) if self.settings.shift_times else 0
        walk.has_evidence = _REFERENCED_SERIES in stored
        result = walk.level(dataset, self._plans.root(sop_class, iod_types(sop_class)), ["iso8859"])
        into = elements(result)
        into.update(marks(self.policy.options, facts))
        for tag, vr in ((_PATIENT_ID, "LO"), (_PATIENT_NAME, "PN")):
            # Type 2 in every composite IOD: there even if the sender left it out, so that the patient's studies can be linked.
            if tag not in into and self.policy.site_decision((int(tag),)) is None:
                into[tag] = make(tag, vr, pseudonym.encode("ascii", "replace"), dataset)
        if _REFERENCED_SERIES in into and stored.keys() & _REFERENCES and not _refers(result, top=True):
            del into[_REFERENCED_SERIES]  # what it summed up was removed by the table: alone it would be invalid
        if stored.keys() & _ANIMAL:
            for tag, vr in _OWNERS:
                # Type 2C, required of animals: empty, as X would make the object invalid.
                if tag in stored and tag not in into and self.policy.site_decision((int(tag),)) is None:
                    into[tag] = make(tag, vr, b"", dataset)
        if _DOCUMENT in into and _DOCUMENT_LENGTH in into:
            result.EncapsulatedDocumentLength = len(self.document(sop_class))
        new_instance = ascii_text(into.get(_SOP_INSTANCE))
        if not new_instance:
            raise HoldInstance(Reason.MISSING_ATTRIBUTE, "site rules removed SOP Instance UID")
        folder = (pseudonym, *(ascii_text(into.get(tag)) or self.pseudonyms.uid(f"none {sop_instance}") for tag in (_STUDY, _SERIES)))
        scrubbed = Scrubbed(
            dataset=result,
            sop_class_uid=sop_class,
            sop_instance_uid=new_instance,
            folder=(folder[0], folder[1], folder[2]),
            study_key=self.pseudonyms.token("study", study or f"{sop_instance}\0{series}"),
            patient_key=self.pseudonyms.patient_token(patient),
            device_key=self.pseudonyms.token("device", "\0".join(ascii_text(stored.get(tag)) for tag in _DEVICE)),
            kept_kinds=self._kinds,
            new_days=frozenset(replacer.new_days),
            kept_texts=(*walk.site_kept, pseudonym),
        )
        return scrubbed, walk

    def document(self, sop_class_uid: str) -> bytes:
        """What takes the place of an encapsulated document; see `documents.replacement`."""
        return replacement(sop_class_uid, self.settings.encapsulated_documents)


def _refers(dataset: Dataset, top: bool = False) -> bool:
    """Whether an instance is referred to anywhere but in the list of referenced series."""
    for tag, element in elements(dataset).items():
        if tag == 0x00081155:
            return True
        if element.VR == "SQ" and not (top and tag == _REFERENCED_SERIES) and any(_refers(item) for item in items_of(dataset, tag) or ()):
            return True
    return False


def _required(dataset: Dataset, tag: BaseTag, name: str) -> str:
    value = ascii_text(elements(dataset).get(tag))
    if not value:
        raise HoldInstance(Reason.MISSING_ATTRIBUTE, f"the data set has no {name}")
    return value
