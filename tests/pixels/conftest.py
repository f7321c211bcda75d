"""Synthetic instances in every transfer syntax and photometric that an encoder at hand can make."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian


def build(
    values: np.ndarray,
    *,
    photometric: str = "MONOCHROME2",
    stored: int | None = None,
    planar: int = 0,
    syntax: str = ExplicitVRLittleEndian,
    frames: int = 1,
    extra: dict[str, Any] | None = None,
    tail: bytes = b"",
    high: int = 0,
) -> bytes:
    """A Part 10 file of `values`, shape ([frames,] rows, columns[, samples]), written by pydicom alone.

    `high` is put into the bits above Bits Stored; `tail` behind the last pixel.
    """
    colour = photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    shape = values.shape[1:] if frames > 1 else values.shape
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "2.25.1234567890"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Modality = "OT"
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = photometric
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.Rows, dataset.Columns = shape[0], shape[1]
    one_bit = values.dtype == np.bool_
    bits = 1 if one_bit else values.dtype.itemsize * 8
    floating = values.dtype.kind == "f"
    dataset.BitsAllocated = bits
    if not floating:
        dataset.BitsStored = stored or bits
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = 1 if values.dtype.kind == "i" else 0
    if colour:
        dataset.PlanarConfiguration = planar
    for keyword, value in (extra or {}).items():
        setattr(dataset, keyword, value)
    raw = values
    if high:
        raw = values | values.dtype.type(high << dataset.BitsStored)
    if colour and planar:
        raw = np.moveaxis(raw, -1, -3)
    if one_bit:
        data = np.packbits(raw.reshape(-1), bitorder="little").tobytes()
    elif photometric == "YBR_FULL_422" and syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        pairs = np.stack([raw[..., 0::2, 0], raw[..., 1::2, 0], raw[..., 0::2, 1], raw[..., 0::2, 2]], axis=-1)
        data = pairs.tobytes()
    else:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = raw.astype(raw.dtype.newbyteorder(order)).tobytes()
    data += tail
    data += b"\0" * (len(data) % 2)
    if floating:
        keyword = "FloatPixelData" if bits == 32 else "DoubleFloatPixelData"
        setattr(dataset, keyword, data)
    else:
        if syntax == ExplicitVRBigEndian and bits <= 8:
            dataset.add_new(0x7FE00010, "OB", data)
        else:
            dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", data)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def compress(data: bytes, syntax: str, **options: Any) -> bytes:
    """`data` in an encapsulated syntax, by pydicom's encoders; not by its gdcm plugin, which has aborted the process."""
    dataset = dcmread(io.BytesIO(data))
    options.setdefault("encoding_plugin", "pyjpegls" if UID(syntax).name.startswith("JPEG-LS") else "pylibjpeg")
    dataset.compress(UID(syntax), generate_instance_uid=False, **options)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dcmtk(data: bytes, folder: Path, program: str, *options: str) -> bytes:
    """`data` through one of DCMTK's converters."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    source, target = folder / "in.dcm", folder / "out.dcm"
    source.write_bytes(data)
    subprocess.run([program, *options, str(source), str(target)], check=True, capture_output=True, timeout=60)
    return target.read_bytes()


def wavy(rows: int, columns: int, bits: int, samples: int = 1, seed: int = 0, dtype: str | None = None) -> np.ndarray:
    """A smooth picture with noise over the whole range of `bits`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:rows, 0:columns]
    shape = (rows, columns, samples) if samples > 1 else (rows, columns)
    wave = (np.sin(x / 7) + np.cos(y / 5) + 2) / 4
    wave = np.repeat(wave[..., None], samples, 2) if samples > 1 else wave
    out = np.clip(wave * 0.9 + rng.random(shape) * 0.1, 0, 1) * ((1 << bits) - 1)
    return out.astype(dtype or ("u1" if bits <= 8 else "u2" if bits <= 16 else "u4"))


class Kit:
    """What the tests of this room build with."""

    build = staticmethod(build)
    compress = staticmethod(compress)
    dcmtk = staticmethod(dcmtk)
    wavy = staticmethod(wavy)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit
