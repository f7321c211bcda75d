"""A profile of ``config.yaml``: what happens to tags, pixels, anatomy and pseudonyms of the instances of a route."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from radanon_node.settings_values import Letter, Settings, off

OptionName = Literal[
    "clean_pixel_data", "clean_recognizable_visual_features", "clean_graphics", "clean_structured_content", "clean_descriptors",
    "retain_uids", "retain_device_identity", "retain_institution_identity", "retain_patient_characteristics",
    "retain_longitudinal_full_dates", "retain_longitudinal_modified_dates", "retain_safe_private",
]


class TagSettings(Settings):
    options: tuple[OptionName, ...] = Field((), description="Options of PS3.15 Annex E applied on top of the Basic Profile, which is always on.")
    retain: tuple[str, ...] = Field((), description="Attributes kept as they are: keyword, (gggg,eeee) or a path like `RequestAttributesSequence/ScheduledProcedureStepID`.")
    remove: tuple[str, ...] = Field((), description="Attributes removed.")
    replace: dict[str, str] = Field(default_factory=dict, description="Attributes set to a fixed value where present.")
    private_keep: tuple[str, ...] = Field((), description="Private elements kept: `(gggg,xxee) Private Creator`.")
    encapsulated_documents: Literal["quarantine", "replace"] = Field("quarantine", description="PDF, CDA, STL: hold, or replace by an empty valid document.")
    date_shift_days: tuple[int, int] = Field((30, 3650), description="Range of the per-patient shift in whole days back in time, both ends included.")
    keep_weekday: bool = Field(False, description="Shift by whole weeks.")
    shift_times: bool = Field(False, description="Also move times of day (same amount for all of a patient's instances).")

    @model_validator(mode="after")
    def _dates(self) -> TagSettings:
        if {"retain_longitudinal_full_dates", "retain_longitudinal_modified_dates"} <= set(self.options):
            raise ValueError("options: full dates and modified dates exclude each other")
        low, high = self.date_shift_days
        if not 1 <= low <= high:
            raise ValueError("date_shift_days: must be [low, high] with 1 <= low <= high")
        return self


class PixelSettings(Settings):
    detect: Annotated[Literal["auto", "markers", "text", "both", "off"], BeforeValidator(off)] = Field("auto", description="Which detectors look; `auto` follows the modality table.")
    retain: tuple[Letter, ...] = Field(("L", "R"), description="Isolated letters kept; [] removes all (for training sets of diagnostic models).")
    restamp: bool = Field(False, description="A side letter that touches other ink (initials) is not kept but blackened with it, and a "
                          "clean letter of the same place, size and orientation is drawn in the black; noted in Derivation Description.")
    regions: tuple[Path, ...] = Field((), description="YAML files of device region rules.")
    unknown: Literal["quarantine", "pass"] = Field("quarantine", description="What becomes of pixels that nothing can judge (video, undecodable).")
    sop_classes: dict[str, Literal["markers", "text", "both", "none", "hold"]] = Field(
        default_factory=dict, description="Per SOP class UID or modality: overrides the modality table.")
    layout_change: Annotated[Literal["off", "alarm", "hold"], BeforeValidator(off)] = Field(
        "alarm", description="A device draws its text elsewhere than it used to, or its software changed: log and count it, or also hold "
        "its instances (`layout_changed`); off learns no layouts.")
    margin: int = Field(3, ge=0, le=64, description="Pixels added around a redacted box.")
    min_confidence: float | None = Field(None, gt=0, lt=1, description="Marker threshold; null = the weights' calibrated one.")
    max_text_share: float = Field(0.4, gt=0, le=1, description="More of the picture covered by text than this: quarantine (scanned paper).")
    max_pixels: int = Field(2**34, ge=1, description="Largest rows x columns x frames accepted.")


class PseudonymSettings(Settings):
    scope: str = Field("default", min_length=1, max_length=64, description="Project: pseudonyms of different scopes cannot be linked.")
    table: Path | None = Field(None, description="CSV or SQLite lookup table patient_id -> pseudonym.")
    unknown: Literal["quarantine", "generate"] = Field("quarantine", description="A patient the table does not list.")
    prefix: str = Field("ANON", max_length=16, pattern=r"^[A-Za-z0-9_-]*$", description="Generated pseudonyms begin with it.")
    remember_identifiers: bool = Field(True, description="Keep, sealed in the ledger, what a patient's instances are identified by (names, "
                                       "IDs, staff, sites, dates), to hunt it in later instances; false keeps nothing.")


class BiometricsSettings(Settings):
    method: Annotated[Literal["off", "deformation", "dp_pix"], BeforeValidator(off)] = Field("off", description="How the anatomy of chest films is anonymised: a deformation field, or differentially private pixelisation. `biometrics: deformation` is short for `{method: deformation}`.")
    field: Literal["film", "patient"] = Field("film", description="Deformation field from the film itself by the learned network, or a smooth random one keyed per patient and scope: all of a patient's films deform alike.")
    mu: float | None = Field(None, ge=0, le=0.05, description="Largest move as a share of half the picture's extent; null = the one the weights were trained with (field per patient: 0.01).")
    weights: Path | None = Field(None, description="Weights of the deformation network (.onnx, its .json beside it); null = the packaged ones, if any.")
    weights_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="Their hash; required with `weights`.")
    grid: int = Field(8, ge=1, le=128, description="DP-Pix: side b of a cell, in pixels of a film of 256 x 256.")
    neighbours: int = Field(1, ge=1, le=65536, description="DP-Pix: m, films that differ in so many pixels (of 256 x 256) are neighbours.")
    epsilon: float = Field(0.1, gt=0, le=1000, description="DP-Pix: privacy budget; smaller is more private and noisier.")
    others: Literal["hold", "pass"] = Field("hold", description="Images that are no frontal chest radiographs: hold, or pass with their anatomy as it is.")
    body_parts: tuple[str, ...] = Field(("CHEST", "THORAX", "LUNG"), description="Body Part Examined that counts as chest.")
    unstated: Literal["hold", "chest"] = Field("hold", description="A radiograph that names no body part: as `others` says, or taken for a chest film.")

    @model_validator(mode="after")
    def _hash(self) -> BiometricsSettings:
        if self.weights is not None and self.weights_sha256 is None:
            raise ValueError("weights_sha256 is required when weights is set")
        return self


def _biometrics(value: object) -> object:
    return {"method": value} if value is False or isinstance(value, str) else value


class ProfileSettings(Settings):
    tags: TagSettings = Field(default_factory=TagSettings)
    pixels: PixelSettings = Field(default_factory=PixelSettings)
    biometrics: Annotated[BiometricsSettings, BeforeValidator(_biometrics)] = Field(default_factory=BiometricsSettings)
    pseudonyms: PseudonymSettings = Field(default_factory=PseudonymSettings)
