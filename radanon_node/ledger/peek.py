"""Series Number and Instance Number of a held file: how a person finds the film in the PACS without its identity being shown."""

from __future__ import annotations

import struct
from io import BytesIO

from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from radanon_node.pipeline.types import Buffer

_META = 1024
_HEAD = 1 << 20  # both stand in group 0020, far before the pixels


def numbers(data: Buffer) -> tuple[int | None, int | None]:
    """(Series Number, Instance Number), each None where the file does not say or cannot be read that far."""
    with memoryview(data) as view:
        head = bytes(view[:_HEAD])
    if DeflatedExplicitVRLittleEndian.encode() in head[:_META]:
        return None, None  # a small file may inflate to anything, and only the pipeline has limits for that
    try:
        dataset = dcmread(BytesIO(head), stop_before_pixels=True, force=True, specific_tags=["SeriesNumber", "InstanceNumber"])
        return _number(dataset.get("SeriesNumber")), _number(dataset.get("InstanceNumber"))
    except (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error):
        # Held files are often the broken ones: not knowing the numbers must not hold them twice.
        return None, None


def _number(value: object) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if -(2**31) <= number < 2**31 else None
