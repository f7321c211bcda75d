"""A real node as a subprocess, real DICOM files to send, and waiting for what it does by its own ledger and log, never by sleeping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import yaml
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radanon_node.training.films_dicom import Invented, dx_dataset, encoded, invent


def ct(person: Invented, number: int, series: str = "1", side: int = 64) -> bytes:
    """An original axial CT slice (PS3.3 A.3) of `side` x `side`, no text in it."""
    rng = np.random.default_rng(number)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[person.accession, series, str(number)])
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = person.study_date
    ds.StudyTime = ds.ContentTime = ds.AcquisitionTime = person.study_time
    ds.AccessionNumber, ds.Modality, ds.Manufacturer = person.accession, "CT", "SYNTHETIC SCANNERS"
    ds.InstitutionName, ds.ReferringPhysicianName = person.institution, person.physician
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = person.name, person.patient_id, person.birth_date, "O"
    ds.KVP, ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "120", person.accession[-4:], 1, 1, number
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[person.accession])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[person.accession, series])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[person.accession, "frame"])
    ds.PatientPosition, ds.PositionReferenceIndicator = "HFS", ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    ds.SliceThickness, ds.PixelSpacing = "1", [0.7, 0.7]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = side
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
    ds.PixelData = rng.integers(0, 4096, (side, side), dtype="<u2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return encoded(ds)


def film(person: Invented, number: int = 1, rows: int = 500, columns: int = 400) -> bytes:
    """A DX film without markers: a smooth gradient."""
    picture = np.add.outer(np.linspace(400, 1500, rows), np.linspace(0, 900, columns)).astype("<u2")
    return encoded(dx_dataset(picture, 12, person, number))


def write_study(folder: Path, count: int, seed: int, make: Callable[[Invented, int], bytes] = ct) -> list[Path]:
    """`count` instances of one invented patient."""
    folder.mkdir(parents=True, exist_ok=True)
    person = invent(np.random.default_rng(seed))
    paths = []
    for number in range(1, count + 1):
        path = folder / f"{seed}-{number}.dcm"
        path.write_bytes(make(person, number))
        paths.append(path)
    return paths


def storescu(port: int, files: Sequence[Path], called: str = "IN", calling: str = "TESTER", check: bool = True,
             options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """DCMTK's sender; TCP_NODELAY as a sender that is in a hurry sets it."""
    command = ["storescu", *options, "-aet", calling, "-aec", called, "127.0.0.1", str(port), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TCP_NODELAY": "1"}, timeout=120)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@dataclass
class NodeProcess:
    """`radanon serve` under a configuration; its log is read as it comes."""

    folder: Path
    config: dict[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yaml"

    def start(self, environment: Mapping[str, str] | None = None) -> int:
        """Start and wait for `ready`; returns the DICOM port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(yaml.safe_dump(self.config))
        with self._news:
            self.events.clear()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "radanon_node", "serve", "--config", str(self.config_path)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **self.environment, **(environment or {})},
        )  # fmt: skip
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        port: int = self.wait_event("ready", 120)["port"]
        return port

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                self.lines.append(line)
                if line.startswith("{"):
                    self.events.append(json.loads(line))
                self._news.notify_all()

    def wait_event(self, name: str, timeout: float = 30.0) -> dict[str, Any]:
        """The first event of this name since the start."""
        until = time.monotonic() + timeout
        with self._news:
            while True:
                found = next((event for event in self.events if event["event"] == name), None)
                if found is not None:
                    return found
                left = until - time.monotonic()
                assert left > 0 and (self.process is None or self.process.poll() is None or left > timeout - 1), (
                    f"no event {name!r}; log:\n" + "".join(self.lines[-40:])
                )
                self._news.wait(min(left, 0.5))

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another `radanon` command on this node's configuration."""
        done = subprocess.run(
            [sys.executable, "-m", "radanon_node", *arguments, "--config", str(self.config_path)],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stderr + done.stdout
        return done

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return found

    def quarantine(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("quarantine", "list", "--json").stdout)
        return found

    def wait_states(self, timeout: float = 180.0, **wanted: int) -> dict[str, Any]:
        """Until the ledger counts exactly `wanted` and nothing is open; polls the ledger, the only public word on it."""
        until = time.monotonic() + timeout
        with self.ledger() as ledger:
            while True:
                states = ledger.status()["states"]
                open_rows = states["received"] + states["processing"] + states["released"]
                if all(states[name] == count for name, count in wanted.items()) and (open_rows == 0 or not {"delivered"} & set(wanted)):
                    return dict(states)
                assert time.monotonic() < until, f"states {states}, wanted {wanted}; log:\n" + "".join(self.lines[-40:])
                time.sleep(0.05)

    def wait_settled(self, timeout: float = 180.0) -> dict[str, Any]:
        """Until nothing is open, whatever became of it."""
        until = time.monotonic() + timeout
        with self.ledger() as ledger:
            while True:
                states = dict(ledger.status()["states"])
                if states["received"] + states["processing"] + states["released"] == 0:
                    return states
                assert time.monotonic() < until, f"states {states}; log:\n" + "".join(self.lines[-40:])
                time.sleep(0.05)

    @contextmanager
    def ledger(self) -> Iterator[Any]:
        """The node's ledger, opened beside it as an administrator's command would."""
        from radanon_node import config as configuration
        from radanon_node.store import open_store

        ledger, spool = open_store(configuration.load(self.config_path))
        try:
            yield ledger
        finally:
            ledger.close()
            spool.close()

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def stop(self) -> int:
        """SIGTERM, drain; returns the exit status."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else 0
        self.kill(signal.SIGTERM)
        return self.process.returncode


def node_config(folder: Path, destinations: Mapping[str, Mapping[str, Any]], profile: Mapping[str, Any] | None = None,
                **sections: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
    """A configuration with one route IN to `destinations`, free ports, quick retries, data below `folder`."""
    raw: dict[str, Any] = {
        "node": {"data_dir": str(folder / "var"), "log_format": "json", "drain_timeout": "20s"},
        "listener": {"port": 0, "min_free_disk": "10MiB"},
        "routes": [{"ae_title": "IN", "profile": "p", "destinations": list(destinations)}],
        "destinations": {
            name: ({**values} if "directory" in values else {"retry_initial": "200ms", "retry_max": "1s", "timeout": "10s", **values})
            for name, values in destinations.items()
        },
        "profiles": {"p": dict(profile or {"tags": {"options": ["clean_pixel_data", "retain_longitudinal_modified_dates"]}})},
        "worker": {"processes": 1},
        "web": {"enabled": False},
    }
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values}
    return raw


def originals(paths: Sequence[Path]) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in paths]


def assert_clean(data: bytes, person_of: Dataset) -> None:
    """No identifier of the patient in the bytes, in upper or lower case."""
    lowered = data.lower()
    words = [str(person_of.PatientID), str(person_of.AccessionNumber), *str(person_of.PatientName).split("^"),
             *str(person_of.ReferringPhysicianName).split("^"), str(person_of.StudyInstanceUID), str(person_of.SOPInstanceUID),
             str(person_of.PatientBirthDate), str(person_of.StudyDate)]  # fmt: skip
    assert [word for word in words if word.lower().encode() in lowered] == []
