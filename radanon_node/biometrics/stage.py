"""The stage of the cleaning core: from a redacted film to its anonymised values, the same when computed again by the verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import blake3
import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from radanon_node.biometrics.field import Room, displacement, grow, sample
from radanon_node.biometrics.generator import Generator
from radanon_node.biometrics.keyed import keyed_flow
from radanon_node.biometrics.pixelise import pixelise
from radanon_node.errors import HoldInstance, Reason
from radanon_node.pipeline.types import Region
from radanon_node.pixels.areas import Area, touched
from radanon_node.pixels.codec import Image
from radanon_node.pixels.fill import Paint
from radanon_node.pixels.redact import Redacted
from radanon_node.pixels.rewrite import redacted_values, rewrite
from radanon_node.pixels.view import main_view
from radanon_node.settings_profile import BiometricsSettings

KEYED_MU = 0.01
"""Of the field per patient where the settings name none: the paper's largest."""

_ROOM = Room()


@dataclass(frozen=True, slots=True, eq=False)
class Anonymised:
    """An anonymised film, not yet encoded.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        Stored values.
    areas : list of Area
        What was blacked out before.
    paint : Paint
        The stored values it was filled with.
    moves : ndarray of float32, shape (rows, columns, 2), or None
        Where each pixel was taken from, relative to itself, in pixels; see `field`. Memory that is lent until
        the block of ``Anonymiser.computed`` ends. None where nothing was moved by a field.
    """

    values: NDArray[Any]
    areas: list[Area]
    paint: Paint
    moves: NDArray[np.float32] | None

    def moved_boxes(self) -> NDArray[np.bool_] | None:
        """Pixels that were made from the inside of blackened boxes alone; None where no box was moved."""
        if not self.areas or self.moves is None:
            return None
        rows, columns = self.values.shape
        black, drawn = ([area for area in self.areas if area.bright == bright] for bright in (False, True))
        covered = touched(black, rows, columns)
        if drawn:
            covered &= ~touched(drawn, rows, columns)
        out = np.zeros((rows, columns), np.bool_)
        reach = int(np.ceil(cv2.norm(self.moves, cv2.NORM_INF))) + 2
        for box in {area.box for area in black}:
            # Nothing of a box lies farther from it than the largest move, and is made of nothing farther off than twice that.
            top, left = max(box.y0 - 2 * reach, 0), max(box.x0 - 2 * reach, 0)
            source = slice(top, box.y1 + 2 * reach), slice(left, box.x1 + 2 * reach)
            # A pixel whose nearest source has all eight neighbours inside was mixed from the inside of a box only.
            inner = cv2.erode(covered[source].astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
            moved = sample(inner, self.moves[source], nearest=True) > 0
            y, x = max(box.y0 - reach, 0), max(box.x0 - reach, 0)
            out[y : box.y1 + reach, x : box.x1 + reach] |= moved[y - top : box.y1 + reach - top, x - left : box.x1 + reach - left]
        return out


@dataclass(frozen=True)
class Anonymiser:
    """What is to be done to the anatomy of one film. Pure: the same film gives the same values, as often as it is asked.

    Parameters
    ----------
    settings : BiometricsSettings
        With a method other than ``off``.
    generator : Generator or None
        For ``deformation`` with a field from the film.
    keyed : callable
        (purpose, value) to 32 secret bytes: the node's key and the project's scope are in them.
    patient : str
        Opaque token of the patient.
    instance : str
        Original SOP Instance UID; never written anywhere.
    """

    settings: BiometricsSettings
    generator: Generator | None
    keyed: Callable[[str, str], bytes]
    patient: str
    instance: str

    @property
    def mu(self) -> float:
        """Largest deformation in force."""
        if self.settings.mu is not None:
            return self.settings.mu
        return self.generator.weights.mu if self.generator is not None else KEYED_MU

    def apply(self, image: Image, regions: Sequence[Region]) -> Redacted:
        """The film with its markers blackened, then anonymised; encoded without loss.

        Parameters
        ----------
        image : Image
            As received.
        regions : sequence of Region
            To be blacked out first.

        Raises
        ------
        HoldInstance
            As ``Image.frame`` and `rewrite`.
        """
        with self.computed(image, regions) as film:
            made = rewrite(image, film.values, "anonymised")
        changes = made.changes | self._derivation([region.stamp.letter for region in regions if region.stamp is not None])
        return Redacted(made.pixels, made.transfer_syntax_uid, changes, made.method, made.digests)

    @contextmanager
    def computed(self, image: Image, regions: Sequence[Region]) -> Iterator[Anonymised]:
        """The stored values that leave, computed from the received film; ``moves`` are lent until the block ends."""
        values, areas, paint = redacted_values(image, regions)
        if self.settings.method == "dp_pix":
            told = image.description
            content = blake3.blake3(np.ascontiguousarray(values).tobytes()).hexdigest()
            key = self.keyed("dp_pix", f"{self.instance}\0{content}")
            settings = self.settings
            made = pixelise(values, told.low, told.high, key, settings.grid, settings.neighbours, settings.epsilon)
            yield Anonymised(made, areas, paint, None)
            return
        moves = self._moves(image, areas)
        with _ROOM.lent(image.rows, image.columns) as room:
            grown = grow(moves, image.rows, image.columns, room)
            yield Anonymised(sample(values, grown) if moves.any() else values.copy(), areas, paint, grown)

    def receipt(self) -> dict[str, Any]:
        """What was done, for the receipt."""
        if self.settings.method == "dp_pix":
            return {
                "method": "dp_pix", "grid": self.settings.grid, "neighbours": self.settings.neighbours, "epsilon": self.settings.epsilon,
            }  # fmt: skip
        out = {"method": "deformation", "mu": self.mu, "field": self.settings.field}
        return out | ({"model": self.generator.weights.sha256} if self.generator is not None else {})

    def told(self) -> str:
        """For De-identification Method (0012,0063), VR LO."""
        if self.settings.method == "dp_pix":
            return f"DP-Pix b={self.settings.grid} m={self.settings.neighbours} epsilon={self.settings.epsilon:g}"
        return f"deformation field on the anatomy, mu={self.mu:g}"

    def _moves(self, image: Image, areas: Sequence[Area]) -> NDArray[np.float32]:
        if self.settings.field == "patient":
            return displacement(keyed_flow(self.keyed("deformation", self.patient)), self.mu, image.rows, image.columns)
        if self.generator is None:
            raise HoldInstance(Reason.MODEL_MISSING, "biometrics: no weights of the deformation field are installed or named")
        view = main_view(image, 0)
        if areas:
            view = view.copy()
            view[touched(areas, image.rows, image.columns)] = 0  # the field is made from the film without its markers
        return displacement(self.generator.flow(view), self.mu, image.rows, image.columns)

    def _derivation(self, drawn: Sequence[str]) -> dict[str, Any]:
        """Derivation Description and, where there is a code that says it, Derivation Code Sequence (PS3.3 C.7.6.1.1.2, CID 7203)."""
        before = f"Side letters drawn anew ({', '.join(drawn)}). " if drawn else ""
        if self.settings.method == "dp_pix":
            return {"DerivationDescription": f"{before}Pixelised with differential privacy ({self.told()})"}
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "113085", "DCM", "Spatial resampling"
        return {
            "DerivationDescription": f"{before}Resampled through a smooth {self.told()}",
            "DerivationCodeSequence": Items([item]),
        }


def anonymiser(
    settings: BiometricsSettings, generator: Generator | None, keyed: Callable[[str, str], bytes], patient: str, instance: str
) -> Anonymiser:
    """The stage for one instance.

    Raises
    ------
    HoldInstance
        ``model_missing`` where a field is to be made from the film and no weights are there.
    """
    if settings.method == "deformation" and settings.field == "film" and generator is None:
        raise HoldInstance(Reason.MODEL_MISSING, "biometrics: no weights of the deformation field are installed or named")
    return Anonymiser(settings, generator, keyed, patient, instance)
