"""What the output says about itself (PS3.15 E.1, E.3; PS3.3 C.12.1.1.3.1): what was applied, exactly and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

import radanon_node
from radanon_node.tags.tables import METHOD_CODES, method_meanings


@dataclass(frozen=True)
class PixelFacts:
    """What happened to the pixels, told by those who did it.

    Parameters
    ----------
    has_pixels : bool
    looked : bool
        The detectors ran on all that the policy demands.
    redacted : bool
        Some pixels changed.
    visual_features_cleaned : bool
        No face or the like can be recognised any more.
    anatomy : str
        How the anatomy itself was anonymised, at most 64 characters; empty if it was not.
    """

    has_pixels: bool
    looked: bool
    redacted: bool
    visual_features_cleaned: bool = False
    anatomy: str = ""


def applied(options: frozenset[str], facts: PixelFacts) -> list[str]:
    """Names of what was applied, in the order of CID 7050; options about pixels only where the facts bear them out."""
    truth = {
        "clean_pixel_data": facts.has_pixels and facts.looked,
        "clean_recognizable_visual_features": facts.visual_features_cleaned,
    }
    return ["basic", *(name for name in METHOD_CODES if name in options and truth.get(name, True))]


def temporal(options: frozenset[str]) -> str:
    """Longitudinal Temporal Information Modified (0028,0303)."""
    if "retain_longitudinal_full_dates" in options:
        return "UNMODIFIED"
    return "MODIFIED" if "retain_longitudinal_modified_dates" in options else "REMOVED"


@lru_cache(maxsize=64)
def marks(options: frozenset[str], facts: PixelFacts) -> Mapping[BaseTag, DataElement]:
    """The elements that say what was done, by tag.

    Parameters
    ----------
    options : frozenset of str
        Of the profile.
    facts : PixelFacts

    Returns
    -------
    mapping of BaseTag to DataElement
        Shared by all instances treated alike: not to be changed.
    """
    dataset = Dataset()
    done = applied(options, facts)
    dataset.PatientIdentityRemoved = "YES"
    method = [f"radanon_node {radanon_node.__version__}", "DICOM PS3.15 Annex E"]
    if facts.anatomy:
        method.append(facts.anatomy)
    dataset.DeidentificationMethod = method
    items = []
    for name in done:
        item = Dataset()
        item.CodeValue = METHOD_CODES[name]
        item.CodingSchemeDesignator = "DCM"
        item.CodeMeaning = method_meanings()[METHOD_CODES[name]]
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = Sequence(items)
    dataset.LongitudinalTemporalInformationModified = temporal(options)
    if "clean_pixel_data" in done:
        dataset.BurnedInAnnotation = "NO"
    if "clean_recognizable_visual_features" in done:
        dataset.RecognizableVisualFeatures = "NO"
    return MappingProxyType({tag: dataset[tag] for tag in dataset.keys()})  # noqa: SIM118  a Dataset iterates over its elements
