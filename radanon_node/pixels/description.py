"""What the data set says its pixels are (Image Pixel module, PS3.3 C.7.6.3), checked for sense before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels.instance import Instance
from radanon_node.pixels.reader import DOUBLE_PIXELS, FLOAT_PIXELS

_NUMBERS = frozenset(
    {"Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"}
)
_TAGS = {keyword: Tag(keyword) for keyword in _NUMBERS | {"NumberOfFrames", "PhotometricInterpretation"}}
_ONE_SAMPLE = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_THREE_SAMPLES = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"})


@dataclass(frozen=True, slots=True)
class Description:
    """The attributes that give the pixel bytes their meaning.

    Parameters
    ----------
    rows, columns, frames, samples : int
    bits_allocated, bits_stored, high_bit : int
    signed : bool
        Pixel Representation 1.
    planar : int
        Planar Configuration; 0 for one sample per pixel.
    photometric : str
    floating : bool
        Float or Double Float Pixel Data (PS3.3 C.7.6.24).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: int
    photometric: str
    floating: bool = False

    @property
    def frame_values(self) -> int:
        """Values in one frame."""
        return self.rows * self.columns * self.samples

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of stored values in this machine's byte order; bits and bytes are uint8."""
        if self.floating:
            return np.dtype(f"f{self.bits_allocated // 8}")
        if self.bits_allocated == 1:
            return np.dtype(np.uint8)
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def shift(self) -> int:
        """Unused bits below the stored value; 0 in every object made by today's standard."""
        return self.high_bit + 1 - self.bits_stored

    @property
    def low(self) -> int:
        """The least stored value that the attributes allow."""
        return -(1 << (self.bits_stored - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest."""
        return (1 << (self.bits_stored - 1)) - 1 if self.signed else (1 << self.bits_stored) - 1

    @property
    def packed_422(self) -> bool:
        """Native YBR_FULL_422: two luma values and one pair of chroma values per two pixels (PS3.3 C.7.6.3.1.2)."""
        return self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")


def describe(instance: Instance, max_pixels: int) -> Description:
    """Read the attributes.

    Raises
    ------
    HoldInstance
        ``missing_attribute``, ``pixel_data_mismatch`` (they contradict each other), ``unsupported_pixels``, ``pixel_limit``.
    """
    dataset, pixels = instance.dataset, instance.pixels
    if pixels is None:
        raise HoldInstance(Reason.MISSING_ATTRIBUTE, "no pixel element")
    floating = pixels.tag in (FLOAT_PIXELS, DOUBLE_PIXELS)
    rows, columns = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    frames = _integer(dataset, "NumberOfFrames", 1) or 1
    samples = _integer(dataset, "SamplesPerPixel", 1 if floating else None)
    photometric = str(_text(dataset, "PhotometricInterpretation", "MONOCHROME2" if floating else None)).strip()
    allocated = _integer(dataset, "BitsAllocated", {FLOAT_PIXELS: 32, DOUBLE_PIXELS: 64}.get(pixels.tag))
    if not (rows > 0 and columns > 0 and frames > 0):
        raise mismatch("Rows, Columns or Number of Frames is not positive")
    if rows * columns * frames > max_pixels:
        raise HoldInstance(Reason.PIXEL_LIMIT, f"more than {max_pixels} pixels")
    if floating:
        if allocated != (32 if pixels.tag == FLOAT_PIXELS else 64) or samples != 1:
            raise mismatch("Bits Allocated or Samples per Pixel does not fit float pixels")
        return Description(rows, columns, frames, 1, allocated, allocated, allocated - 1, True, 0, photometric, True)
    if allocated not in (1, 8, 16, 32):
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "Bits Allocated is none of 1, 8, 16, 32")
    stored = _integer(dataset, "BitsStored", allocated)
    high_bit = _integer(dataset, "HighBit", stored - 1)
    signed = _integer(dataset, "PixelRepresentation", 0)
    if not (1 <= stored <= allocated) or not (stored - 1 <= high_bit < allocated) or signed not in (0, 1):
        raise mismatch("Bits Stored, High Bit or Pixel Representation contradicts Bits Allocated")
    if photometric in _ONE_SAMPLE:
        if samples != 1:
            raise mismatch("Samples per Pixel is not 1, as the Photometric Interpretation asks")
    elif photometric in _THREE_SAMPLES:
        if samples != 3:
            raise mismatch("Samples per Pixel is not 3, as the Photometric Interpretation asks")
        if allocated not in (8, 16):
            raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "colour with other than 8 or 16 Bits Allocated")
    else:
        raise HoldInstance(Reason.UNSUPPORTED_PIXELS, "Photometric Interpretation is none that this version can show")
    planar = _integer(dataset, "PlanarConfiguration", 0) if samples > 1 else 0
    if planar not in (0, 1):
        raise mismatch("Planar Configuration is neither 0 nor 1")
    return Description(rows, columns, frames, samples, allocated, stored, high_bit, bool(signed), planar, photometric)


def mismatch(what: str) -> HoldInstance:
    return HoldInstance(Reason.PIXEL_DATA_MISMATCH, what)


def _value(dataset: Dataset, keyword: str) -> object:
    # Nearly always a single US or CS (PS3.3 C.7.6.3): read without pydicom's way of converting, which takes ten times as long.
    tag = _TAGS[keyword]
    if tag not in dataset:
        return None
    raw: Any = dataset.get_item(tag)
    if isinstance(raw, RawDataElement) and raw.value:
        if keyword in _NUMBERS and raw.VR in ("US", None) and len(raw.value) == 2:
            return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
        if keyword == "PhotometricInterpretation" and raw.VR in ("CS", None) and raw.value.isascii() and b"\\" not in raw.value:
            return raw.value.decode("ascii").rstrip("\0 ")
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001  whatever pydicom's converters stumble over, the value is unusable
        raise mismatch(f"{keyword} is malformed") from None


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    value = _value(dataset, keyword)
    if value is None or value == "":
        if default is None:
            raise HoldInstance(Reason.MISSING_ATTRIBUTE, f"{keyword} is absent")
        return default
    if not isinstance(value, (int, float, str)):
        raise mismatch(f"{keyword} is malformed")
    try:
        return int(value)
    except ValueError:
        raise mismatch(f"{keyword} is malformed") from None


def _text(dataset: Dataset, keyword: str, default: str | None) -> str:
    value = _value(dataset, keyword)
    if value is None or value == "":
        if default is None:
            raise HoldInstance(Reason.MISSING_ATTRIBUTE, f"{keyword} is absent")
        return default
    return str(value)
