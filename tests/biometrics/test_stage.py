"""The stage in the cleaning core: order, bit depths, what is held, what is said, and that the verifier computes it again."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from radanon_node.biometrics.field import grow, sample
from radanon_node.biometrics.stage import Anonymised, Anonymiser
from radanon_node.errors import ConfigError, Reason
from radanon_node.pipeline.clean import clean_batch
from radanon_node.pipeline.released import Released
from radanon_node.pipeline.tools import Policy, Tools
from radanon_node.pipeline.types import Box, Detection, Kind, Quarantined, Received, Source
from radanon_node.pixels.areas import Area, touched
from radanon_node.pixels.fill import Paint
from radanon_node.settings_profile import BiometricsSettings, ProfileSettings, TagSettings
from radanon_node.training.films_dicom import dx_dataset, encoded, invent
from tests.biometrics.made import write_generator
from tests.integration.harness import ct

PERSON = invent(np.random.default_rng(5))
BOX = Box(40, 30, 120, 70)


class Finds:
    """A marker detector that finds one text."""

    model_hash = "0" * 64

    def detect(self, frames: Any, min_confidence: float | None = None) -> list[list[Detection]]:
        return [[Detection(BOX, Kind.TEXT, 0.9, Source.MARKER_MODEL)] for _ in frames]


class FindsNothing(Finds):
    def detect(self, frames: Any, min_confidence: float | None = None) -> list[list[Detection]]:
        return [[] for _ in frames]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return write_generator(tmp_path_factory.mktemp("generator"))


def picture(rows: int = 400, columns: int = 320, top: int = 4095) -> np.ndarray:
    """Ribs and lungs, roughly; never black, and a very bright word where the detector finds one."""
    ys, xs = np.mgrid[0:rows, 0:columns]
    film = 0.45 + 0.2 * np.sin(ys / 9 + np.sin(xs / 25)) + 0.2 * np.cos(xs / 40)
    film[BOX.y0 + 6 : BOX.y1 - 6, BOX.x0 + 6 : BOX.x1 - 6] = 1.0
    return np.clip(film * top, 200 * top / 4095, top).astype("<u2")


def film(number: int = 1, **changes: Any) -> bytes:
    ds = dx_dataset(picture(), 12, PERSON, number, burned_in="NO")
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return encoded(ds)


def run(data: bytes, biometrics: Any, detector: Finds | None = None, waived: str = "") -> Released | Quarantined:
    profile = ProfileSettings(tags=TagSettings(options=("clean_pixel_data",)), biometrics=biometrics)
    tools = Tools(bytes(range(32)))
    tools._markers = detector or Finds()  # type: ignore[assignment]
    return clean_batch([Received(data, "1", waived=waived)], Policy("IN", "p", profile), tools)[0]


def released(data: bytes, biometrics: Any, **more: Any) -> tuple[Dataset, dict[str, Any]]:
    result = run(data, biometrics, **more)
    assert isinstance(result, Released), result
    schema = json.loads((files("radanon_node.pipeline") / "data" / "receipt.schema.json").read_text())
    jsonschema.validate(result.receipt, schema)
    return pydicom.dcmread(io.BytesIO(bytes(result.encoded))), result.receipt


def learned(weights: tuple[Path, str], **more: Any) -> BiometricsSettings:
    return BiometricsSettings(method="deformation", weights=weights[0], weights_sha256=weights[1], **more)


def test_markers_go_first_and_their_boxes_move_with_the_film_and_stay_black(weights: tuple[Path, str]) -> None:
    source = film()
    ds, receipt = released(source, learned(weights, mu=0.03))
    before, after = pydicom.dcmread(io.BytesIO(source)).pixel_array, ds.pixel_array
    assert after.max() < 4095 * 0.95  # the word was the only white: nothing of its ink came back
    assert not np.array_equal(after[200:], before[200:])  # the anatomy moved
    assert receipt["proof"]["pixels"]["inside"] == "filled"
    assert receipt["proof"]["pixels"]["redacted_pixels"] > 0.5 * BOX.area
    black = np.argwhere(after == 0)
    low, high = black.min(axis=0), black.max(axis=0)
    reach = 0.03 * 400 / 2 + 4  # what the field can move, and the margin around the box
    assert abs(low[0] - BOX.y0) <= reach and abs(high[0] - BOX.y1) <= reach
    assert abs(low[1] - BOX.x0) <= reach and abs(high[1] - BOX.x1) <= reach


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(4, 90), st.integers(4, 90), st.floats(0, 9), st.integers(0, 2**16))
def test_moved_boxes_are_found_near_the_boxes_as_in_the_whole_film(
    data: st.DataObject, rows: int, columns: int, far: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    areas = []
    for bright in data.draw(st.lists(st.booleans(), min_size=1, max_size=5)):
        y, x = int(rng.integers(0, rows)), int(rng.integers(0, columns))
        box = Box(x, y, int(rng.integers(x + 1, columns + 1)), int(rng.integers(y + 1, rows + 1)))
        areas.append(Area(box, rng.random((box.height, box.width)) > 0.02, bright))
    grown = grow((rng.uniform(-far, far, (16, 16, 2))).astype(np.float32), rows, columns)
    made = Anonymised(np.zeros((rows, columns), np.uint16), areas, Paint(()), grown)
    black, drawn = ([area for area in areas if area.bright == bright] for bright in (False, True))
    covered = touched(black, rows, columns) & ~touched(drawn, rows, columns)
    inner = cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    found = made.moved_boxes()
    assert found is not None
    differ = found != (sample(inner, grown, nearest=True) > 0)
    # Only where a place lies half-way between two pixels, which rounding decides.
    assert differ.sum() <= 0.001 * differ.size


def test_the_field_is_made_from_the_film_without_its_markers(weights: tuple[Path, str]) -> None:
    with_word, without = picture(), picture()
    without[BOX.y0 : BOX.y1, BOX.x0 : BOX.x1] = 1000
    pixels = []
    for values in (with_word, without):
        ds = dx_dataset(values, 12, PERSON, burned_in="NO")
        ds.WindowCenter, ds.WindowWidth = 2048, 4096
        pixels.append(released(encoded(ds), learned(weights))[0].PixelData)
    assert pixels[0] == pixels[1]


@pytest.mark.parametrize("method", ["learned", "patient", "dp_pix"])
def test_a_resend_gives_the_same_object(method: str, weights: tuple[Path, str]) -> None:
    biometrics = {
        "learned": learned(weights), "patient": BiometricsSettings(method="deformation", field="patient"), "dp_pix": "dp_pix",
    }[method]  # fmt: skip
    data = film()
    first, second = run(data, biometrics), run(data, biometrics)
    assert isinstance(first, Released) and isinstance(second, Released)
    assert bytes(first.encoded) == bytes(second.encoded)


def test_what_was_done_is_said(weights: tuple[Path, str]) -> None:
    ds, receipt = released(film(), learned(weights, mu=0.01))
    assert ds.ImageType[0] == "DERIVED"
    assert "mu=0.01" in ds.DerivationDescription
    assert ds.DerivationCodeSequence[0].CodeValue == "113085"
    assert any("deformation field" in text for text in ds.DeidentificationMethod)
    assert receipt["biometrics"] == {"method": "deformation", "mu": 0.01, "field": "film", "model": weights[1]}
    assert receipt["pixels"]["method"] == "anonymised"
    codes = {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}
    assert "113101" in codes and "113102" not in codes  # a chest film has no face that was cleaned
    assert "RecognizableVisualFeatures" not in ds
    source = pydicom.dcmread(io.BytesIO(film()))
    assert ds.get("PixelSpacing") == source.get("PixelSpacing") and ds.get("ImagerPixelSpacing") == source.get("ImagerPixelSpacing")
    pixelised, receipt = released(film(), {"method": "dp_pix", "grid": 16, "neighbours": 2, "epsilon": 0.5})
    assert receipt["biometrics"] == {"method": "dp_pix", "grid": 16, "neighbours": 2, "epsilon": 0.5}
    assert "epsilon=0.5" in pixelised.DerivationDescription
    assert "DerivationCodeSequence" not in pixelised  # CID 7203 has none that says this


def variants() -> list[tuple[str, Dataset]]:
    base = picture()

    def made(name: str, values: np.ndarray, stored: int, allocated: int, signed: int = 0, photometric: str = "MONOCHROME2") -> Any:
        ds = dx_dataset(base, 12, PERSON, burned_in="NO")
        ds.BitsStored, ds.HighBit, ds.BitsAllocated, ds.PixelRepresentation = stored, stored - 1, allocated, signed
        ds.PhotometricInterpretation = photometric
        data = values.tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if allocated == 8 else "OW"
        ds.SmallestImagePixelValue, ds.LargestImagePixelValue = int(values.min()), int(values.max())
        return name, ds

    found = [
        made("8 bit", (base >> 4).astype("u1"), 8, 8),
        made("10 in 16", (base >> 2).astype("<u2"), 10, 16),
        made("16 bit", (base.astype("<u4") * 16).astype("<u2"), 16, 16),
        made("signed", (base.astype("<i4") - 2048).astype("<i2"), 12, 16, 1),
        made("MONOCHROME1", (4095 - base).astype("<u2"), 12, 16, 0, "MONOCHROME1"),
    ]
    for uid in (RLELossless, JPEGLSLossless):
        _, ds = made(uid.name, base, 12, 16)
        ds.compress(uid, generate_instance_uid=False)
        found.append((uid.name, ds))
    return found


@pytest.mark.parametrize("case", variants(), ids=lambda case: case[0])
@pytest.mark.parametrize("method", ["deformation", "dp_pix"])
def test_bit_depths_signs_photometrics_and_codings(case: tuple[str, Dataset], method: str, weights: tuple[Path, str]) -> None:
    _, source = case
    ds, _ = released(encoded(source), learned(weights) if method == "deformation" else "dp_pix")
    before, after = source.pixel_array, ds.pixel_array
    assert ds.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert (ds.BitsStored, ds.PixelRepresentation, ds.PhotometricInterpretation) == (
        source.BitsStored, source.PixelRepresentation, source.PhotometricInterpretation,
    )  # fmt: skip
    assert after.dtype == before.dtype and after.shape == before.shape
    if "SmallestImagePixelValue" in source and isinstance(source.SmallestImagePixelValue, int):
        assert (ds.SmallestImagePixelValue, ds.LargestImagePixelValue) == (after.min(), after.max())
    if method == "deformation":
        span = float(before.max()) - float(before.min())
        inside = np.abs(after[150:, 150:].astype(float) - before[150:, 150:].astype(float))
        assert 0 < inside.mean() < 0.1 * span  # moved a little, not destroyed


def test_a_lossy_film_leaves_without_further_loss_and_says_that_it_once_had_some(weights: tuple[Path, str]) -> None:
    from PIL import Image as Pictures
    from pydicom.encaps import encapsulate

    ds = dx_dataset(picture(), 12, PERSON, burned_in="NO")
    buffer = io.BytesIO()
    Pictures.fromarray((picture() >> 4).astype("u1")).save(buffer, "JPEG", quality=90)
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = encapsulate([buffer.getvalue()])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    made, _ = released(encoded(ds), learned(weights))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    assert made.LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"BodyPartExamined": "HAND", "AnatomicRegionSequence": []}, "other_body_part"),
        ({"ViewPosition": "LL"}, "not_frontal"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": []}, "body_part_not_stated"),
    ],
)
def test_other_films_are_held_or_pass_as_the_settings_say(changes: dict[str, Any], word: str) -> None:
    data = film(**changes)
    held = run(data, "dp_pix")
    assert isinstance(held, Quarantined)
    assert held.reason is Reason.POLICY_HOLD and word in held.detail
    ds, receipt = released(data, {"method": "dp_pix", "others": "pass"})
    assert receipt["biometrics"] == {"passed": word}
    assert "DerivationDescription" not in ds


def test_a_film_without_body_part_may_be_taken_for_a_chest_film() -> None:
    data = film(BodyPartExamined="", AnatomicRegionSequence=[])
    _, receipt = released(data, {"method": "dp_pix", "unstated": "chest"})
    assert receipt["biometrics"]["method"] == "dp_pix"


def test_slices_are_held_or_pass_untouched() -> None:
    data = ct(PERSON, 1)
    held = run(data, "dp_pix")
    assert isinstance(held, Quarantined) and held.reason is Reason.POLICY_HOLD
    ds, receipt = released(data, {"method": "dp_pix", "others": "pass"})
    assert ds.PixelData == pydicom.dcmread(io.BytesIO(data)).PixelData
    assert receipt["biometrics"] == {"passed": "not_a_radiograph"}
    released(data, "dp_pix", waived="policy_hold")  # a reviewer has looked at it


def test_a_chest_film_of_several_frames_or_colours_is_held_whatever_the_settings(weights: tuple[Path, str]) -> None:
    several = dx_dataset(picture(), 12, PERSON, burned_in="NO")
    several.NumberOfFrames = 2
    several.PixelData = several.PixelData * 2
    colour = dx_dataset(picture(), 12, PERSON, burned_in="NO")
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.BitsAllocated = colour.BitsStored = 8
    colour.HighBit = 7
    colour.PixelData = np.repeat((picture() >> 4).astype("u1")[..., None], 3, axis=2).tobytes()
    for ds in (several, colour):
        held = run(encoded(ds), {"method": "dp_pix", "others": "pass"})
        assert isinstance(held, Quarantined)
        assert held.reason is Reason.POLICY_HOLD


def test_no_weights_hold_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radanon_node.biometrics.weights._PACKAGED", ())
    held = run(film(), "deformation")
    assert isinstance(held, Quarantined)
    assert held.reason is Reason.MODEL_MISSING


def test_weights_that_are_not_the_named_ones_are_an_error_at_start(weights: tuple[Path, str]) -> None:
    with pytest.raises(ConfigError, match="another hash"):
        run(film(), BiometricsSettings(method="deformation", weights=weights[0], weights_sha256="0" * 64))


def test_films_of_a_patient_deform_alike_only_where_the_policy_says_so(weights: tuple[Path, str]) -> None:
    grounds = [picture(), picture()[::-1].copy()]
    grid = np.zeros((400, 320), "<u2")
    grid[::20] = grid[:, ::20] = 3000

    def lines(biometrics: Any, person: Any, faint: int = 64) -> list[np.ndarray]:
        found = []
        for ground in grounds:
            source = encoded(dx_dataset(np.maximum(ground // faint, grid), 12, person, burned_in="NO"))
            found.append(released(source, biometrics, detector=FindsNothing())[0].pixel_array > 1500)
        return found

    alike = {"method": "deformation", "field": "patient", "mu": 0.03}
    one, two = lines(alike, PERSON)
    assert (one != two).mean() < 0.002
    other, _ = lines(alike, invent(np.random.default_rng(77)))
    assert (one != other).mean() > 0.01
    one, two = lines(learned(weights, mu=0.03), PERSON, faint=2)
    assert (one != two).mean() > 0.01


def test_the_verifier_computes_the_film_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder or stage that gives other pixels than the stated ones is found out."""
    right = Anonymiser.apply

    def wrong(self: Anonymiser, image: Any, regions: Any) -> Any:
        from radanon_node.pixels.rewrite import rewrite

        with self.computed(image, regions) as made:
            values = made.values.copy()
        values[300, 300] += 1
        return rewrite(image, values, "anonymised") if image.columns == 320 else right(self, image, regions)

    monkeypatch.setattr(Anonymiser, "apply", wrong)
    held = run(film(), {"method": "deformation", "field": "patient"})
    assert isinstance(held, Quarantined)
    assert held.reason is Reason.PIXELS_CHANGED_OUTSIDE


def test_a_plain_word_is_short_for_the_method() -> None:
    assert ProfileSettings(biometrics="dp_pix").biometrics == BiometricsSettings(method="dp_pix")
    assert ProfileSettings(biometrics=False).biometrics.method == "off"
    with pytest.raises(ValueError, match="weights_sha256 is required"):
        BiometricsSettings(method="deformation", weights=Path("x.onnx"))
