"""What the data set says its pixels are, read from raw elements as pydicom would read them."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from radanon_node.errors import HoldInstance
from radanon_node.pixels.description import describe
from radanon_node.pixels.instance import Instance, read_instance

_PLACE = "MONOCHROME2 "


def instance(photometric: bytes, implicit: bool) -> Instance:
    """A picture of 2 x 3 whose Photometric Interpretation has these twelve bytes."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 2, 3, 1, _PLACE.strip()
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = bytes(12)
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return read_instance(out.getvalue().replace(_PLACE.encode(), photometric))


@given(st.one_of(st.sampled_from([b"MONOCHROME1\0", b"MONOCHROME2 ", b"RGB         ", b" MONOCHROME1", b"PALETTE COLR", b"            ",
                                  b"MONOCHROME1\\", b"RGB\\RGB     ", b"MONOCHR\xd6ME2", bytes(12)]),
                 st.text("ABRGMON\\ \0", min_size=12, max_size=12).map(str.encode)), st.booleans())
@settings(max_examples=40, deadline=None)
def test_photometric_interpretation_is_what_pydicom_reads(raw: bytes, implicit: bool) -> None:
    picture = instance(raw.ljust(12)[:12], implicit)
    expected = str(dcmread(BytesIO(bytes(picture.data)))["PhotometricInterpretation"].value or "").strip()
    try:
        found = describe(picture, 100).photometric
    except HoldInstance:
        assert expected not in ("MONOCHROME1", "MONOCHROME2")
    else:
        assert found == expected


@pytest.mark.parametrize("implicit", [False, True])
def test_what_is_absent_has_its_default(implicit: bool) -> None:
    described = describe(instance(b"MONOCHROME2 ", implicit), 100)
    assert (described.frames, described.planar, described.rows, described.columns) == (1, 0, 2, 3)
