"""``radanon bench gateway``: from a sender through a gateway until the archive has everything, in interleaved runs.

Beside the node stand Orthanc with a Lua script that forwards and deletes, and a plain pass-through of pynetdicom that syncs each file
before it acknowledges; neither of them de-identifies. RSNA CTP, the usual gateway of research networks, is not on any package index and is
not in this run. The sender is DCMTK's storescu, the archive its storescp, both with Nagle's algorithm off.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from radanon_node.commands.bench_peers import (
    START_S,
    Peer,
    Runs,
    fixed_uid,
    footer,
    free_port,
    in_process,
    node,
    program,
    report,
    storescu,
    table,
    used,
)
from radanon_node.errors import ConfigError
from radanon_node.stages import Histogram, read_stages
from radanon_node.training.films_dicom import Invented, dx_dataset, encoded, invent

_SETTLE_S = 2.5
_PATIENCE_S, _PER_INSTANCE_S = 60.0, 2.0  # an archive that has not got everything by then will not
_STATED_ABSENT = "RSNA CTP is not in this run: it cannot be obtained from a package index."
_REFERENCE = "pynetdicom pass-through, durable, no de-identification"
_LUA = "function OnStoredInstance(instanceId, tags, metadata)\n  Delete(SendToModality(instanceId, 'archive'))\nend\n"


@dataclass(frozen=True, slots=True)
class Load:
    """One column: `instances` of one kind over so many associations at once."""

    name: str
    kind: str
    instances: int
    associations: int = 1


def loads(quick: bool) -> list[Load]:
    """CT of 512 x 512 (0.5 MB) and DX of 2560 x 2048 (10 MB), 16 bits allocated."""
    return [Load("CT", "CT", 30 if quick else 300), Load("CT x4", "CT", 40 if quick else 400, 4), Load("DX", "DX", 3 if quick else 24)]


# -- what is sent -------------------------------------------------------------------------------------------------------------


def _ct(person: Invented) -> Dataset:
    """An original axial slice (PS3.3 A.3) with the header of a scanner in short."""
    ds = Dataset()
    ds.SpecificCharacterSet, ds.ImageType, ds.Modality = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "AXIAL"], "CT"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = person.study_date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = person.study_time
    ds.AccessionNumber, ds.Manufacturer, ds.InstitutionName = person.accession, "SYNTHETIC SCANNERS", person.institution
    ds.ReferringPhysicianName, ds.OperatorsName, ds.StationName = person.physician, person.physician, "CT-1"
    ds.StudyDescription, ds.SeriesDescription, ds.ManufacturerModelName = "THORAX", "AX 1.0", "MODEL 1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = person.name, person.patient_id, person.birth_date, "O"
    ds.PatientAge, ds.PatientSize, ds.PatientWeight, ds.BodyPartExamined = "045Y", "1.75", "80", "CHEST"
    ds.ScanOptions, ds.SliceThickness, ds.KVP, ds.DataCollectionDiameter = "HELICAL", "1", "120", "500"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.ProtocolName = "12345", "V1", "THORAX"
    ds.ReconstructionDiameter, ds.GantryDetectorTilt, ds.TableHeight, ds.RotationDirection = "350", "0", "150", "CW"
    ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure, ds.FilterType = "500", "200", "100", "BODY"
    ds.ConvolutionKernel, ds.PatientPosition = "B30", "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = generate_uid(), generate_uid(), generate_uid()
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", 1, 1, 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PositionReferenceIndicator = [0, 0, 0], [1, 0, 0, 0, 1, 0], ""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, generate_uid()
    ds.ReferencedImageSequence = [item]
    request = Dataset()
    request.RequestedProcedureDescription, request.ScheduledProcedureStepID = "CT THORAX", person.accession
    ds.RequestAttributesSequence = [request]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 512, 512
    ds.PixelSpacing, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = [0.7, 0.7], 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "40", "400", "-1024", "1", "HU"
    ds.PixelData = np.add.outer(np.arange(512), np.arange(512)).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.TransferSyntaxUID = ds.SOPClassUID, ExplicitVRLittleEndian
    return ds


def _dx(person: Invented) -> Dataset:
    picture = np.add.outer(np.linspace(400, 1500, 2560), np.linspace(0, 900, 2048)).astype("<u2")
    return dx_dataset(picture, 12, person)


class Films:
    """The instances of a load; each writing is of new SOP Instance UIDs."""

    def __init__(self, load: Load) -> None:
        dataset = {"CT": _ct, "DX": _dx}[load.kind](invent(np.random.default_rng(1)))
        self._place, self._count, self._folders = fixed_uid(), load.instances, load.associations
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(self._place)
        self._data = encoded(dataset)

    def write(self, folder: Path) -> list[Path]:
        """A folder per association, inside `folder`."""
        folders = [folder / str(number) for number in range(self._folders)]
        for each in folders:
            each.mkdir(parents=True)
        for number in range(self._count):
            path = folders[number % self._folders] / f"{number}.dcm"
            path.write_bytes(self._data.replace(self._place.encode(), fixed_uid().encode()))
        return folders


# -- the gateways: each a context that yields its port, and forwards to the given one -------------------------------------------


@contextmanager
def _radanon(folder: Path, archive: int, detect: str, processes: int | str = "auto") -> Iterator[Peer]:
    """This node as a user starts it; `detect` as in ``pixels.detect``, `processes` as in ``listener.processes``."""
    with node(folder, {
        "node": {"data_dir": str(folder / "var"), "log_format": "json"}, "web": {"enabled": False},
        "listener": {"port": 0, "processes": processes}, "routes": [{"ae_title": "BENCH", "profile": "p", "destinations": ["archive"]}],
        "destinations": {"archive": {"host": "127.0.0.1", "port": archive, "ae_title": "ARCHIVE"}},
        "profiles": {"p": {"tags": {"options": ["clean_pixel_data", "retain_longitudinal_modified_dates"]}, "pixels": {"detect": detect}}},
    }) as peer:
        yield peer


@contextmanager
def _orthanc(folder: Path, archive: int) -> Iterator[Peer]:
    binary = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        raise ConfigError("bench: Orthanc is not installed")
    port, settings = free_port(), folder / "orthanc.json"
    (folder / "forward.lua").write_text(_LUA)
    settings.write_text(json.dumps({
        "StorageDirectory": str(folder / "store"), "IndexDirectory": str(folder / "store"), "DicomPort": port, "DicomAet": "BENCH",
        "HttpServerEnabled": False, "LuaScripts": [str(folder / "forward.lua")],
        "DicomModalities": {"archive": ["ARCHIVE", "127.0.0.1", archive]},
    }))
    with program([binary, settings], port) as peer:
        yield peer


def _pass_through(folder: Path, archive: int, ready: Connection) -> None:
    """pynetdicom: keep, sync, acknowledge; another thread sends what was kept over an association that stays open."""
    from pynetdicom import AE, AllStoragePresentationContexts, StoragePresentationContexts, evt

    kept: queue.Queue[Path] = queue.Queue()

    def keep(event: Any) -> int:
        path = folder / str(event.request.AffectedSOPInstanceUID)
        with path.open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        kept.put(path)
        return 0

    def forward() -> None:
        caller = AE("BENCH")
        caller.requested_contexts = StoragePresentationContexts
        association: Any = None
        while True:
            path = kept.get()
            if association is None or not association.is_established:  # it is given up when nothing comes for a while
                association = caller.associate("127.0.0.1", archive, ae_title="ARCHIVE")
            association.send_c_store(str(path))
            path.unlink()

    entity = AE("BENCH")
    entity.supported_contexts = AllStoragePresentationContexts
    threading.Thread(target=forward, daemon=True).start()
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    if server is None or server.socket is None:
        raise ConfigError("bench: pynetdicom does not listen")
    ready.send(server.socket.getsockname()[1])
    ready.recv()
    os._exit(0)


_GATEWAYS: Mapping[str, Any] = {
    "radanon, tags scrubbed and verified": lambda folder, archive: _radanon(folder, archive, "off"),
    "radanon, the same, two processes receive": lambda folder, archive: _radanon(folder, archive, "off", 2),
    "radanon, tags and pixels": lambda folder, archive: _radanon(folder, archive, "auto"),
    "Orthanc + Lua forwarder, no de-identification": _orthanc,
    _REFERENCE: lambda folder, archive: in_process(_pass_through, folder, archive, patience=START_S),
}


# -- the measurement ----------------------------------------------------------------------------------------------------------


def _through(gateway: Peer, films: Sequence[Path], archive: Path, count: int) -> tuple[float, float] | None:
    """Send each folder of `films` over an association of its own, wait until `archive` has as many files.

    Returns
    -------
    (float, float) or None
        Instances per second, and the gateway's milliseconds of processor time per instance; None if they do not come.
    """
    before, begun = gateway.cpu(), time.perf_counter()
    senders = storescu(gateway.port, films)
    while sum(1 for _ in os.scandir(archive)) < count:
        if time.perf_counter() - begun > _PATIENCE_S + _PER_INSTANCE_S * count or any(
                sender.poll() not in (None, 0) for sender in senders):
            for sender in senders:
                sender.kill()
                sender.wait()
            return None
        time.sleep(0.02)
    seconds = time.perf_counter() - begun
    for sender in senders:
        sender.wait()
    time.sleep(_SETTLE_S)  # what comes after the last delivery, such as the removal of files, counts too
    spent = used(before, gateway.cpu())
    for path in archive.iterdir():
        path.unlink()
    return count / seconds, 1000 * spent / count


def measure(quick: bool = False) -> dict[str, Any]:
    """Run everything.

    Returns
    -------
    dict
        ``{"loads": [...], "runs": {gateway: {load: [figures]}}, "cpu": {gateway: {load: [ms per instance]}}, "stages": {load: {stage:
        [passages, seconds]}}, "load": [before, after], "absent": [...]}``; the stages are the first gateway's.
    """
    storescp = shutil.which("storescp")
    if storescp is None or shutil.which("storescu") is None:
        raise ConfigError("bench: DCMTK is not installed (apt install dcmtk)")
    columns, average = loads(quick), [os.getloadavg()[0]]
    runs: Runs = {name: {load.name: [] for load in columns} for name in _GATEWAYS}
    cpu: Runs = {name: {load.name: [] for load in columns} for name in _GATEWAYS}
    stages: dict[str, dict[str, tuple[int, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radanon-bench-")))
        running: dict[str, tuple[Peer, Path]] = {}
        missed: list[tuple[str, str]] = []
        for number, (name, start) in enumerate(_GATEWAYS.items()):
            place, archive, port = folder / f"gateway-{number}", folder / f"archive-{number}", free_port()
            place.mkdir()
            archive.mkdir()
            stack.enter_context(program([storescp, "--fork", "-pdu", "131072", "-od", archive, str(port)], port))
            running[name] = (stack.enter_context(start(place, port)), archive)
        for load in columns:
            films = Films(load)
            earlier = read_stages(folder / "gateway-0" / "var")
            for repetition in range(2 if quick else 4):
                for name, (gateway, archive) in running.items():
                    if (name, load.name) in missed:
                        continue
                    figures = _through(gateway, films.write(folder / "films"), archive, load.instances)
                    shutil.rmtree(folder / "films")
                    if figures is None:
                        missed.append((name, load.name))
                    elif repetition:  # the first is the warm-up
                        runs[name][load.name].append(figures[0])
                        cpu[name][load.name].append(figures[1])
            stages[load.name] = _since(earlier, read_stages(folder / "gateway-0" / "var"))
    return {"loads": [asdict(load) for load in columns], "runs": runs, "cpu": cpu, "stages": stages,
            "load": [*average, os.getloadavg()[0]], "absent": [_STATED_ABSENT]}


def _since(before: Mapping[str, Histogram], after: Mapping[str, Histogram]) -> dict[str, tuple[int, float]]:
    nothing = Histogram((), 0.0)
    return {name: (found.count - before.get(name, nothing).count, found.seconds - before.get(name, nothing).seconds)
            for name, found in after.items()}


def shown(measured: dict[str, Any]) -> str:
    """Medians in instances per second as Markdown, in brackets times the pass-through; then the node's stages."""
    columns = {load["name"]: "instances/s" for load in measured["loads"]}
    lines = [table("gateway", columns, measured["runs"], _REFERENCE, cpu=measured["cpu"]),
             f"{footer(measured, 'the pass-through')} x4: four associations at once. {' '.join(measured['absent'])}",
             "\nThe node's stages (ms per passage and passages; claim, store and record are of a batch):\n",
             "| stage | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for stage in dict.fromkeys(stage for found in measured["stages"].values() for stage in found):
        cells = [f"{1000 * found[stage][1] / found[stage][0]:.2f} ({found[stage][0]})" if found.get(stage, (0, 0))[0] else "-"
                 for found in measured["stages"].values()]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(quick: bool = False, json_file: Path | None = None) -> str:
    """Measure; returns a Markdown table, and writes all runs as JSON if a file is given."""
    return report(measure, shown, quick, json_file)
