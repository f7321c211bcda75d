"""Films sent through the node's own cleaning core: what is judged is what would have left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Received
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.settings_profile import PixelSettings, ProfileSettings, TagSettings
from radanon_node.training.films_dicom import dx_dataset, encoded, invent

_BITS, _STEP, _LIFT = 12, 15, 64


class CleaningCore:
    """The whole of the core around one weights file: decode, detect, retention, redaction, verification.

    Parameters
    ----------
    weights : Path or None
        None takes the packaged ones.
    sha256 : str or None
    retain : sequence of str
        Letters that may stay.
    threads : int
    """

    def __init__(self, weights: Path | None, sha256: str | None, retain: Sequence[str] = ("L", "R"), threads: int = 2) -> None:
        self._tools = Tools(bytes(32), weights, sha256, "cpu", threads)
        tags = TagSettings(options=("clean_pixel_data", "retain_longitudinal_modified_dates"))
        self._policy = Policy("evaluate", "evaluate", ProfileSettings(tags=tags, pixels=PixelSettings(retain=tuple(retain))))
        self._rng = np.random.default_rng(0)

    def blackened(self, image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        """Pixels that the node blacks out on a film wrapped as a Digital X-Ray object; None if it is held in quarantine.

        Every stored value is lifted above zero first, so that a zero afterwards is a pixel that was filled.
        """
        stored = image.astype(np.uint16) * _STEP + _LIFT
        data = encoded(dx_dataset(stored, _BITS, invent(self._rng)))
        (result,) = clean_batch([Received(data, "film")], self._policy, self._tools)
        if not isinstance(result, Released):
            return None
        after = np.asarray(open_image(read_instance(result.encoded)).frame(0)).reshape(stored.shape)
        return np.asarray(after != stored, np.bool_)
