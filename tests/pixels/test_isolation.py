"""A decoder that dies, hangs or outlives its owner costs one frame, not the process it works for."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from radanon_node.errors import HoldInstance, Reason
from radanon_node.pixels import isolation
from radanon_node.pixels.instance import read_instance


@pytest.fixture
def frame(kit):
    values = kit.wavy(40, 40, 12)
    data = kit.compress(kit.build(values, stored=12), JPEG2000Lossless)
    return bytes(read_instance(data).pixels.fragment(0)), values


@pytest.fixture
def process():
    running = isolation.DecoderProcess()
    yield running
    running.close()


def decoded(process, stream):
    return process.decode("jpeg_2000", stream, 40, 40, 1, 12)


def test_a_frame_comes_back_as_from_the_decoder_itself(process, frame):
    stream, values = frame
    np.testing.assert_array_equal(decoded(process, stream), values)


def test_a_refused_frame_leaves_the_child_in_step(process, frame):
    stream, values = frame
    with pytest.raises(HoldInstance) as hold:
        decoded(process, stream[:60])
    assert hold.value.reason is Reason.UNDECODABLE_PIXELS
    child = process._child.pid
    np.testing.assert_array_equal(decoded(process, stream), values)
    assert process._child.pid == child


def test_a_hanging_decoder_is_killed_and_started_anew(process, frame, monkeypatch):
    stream, values = frame
    decoded(process, stream)
    os.kill(process._child.pid, signal.SIGSTOP)
    monkeypatch.setattr(isolation, "time_allowed", lambda values: 0.2)
    with pytest.raises(HoldInstance) as hold:
        decoded(process, stream)
    assert hold.value.reason is Reason.TIME_LIMIT
    monkeypatch.undo()
    np.testing.assert_array_equal(decoded(process, stream), values)


def test_a_dying_decoder_holds_the_frame_it_died_of(process, frame):
    stream, values = frame
    decoded(process, stream)
    child = process._child.pid
    os.kill(child, signal.SIGSTOP)
    killer = threading.Timer(0.2, os.kill, (child, signal.SIGKILL))
    killer.start()
    with pytest.raises(HoldInstance) as hold:
        decoded(process, stream)
    killer.join()
    assert hold.value.reason is Reason.UNDECODABLE_PIXELS
    np.testing.assert_array_equal(decoded(process, stream), values)


def test_a_child_that_died_idle_is_not_held_against_the_next_frame(process, frame):
    stream, values = frame
    decoded(process, stream)
    os.kill(process._child.pid, signal.SIGKILL)
    process._child.wait()
    np.testing.assert_array_equal(decoded(process, stream), values)


def test_the_child_ends_with_its_owner(frame, tmp_path):
    (tmp_path / "frame").write_bytes(frame[0])
    script = (
        "import os, sys, pathlib; from radanon_node.pixels import isolation as i;"
        "i.decode_safely('jpeg_2000', pathlib.Path(sys.argv[1]).read_bytes(), 40, 40, 1, 12);"
        "print(i._PROCESS._child.pid, flush=True); sys.stdin.read(); os._exit(1)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "frame")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    handle = os.pidfd_open(int(owner.stdout.readline()))
    owner.kill()
    owner.communicate()
    assert select.select([handle], [], [], 30)[0], "the decoder outlived the process it worked for"
    os.close(handle)
