"""Transcoding in a process of its own: a codec that crashes or hangs costs one delivery, and the sender lives."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from radanon_node.errors import DeliveryFailed
from radanon_node.helper import Helper
from radanon_node.network import transcoder
from radanon_node.network.transcoder import Transcoder
from tests.network.crashing import MARK
from tests.network.sending import bench, network, part10, picture, released
from tests.peers import storescp


@pytest.fixture
def process() -> Iterator[Transcoder]:
    found = Transcoder()
    yield found
    found.close()


def pid(process: Helper) -> int:
    assert process._child is not None
    return process._child.pid


def test_an_instance_comes_back_in_the_other_syntax(process: Transcoder) -> None:
    ds = picture(rows=300, columns=200, syntax=JPEGLSLossless)
    found = dcmread(BytesIO(process.transcode(released(part10(ds), ds), RLELossless)))
    assert found.file_meta.TransferSyntaxUID == RLELossless
    assert np.array_equal(found.pixel_array, ds.pixel_array)


def test_a_refusal_is_told_in_words_and_leaves_the_process_in_step(process: Transcoder) -> None:
    ds = picture()
    instance = released(part10(ds), ds)
    with pytest.raises(DeliveryFailed, match="cannot transcode to 1.2.3"):
        process.transcode(instance, "1.2.3")
    first = pid(process)
    assert process.transcode(instance, ImplicitVRLittleEndian)
    assert pid(process) == first


def test_a_codec_that_hangs_is_given_up(process: Transcoder, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = picture()
    instance = released(part10(ds), ds)
    process.transcode(instance, ImplicitVRLittleEndian)
    os.kill(pid(process), signal.SIGSTOP)
    monkeypatch.setattr(transcoder, "time_allowed", lambda size: 0.2)
    with pytest.raises(DeliveryFailed, match="took longer"):
        process.transcode(instance, ImplicitVRLittleEndian)
    monkeypatch.undo()
    assert process.transcode(instance, ImplicitVRLittleEndian)


def test_the_process_ends_when_it_is_closed_and_another_follows(process: Transcoder) -> None:
    ds = picture()
    instance = released(part10(ds), ds)
    process.transcode(instance, ImplicitVRLittleEndian)
    handle = os.pidfd_open(pid(process))
    process.close()
    assert select.select([handle], [], [], 0)[0]
    os.close(handle)
    assert process.transcode(instance, ImplicitVRLittleEndian)


@pytest.mark.integration
def test_a_crash_of_a_codec_fails_one_delivery_and_the_others_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies of every attempt at one instance: that delivery fails with the reason, all else is delivered."""
    monkeypatch.setattr(Transcoder, "__init__", lambda self: Helper.__init__(self, "tests.network.crashing"))
    pictures = [picture(number, syntax=ExplicitVRLittleEndian) for number in range(6)]
    pictures[2].PatientComments = MARK
    with storescp(tmp_path / "store", "+xi") as archive, bench(tmp_path, {"archive": network(archive.port, attempts=2)}) as node:
        node.put(pictures)
        with node.sending():
            node.wait_delivered("archive", 5, 60)
            node.wait(lambda: node.counts("archive")["failed"] == 1)
        there = [str(ds.SOPInstanceUID) for ds in pictures if ds is not pictures[2]]
        assert sorted(str(ds.SOPInstanceUID) for ds in archive.instances()) == sorted(there)
        (entry,) = node.ledger.deliveries_list(state="failed")
        assert "the process that transcodes died of it" in entry.detail
        assert node.counts("archive")["up"] is True
