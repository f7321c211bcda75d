"""One object of every modality that a hospital sends goes through a real node: each ends as the table of docs/modalities.md says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite

from radanon_node.training.films_dicom import Invented, invent
from tests.integration.harness import NodeProcess, assert_clean, node_config, storescu
from tests.peers import storescp

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PERSON = invent(np.random.default_rng(77))
NAME = PERSON.name.replace("^", ", ")
PLACE = (slice(30, 75), slice(20, 420))  # where the name stands
Pixels = NDArray[Any]


def ground(rows: int = 256, columns: int = 448) -> Pixels:
    """A smooth picture, 0..255."""
    y, x = np.mgrid[0:rows, 0:columns]
    return np.asarray(70 + 40 * np.sin(x / 60) * np.cos(y / 45), np.uint8)


def named(rows: int = 256, columns: int = 448) -> Pixels:
    """The same with the patient's name burnt in."""
    picture = ground(rows, columns)
    cv2.putText(picture, NAME, (24, 62), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 250, 2, cv2.LINE_AA)
    return picture


@dataclass(frozen=True)
class Sent:
    """An object and what the table says of it: `expected` is ``redacted``, ``same``, ``delivered`` (no pixels) or a reason code."""

    modality: str
    sop_class: str
    expected: str
    fill: Callable[[Dataset], None] = lambda ds: None
    pixels: Callable[[], Pixels] | None = None
    syntax: str = uid.ExplicitVRLittleEndian
    more: dict[str, Any] = field(default_factory=dict)


def _palette(ds: Dataset) -> None:
    ramp = np.arange(256, dtype="<u2") * 257
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", ramp.tobytes())


def _slice(ds: Dataset) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [0, 0, 1], [1, 0, 0, 0, 1, 0], [0.7, 0.7]
    ds.FrameOfReferenceUID = uid.generate_uid()


def _frames(ds: Dataset) -> None:
    ds.NumberOfFrames, ds.FrameIncrementPointer, ds.FrameTime = 3, 0x00181063, "40"


def _text_report(ds: Dataset) -> None:
    ds.ValueType, ds.CompletionFlag, ds.VerificationFlag, ds.ContinuityOfContent = "CONTAINER", "COMPLETE", "UNVERIFIED", "SEPARATE"
    ds.ConceptNameCodeSequence = [_code("11528-7", "LN", "Radiology Report")]
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", f"Seen with {NAME}"
    item.ConceptNameCodeSequence = [_code("121071", "DCM", "Finding")]
    ds.ContentSequence = [item]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _pdf(ds: Dataset) -> None:
    ds.MIMETypeOfEncapsulatedDocument, ds.DocumentTitle, ds.BurnedInAnnotation = "application/pdf", "Letter", "YES"
    ds.EncapsulatedDocument = b"%PDF-1.4\n%%EOF\n"


def _video(ds: Dataset) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns, ds.NumberOfFrames = 3, "YBR_PARTIAL_420", 1080, 1920, 25
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation, ds.PlanarConfiguration = 8, 8, 7, 0, 0
    ds.PixelData = encapsulate([b"\0\0\0\x18ftypmp42" + bytes(64)])
    ds["PixelData"].is_undefined_length = True


def _segments(ds: Dataset) -> None:
    ds.SegmentationType, ds.NumberOfFrames, ds.ContentLabel = "FRACTIONAL", 1, "LUNG"
    ds.ImageType = ["DERIVED", "PRIMARY"]


def _wave(ds: Dataset) -> None:
    group = Dataset()
    group.WaveformOriginality, group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = "ORIGINAL", 1, 4
    group.SamplingFrequency, group.WaveformBitsAllocated, group.WaveformSampleInterpretation = "500", 16, "SS"
    group.WaveformData = b"\1\0\2\0\3\0\4\0"
    ds.WaveformSequence = [group]


def deep() -> Pixels:
    return np.asarray(ground().astype("<u2") * 10)


def deep_named() -> Pixels:
    return np.asarray(named().astype("<u2") * 10)


def colour() -> Pixels:
    return np.repeat(named()[..., None], 3, axis=2)


def loop() -> Pixels:
    return np.stack([named(), named(), named()])


