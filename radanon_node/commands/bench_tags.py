"""``radanon bench tags``: read, scrub and write a CT header, beside dicom-anonymizer and deid doing the same in the same run.

The peers need packages of their own: they run in the Python that ``RADANON_BENCH_PEERS`` names (an environment with
``pip install dicom-anonymizer deid``); without it their rows are left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.settings_profile import OptionName, PseudonymSettings, TagSettings
from radanon_node.tags.engine import PixelFacts, Scrubber
from radanon_node.tags.identifiers import collect
from radanon_node.tags.pseudonyms import Pseudonyms
from radanon_node.tags.search import find_identity
from radanon_node.tags.validity import check

_EXPLICIT = "1.2.840.10008.1.2.1"
_FULL: tuple[OptionName, ...] = (
    "clean_descriptors", "clean_graphics", "clean_structured_content", "retain_longitudinal_modified_dates",
    "retain_patient_characteristics", "retain_safe_private",
)  # fmt: skip
_PROFILES: dict[str, tuple[OptionName, ...]] = {"radanon_node, Basic Profile": (), f"radanon_node, {len(_FULL)} options": _FULL}
_VALUES = {"LO": "Value {}", "SH": "V{}", "DS": "{}.5", "IS": "{}", "CS": "CODE {}", "DA": "2019{:02d}11", "TM": "1011{:02d}",
           "PN": "Doe{}^Jane"}  # fmt: skip

_PEERS = """
import io, json, sys, time, warnings, logging
warnings.simplefilter("ignore"); logging.disable()
from pydicom import dcmread
data = open(sys.argv[1], "rb").read(); repeats = int(sys.argv[2]); out = {}
def measure(name, work):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        dataset = dcmread(io.BytesIO(data)); work(dataset); dataset.save_as(io.BytesIO())
        times.append(time.perf_counter() - start)
    out[name] = times
import importlib.metadata as m
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset
measure("dicom-anonymizer " + m.version("dicom-anonymizer"), lambda dataset: anonymize_dataset(dataset))
from deid.dicom import get_identifiers, replace_identifiers
from deid.config import DeidRecipe
recipe = DeidRecipe()
import tempfile, os
def deid():
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = get_identifiers([sys.argv[1]])
        (done,) = replace_identifiers(dicom_files=[sys.argv[1]], deid=recipe, ids=found, save=False, remove_private=True)
        done.save_as(io.BytesIO())
        times.append(time.perf_counter() - start)
    out["deid " + m.version("deid")] = times
deid()
print(json.dumps(out))
"""


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99BENCH", meaning
    return item


def ct_header(elements: int = 250) -> bytes:
    """A CT instance without pixels: `elements` elements in all, some in sequences, some private."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.0.1.3680043.2.1125.5.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.2.1125.5.2", "1.2.826.0.1.3680043.2.1125.5.3"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Oyelaran^Temitope", "PID-4815162", "19620417"
    dataset.StudyDate, dataset.AccessionNumber, dataset.StudyDescription = "20240305", "A7710023", "CT chest with contrast"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.0.1.3680043.2.1125.5.9"
    reference.PurposeOfReferenceCodeSequence = Sequence([_code("121311", "Localizer")])
    dataset.ReferencedImageSequence = Sequence([reference] * 3)
    step = _code("1", "Chest")
    step.ScheduledProcedureStepID, step.ScheduledProcedureStepDescription = "STEP-55", "Chest"
    dataset.RequestAttributesSequence = Sequence([step])
    dataset.ProcedureCodeSequence = Sequence([_code("2", "CT Chest"), _code("3", "CT Neck")])
    block = dataset.private_block(0x0019, "BENCH", create=True)
    for number in range(0x20):
        block.add_new(0x10 + number, "LO", f"private {number}")
    tags = [tag for tag, entry in sorted(DicomDictionary.items())
            if entry[0] in _VALUES and entry[1] == "1" and 8 <= tag >> 16 <= 0x20 and tag not in dataset and tag != 0x00080005]  # fmt: skip
    missing = elements - sum(1 for _ in dataset.iterall())
    for number, tag in enumerate(tags[:: len(tags) // missing][:missing]):
        vr = DicomDictionary[tag][0]
        dataset.add_new(tag, vr, _VALUES[vr].format(number % 12 + 1 if vr in ("DA", "TM") else number))
    return bytes(encode_instance(dataset, _EXPLICIT, None).data)


def _ours(data: bytes, options: tuple[OptionName, ...], repeats: int) -> dict[str, list[float]]:
    settings = TagSettings(options=options)
    scrubber = Scrubber(settings, Pseudonyms(bytes(32), PseudonymSettings(), settings))
    facts = PixelFacts(has_pixels=False, looked=False, redacted=False)
    plain: list[float] = []
    verified: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        instance = read_instance(data)
        identifiers = collect(instance.dataset)
        scrubbed = scrubber.scrub(instance.dataset, facts, instance.transfer_syntax_uid, identifiers)
        out = encode_instance(scrubbed.dataset, instance.transfer_syntax_uid, None)
        plain.append(time.perf_counter() - start)
        again = read_instance(out.data)
        check(instance.dataset, again.dataset, again.sop_class_uid)
        find_identity(out.data, out.pixel_spans, scrubbed.searched(identifiers))
        verified.append(time.perf_counter() - start)
    return {"": plain, " + second look": verified}


def _peers(data: bytes, repeats: int) -> dict[str, list[float]]:
    python = os.environ.get("RADANON_BENCH_PEERS")
    if not python:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.dcm"
        path.write_bytes(data)
        done = subprocess.run([python, "-c", _PEERS, str(path), str(repeats)], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"the peers' Python failed: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def run(quick: bool = False) -> str:
    """Measure; returns a Markdown table."""
    data = ct_header()
    rounds, repeats = (1, 10) if quick else (4, 40)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):  # interleaved, so that a busy moment of the machine hits all
        for name, options in _PROFILES.items():
            for suffix, measured in _ours(data, options, repeats).items():
                times.setdefault(name + suffix, []).extend(measured)
        for name, measured in _peers(data, repeats).items():
            times.setdefault(name, []).extend(measured)
    lines = [f"CT header of 250 elements with sequences, {len(data)} bytes, no pixels; read + scrub + write.\n"]
    lines += ["| | ms, median | ms, fastest tenth |", "|---|---|---|"]
    for name, measured in times.items():
        tenth = sorted(measured)[len(measured) // 10]
        lines.append(f"| {name} | {1000 * statistics.median(measured):.2f} | {1000 * tenth:.2f} |")
    if len(times) < 5:
        lines.append("\nPeers not measured: RADANON_BENCH_PEERS names no Python that has them.")
    return "\n".join(lines) + "\n"
