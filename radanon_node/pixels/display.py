"""From stored values to what a screen shows: modality and VOI transformation, photometric, palette (PS3.3 C.11, PS3.4 Annex N)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radanon_node.pixels.description import Description

_SAMPLE = 1 << 18
"""About how many pixels the percentiles are taken from."""


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The values of a numeric attribute; empty if it is absent or malformed."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        if isinstance(value, (str, int, float)):
            return [float(value)]
        return [float(part) for part in value]
    except Exception:  # noqa: BLE001  display hints are optional: one that cannot be read is one that is not there
        return []


def modality(dataset: Dataset) -> tuple[float, float]:
    """Rescale Slope and Intercept (PS3.3 C.11.1), also from the shared functional groups; (1, 0) without them."""
    for source in _sources(dataset, "PixelValueTransformationSequence"):
        slope, intercept = numbers(source, "RescaleSlope"), numbers(source, "RescaleIntercept")
        if slope and slope[0] != 0 and np.isfinite(slope[0]):
            return slope[0], intercept[0] if intercept and np.isfinite(intercept[0]) else 0.0
    return 1.0, 0.0


def is_inverted(dataset: Dataset, photometric: str) -> bool:
    """Whether higher stored values are shown darker: MONOCHROME1, or a rescale that falls, but not both."""
    return (photometric == "MONOCHROME1") != (modality(dataset)[0] < 0)


def window(dataset: Dataset) -> tuple[float, float] | None:
    """The first Window Center and Width (PS3.3 C.11.2), or None."""
    for source in _sources(dataset, "FrameVOILUTSequence"):
        centers, widths = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
        if centers and widths and widths[0] >= 1 and np.isfinite(centers[0]) and np.isfinite(widths[0]):
            return centers[0], widths[0]
    return None


def lut_of(dataset: Dataset, keyword: str) -> tuple[int, NDArray[np.int64]] | None:
    """The first table of Modality LUT or VOI LUT Sequence: first mapped value and entries; None if there is none to use."""
    try:
        sequence = dataset.get(keyword)
        if not sequence:
            return None
        item = sequence[0]
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        count = count or 65536
        data = item.LUTData
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data)
        entries = entries.astype(np.int64) & 0xFFFF
        if len(entries) * 2 == count or len(entries) < count or not 1 <= bits <= 16:
            return None
        return first, entries[:count]
    except Exception:  # noqa: BLE001  see `numbers`
        return None


def _sources(dataset: Dataset, group: str) -> list[Dataset]:
    """Where an attribute may stand: the data set, the shared functional groups, the first frame's."""
    found = [dataset]
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        try:
            items = dataset.get(keyword) or []
            found += [part for item in items[:1] for part in (item.get(group) or [])[:1]]
        except Exception:  # noqa: BLE001  see `numbers`
            continue
    return found


def palette(dataset: Dataset) -> tuple[int, NDArray[np.uint8]] | None:
    """First mapped index and colours, shape (entries, 3), of a palette with unsegmented tables (PS3.3 C.7.6.3.1.5)."""
    columns = []
    first = 0
    for colour in ("Red", "Green", "Blue"):
        try:
            count, first, bits = (int(value) for value in dataset[f"{colour}PaletteColorLookupTableDescriptor"].value)
            data = dataset[f"{colour}PaletteColorLookupTableData"].value
        except Exception:  # noqa: BLE001  see `numbers`
            return None
        count = count or 65536
        if not isinstance(data, bytes):
            return None
        if bits == 8 and len(data) in (count, count + 1):
            columns.append(np.frombuffer(data, np.uint8, count))
        elif len(data) >= 2 * count:
            table = np.frombuffer(data, "<u2", count)
            columns.append((table >> 8 if bits == 16 else table).astype(np.uint8))
        else:
            return None
    if len({len(column) for column in columns}) != 1:
        return None
    return first, np.stack(columns, axis=1)


def percentiles(values: NDArray[Any], padding: float | None, shares: tuple[float, ...]) -> list[float]:
    """Percentiles of a frame without its padding value, from an even sample of its pixels."""
    step = max(1, int((values.size / _SAMPLE) ** 0.5))
    sample = values[::step, ::step].ravel()
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if padding is not None:
        sample = sample[sample != padding] if (sample != padding).any() else sample
    if not sample.size:
        return [0.0] * len(shares)
    return [float(value) for value in np.percentile(sample, shares)]


def ramp(told: Description, low: float, high: float, inverted: bool) -> NDArray[np.uint8]:
    """A table of 2**bits entries, by the bit pattern of the stored value, that shows `low` black and `high` white."""
    bits = 8 if told.bits_allocated <= 8 else 16
    values = np.arange(1 << bits, dtype=np.float32)
    if told.signed:
        values[1 << (bits - 1) :] -= 1 << bits
    out = (values - low) * (255.0 / max(high - low, 1e-6))
    np.clip(out, 0, 255, out=out)
    table = np.rint(out).astype(np.uint8)
    return np.asarray(255 - table if inverted else table, np.uint8)
