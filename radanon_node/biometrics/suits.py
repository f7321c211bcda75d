"""Which instances the anatomy of is anonymised: frontal chest radiographs of one gray frame; all else is held, or passes by setting."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
)

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.codec import Image
from radanon_node.settings_profile import BiometricsSettings

_RADIOGRAPHS = frozenset(
    {ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, DigitalXRayImageStorageForProcessing}
)
_FILM_MODALITIES = frozenset({"CR", "DX", "RG"})
# CID 4031: chest (SNOMED CT and the older SNOMED RT), lung.
_CHEST_CODES = frozenset({"51185008", "T-D3000", "39607008", "T-28000"})
_FRONTAL = frozenset({"", "PA", "AP"})


def suits(dataset: Dataset, sop_class_uid: str, image: Image | None, settings: BiometricsSettings) -> str:
    """Whether the anatomy of an instance with pixels is to be anonymised.

    Parameters
    ----------
    dataset : Dataset
        As received.
    sop_class_uid : str
    image : Image or None
        None where nothing can decode the pixels.
    settings : BiometricsSettings

    Returns
    -------
    str
        Empty: it is to be anonymised. Else a stable word for why it passes as it is.

    Raises
    ------
    HoldInstance
        ``policy_hold`` where it is no such film and the settings do not let others pass, and always for a chest film that the
        stage cannot treat (several frames, colour, floats, not decodable).
    """
    other = _other(dataset, sop_class_uid, settings)
    if other:
        if settings.others == "pass":
            return other
        raise HoldInstance(Reason.POLICY_HOLD, f"biometrics: {other}; biometrics.others says what becomes of it")
    if image is None:
        raise HoldInstance(Reason.POLICY_HOLD, "biometrics: a chest film whose pixels nothing decodes cannot be anonymised")
    told = image.description
    if told.frames != 1 or told.samples != 1 or not told.photometric.startswith("MONOCHROME"):
        raise HoldInstance(Reason.POLICY_HOLD, "biometrics: only single gray frames can be anonymised")
    if told.floating or told.bits_allocated not in (8, 16):
        raise HoldInstance(Reason.POLICY_HOLD, "biometrics: only 8 or 16 Bits Allocated can be anonymised")
    return ""


def _other(dataset: Dataset, sop_class_uid: str, settings: BiometricsSettings) -> str:
    film = sop_class_uid in _RADIOGRAPHS
    film = film or (sop_class_uid == SecondaryCaptureImageStorage and _word(dataset, "Modality") in _FILM_MODALITIES)
    if not film:
        return "not_a_radiograph"
    parts = {_word(dataset, "BodyPartExamined")} - {""}
    codes = _codes(dataset, "AnatomicRegionSequence")
    chest = bool(parts & {part.upper() for part in settings.body_parts}) or any(code in _CHEST_CODES for code, _ in codes)
    if not chest and (parts or codes):
        return "other_body_part"
    if not chest and settings.unstated == "hold":
        return "body_part_not_stated"
    views = [meaning for _, meaning in _codes(dataset, "ViewCodeSequence")]
    if _word(dataset, "ViewPosition") not in _FRONTAL or any("lateral" in view or "oblique" in view for view in views):
        return "not_frontal"
    return ""


def _word(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001  whatever pydicom's converters stumble over says nothing about the film
        return ""
    return value.strip().upper() if isinstance(value, str) else ""


def _codes(dataset: Dataset, keyword: str) -> list[tuple[str, str]]:
    """(value, meaning in small letters) of each item of a code sequence."""
    try:
        return [(_word(item, "CodeValue"), _word(item, "CodeMeaning").lower()) for item in dataset.get(keyword) or []]
    except Exception:  # noqa: BLE001  as above
        return []
