"""Our JPEG Lossless streams decode to the same values in decoders that are not ours."""

from __future__ import annotations

import io
from pathlib import Path

import libjpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from radanon_node.pixels import jpeg_lossless
from radanon_node.pixels.elements import NewPixels
from radanon_node.pixels.instance import encode_instance, read_instance
from radanon_node.pixels.streams import SOF_LOSSLESS, read_jpeg


@given(st.integers(2, 16), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_any_values_come_back(precision, rows, columns, samples, kind, seed):
    rng = np.random.default_rng(seed)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    top = 1 << precision
    values = [
        lambda: rng.integers(0, top, shape), lambda: np.zeros(shape, int), lambda: np.full(shape, top - 1),
        lambda: np.where(rng.random(shape) > 0.5, top - 1, 0),
    ][kind]().astype("u1" if precision <= 8 else "u2")
    stream = jpeg_lossless.encode(values, precision)
    np.testing.assert_array_equal(libjpeg.decode(stream, colour_transform=0), values)
    told = read_jpeg(stream)
    assert (told.rows, told.columns, told.components, told.precision, told.sof) == (rows, columns, samples, precision, SOF_LOSSLESS)
    assert not told.foreign and told.lossless


@pytest.mark.parametrize(("stored", "samples"), [(8, 1), (12, 1), (16, 1), (8, 3)])
def test_dcmtk_reads_it_too(kit, tmp_path: Path, stored, samples):
    values = kit.wavy(70, 90, stored, samples)
    dataset = read_instance(kit.build(values, photometric="RGB" if samples == 3 else "MONOCHROME2", stored=stored)).dataset
    stream = jpeg_lossless.encode(values, stored)
    coded = encode_instance(dataset, "1.2.840.10008.1.2.4.70", NewPixels(0x7FE00010, "OB", [stream], (1,)))
    native = dcmread(io.BytesIO(kit.dcmtk(coded.data, tmp_path, "dcmdjpeg")))
    np.testing.assert_array_equal(native.pixel_array, values)


def test_a_long_picture_is_packed_over_many_strips(kit):
    values = kit.wavy(700, 300, 12)
    np.testing.assert_array_equal(libjpeg.decode(jpeg_lossless.encode(values, 12)), values)


def test_no_code_is_longer_than_16_bits_however_uneven_the_counts():
    counts = np.array([2**k for k in range(17)], np.int64)
    lengths, symbols = jpeg_lossless._huffman(counts)
    assert sum(lengths) == 17 == len(set(symbols)) and len(lengths) == 16
    assert sum(count / 2**length for length, count in enumerate(lengths, 1)) < 1  # the code of all ones is free
    assert symbols[0] == 16


@pytest.mark.parametrize(
    ("values", "precision"), [(np.zeros((2, 2), "i2"), 8), (np.full((2, 2), 256, "u2"), 8), (np.zeros((2, 2), "u1"), 1)]
)
def test_what_the_coding_cannot_hold_is_refused(values, precision):
    with pytest.raises(ValueError):
        jpeg_lossless.encode(values, precision)
