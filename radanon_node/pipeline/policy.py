"""Which detectors look at an object's pixels: one table per SOP class (``data/modalities.yaml``), overridable per profile.

The most specific rule wins: ``pixels.sop_classes`` by SOP Class UID, the same by Modality, ``pixels.detect``, the table. Holds of
the table are lifted only by ``pixels.sop_classes``. BurnedInAnnotation (0028,0301) = NO is never believed; YES makes the text
detector look in addition, whatever the table says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset

from radanon_node.errors import HoldInstance, Reason
from radanon_node.settings_profile import PixelSettings


@dataclass(frozen=True, slots=True)
class PixelPlan:
    """What is looked at in one object.

    Parameters
    ----------
    markers, text : bool
        Which detectors look.
    frames : tuple of int or None
        The frames they look at, 0-based; None means all; empty where neither looks.
    rule : str
        The row that decided, as ``explain`` shows it, such as ``table.slices.original`` or ``profile.sop_class``.
    """

    markers: bool
    text: bool
    frames: tuple[int, ...] | None
    rule: str

    @property
    def looks(self) -> bool:
        """Whether any detector looks at all."""
        return self.markers or self.text


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table: what is done to the SOP classes that belong to it."""

    name: str
    look: str
    why: str
    otherwise: str | None = None
    reason: Reason = Reason.POLICY_HOLD
    pixels: bool = True


@dataclass(frozen=True, slots=True)
class SliceConditions:
    """What an object must declare to count as an original slice."""

    image_type: tuple[str, ...]
    not_in_image_type: frozenset[str]
    samples_per_pixel: int
    min_bits_stored: int
    any_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """The modality table: SOP Class UID -> family, and the conditions that split a family."""

    families: Mapping[str, Family]
    sop_classes: Mapping[str, Family]
    film_modalities: frozenset[str]
    slices: SliceConditions


@lru_cache(maxsize=1)
def policy_table() -> PolicyTable:
    """The packaged table, read once.

    Raises
    ------
    ValueError
        A row names a SOP class that the data dictionary does not know.
    """
    loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader  # a tenth of the time
    raw: dict[str, Any] = yaml.load((files("radanon_node.pipeline") / "data" / "modalities.yaml").read_text("utf-8"), loader)
    families = {name: Family(name, row["look"], row["why"], row.get("otherwise"), Reason(row.get("reason", Reason.POLICY_HOLD)),
                             row.get("pixels", True)) for name, row in raw["families"].items()}
    uids = {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[4]}
    classes: dict[str, Family] = {}
    for name, members in raw["sop_classes"].items():
        for member in members:
            uid = uids.get(member, member)
            if uid not in UID_dictionary or uid in classes:
                raise ValueError(f"modalities.yaml: {member} is unknown or listed twice")
            classes[uid] = families[name]
    conditions = raw["slice_conditions"]
    return PolicyTable(families, classes, frozenset(raw["film_modalities"]), SliceConditions(
        tuple(conditions["image_type"]), frozenset(conditions["not_in_image_type"]), conditions["samples_per_pixel"],
        conditions["min_bits_stored"], tuple(conditions["any_of"])))


def plan(dataset: Dataset, sop_class_uid: str, settings: PixelSettings, frames: int) -> PixelPlan:
    """Decide what is looked at.

    Parameters
    ----------
    dataset : Dataset
        The original data set; the pixel element itself may be absent.
    sop_class_uid : str
    settings : PixelSettings
        ``detect``, ``sop_classes`` and ``unknown`` of the profile.
    frames : int
        Number of frames of pixel data; 0 where there is none.

    Returns
    -------
    PixelPlan

    Raises
    ------
    HoldInstance
        ``unknown_sop_class``, ``encapsulated_document``, ``video``, ``policy_hold``.

    Examples
    --------
    >>> from pydicom.uid import UltrasoundImageStorage
    >>> plan(Dataset(), UltrasoundImageStorage, PixelSettings(), 1).rule
    'table.screen'
    """
    table = policy_table()
    look, rule, reason, family = _row(table, dataset, sop_class_uid, settings)
    if look == "hold":
        if reason is Reason.VIDEO and settings.unknown == "pass":
            return PixelPlan(False, False, (), "profile.unknown_pass")
        raise HoldInstance(reason, f"rule {rule}" + (f": {family.why}" if family else ""))
    if frames <= 0:
        return PixelPlan(False, False, (), rule)
    if family is not None and not family.pixels and rule.startswith("table."):
        raise HoldInstance(Reason.POLICY_HOLD, "pixel data in a SOP class that has none")
    markers, text = look in ("markers", "both"), look in ("text", "both")
    if not text and _text_of(dataset, "BurnedInAnnotation") == "YES":
        text, rule = True, f"{rule}+burned_in_annotation"
    return PixelPlan(markers, text, None if markers or text else (), rule)


def said_no(dataset: Dataset) -> bool:
    """Whether the input says that nothing is burnt in: counted where text is found all the same, never believed."""
    return _text_of(dataset, "BurnedInAnnotation") == "NO"


def _row(table: PolicyTable, dataset: Dataset, uid: str, settings: PixelSettings) -> tuple[str, str, Reason, Family | None]:
    """(look, rule id, reason of a hold, family) of the most specific rule."""
    family = table.sop_classes.get(uid)
    modality = _text_of(dataset, "Modality")
    if uid in settings.sop_classes:
        return settings.sop_classes[uid], "profile.sop_class", Reason.POLICY_HOLD, family
    if modality and modality in settings.sop_classes:
        return settings.sop_classes[modality], "profile.modality", Reason.POLICY_HOLD, family
    if family is None:
        return "hold", "table.unknown", Reason.UNKNOWN_SOP_CLASS, None
    if family.look == "hold" or not family.pixels:
        return family.look, f"table.{family.name}", family.reason, family
    if settings.detect != "auto":
        return ("none" if settings.detect == "off" else settings.detect), "profile.detect", family.reason, family
    if family.otherwise is not None:
        if _is_original_slice(dataset, table.slices):
            return family.look, f"table.{family.name}.original", family.reason, family
        return family.otherwise, f"table.{family.name}.otherwise", family.reason, family
    if family.name == "screen" and modality in table.film_modalities:
        family = table.families["radiograph_copy"]
    return family.look, f"table.{family.name}", family.reason, family


def _is_original_slice(dataset: Dataset, conditions: SliceConditions) -> bool:
    values = dataset.get("ImageType") or ()
    kinds = [str(value).strip().upper() for value in ([values] if isinstance(values, str) else values)]
    return (tuple(kinds[: len(conditions.image_type)]) == conditions.image_type
            and conditions.not_in_image_type.isdisjoint(kinds)
            and dataset.get("SamplesPerPixel") == conditions.samples_per_pixel
            and _at_least(dataset.get("BitsStored"), conditions.min_bits_stored)
            and not _text_of(dataset, "ConversionType")
            and any(keyword in dataset for keyword in conditions.any_of))


def _at_least(value: object, floor: int) -> bool:
    return isinstance(value, int) and value >= floor


def _text_of(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return str(value).strip().upper() if value is not None else ""
