"""DICOM films for training and evaluation, seen through the node's own decoder and view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import ConfigError, HoldInstance
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.pixels.view import views


def first_view(path: Path) -> NDArray[np.uint8]:
    """The main view of the first frame, shape (rows, columns), 0 = displayed black.

    Raises
    ------
    ConfigError
        No DICOM image the node could look at.
    """
    try:
        return views(open_image(read_instance(path.read_bytes())), 0)[0]
    except (OSError, HoldInstance) as error:
        raise ConfigError(f"film {path.name}: cannot be looked at ({error})") from error
