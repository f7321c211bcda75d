"""Early write-back changes nothing about the bytes and starts only whole steps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radanon_node.network import writeback
from radanon_node.network.writeback import Writeback


@given(st.integers(0, 2000), st.lists(st.integers(0, 3 * 2**20), max_size=12))
@settings(max_examples=60, deadline=None)
def test_every_byte_is_started_once_and_in_order_up_to_the_last_whole_step(start: int, sizes: list[int]) -> None:
    started: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writeback, "_sync_file_range", lambda _, offset, size, __: started.append((offset, size)))
        told = Writeback(start)
        for size in sizes:
            told.wrote(-1, size)
    position = 0
    for offset, size in started:
        assert offset == position
        assert size > 0
        position += size
    assert position % 2**20 == 0
    assert 0 <= start + sum(sizes) - position < 2**20


def test_the_file_holds_what_was_written(tmp_path: Path) -> None:
    data = os.urandom(3_500_000)
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    told = Writeback(0)
    for start in range(0, len(data), 100_000):
        told.wrote(fd, os.write(fd, data[start:start + 100_000]))
    os.close(fd)
    assert (tmp_path / "file").read_bytes() == data
