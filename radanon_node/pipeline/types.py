"""What travels between the stages: frozen values, in the order an instance passes them.

``Received -> (Detection, Region) -> Cleaned -> Released`` or, from anywhere, ``Quarantined``.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radanon_node.errors import Reason

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
"""Bytes of a Part 10 file, in memory or mapped."""

GrayFrame: TypeAlias = NDArray[np.uint8]
"""What the detectors look at: shape (rows, columns), 0 = displayed black."""


class Kind(StrEnum):
    """What a detector says it found. ``SIDE_LETTER`` is the only kind that the retention pass may keep."""

    SIDE_LETTER = "side_letter"
    TEXT = "text"
    SYMBOL = "symbol"
    BANNER = "banner"


class Source(StrEnum):
    """Who found it."""

    MARKER_MODEL = "marker_model"
    TEXT_MODEL = "text_model"
    DEVICE_RULE = "device_rule"
    REVIEWER = "reviewer"


class Verdict(StrEnum):
    """What becomes of a region's pixels."""

    REDACT = "redact"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of whole pixels, half open: columns ``x0 <= x < x1``, rows ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    @property
    def area(self) -> int:
        return max(self.width, 0) * max(self.height, 0)

    def clipped(self, rows: int, columns: int) -> Box:
        """The part of it inside an image of `rows` x `columns` (may have no area)."""
        return Box(max(self.x0, 0), max(self.y0, 0), min(self.x1, columns), min(self.y1, rows))

    def grown(self, margin: int) -> Box:
        """Larger by `margin` pixels on every side."""
        return Box(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    def intersection(self, other: Box) -> Box:
        return Box(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector's claim about one frame, before the retention pass has looked at it.

    Parameters
    ----------
    box : Box
        Tight around the item, in pixels of the frame.
    kind : Kind
    confidence : float
        0..1.
    source : Source
    """

    box: Box
    kind: Kind
    confidence: float
    source: Source


@dataclass(frozen=True, slots=True)
class Stamp:
    """A letter to be drawn anew inside a blackened region.

    Parameters
    ----------
    letter : str
        One capital of the profile's list.
    box : Box
        What is painted: the place and size of the letter that was there.
    turn : float
        Degrees clockwise by which it lay, after mirroring.
    mirrored : bool
    dark : bool
        Dark on a bright plate, as a letter cut out of lead; else bright on the black region.
    """

    letter: str
    box: Box
    turn: float = 0.0
    mirrored: bool = False
    dark: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A judged part of the picture: to be blacked out, or kept and why.

    Parameters
    ----------
    box : Box
        Inside the frame.
    verdict : Verdict
        Only ``REDACT`` regions touch pixels.
    kind, confidence, source
        From the detection or rule it came from.
    why : str
        A stable code such as ``isolated_side_letter``, ``not_isolated``, ``reading_unsure``, ``touches_text``. Never
        recognised text.
    frames : tuple of int or None
        The frames concerned, 0-based; None means all.
    mask : ndarray of bool, shape (box.height, box.width), or None
        Pixels of the box that are meant; None means the whole box.
    stamp : Stamp or None
        A clean letter drawn over the blackened pixels of this region.
    """

    box: Box
    verdict: Verdict
    kind: Kind
    confidence: float
    source: Source
    why: str = ""
    frames: tuple[int, ...] | None = None
    mask: NDArray[np.bool_] | None = None
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A box that a reviewer drew, or one of the program's that he takes back.

    Parameters
    ----------
    box : Box
    frames : tuple of int or None
        The frames concerned, 0-based; None means all.
    kind : Kind
        What is in it.
    """

    box: Box
    frames: tuple[int, ...] | None = None
    kind: Kind = Kind.TEXT


@dataclass(frozen=True, slots=True)
class Edits:
    """A reviewer's corrections of one instance: boxes to black out besides, and boxes of the detectors to leave as they were."""

    added: tuple[Edit, ...] = ()
    removed: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True, slots=True)
class Received:
    """An instance as the sender gave it: the whole Part 10 file, unchanged.

    Parameters
    ----------
    data : Buffer
        Part 10 bytes (preamble, meta, data set). May lack preamble/meta in folder mode.
    label : str
        What to call it in logs and reports: a ledger id or a path relative to the input folder. No identity.
    claimed_sop_class_uid, claimed_sop_instance_uid : str
        From the command set (C-STORE-RQ); empty in folder mode.
    claimed_transfer_syntax_uid : str
        Of the accepted presentation context; empty in folder mode.
    waived : str
        The reason codes that a reviewer has let pass for this instance, separated by spaces; each one of `errors.WAIVABLE`.
    edits : Edits
        Boxes that a reviewer added or took back.
    """

    data: Buffer
    label: str
    claimed_sop_class_uid: str = ""
    claimed_sop_instance_uid: str = ""
    claimed_transfer_syntax_uid: str = ""
    waived: str = ""
    edits: Edits = Edits()

    def waives(self, reason: Reason) -> bool:
        """Whether a reviewer has let `reason` pass."""
        return reason in self.waived.split()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """An instance after redaction and scrubbing, encoded, not yet verified. It cannot be sent.

    Parameters
    ----------
    label : str
    encoded : Buffer
        The Part 10 file as it would leave.
    sop_class_uid, sop_instance_uid, transfer_syntax_uid : str
        Of the new instance.
    folder : tuple of str
        (PATIENT, STUDY, SERIES) pseudonyms, the folder-mode path.
    receipt : dict
        Law 6's record; the verifier adds its proof line.
    """

    label: str
    encoded: Buffer
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    folder: tuple[str, str, str]
    receipt: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An instance that must not leave by itself, and why."""

    label: str
    reason: Reason
    detail: str = ""
