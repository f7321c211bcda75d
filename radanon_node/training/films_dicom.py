"""Synthetic films as DICOM: DX and CR objects around a drawn picture, with the identities of invented patients in the usual places."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

_FAMILY = ("QUORBAX", "ZELVINDER", "YTTRISKO", "WUMBRECK", "JOXANTHE", "VEXLOMAR", "KRINDALE", "OBBLESTRO")
_GIVEN = ("MILVANA", "TORBIX", "ELZUNE", "PRAXIDOR", "UMBELINA", "DRAVOSK", "SILQUEN", "HOXLEY")


@dataclass(frozen=True, slots=True)
class Invented:
    """An invented patient and visit: no word of it names a person.

    Parameters
    ----------
    name : str
        DICOM person name, family^given.
    patient_id, accession, birth_date, study_date, study_time, institution, physician : str
    """

    name: str
    patient_id: str
    accession: str
    birth_date: str
    study_date: str
    study_time: str
    institution: str
    physician: str


def invent(rng: np.random.Generator) -> Invented:
    """A patient made up from `rng`."""

    def date(low: int, high: int) -> str:
        return f"{rng.integers(low, high):04d}{rng.integers(1, 13):02d}{rng.integers(1, 29):02d}"

    def name() -> str:
        return f"{_FAMILY[rng.integers(len(_FAMILY))]}^{_GIVEN[rng.integers(len(_GIVEN))]}"

    return Invented(
        name=name(),
        patient_id=f"MRN{rng.integers(10**7, 10**8)}",
        accession=f"ACC{rng.integers(10**6, 10**7)}",
        birth_date=date(1930, 2005),
        study_date=date(2015, 2025),
        study_time=f"{rng.integers(24):02d}{rng.integers(60):02d}{rng.integers(60):02d}",
        institution="Hospital of Nowhere-on-Sea",
        physician=name(),
    )


def dx_dataset(
    pixels: NDArray[np.uint16], bits: int, person: Invented, number: int = 1, monochrome1: bool = False, burned_in: str = "YES"
) -> Dataset:
    """A Digital X-Ray Image Storage - For Presentation object (PS3.3 A.26) around `pixels`.

    Parameters
    ----------
    pixels : ndarray of uint16, shape (rows, columns)
        Stored values of `bits` bits; for MONOCHROME1 already inverted.
    bits : int
        Bits Stored.
    person : Invented
    number : int
        Instance Number.
    monochrome1 : bool
    burned_in : {"YES", "NO"}
        Burned In Annotation; YES makes the node look for printed text besides markers.

    Returns
    -------
    Dataset
        With file meta (explicit VR little endian); uncompressed.
    """
    rows, columns = pixels.shape
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = generate_uid(prefix="1.2.826.0.1.3680043.10.1.")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = person.study_date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = person.study_time
    ds.AccessionNumber, ds.Modality, ds.PresentationIntentType = person.accession, "DX", "FOR PRESENTATION"
    ds.Manufacturer, ds.InstitutionName = "SYNTHETIC FILMS", person.institution
    ds.ReferringPhysicianName = person.physician
    ds.StudyDescription = f"CHEST {person.name.split('^')[0]}"
    ds.SeriesDescription = "PA"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = person.name, person.patient_id, person.birth_date, "O"
    ds.BodyPartExamined, ds.PatientAge = "CHEST", "045Y"
    ds.DeviceSerialNumber = "SN-0000-1"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[person.accession])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[person.accession, "series"])
    ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = person.accession[-4:], 1, number
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.AcquisitionContextSequence = Sequence([])
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    ds.AnatomicRegionSequence = Sequence([region])
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1 if monochrome1 else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "INVERSE" if monochrome1 else "IDENTITY"
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", burned_in
    ds.WindowCenter, ds.WindowWidth = 2 ** (bits - 1), 2**bits
    ds.ImagerPixelSpacing = [0.14, 0.14]
    ds.DetectorType, ds.PositionerType = "DIRECT", "NONE"
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def encoded(dataset: Dataset) -> bytes:
    """The Part 10 file of a data set that carries its file meta."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
