"""Another transfer syntax for a verified instance, for a destination that does not take its own.

Lossless: stored pixel values stay what a reader of the original would decode, and all else stays equal. As the verifier has not seen
these bytes, they are read back and compared with the verified instance before they may be sent.

Run as a script this module is the process of `transcoder.Transcoder`.
"""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import zip_longest

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from radanon_node.errors import DeliveryFailed
from radanon_node.helper import channel, exactly, reply
from radanon_node.network.contexts import DEFLATED, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from radanon_node.network.transcoder import ANSWER, DONE, FAILED, REQUEST, TARGETS
from radanon_node.pipeline.types import Buffer

# Lossy JPEG stores colour as YBR; decoded it is RGB. In the others the stored samples are what Photometric Interpretation says.
_LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_MOVING_PICTURES = tuple(f"1.2.840.10008.1.2.4.10{digit}" for digit in range(10))
_NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, *DEFLATED})
_MAY_DIFFER = frozenset({"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "ExtendedOffsetTable",
                         "ExtendedOffsetTableLengths"})
_WORDS = {"OW": "<u2", "OF": "<u4", "OL": "<u4", "OD": "<u8", "OV": "<u8"}
# What pydicom and the codecs below it raise on an instance they cannot handle.
_CODEC_ERRORS = (ArithmeticError, AttributeError, InvalidDicomError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
                 struct.error, zlib.error)


def transcode(data: Buffer, source: str, target: str) -> bytes:
    """An instance in another transfer syntax, as a Part 10 file.

    Parameters
    ----------
    data : Buffer
        A verified instance, as a Part 10 file.
    source : str
        Its transfer syntax: any that can be decoded; not video.
    target : str
        One of `TARGETS`.

    Returns
    -------
    bytes
        The same SOP Instance UID and the same pixel values. Lossy JPEG in YBR comes out as RGB (PS3.5 8.2.1).

    Raises
    ------
    DeliveryFailed
        It cannot be transcoded, or does not read back equal.
    """
    if target not in TARGETS:
        raise DeliveryFailed(f"cannot transcode to {UID(target).name}")
    if source.startswith(_MOVING_PICTURES) and source not in _NATIVE:
        raise DeliveryFailed("video cannot be transcoded, and the destination does not take its transfer syntax")
    try:
        buffer = BytesIO()
        dcmwrite(buffer, _converted(_read(data), source, target), implicit_vr=target == IMPLICIT_LE, little_endian=True,
                 force_encoding=True)
        encoded = buffer.getvalue()
        difference = _difference(_read(data), _read(encoded), rgb=source in _LOSSY_JPEG)
    except _CODEC_ERRORS as error:
        # The library's text may carry values of the data set: only its kind is told.
        raise DeliveryFailed(f"cannot transcode from {UID(source).name} to {UID(target).name} ({type(error).__name__})") from error
    if difference:
        raise DeliveryFailed(f"transcoded from {UID(source).name} to {UID(target).name} it would not be the same: {difference}")
    return encoded


def _read(data: Buffer) -> FileDataset:
    """A data set whose values are all little endian."""
    dataset = dcmread(BytesIO(data))
    if dataset.file_meta.TransferSyntaxUID == EXPLICIT_BE:
        # pydicom turns numbers, but not the words of binary values (PS3.5 7.3).
        for element in dataset.iterall():
            if element.VR in _WORDS and isinstance(element.value, bytes):
                element.value = np.frombuffer(element.value, dtype=_WORDS[element.VR]).byteswap().tobytes()
        dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LE)
    return dataset


def _converted(dataset: FileDataset, source: str, target: str) -> FileDataset:
    if source not in _NATIVE and "PixelData" in dataset:
        dataset.decompress(as_rgb=source in _LOSSY_JPEG, generate_instance_uid=False)
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in dataset:
                delattr(dataset, keyword)
    if target in _NATIVE or "PixelData" not in dataset:
        dataset.file_meta.TransferSyntaxUID = UID(target)
    else:
        dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT_LE)
        dataset.compress(UID(target), generate_instance_uid=False)
    return dataset


def _difference(before: FileDataset, after: FileDataset, rgb: bool) -> str:
    """What is not the same in the transcoded data set; empty if nothing."""
    if "PixelData" in before:
        for one, two in zip_longest(iter_pixels(before, as_rgb=rgb), iter_pixels(after, as_rgb=rgb)):
            if one is None or two is None or one.shape != two.shape or not np.array_equal(one, two):
                return "pixel values"
    # In implicit VR, where elements read as UN on one side and under their VR on the other are the same bytes.
    written = []
    for dataset in (before, after):
        for keyword in _MAY_DIFFER & set(dataset.dir()):
            delattr(dataset, keyword)
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, True
        write_dataset(buffer, dataset)
        written.append(buffer.getvalue())
    return "" if written[0] == written[1] else "attributes"


def serve() -> None:
    """The process: answer requests until there are no more."""
    requests, replies = channel()
    while True:
        source, target, length = REQUEST.unpack(exactly(requests, REQUEST.size))
        data = exactly(requests, length)
        try:
            outcome, body = DONE, transcode(data, source.rstrip(b"\0").decode(), target.rstrip(b"\0").decode())
        except DeliveryFailed as failed:
            outcome, body = FAILED, str(failed).encode()
        reply(replies, ANSWER.pack(outcome, len(body)), body)


if __name__ == "__main__":
    serve()
