"""The two networks of the text pass: PP-OCRv6 detection (DBNet) and recognition (CTC), out of rapidocr's wheel, through ONNX Runtime.

Only the model files of the wheel are used; the package itself is never imported, so none of its download paths can run. The files
are known by their SHA-256 and anything else is refused.

References
----------
Liao et al. 2020, Real-time Scene Text Detection with Differentiable Binarization, AAAI. Apache-2.0 models of PaddleOCR and RapidOCR.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance, Reason
from radanon_node.onnx_session import Network, open_session
from radanon_node.pipeline.types import GrayFrame

DETECTION = ("PP-OCRv6_det_small.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f")
RECOGNITION = ("PP-OCRv6_rec_small.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884")
STRIDE = 32
_SQUEEZE = 0.75
"""Lines are read so much narrower than they are, which saves a quarter of the time; narrower still, small print is read unsurely."""
_LONGEST_SILENCE = 8  # steps of 8 squeezed pixels at a line height of 48: nearly two heights without a character
_REC_HEIGHT, _REC_MIN_WIDTH, _REC_MAX_WIDTH = 48, 64, 1600


def model_file(name: str, sha256: str) -> Path:
    """Where a model lies inside the installed wheel.

    Raises
    ------
    ConfigError
        The wheel is not installed, has no such file, or the file is not the one this version was tested with.
    """
    spec = importlib.util.find_spec("rapidocr")  # finds, does not import
    if spec is None or spec.origin is None:
        raise ConfigError("text models: the package rapidocr is not installed")
    path = Path(spec.origin).parent / "models" / name
    if not path.is_file():
        raise ConfigError(f"text models: rapidocr is installed without {name}; the tested version is 3.10")
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ConfigError(f"text models: {name} is not the file this version was tested with (SHA-256 differs)")
    return path


@dataclass(frozen=True, slots=True, eq=False)
class TextNets:
    """Both networks, loaded; `digest` names them in receipts."""

    detection: Network
    recognition: Network
    characters: tuple[str, ...]
    digest: str

    @classmethod
    def load(cls, threads: int = 1) -> TextNets:
        """Check the files' hashes and open them with `threads` threads each.

        Raises
        ------
        ConfigError
            See `model_file`.
        """
        detection = open_session(str(model_file(*DETECTION)), threads)
        recognition = open_session(str(model_file(*RECOGNITION)), threads)
        listed = recognition.metadata["character"].split("\n")
        # CTC: class 0 is the blank, the last one the space (PaddleOCR's CTCLabelDecode).
        classes = recognition.get_outputs()[0].shape[-1]
        characters = ("", *listed, " ")[:classes]
        if len(characters) != classes:
            raise ConfigError("text models: the recogniser's character list does not fit its output")
        return cls(detection, recognition, characters, hashlib.sha256((DETECTION[1] + RECOGNITION[1]).encode()).hexdigest())

    def text_probability(self, gray: GrayFrame) -> NDArray[np.float32]:
        """How likely each pixel lies in (the shrunk kernel of) a line of text.

        The net weighs its features over the whole picture, and a picture without any text sends it astray: bone, lung and mucosa
        then light up from edge to edge. So every picture is given a line of known text below it. With that line, text-free pictures
        stay dark, other text is found as well as before, and a net that does not find the line itself is not believed.

        Parameters
        ----------
        gray : GrayFrame
            Shape (rows, columns); padded to multiples of 32 by its own edge.

        Returns
        -------
        ndarray of float32, shape (rows, columns), 0..1

        Raises
        ------
        HoldInstance
            ``internal_error``: the known line was not found.
        """
        rows, columns = gray.shape
        height, width = rows + -rows % STRIDE, max(columns + -columns % STRIDE, 5 * STRIDE)
        line = _reference_line(width)
        plane = np.empty((height + line.shape[0], width), np.float32)
        plane[:height] = np.pad(gray, ((0, height - rows), (0, width - columns)), mode="edge")
        plane[height:] = line
        plane *= 2.0 / 255.0
        plane -= 1.0
        batch = np.ascontiguousarray(np.broadcast_to(plane, (1, 3, *plane.shape)))
        output: NDArray[np.float32] = self.detection.run(None, {"x": batch})[0]
        if not output[0, 0, height:].max() > 0.5:
            raise HoldInstance(Reason.INTERNAL_ERROR, "the text detector did not find its own reference line")
        return output[0, 0, :rows, :columns]

    def read(self, crops: Sequence[GrayFrame]) -> list[tuple[str, float]]:
        """Recognise one line of upright text per crop.

        Parameters
        ----------
        crops : sequence of GrayFrame

        Returns
        -------
        list of (str, float)
            Text and mean confidence of its characters, in the order given; 0 for no text and for a reading that leaves a stretch of
            its line out.
        """
        # One by one: lines of a batch must be padded to the widest, which costs more than the batch saves, and the gray padding beside
        # a bright crop makes its reading unsure.
        return [self._read(_scaled(crop)) for crop in crops]

    def _read(self, crop: GrayFrame) -> tuple[str, float]:
        width = crop.shape[1]
        plane = np.zeros((_REC_HEIGHT, max(_REC_MIN_WIDTH, width)), np.float32)
        plane[:, :width] = crop.astype(np.float32) * (2.0 / 255.0) - 1.0
        batch = np.ascontiguousarray(np.broadcast_to(plane, (1, 3, *plane.shape)))
        scores: NDArray[np.float32] = self.recognition.run(None, {"x": batch})[0]
        return self._decode(scores[0, : -(-width * scores.shape[1] // plane.shape[1])])

    def _decode(self, scores: NDArray[np.float32]) -> tuple[str, float]:
        best = scores.argmax(axis=1)
        sure = scores[np.arange(len(best)), best]
        starts = (best != 0) & np.concatenate(([True], best[1:] != best[:-1]))
        if not starts.any():
            return "", 0.0
        places = np.concatenate(([0], np.flatnonzero(best != 0), [len(best)]))
        if np.diff(places).max() > _LONGEST_SILENCE:
            sure = np.zeros_like(sure)  # a stretch of the line was left out: the reading is worth nothing
        return "".join(self.characters[index] for index in best[starts]).strip(), float(sure[starts].mean())


@lru_cache(maxsize=8)
def _reference_line(width: int) -> GrayFrame:
    png = np.frombuffer((files("radanon_node.markers") / "data" / "reference_text.png").read_bytes(), np.uint8)
    word: GrayFrame = np.asarray(cv2.imdecode(png, cv2.IMREAD_GRAYSCALE), np.uint8)
    line = np.zeros((word.shape[0], width), np.uint8)
    whole = width // word.shape[1] * word.shape[1]
    line[:, :whole] = np.tile(word, (1, width // word.shape[1]))
    return line


def _scaled(crop: GrayFrame) -> GrayFrame:
    width = round(crop.shape[1] * _REC_HEIGHT / max(crop.shape[0], 1) * _SQUEEZE)
    width = min(max(width, 16), _REC_MAX_WIDTH)
    return np.asarray(cv2.resize(crop, (width, _REC_HEIGHT), interpolation=cv2.INTER_LINEAR), np.uint8)
