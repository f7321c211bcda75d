"""The generator's weights file and the description beside it: hashed and checked before anything is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from radanon_node.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
# In an installed wheel the weights lie inside the package, in a checkout beside it. None are shipped so far: docs/biometrics.md.
_PACKAGED = (_PACKAGE / "packaged_weights" / "deformation.onnx", _PACKAGE.parent / "weights" / "deformation.onnx")


@dataclass(frozen=True, slots=True)
class GeneratorWeights:
    """A generator whose hash has been checked.

    Parameters
    ----------
    path : Path
        ``.onnx``: input float32 (1, 1, side, side) in 0..1, output float32 (1, 2, side, side) in -1..1.
    sha256 : str
    side : int
        Pixels of the square that films are scaled to.
    mu : float
        The deformation it was trained with.
    """

    path: Path
    sha256: str
    side: int
    mu: float


def find_generator(path: Path | None, sha256: str | None) -> GeneratorWeights | None:
    """Check a weights file against its hash and read its description, the ``.json`` beside it.

    Parameters
    ----------
    path : Path or None
        None means the packaged ``deformation.onnx``, if there is one.
    sha256 : str or None
        The hash that the configuration names; of the packaged file the one in its description.

    Returns
    -------
    GeneratorWeights or None
        None only where none are named and none packaged.

    Raises
    ------
    ConfigError
        File or description missing, unreadable, or not what the hash says.
    """
    packaged = path is None
    if path is None:
        path = next((candidate for candidate in _PACKAGED if candidate.is_file()), None)
        if path is None:
            return None
    where = "profiles.NAME.biometrics"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        side, mu = int(card["side"]), float(card["mu"])
        expected = str(card["sha256"]) if packaged else sha256
    except OSError as error:
        raise ConfigError(f"{where}.weights: {Path(error.filename or path).name} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{where}.weights: {path.with_suffix('.json').name} is no description of a generator") from None
    if digest != expected:
        raise ConfigError(f"{where}.weights_sha256: {path.name} has another hash than the one named")
    if not (16 <= side <= 2048 and side % 16 == 0 and 0 < mu <= 0.2):
        raise ConfigError(f"{where}.weights: {path.with_suffix('.json').name} has values out of range")
    return GeneratorWeights(path, digest, side, mu)
