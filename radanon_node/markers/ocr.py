"""Tesseract on one upright glyph or word: in process through tesserocr, else one process per look through pytesseract."""

from __future__ import annotations

import importlib
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import HoldInstance, Reason

_TESSDATA = (
    "/usr/share/tesseract-ocr/5/tessdata", "/usr/share/tesseract-ocr/4.00/tessdata", "/usr/share/tessdata", "/usr/local/share/tessdata",
)
# Height of the character Tesseract reads best, and the white around it.
_HEIGHT = 40
_RIM = 16
_SINGLE_CHARACTER, _SINGLE_WORD = 10, 8
SPECKS = ".,:;'`-_|~ "
"""What Tesseract reads into specks beside a glyph; a second letter is none."""
DIGITS = frozenset("0123456789")


class Reader(Protocol):
    """Reads one glyph or word."""

    def __call__(self, picture: NDArray[np.uint8], word: bool) -> str:
        """What Tesseract reads, stripped; dark ink on white, any size."""


def page(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An upright mask as Tesseract likes it: black on white, 40 pixels high, soft edges, a white rim.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
        Tight around the ink.

    Returns
    -------
    ndarray of uint8, shape (72, width)
    """
    width = min(max(round(mask.shape[1] * _HEIGHT / mask.shape[0]), 2), 20 * _HEIGHT)
    method = cv2.INTER_AREA if mask.shape[0] > _HEIGHT else cv2.INTER_LINEAR
    ink = np.asarray(cv2.resize(mask.astype(np.uint8) * 255, (width, _HEIGHT), interpolation=method), np.uint8)
    return np.pad(255 - ink, _RIM, constant_values=255)


def tessdata() -> str:
    """Folder of Tesseract's trained data.

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING`` when there is none.
    """
    for folder in (os.environ.get("TESSDATA_PREFIX", ""), *_TESSDATA):
        if folder and (Path(folder) / "eng.traineddata").is_file():
            return folder
    raise HoldInstance(Reason.MODEL_MISSING, "Tesseract's English data (eng.traineddata) is not installed")


class _InProcess:
    """tesserocr: one engine, one thread at a time."""

    def __init__(self) -> None:
        tesserocr = _tesserocr()
        self._modes = {True: tesserocr.PSM.SINGLE_WORD, False: tesserocr.PSM.SINGLE_CHAR}
        self._api: Any = tesserocr.PyTessBaseAPI(path=tessdata(), lang="eng", psm=self._modes[False], oem=tesserocr.OEM.LSTM_ONLY)

    def __call__(self, picture: NDArray[np.uint8], word: bool) -> str:
        self._api.SetPageSegMode(self._modes[word])
        self._api.SetImageBytes(picture.tobytes(), picture.shape[1], picture.shape[0], 1, picture.shape[1])
        text: str = self._api.GetUTF8Text().strip()
        # What was read is a patient's: the engine keeps neither picture nor words (nor adapts to them).
        self._api.Clear()
        self._api.ClearAdaptiveClassifier()
        return text


class _ByCommand:
    """pytesseract: the reference implementation, 75 to 100 ms a look."""

    def __call__(self, picture: NDArray[np.uint8], word: bool) -> str:
        import pytesseract
        from PIL import Image

        mode = _SINGLE_WORD if word else _SINGLE_CHARACTER
        options = f"--psm {mode} --oem 1 --tessdata-dir {tessdata()}"
        text: str = pytesseract.image_to_string(Image.fromarray(picture), lang="eng", config=options).strip()
        return text


_local = threading.local()


def reader() -> Reader:
    """This thread's reader; engines are not shared between threads, nor inherited by a forked process.

    Raises
    ------
    HoldInstance
        ``MODEL_MISSING`` when Tesseract is not installed.
    """
    if getattr(_local, "owner", None) != os.getpid():
        _local.reader, _local.owner = _kind()(), os.getpid()
    found: Reader = _local.reader
    return found


@cache
def _kind() -> type[_InProcess] | type[_ByCommand]:
    try:
        _tesserocr()
    except ImportError:
        import shutil

        if shutil.which("tesseract") is None:
            raise HoldInstance(Reason.MODEL_MISSING, "Tesseract is not installed") from None
        return _ByCommand
    return _InProcess


@cache
def _tesserocr() -> Any:
    """The module, with its own OpenMP told to stay on one thread: a glyph is too small to share, and its threads spin.

    The limit is read when the library is loaded; it is taken back so that other libraries keep theirs.
    """
    before = os.environ.get("OMP_THREAD_LIMIT")
    os.environ["OMP_THREAD_LIMIT"] = "1"
    try:
        return importlib.import_module("tesserocr")
    finally:
        if before is None:
            del os.environ["OMP_THREAD_LIMIT"]
        else:
            os.environ["OMP_THREAD_LIMIT"] = before
