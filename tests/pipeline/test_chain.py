"""The chain of a day's receipts shows every change; a real receipt is what its schema says."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import radanon_node.pipeline
from radanon_node.pipeline.chain import ReceiptChain, canonical
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received
from radanon_node.settings_profile import PixelSettings, ProfileSettings

SCHEMA = json.loads((Path(radanon_node.pipeline.__file__).parent / "data" / "receipt.schema.json").read_text())
RECEIPTS = [{"number": number, "boxes": [[1, 2], number]} for number in range(5)]


def day(chain: ReceiptChain) -> tuple[str, list[tuple[dict, str]]]:
    before = opening = chain.opening("2026-11-21")
    entries = []
    for receipt in RECEIPTS:
        before = chain.link(before, receipt)
        entries.append((copy.deepcopy(receipt), before))
    return opening, entries


def test_an_untouched_day_fits() -> None:
    chain = ReceiptChain(bytes(32))
    opening, entries = day(chain)
    assert chain.first_broken(opening, entries) is None
    assert chain.first_broken(opening, []) is None


@pytest.mark.parametrize("position", range(5))
def test_a_changed_receipt_shows_where_it_is(position: int) -> None:
    chain = ReceiptChain(bytes(32))
    opening, entries = day(chain)
    entries[position][0]["boxes"].append(7)
    assert chain.first_broken(opening, entries) == position


def test_missing_swapped_and_foreign_receipts_show() -> None:
    chain = ReceiptChain(bytes(32))
    opening, entries = day(chain)
    assert chain.first_broken(opening, entries[:2] + entries[3:]) == 2
    assert chain.first_broken(opening, [entries[1], entries[0], *entries[2:]]) == 0
    assert chain.first_broken(chain.opening("2026-11-20"), entries) == 0
    assert ReceiptChain(b"another key").first_broken(opening, entries) == 0
    last = entries[-1][1]
    assert chain.opening("2026-11-22", last) != chain.opening("2026-11-22", entries[-2][1])


def test_the_same_receipt_has_one_spelling() -> None:
    assert canonical({"b": 1, "a": "Ä"}) == canonical({"a": "Ä", "b": 1}) == b'{"a":"\\u00c4","b":1}'


def test_a_receipt_of_the_cleaning_core_is_what_the_schema_says() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.PatientID, dataset.PatientName, dataset.Modality, dataset.ConversionType = "P1", "Oyelaran^Ada", "OT", "WSD"
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.StudyID = dataset.ReferringPhysicianName = ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.SeriesNumber = dataset.InstanceNumber = dataset.PatientOrientation = ""
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 20, 30, 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.add_new(0x7FE00010, "OB", np.arange(600).astype("u1").tobytes())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    policy = Policy("test", "0" * 64, ProfileSettings(pixels=PixelSettings(detect="off")))
    (result,) = clean_batch([Received(out.getvalue(), "one")], policy, Tools(bytes(32)))
    assert isinstance(result, Released), result
    jsonschema.validate(json.loads(canonical(result.receipt)), SCHEMA, jsonschema.Draft202012Validator)
    broken = json.loads(canonical(result.receipt))
    broken["pixels"]["method"] = "guessed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, SCHEMA, jsonschema.Draft202012Validator)
