"""The ChestX-ray14 layout end to end: table, pair list and labels in; a generator and the figures of attackers and classifier out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.cli import main  # noqa: E402

pytestmark = pytest.mark.integration

SIDE = 64


def chest(patient: int, day: int, findings: set[str]) -> np.ndarray:
    """A drawn film: the patient's own blobs, the day's noise, and what the findings look like here."""
    own, today = np.random.default_rng(patient), np.random.default_rng([patient, day])
    film = np.full((SIDE, SIDE), 90, np.float32)
    for _ in range(14):
        centre = own.integers(6, SIDE - 6, 2)
        cv2.circle(film, (int(centre[0]), int(centre[1])), int(own.integers(2, 5)), float(own.integers(40, 150)), -1)
    if "Effusion" in findings:  # white from below
        film[SIDE - 14 :] = 210
    if "Mass" in findings:
        cv2.circle(film, (int(today.integers(20, 44)), int(today.integers(16, 34))), 9, 250.0, -1)
    return np.clip(cv2.GaussianBlur(film, (0, 0), 1.0) + today.normal(0, 4, film.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """44 patients, most with two films, laid out as the publishers do it; 12 of them are in the list of test pairs."""
    root = tmp_path_factory.mktemp("chestxray14")
    rows, pairs = [], []
    for patient in range(1, 45):
        folder = root / f"images_{1 + patient % 2:03d}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        for day in range(2 if patient <= 36 else 1):
            labels = [name for bit, name in enumerate(("Effusion", "Mass")) if (patient * 5 + day * 3 + patient // 4) >> bit & 1]
            name = f"{patient:08d}_{day:03d}.png"
            cv2.imwrite(str(folder / name), chest(patient, day, set(labels)))
            labelled = "|".join(labels) or "No Finding"
            rows.append({"Image Index": name, "Finding Labels": labelled, "Follow-up #": day, "Patient ID": patient, "View Position": "PA"})
    for patient in range(1, 13):
        other = patient % 12 + 1
        pairs += [
            f"{patient:08d}_000.png\t{patient:08d}_001.png\t1.0",
            f"{patient:08d}_001.png\t{patient:08d}_000.png\t1.0",
            f"{patient:08d}_000.png\t{other:08d}_001.png\t0.0",
            f"{patient:08d}_001.png\t{other:08d}_000.png\t0.0",
        ]
    with (root / "Data_Entry_2017.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "Image Index": "00009999_000.png", "Patient ID": 9999}])  # a film that was not downloaded
    (root / "pairs.txt").write_text("\n".join(pairs) + "\n")
    return root


def test_from_the_published_layout_to_figures(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [
        "--films", str(collection), "--table", str(collection / "Data_Entry_2017.csv"), "--pairs", str(collection / "pairs.txt"),
        "--keep-markers", "--film-side", "64", "--side", "32", "--opponent-width", "4", "--batch", "12", "--verifier-steps", "8",
        "--classifier-steps", "60", "--threads", "1", "--device", "cpu", "--cache", str(tmp_path / "cache"),
    ]  # fmt: skip
    run = tmp_path / "run"
    steps = ["--width", "4", "--mu", "0.01", "--pretraining-steps", "5", "--adversarial-steps", "5"]
    assert main(["biometrics", "train", *common, *steps, "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert "80 films of 44 patients, 36 with several; 12 kept for the test" in said
    card = json.loads((run / "deformation.json").read_text())
    assert (card["training_patients"], card["findings"]) == (32, True)  # those of the list are not learned from
    assert (run / "classifier.pt").exists()

    methods = ["--run", str(run), "--dp-pix", "8,1,0.005", "--network-runs", "2"]
    assert main(["biometrics", "evaluate", *common, *methods, "--out", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out
    assert "48 pairs, 24 of one patient" in said and "AUC findings" in said
    figures = {each["method"]: each for each in json.loads((tmp_path / "figures" / "figures.json").read_text())}
    before, deformed, pixelised = (figures[name] for name in ("original", "run mu=0.01", "DP-Pix 8,1,0.005"))
    for each in (before, deformed, pixelised):
        assert set(each["findings"]) == {"Effusion", "Mass"}
        assert set(each["attacks"]) == {"keypoints", "registration", "metric", "unaware", "network", "together"}
        assert len(each["attacks"]["network"]["runs"]) == 2
    # The classifier of real films sees the findings before, still after a move of one percent, and hardly behind pixels and noise.
    assert np.mean(list(before["findings"].values())) > 0.85
    assert np.mean(list(deformed["findings"].values())) > np.mean(list(before["findings"].values())) - 0.1
    assert np.mean(list(pixelised["findings"].values())) < np.mean(list(before["findings"].values())) - 0.1
    assert 0 < deformed["lengths"] < 0.1 and before["lengths"] is None is pixelised["lengths"]
    assert 1 > deformed["ssim"]["mean"] > pixelised["ssim"]["mean"]
    assert before["attacks"]["together"]["auc"] > 0.8 > pixelised["attacks"]["keypoints"]["auc"]
