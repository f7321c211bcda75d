"""A ledger with released instances in it, and a sender at work on them: real ledger, real spool, real seals."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radanon_node import config as configuration
from radanon_node.ledger.ledger import Ledger
from radanon_node.ledger.seal import Seal
from radanon_node.ledger.spool import Spool
from radanon_node.ledger.types import Arrival, ReleasedItem, ReleaseRecord
from radanon_node.network.sender import Sender
from radanon_node.pipeline.released import Released, digest_of
from radanon_node.settings import Config

KEY = bytes(range(32))


def picture(number: int = 1, rows: int = 64, columns: int = 64, syntax: str = ExplicitVRLittleEndian, sop_class: str = CTImageStorage,
            study: str = "1", **attributes: Any) -> Dataset:
    """A small CT slice with pseudonyms; encoded in `syntax` where pydicom has an encoder for it."""
    rng = np.random.default_rng(number)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=["picture", study, str(number)])
    ds.PatientName, ds.PatientID = "ANON-7", "ANON-7"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(entropy_srcs=[study]), generate_uid(entropy_srcs=[study, "series"])
    ds.Modality, ds.InstanceNumber = "CT", number
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = rng.integers(0, 4096, (rows, columns), dtype="<u2").tobytes()
    ds["PixelData"].VR = "OW"
    for name, value in attributes.items():
        setattr(ds, name, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if UID(syntax).is_compressed:
        ds.compress(syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    return ds


def part10(ds: Dataset) -> bytes:
    """As a file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def released(data: bytes, ds: Dataset, seal: Seal | None = None) -> Released:
    """As the sender re-opens it."""
    seal = seal or Seal(KEY)
    record = record_of(data, ds, "out/x", seal)
    return Released.reopen(record, data, seal)


def record_of(data: bytes, ds: Dataset, file: str, seal: Seal) -> ReleaseRecord:
    """Sealed as the worker seals it."""
    syntax = str(ds.file_meta.TransferSyntaxUID)
    plain = ReleaseRecord(str(ds.SOPClassUID), str(ds.SOPInstanceUID), syntax, file, len(data), digest_of(data), "")
    return replace(plain, seal=seal.sign(plain))


def network(port: int, **settings: Any) -> dict[str, Any]:
    """Settings of a destination here, with short waits."""
    return {"host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE", "retry_initial": 0.05, "retry_max": 0.4, "timeout": 20, **settings}


@dataclass
class Bench:
    """Ledger, spool and settings of one test."""

    folder: Path
    config: Config
    spool: Spool
    ledger: Ledger
    seal: Seal

    def put(self, pictures: Sequence[Dataset], destinations: Sequence[str] | None = None) -> list[bytes]:
        """Let `pictures` be released to `destinations` (all if not given); returns their files."""
        names = tuple(destinations or self.config.destinations)
        files = [part10(ds) for ds in pictures]
        arrivals = []
        for ds in pictures:
            incoming = self.spool.begin(b"original")
            incoming.seal()
            arrivals.append(Arrival(incoming.name, incoming.size, "IN", "TESTER", str(ds.SOPClassUID), generate_uid(),
                                    str(ds.file_meta.TransferSyntaxUID), time.time()))
        self.ledger.admit(arrivals)
        waiting = list(zip(pictures, files, strict=True))
        while waiting:
            items = self.ledger.claim("worker", 64, 60.0)
            batch, waiting = waiting[:len(items)], waiting[len(items):]
            names_of = self.spool.store_all([data for _, data in batch])
            outcomes = []
            for item, (ds, data), name in zip(items, batch, names_of, strict=True):
                record = record_of(data, ds, name, self.seal)
                outcomes.append(ReleasedItem(item.id, item.token, record, names, {"test": True}, str(ds.StudyInstanceUID)))
            self.ledger.finish(outcomes)
        return files

    def counts(self, destination: str) -> dict[str, Any]:
        """The destination's line of `status`."""
        found: dict[str, Any] = self.ledger.status()["destinations"].get(destination, {})
        return found

    def wait(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Until the ledger says so; the ledger is a database, asking is the only way to know."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, self.ledger.status()
            time.sleep(0.02)

    def wait_delivered(self, destination: str, count: int, seconds: float = 30.0) -> None:
        """Until that many deliveries are done."""
        self.wait(lambda: self.counts(destination).get("delivered") == count, seconds)

    @contextlib.contextmanager
    def sending(self) -> Iterator[threading.Event]:
        """A sender at work in a thread; gives its wake event."""
        wake, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=Sender(self.config, self.ledger, self.spool, self.seal, wake).run, args=(stop,))
        thread.start()
        try:
            yield wake
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()


@contextlib.contextmanager
def bench(folder: Path, destinations: Mapping[str, Mapping[str, Any]], drain: float = 5.0, **node: Any) -> Iterator[Bench]:
    """Everything a sender needs, below `folder`."""
    config = configuration.parse({
        "node": {"data_dir": str(folder / "var"), "drain_timeout": drain, **node},
        "destinations": {name: dict(values) for name, values in destinations.items()},
    })
    spool = Spool(folder / "var" / "spool")
    ledger = Ledger(f"sqlite:///{folder}/var/ledger.sqlite", KEY, spool)
    try:
        yield Bench(folder, config, spool, ledger, Seal(KEY))
    finally:
        ledger.close()
        spool.close()
