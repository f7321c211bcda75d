"""What a process of the node does without: libraries that others import for it and that it never uses.

``import pydicom`` imports every decoder that is installed, and ``requests`` for pydicom's test files; ``import structlog`` imports rich for
tracebacks it is not asked for here. All of them are optional to their importers. Only processes that open pictures need decoders
(this package's own are called by `pixels`, pydicom's by the process of `network.transcode`); the others say at their start what they
leave out.
"""

from __future__ import annotations

import sys
from typing import Final

DECODERS: Final = ("libjpeg", "openjpeg", "pylibjpeg", "rle", "jpeg_ls", "PIL")
"""What `pixels` and pydicom decode with."""
GDCM: Final = ("gdcm",)
"""A decoder that pydicom alone uses."""
DOWNLOADS: Final = ("requests", "tqdm")
"""What pydicom fetches files for its own tests with."""
TABLES: Final = ("rich",)
"""What commands print tables on a terminal with; a running node prints none."""


def leave_out(*libraries: str) -> None:
    """Have these libraries pass for not installed in this process.

    For the first lines of a process, before pydicom is imported; where it has been, nothing happens: the library user's own process,
    in which parts of the node may run too, keeps what it has.

    Parameters
    ----------
    *libraries : str
        Top-level names. What needs one nevertheless fails with ModuleNotFoundError where it is imported.
    """
    if "pydicom" in sys.modules:
        return
    for name in libraries:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: "not found" (Python reference, 5.3.1)


def require_decoders() -> None:
    """See that this process did not leave out what pictures are decoded with.

    Raises
    ------
    ImportError
        It did. It would hold every compressed picture as undecodable.
    """
    gone = [name for name in DECODERS if name in sys.modules and sys.modules[name] is None]
    if gone:
        raise ImportError(f"this process opens no pictures: it was started without {', '.join(gone)}")
