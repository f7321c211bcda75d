"""Side letters through the whole core: kept, flagged where they contradict, or drawn anew, and what receipt and tags say of it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import numpy as np
import pydicom
import pytest

from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Box, Detection, GrayFrame, Kind, Received, Source
from radanon_node.pixels.codec import open_image
from radanon_node.pixels.instance import read_instance
from radanon_node.settings_profile import PixelSettings, ProfileSettings, TagSettings
from radanon_node.training.films_dicom import dx_dataset, encoded, invent
from tests.markers.drawn import Film, stencil

PERSON = invent(np.random.default_rng(5))
SCHEMA = Path(__file__).parents[2] / "radanon_node/pipeline/data/receipt.schema.json"


class Finds:
    """A detector that finds what it is told to."""

    model_hash = "0" * 64

    def __init__(self, *boxes: Box) -> None:
        self.boxes = boxes

    def detect(self, frames: Sequence[GrayFrame], min_confidence: float | None = None) -> list[list[Detection]]:
        return [[Detection(box, Kind.SIDE_LETTER, 0.9, Source.MARKER_MODEL) for box in self.boxes] for _ in frames]


def through(film: Film, boxes: Sequence[Box], laterality: str = "", **pixels: bool) -> tuple[Released, pydicom.Dataset, np.ndarray]:
    dataset = dx_dataset(film.view(), 12, PERSON, 1, burned_in="NO")
    dataset.ImageLaterality = laterality or None
    tools = Tools(bytes(range(32)))
    tools._markers = Finds(*boxes)  # type: ignore[assignment]
    options = TagSettings(options=("clean_pixel_data", "retain_longitudinal_modified_dates"))
    policy = Policy("IN", "p", ProfileSettings(tags=options, pixels=PixelSettings(detect="markers", **pixels)))
    (released,) = clean_batch([Received(encoded(dataset), "film")], policy, tools)
    assert isinstance(released, Released), released
    jsonschema.validate(json.loads(json.dumps(released.receipt)), json.loads(SCHEMA.read_text()))
    out = pydicom.dcmread(io.BytesIO(bytes(released.encoded)))
    return released, out, open_image(read_instance(bytes(released.encoded))).frame(0)


def joined() -> tuple[Film, Box]:
    """An R with two initials that touch it all along its feet, in one box."""
    film = Film(0)
    letter, initials = stencil("R", 56, 8), stencil("DG", 30, 4)
    both = np.zeros((84, max(letter.shape[1], initials.shape[1])), bool)
    both[:56, : letter.shape[1]] |= letter
    both[54:, : initials.shape[1]] |= initials
    return film, film.add(both, 60, 40, 100)


_SAYS = [("R", "contradicts_laterality"), ("L", "isolated_side_letter"), ("", "isolated_side_letter")]


@pytest.mark.parametrize(("laterality", "why"), _SAYS)
def test_a_kept_letter_that_contradicts_image_laterality_is_flagged_in_the_receipt(laterality: str, why: str) -> None:
    film = Film(4)
    box = film.add(stencil("L"), 60, 50, 100)
    released, _, _ = through(film, [box.grown(2)], laterality)
    assert [(entry["verdict"], entry["why"]) for entry in released.receipt["boxes"]] == [("keep", why)]


def test_two_markers_that_disagree_are_both_flagged() -> None:
    film = Film(8)
    boxes = [film.add(stencil("L", 40, 6), x, 40, 100).grown(2) for x in (20, 150)]
    released, _, _ = through(film, boxes)
    assert {entry["why"] for entry in released.receipt["boxes"]} == {"side_letters_disagree"}


def test_a_letter_that_initials_touch_is_drawn_anew_where_the_profile_asks_for_it() -> None:
    film, box = joined()
    released, out, pixels = through(film, [box.grown(2)], restamp=True)
    (entry,) = released.receipt["boxes"]
    assert (entry["verdict"], entry["why"], entry["drawn"]["letter"]) == ("redact", "letter_drawn_anew", "R")
    assert released.receipt["proof"]["pixels"]["drawn_pixels"] > 100 and "R" in out.DerivationDescription
    drawn = Box(*entry["drawn"]["box"])
    assert drawn.y1 < box.y1 - 12 and abs(drawn.y0 - box.y0) <= 2
    assert not (pixels[drawn.y1 : box.y1, box.x0 : box.x1] > pixels.min()).any()


def test_without_being_asked_nothing_is_drawn() -> None:
    film, box = joined()
    released, out, _ = through(film, [box.grown(2)])
    assert not any("drawn" in entry for entry in released.receipt["boxes"]) and "DerivationDescription" not in out
