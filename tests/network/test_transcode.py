"""Transcoding for an archive that does not take the instance's own syntax: the same pixels, the same attributes, or a clear failure."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from radanon_node.errors import DeliveryFailed
from radanon_node.network.transcode import transcode
from radanon_node.network.transcoder import TARGETS
from tests.network.sending import part10, picture

LOSSLESS = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]


def to(ds: Dataset, target: str) -> Dataset:
    return dcmread(BytesIO(transcode(part10(ds), str(ds.file_meta.TransferSyntaxUID), target)))


@settings(max_examples=25, deadline=None)
@given(source=st.sampled_from(LOSSLESS), target=st.sampled_from(sorted(TARGETS)), rows=st.integers(32, 49), columns=st.integers(32, 49),
       number=st.integers(0, 2**31))  # fmt: skip
def test_pixels_and_attributes_stay(source: str, target: str, rows: int, columns: int, number: int) -> None:
    """For every pair of syntaxes and odd sizes: same UID, same pixels, nothing lost."""
    ds = picture(number, rows, columns, source, PatientComments="kept", WindowCenter=[100, 200])
    found = to(ds, target)
    assert found.file_meta.TransferSyntaxUID == target
    assert (found.SOPInstanceUID, found.PatientComments, found.WindowCenter) == (ds.SOPInstanceUID, "kept", [100, 200])
    assert np.array_equal(found.pixel_array, ds.pixel_array)


def test_signed_pixels_and_many_frames_stay() -> None:
    frames = np.random.default_rng(1).integers(-2000, 2000, (5, 20, 30), dtype="<i2")
    ds = picture(1, 20, 30, NumberOfFrames=5, PixelRepresentation=1, BitsStored=16, HighBit=15, PixelData=frames.tobytes())
    ds.compress(RLELossless, generate_instance_uid=False)
    assert np.array_equal(to(ds, ExplicitVRLittleEndian).pixel_array, frames)


def test_private_and_nested_elements_stay() -> None:
    ds = picture(1, syntax=RLELossless)
    block = ds.private_block(0x0011, "RADANON TEST", create=True)
    block.add_new(0x01, "DS", "1.5")
    item = Dataset()
    item.CodeValue = "113100"
    ds.DeidentificationMethodCodeSequence = [item]
    found = to(ds, ImplicitVRLittleEndian)
    assert found.private_block(0x0011, "RADANON TEST")[0x01].value == b"1.5 "
    assert found.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_lossy_colour_becomes_rgb() -> None:
    """JPEG in YBR: the data set says RGB afterwards and holds what the JPEG decodes to."""
    colours = np.dstack([np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1)) for _ in range(3)])
    colours[..., 1] = 200
    jpeg = BytesIO()
    Image.fromarray(colours).save(jpeg, "JPEG", quality=90)
    ds = picture(1, 48, 64, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0, BitsAllocated=8,
                 BitsStored=8, HighBit=7, LossyImageCompression="01", PixelData=encapsulate([jpeg.getvalue()]))
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    found = to(ds, ExplicitVRLittleEndian)
    assert (found.PhotometricInterpretation, found.PlanarConfiguration, found.LossyImageCompression) == ("RGB", 0, "01")
    assert np.abs(found.pixel_array.astype(int) - colours).mean() < 3


def test_big_endian_words_are_turned() -> None:
    ds = picture(3)
    values = ds.pixel_array
    overlay = np.arange(256, dtype="<u2")
    ds.PixelData = values.astype(">u2").tobytes()
    ds.add_new(0x60003000, "OW", overlay.byteswap().tobytes())
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    found = to(ds, ExplicitVRLittleEndian)
    assert np.array_equal(found.pixel_array, values)
    assert found[0x60003000].value == overlay.tobytes()


def test_deflated_source() -> None:
    ds = picture(3, syntax=ExplicitVRLittleEndian)
    values = ds.pixel_array
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(to(ds, ImplicitVRLittleEndian).pixel_array, values)


@pytest.mark.parametrize(("syntax", "word"), [("1.2.840.10008.1.2.4.102", "video"), (RLELossless, "cannot transcode")])
def test_what_cannot_be_decoded_fails_with_words(syntax: str, word: str) -> None:
    """Video, and fragments that are no such stream: DeliveryFailed, and no value of the data set in its text."""
    ds = picture(1, PixelData=encapsulate([b"not a stream of this kind"]))
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DeliveryFailed, match=word) as caught:
        to(ds, ExplicitVRLittleEndian)
    assert "ANON-7" not in str(caught.value)


def test_unknown_target_fails() -> None:
    with pytest.raises(DeliveryFailed, match="cannot transcode to JPEG Baseline"):
        to(picture(), JPEGBaseline8Bit)
