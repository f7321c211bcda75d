"""``radanon bench pixels``: decode, redact and encode per transfer syntax, beside GDCM and DCMTK doing decode and encode."""

from __future__ import annotations

import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from radanon_node.pipeline.types import Box, Kind, Region, Source, Verdict
from radanon_node.pixels.codec import Image, open_image
from radanon_node.pixels.elements import NewPixels, Pixels
from radanon_node.pixels.encoders import encode
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.proof import prove
from radanon_node.pixels.redact import passthrough, redact
from radanon_node.pixels.syntaxes import (
    EXPLICIT_LITTLE,
    JPEG_2000,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    RLE,
    TRANSFER_SYNTAXES,
)

_BOXES = (Box(120, 90, 420, 210), Box(2080, 1790, 2380, 1890))
_REGIONS = [Region(box, Verdict.REDACT, Kind.TEXT, 1.0, Source.TEXT_MODEL) for box in _BOXES]
_DCMTK = {JPEG_BASELINE: ("dcmdjpeg", ["dcmcjpeg", "+eb"]), JPEG_LOSSLESS_SV1: ("dcmdjpeg", ["dcmcjpeg", "+e1"]),
          JPEG_LS: ("dcmdjpls", ["dcmcjpls"]), RLE: ("dcmdrle", ["dcmcrle"])}
_GDCM_NAMES = {JPEG_BASELINE: "JPEGBaselineProcess1", JPEG_LOSSLESS_SV1: "JPEGLosslessProcess14_1", JPEG_LS: "JPEGLSLossless",
               JPEG_2000: "JPEG2000Lossless", RLE: "RLELossless"}

# GDCM runs in a process of its own: its binding has ended the process it runs in.
_GDCM_SCRIPT = """
import json, sys, time, gdcm
gdcm.Trace.WarningOff(); gdcm.Trace.ErrorOff()
name, repeats, names = sys.argv[1], int(sys.argv[2]), sys.argv[3]
reader = gdcm.ImageReader(); reader.SetFileName(name); assert reader.Read()
def change(image, syntax):
    changer = gdcm.ImageChangeTransferSyntax()
    changer.SetTransferSyntax(gdcm.TransferSyntax(syntax)); changer.SetInput(image); changer.SetForce(True)
    start = time.perf_counter(); assert changer.Change()
    return time.perf_counter() - start, changer
decoding, encoding = [], []
for _ in range(repeats):
    spent, plain = change(reader.GetImage(), gdcm.TransferSyntax.ExplicitVRLittleEndian); decoding.append(spent)
    spent, _ = change(plain.GetOutput(), getattr(gdcm.TransferSyntax, names)); encoding.append(spent)
print(json.dumps([decoding, encoding]), flush=True)
import os; os._exit(0)
"""