SENT = [
    Sent("CR", uid.ComputedRadiographyImageStorage, "redacted", pixels=deep_named),
    Sent("DX", uid.DigitalXRayImageStorageForPresentation, "redacted", pixels=deep_named),
    Sent("MG", uid.DigitalMammographyXRayImageStorageForPresentation, "redacted", pixels=deep_named),
    Sent("IO", uid.DigitalIntraOralXRayImageStorageForPresentation, "redacted", pixels=deep_named),
    Sent("PX", uid.DigitalXRayImageStorageForPresentation, "redacted", pixels=deep_named),
    Sent("US", uid.UltrasoundImageStorage, "redacted", pixels=colour),
    Sent("US", uid.UltrasoundImageStorage, "redacted", _palette, named),
    Sent("US", uid.UltrasoundMultiFrameImageStorage, "redacted", _frames, loop),
    Sent("CT", uid.CTImageStorage, "same", _slice, deep),
    Sent("CT", uid.CTImageStorage, "redacted", pixels=deep_named, more={"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]}),
    Sent("MR", uid.MRImageStorage, "same", _slice, deep),
    Sent("XA", uid.XRayAngiographicImageStorage, "redacted", pixels=named),
    Sent("RF", uid.XRayRadiofluoroscopicImageStorage, "redacted", pixels=named),
    Sent("ES", uid.VLEndoscopicImageStorage, "redacted", pixels=colour),
    Sent("XC", uid.VLPhotographicImageStorage, "redacted", pixels=colour),
    Sent("OP", uid.OphthalmicPhotography8BitImageStorage, "redacted", pixels=colour),
    Sent("NM", uid.NuclearMedicineImageStorage, "redacted", pixels=deep_named),
    Sent("PT", uid.PositronEmissionTomographyImageStorage, "redacted", pixels=deep_named),
    Sent("SC", uid.SecondaryCaptureImageStorage, "redacted", pixels=named),
    Sent("OT", uid.SecondaryCaptureImageStorage, "redacted", pixels=colour),
    Sent("SR", uid.BasicTextSRStorage, "delivered", _text_report),
    Sent("KO", uid.KeyObjectSelectionDocumentStorage, "delivered", _text_report),
    Sent("PR", uid.GrayscaleSoftcopyPresentationStateStorage, "delivered",
         more={"ContentLabel": "VIEW", "PresentationLUTShape": "IDENTITY"}),
    Sent("SEG", uid.SegmentationStorage, "same", _segments, ground),
    Sent("RTSTRUCT", uid.RTStructureSetStorage, "delivered", more={"StructureSetLabel": "PLAN"}),
    Sent("RTDOSE", uid.RTDoseStorage, "same", pixels=deep, more={"DoseUnits": "GY", "DoseType": "PHYSICAL", "DoseGridScaling": "0.001"}),
    Sent("ECG", uid.TwelveLeadECGWaveformStorage, "delivered", _wave),
    Sent("DOC", uid.EncapsulatedPDFStorage, "encapsulated_document", _pdf),
    Sent("ES", uid.VideoEndoscopicImageStorage, "video", _video, syntax=uid.MPEG4HP41),
    Sent("OT", uid.RawDataStorage, "policy_hold"),
]  # fmt: skip


def made(sent: Sent, number: int, person: Invented) -> bytes:
    """The object as a modality would send it."""
    ds = Dataset()
    ds.SpecificCharacterSet, ds.SOPClassUID = "ISO_IR 100", sent.sop_class
    ds.SOPInstanceUID = uid.generate_uid(entropy_srcs=["modalities", str(number)])
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = person.study_date
    ds.StudyTime = ds.ContentTime = person.study_time
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = person.accession, sent.modality, "SYNTHETIC SCANNERS"
    ds.InstitutionName, ds.ReferringPhysicianName = person.institution, person.physician
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = person.name, person.patient_id, person.birth_date, "O"
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = "1", 1, number, ""
    ds.StudyInstanceUID = uid.generate_uid(entropy_srcs=["modalities"])
    ds.SeriesInstanceUID = uid.generate_uid(entropy_srcs=["modalities", sent.modality, sent.sop_class])
    ds.ConversionType = "WSD" if sent.sop_class == uid.SecondaryCaptureImageStorage else ""
    if not ds.ConversionType:
        del ds.ConversionType
    if sent.pixels is not None:
        pixels = sent.pixels()
        colours = pixels.shape[-1] == 3
        ds.Rows, ds.Columns = pixels.shape[-3:-1] if colours else pixels.shape[-2:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = (3, "RGB") if colours else (1, "MONOCHROME2")
        if colours:
            ds.PlanarConfiguration = 0
        bits = 8 if pixels.dtype == np.uint8 else 12
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = pixels.dtype.itemsize * 8, bits, bits - 1, 0
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    sent.fill(ds)
    for keyword, value in sent.more.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = sent.syntax
    out = BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def test_each_modality_ends_as_its_policy_says(tmp_path: Path) -> None:
    paths = []
    for number, sent in enumerate(SENT, 1):
        path = tmp_path / "in" / f"{number:02d}.dcm"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made(sent, number, PERSON))
        paths.append(path)
    held = {number: sent.expected for number, sent in enumerate(SENT, 1) if sent.expected not in ("redacted", "same", "delivered")}
    with storescp(tmp_path / "archive", "+xa") as archive:
        node = NodeProcess(tmp_path, node_config(
            tmp_path, {"archive": {"host": "127.0.0.1", "port": archive.port, "ae_title": "ARCHIVE"}},
            profile={"tags": {"options": ["clean_pixel_data", "clean_structured_content", "clean_graphics"]}}))
        try:
            port = node.start()
            videos = [path for path, sent in zip(paths, SENT) if sent.syntax == uid.MPEG4HP41]
            storescu(port, [path for path in paths if path not in videos], options=["-R"])
            storescu(port, videos, options=["-R", "-xn"])
            node.wait_settled(400)
            assert {entry["instance_number"]: entry["reason"] for entry in node.quarantine()} == held
        finally:
            assert node.stop() == 0
        found = {int(ds.InstanceNumber): ds for ds in archive.instances()}
        assert sorted(found) == [number for number in range(1, len(SENT) + 1) if number not in held]
        original = pydicom.dcmread(paths[0])
        for data in (path.read_bytes() for path in archive.files()):
            assert_clean(data, original)
    for number, ds in found.items():
        sent = SENT[number - 1]
        assert (ds.Modality, ds.SOPClassUID) == (sent.modality, sent.sop_class)
        if sent.expected == "same":
            assert ds.PixelData == pydicom.dcmread(paths[number - 1]).PixelData, sent
        elif sent.expected == "redacted":
            before, after = (one.pixel_array for one in (pydicom.dcmread(paths[number - 1]), ds))
            ink = (named().astype(int) - ground() > 60)
            ink[:PLACE[0].start], ink[PLACE[0].stop:] = False, False
            shown = np.moveaxis(after, 0, 2) if sent.pixels is loop else after
            level = np.moveaxis(before, 0, 2) if sent.pixels is loop else before
            assert (shown[ink] != level[ink]).mean() > 0.95, sent  # the name is gone ...
            assert np.array_equal(shown[120:], level[120:]), sent  # ... and nothing else
