"""An encoder for JPEG Lossless, first-order prediction (ITU-T T.81 Annex H, selection value 1; PS3.5 A.4.2), in numpy.

pydicom and pylibjpeg have none, and GDCM's Python binding has ended the process with an uncaught C++ exception. The code of a lossless
scan is simple enough to be made for all pixels at once: every difference has its Huffman code and extra bits in one table, and
where each goes in the stream is a cumulative sum.
"""

from __future__ import annotations

from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STRIP = 1 << 16
"""Differences packed at once: few enough for the intermediate arrays to stay in the cache."""


def encode(values: NDArray[Any], precision: int) -> bytes:
    """Encode one frame as a single interleaved scan.

    Parameters
    ----------
    values : ndarray of unsigned integers, shape (rows, columns) or (rows, columns, samples)
        Below ``2**precision``; up to 65535 rows and columns and 4 samples.
    precision : int
        2 to 16 bits.

    Returns
    -------
    bytes
        From SOI to EOI.

    Raises
    ------
    ValueError
        For a shape, type or precision that the coding does not have.

    References
    ----------
    ITU-T T.81 (1992), Annex H.1 (prediction, coding of differences), Annex K.2 (Huffman table), Annex C (code assignment).
    """
    planes = values[..., np.newaxis] if values.ndim == 2 else values
    rows, columns, samples = planes.shape
    if not (2 <= precision <= 16 and 1 <= samples <= 4 and 0 < rows < 65536 and 0 < columns < 65536):
        raise ValueError("no JPEG Lossless image has this shape or precision")
    if planes.dtype.kind != "u" or int(planes.max()) >> precision:
        raise ValueError("values are not unsigned numbers of this precision")
    differences = _differences(planes.astype(np.uint16, copy=False), precision)
    categories = _categories()
    counts = np.bincount(categories, np.bincount(differences, minlength=65536), 17).astype(np.int64)
    lengths, symbols = _huffman(counts)
    bits, sizes = _codes(lengths, symbols, categories)
    return b"".join([_header(rows, columns, samples, precision, lengths, symbols), _scan(differences, bits, sizes), b"\xff\xd9"])


def _differences(planes: NDArray[np.uint16], precision: int) -> NDArray[np.uint16]:
    """Value minus prediction modulo 2**16, in coding order: left neighbour, in the first column the one above."""
    out = planes.copy()
    out[:, 1:] -= planes[:, :-1]
    out[1:, 0] -= planes[:-1, 0]
    out[0, 0] -= np.uint16(1 << (precision - 1))
    return out.reshape(-1)


def _categories() -> NDArray[np.uint8]:
    """SSSS of every difference modulo 2**16 (T.81 Table H.2): the bits of its magnitude."""
    signed = np.arange(65536, dtype=np.int64)
    signed[32769:] -= 65536
    magnitude = np.abs(signed)
    out = np.zeros(65536, np.uint8)
    for bit in range(16):
        out[magnitude >= 1 << bit] = bit + 1
    out[32768] = 16
    return out


def _huffman(counts: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Numbers of codes of 1..16 bits, and the symbols in order of code (T.81 K.2); no code is all ones."""
    weight = {int(symbol): int(counts[symbol]) for symbol in np.flatnonzero(counts)}
    # The symbol 256 takes the code of all ones, which may not be used.
    groups = [(count, [symbol]) for symbol, count in weight.items()] + [(0, [256])]
    size = dict.fromkeys([*weight, 256], 0)
    while len(groups) > 1:
        groups.sort(key=lambda group: (group[0], -len(group[1])))
        (first, left), (second, right), *rest = groups
        for symbol in left + right:
            size[symbol] += 1
        groups = [*rest, (first + second, left + right)]
    per_length = [0] * 34
    for symbol in size:
        per_length[size[symbol]] += 1
    for length in range(33, 16, -1):  # T.81 Figure K.3: no code longer than 16 bits
        while per_length[length] > 0:
            shorter = length - 2
            while per_length[shorter] == 0:
                shorter -= 1
            per_length[length] -= 2
            per_length[length - 1] += 1
            per_length[shorter + 1] += 2
            per_length[shorter] -= 1
    longest = max(length for length in range(1, 17) if per_length[length])
    per_length[longest] -= 1  # the reserved one
    ordered = sorted(weight, key=lambda symbol: (size[symbol], -weight[symbol]))
    return per_length[1:17], ordered


def _codes(lengths: list[int], symbols: list[int], categories: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """For every difference: its code and extra bits as one number, and how many bits that is."""
    code_of, size_of = np.zeros(17, np.uint64), np.zeros(17, np.int64)
    code = index = 0
    for length, count in enumerate(lengths, 1):
        for _ in range(count):
            code_of[symbols[index]], size_of[symbols[index]] = code, length
            code, index = code + 1, index + 1
        code <<= 1
    signed = np.arange(65536, dtype=np.int64)
    signed[32769:] -= 65536
    extra = np.where(categories == 16, 0, categories).astype(np.int64)
    # Negative differences are coded as their value minus one, in as many low bits (T.81 F.1.2.1.1).
    low = np.where(signed < 0, signed - 1, signed) & ((1 << extra) - 1)
    bits = (code_of[categories] << extra.astype(np.uint64)) | low.astype(np.uint64)
    return bits, size_of[categories] + extra


def _scan(differences: NDArray[np.uint16], bits: NDArray[np.uint64], sizes: NDArray[np.int64]) -> bytes:
    """The entropy-coded segment: codes put one after the other, the last byte filled with ones, 0xFF stuffed."""
    pieces: list[NDArray[np.uint8]] = []
    carry, carried = 0, 0  # bits of the last, unfinished 32-bit word
    for start in range(0, len(differences), _STRIP):
        part = differences[start : start + _STRIP]
        size = sizes[part]
        ends = np.cumsum(size)
        begins = ends - size + carried
        # A code has at most 32 bits, so with up to 31 before it in its word it lies in two words.
        shifted = bits[part] << (64 - (begins & 31) - size).astype(np.uint64)
        word = begins >> 5
        total = int(ends[-1]) + carried
        count = (total >> 5) + 2
        # Sums of disjoint bits below 2**32 are exact in doubles.
        summed = np.bincount(word, (shifted >> np.uint64(32)).astype(np.float64), count)
        summed += np.bincount(word + 1, (shifted & np.uint64(0xFFFFFFFF)).astype(np.float64), count)
        words = summed.astype(np.uint64)
        words[0] += np.uint64(carry)
        whole, carried = total >> 5, total & 31
        carry = int(words[whole])
        pieces.append(words[:whole].astype(">u4").view(np.uint8))
    tail = np.frombuffer(pack(">L", carry | ((1 << (32 - carried)) - 1)), np.uint8)[: (carried + 7) // 8]
    stream = np.concatenate([*pieces, tail])
    return np.insert(stream, np.flatnonzero(stream == 0xFF) + 1, 0).tobytes()


def _header(rows: int, columns: int, samples: int, precision: int, lengths: list[int], symbols: list[int]) -> bytes:
    frame = pack(">BHHB", precision, rows, columns, samples) + b"".join(pack("BBB", k + 1, 0x11, 0) for k in range(samples))
    table = b"\0" + bytes(lengths) + bytes(symbols)
    scan = pack("B", samples) + b"".join(pack("BB", k + 1, 0) for k in range(samples)) + b"\x01\0\0"  # selection value 1, no shift
    segments = ((0xC3, frame), (0xC4, table), (0xDA, scan))
    return b"\xff\xd8" + b"".join(pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