def film(rows: int = 2048, columns: int = 2500, bits: int = 12) -> bytes:
    """A synthetic film as a Part 10 file in explicit VR little endian: smooth tissue, noise, a dark border, two markers."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    shade = np.sin(x / 300) * np.cos(y / 410) + 0.4 * np.sin((x + y) / 57)
    shade = (shade - shade.min()) / (shade.max() - shade.min()) * 0.8 + rng.normal(0, 0.01, shade.shape).astype(np.float32)
    shade[:, :60] = shade[:, -60:] = 0.02
    top = (1 << bits) - 1
    values = (np.clip(shade, 0, 0.95) * top).astype(np.uint8 if bits == 8 else np.uint16)
    for box in _BOXES:
        area = values[box.y0 : box.y1, box.x0 : box.x1].copy()
        cv2.putText(stencil := np.zeros(area.shape, np.uint8), "NAME 12", (5, box.height - 20), cv2.FONT_HERSHEY_SIMPLEX, 2, 255, 5)
        values[box.y0 : box.y1, box.x0 : box.x1][stencil > 0] = top
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "2.25.1"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = values.itemsize * 8, bits, bits - 1
    dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", values.tobytes())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _in_syntax(data: bytes, uid: str) -> bytes:
    instance = read_instance(data)
    image = open_image(instance)
    pixels: Pixels | None = instance.pixels
    if uid == JPEG_BASELINE:
        stream = cv2.imencode(".jpg", image.frame(0), [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        pixels = NewPixels(0x7FE00010, "OB", [stream], (1,))
    elif uid != EXPLICIT_LITTLE:
        stream = encode(TRANSFER_SYNTAXES[uid].codec, image.frame(0), image.description, False)
        pixels = NewPixels(0x7FE00010, "OB", [stream], (1,))
    return bytes(encode_instance(instance.dataset, uid, pixels).data)


def _timed(spent: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    spent.setdefault(name, []).append(time.perf_counter() - start)
    return result


def _ours(data: bytes, spent: dict[str, list[float]]) -> None:
    """One pass as the pipeline makes it; decoding is counted once, where it is first needed."""
    instance = _timed(spent, "read", lambda: read_instance(data))
    image: Image = _timed(spent, "decode", lambda: _decoded(instance))
    _timed(spent, "pass", lambda: passthrough(open_image(instance)))
    result = _timed(spent, "redact", lambda: redact(image, _REGIONS))
    encoded = _timed(spent, "write", lambda: encode_instance(instance.dataset, result.transfer_syntax_uid, result.pixels))
    _timed(spent, "prove", lambda: prove(image, open_image(read_instance(encoded.data)), _REGIONS))


def _decoded(instance: Any) -> Image:
    image = open_image(instance)
    image.frame(0)
    return image


def _gdcm(data: bytes, uid: str, repeats: int, folder: Path) -> tuple[float, float] | None:
    path = folder / "gdcm.dcm"
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _GDCM_SCRIPT, str(path), str(repeats), _GDCM_NAMES[uid]], capture_output=True, check=False, timeout=600
    )
    if done.returncode or not done.stdout:
        return None
    decoding, encoding = json.loads(done.stdout)
    return statistics.median(decoding), statistics.median(encoding)


def _dcmtk(data: bytes, uid: str, repeats: int, folder: Path) -> float | None:
    decoder, encoder = _DCMTK[uid]
    if shutil.which(decoder) is None or shutil.which(encoder[0]) is None:
        return None
    coded, plain, again = folder / "coded.dcm", folder / "plain.dcm", folder / "again.dcm"
    coded.write_bytes(data)
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        for command in ([decoder, str(coded), str(plain)], [*encoder, str(plain), str(again)]):
            if subprocess.run(command, capture_output=True, check=False, timeout=600).returncode:
                return None
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def run(quick: bool = False) -> str:
    """Measure and return a Markdown table, milliseconds per megapixel.

    Parameters
    ----------
    quick : bool
        Two repetitions: shows that it runs, not how fast.
    """
    rows, columns = 2048, 2500
    megapixels = rows * columns / 1e6
    lines = [
        "2048 x 2500 film, two boxes, ms per megapixel (medians; peers in the same run; redact includes both digests)", "",
        "| transfer syntax | read | decode | pass untouched | redact | write | prove "
        "| GDCM decode | GDCM encode | DCMTK decode + encode (2 processes) |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        for uid in (EXPLICIT_LITTLE, RLE, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000, JPEG_BASELINE):
            data = _in_syntax(film(rows, columns, bits=8 if uid == JPEG_BASELINE else 12), uid)
            spent: dict[str, list[float]] = {}
            count = 2 if quick else 4 if uid in (JPEG_2000, JPEG_LOSSLESS_SV1) else 9
            _ours(data, {})
            for _ in range(count):
                _ours(data, spent)
            ours = [statistics.median(spent[step]) for step in ("read", "decode", "pass", "redact", "write", "prove")]
            peers: list[float | None] = [None, None, None]
            if uid in _GDCM_NAMES:
                found = _gdcm(data, uid, count, Path(name))
                peers[:2] = found if found is not None else (None, None)
            if uid in _DCMTK:
                peers[2] = _dcmtk(data, uid, count, Path(name))
            cells = [f"{value * 1e3 / megapixels:.2f}" if value is not None else "-" for value in [*ours, *peers]]
            lines.append(f"| {TRANSFER_SYNTAXES[uid].name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
