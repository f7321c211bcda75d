"""Stand-ins for sequences that a standard object cannot do without: the smallest valid content, telling nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radanon_node.tags.raw import ascii_text, elements
from radanon_node.tags.values import DUMMY_CODE, DUMMY_DATETIME, DUMMY_TEXT


def item(like: Dataset, **values: Any) -> Dataset:
    """An item made of keywords and values, in the encoding of the data set it goes into."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    implicit, little = like.original_encoding
    if implicit is not None and little is not None:
        made.set_original_encoding(implicit, little, "iso8859")
    return made


def code_item(like: Dataset) -> Dataset:
    """A code that means nothing (PS3.3 Table 8.8-1)."""
    return item(like, **DUMMY_CODE)


def content_items(parent: Dataset) -> list[Dataset]:
    """Content of a structured report that was taken out: one text item (PS3.3 C.17.3)."""
    concept = item(parent, CodeValue="121106", CodingSchemeDesignator="DCM", CodeMeaning="Comment")
    made = item(parent, RelationshipType="CONTAINS", ValueType="TEXT", TextValue=DUMMY_TEXT)
    if 0x0040A032 in elements(parent):
        made.ObservationDateTime = DUMMY_DATETIME
    made.ConceptNameCodeSequence = Sequence([concept])
    return [made]


def graphic_items(parent: Dataset, originals: list[Dataset]) -> list[Dataset]:
    """Graphics of a presentation state that were taken out: one point on the layer the first item was on (PS3.3 C.10.5)."""
    layer = next((ascii_text(elements(original).get(BaseTag(0x00700002))) for original in originals), "")
    point = item(
        parent, GraphicAnnotationUnits="PIXEL", GraphicDimensions=2, NumberOfGraphicPoints=1, GraphicData=[1.0, 1.0], GraphicType="POINT"
    )
    made = item(parent, GraphicLayer=layer or "LAYER", GraphicObjectSequence=Sequence([point]))
    return [made]


def waveform_items(parent: Dataset) -> list[Dataset]:
    """Annotations of a waveform that were taken out: one text on the first channel (PS3.3 C.10.10)."""
    return [item(parent, UnformattedTextValue=DUMMY_TEXT, ReferencedWaveformChannels=[1, 0])]


MAKERS: dict[str, Callable[[Dataset, list[Dataset]], list[Dataset]]] = {
    "ContentSequence": lambda parent, _: content_items(parent),
    "GraphicAnnotationSequence": graphic_items,
    "WaveformAnnotationSequence": lambda parent, _: waveform_items(parent),
}
"""Keyword -> maker of the items of a sequence whose own content may not be recursed into."""
