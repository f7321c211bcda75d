"""Training and evaluation of the deformation field on small drawn films: both layouts, no patient on both sides, attackers that work."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from radanon_node.cli import main  # noqa: E402
from radanon_node.errors import ConfigError  # noqa: E402
from radanon_node.settings_profile import BiometricsSettings  # noqa: E402
from radanon_node.training.biometrics import attackers, collection, learn  # noqa: E402
from radanon_node.training.biometrics import films as source  # noqa: E402
from radanon_node.training.biometrics.attackers import (  # noqa: E402
    Metric,
    auc,
    bootstrap,
    keypoint_scores,
    registration_scores,
    same,
)
from radanon_node.training.biometrics.collection import FINDINGS  # noqa: E402
from radanon_node.training.biometrics.direct import direct_method, strongest_flows  # noqa: E402
from radanon_node.training.biometrics.evaluate import judge, length_change, ssim, table  # noqa: E402
from radanon_node.training.biometrics.learn import Recipe, augmented, batches, tensor, train_verifier  # noqa: E402
from radanon_node.training.biometrics.methods import Deforming, dp_pix_method, published_border, random_method  # noqa: E402
from radanon_node.training.biometrics.nets import UNet, Verifier  # noqa: E402
from radanon_node.training.biometrics.train import export, train  # noqa: E402
from radanon_node.training.biometrics.views import VIEWS, coarse, core, grays, rim, seen  # noqa: E402
from radanon_node.training.biometrics.warp import warp  # noqa: E402

CPU = torch.device("cpu")
TINY = Recipe(
    side=32, width=4, opponent_width=4, batch=6, verifier_steps=3, classifier_steps=2, pretraining_steps=2, adversarial_steps=2,
)  # fmt: skip


def drawn(patient: int, day: int, side: int = 128) -> np.ndarray:
    """A film of an invented patient: blobs that stay, a shift and noise that differ from day to day."""
    own, today = np.random.default_rng(patient), np.random.default_rng([patient, day])
    film = np.full((side, side), 90, np.float32)
    for _ in range(40):
        centre, size = own.integers(10, side - 10, 2), own.integers(3, 9)
        cv2.circle(film, (int(centre[0]), int(centre[1])), int(size), float(own.integers(20, 230)), -1)
    film = cv2.GaussianBlur(film, (0, 0), 1.0)
    shift = np.float32([[1, 0, today.uniform(-3, 3)], [0, 1, today.uniform(-3, 3)]])
    film = cv2.warpAffine(film, shift, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.clip(film + today.normal(0, 4, film.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 patients, films named as ChestX-ray14 names them, and its table."""
    root = tmp_path_factory.mktemp("films")
    (root / "images_001" / "images").mkdir(parents=True)
    rows = []
    for patient in range(1, 15):
        for day in range(1 if patient > 10 else 3):
            name = f"{patient:08d}_{day:03d}.png"
            cv2.imwrite(str(root / "images_001" / "images" / name), drawn(patient, day))
            labels = ["No Finding", "Effusion", "Mass|Nodule"][(patient + day) % 3]
            rows.append({"Image Index": name, "Finding Labels": labels, "Follow-up #": day, "Patient ID": patient})
    with (root / "Data_Entry_2017.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def loaded(folder: Path) -> source.Films:
    return source.load(collection.read_folder(folder), 128, None)


def test_the_layout_of_the_collection_gives_patients_and_findings(folder: Path) -> None:
    films = source.load(collection.read_chestxray14(folder / "Data_Entry_2017.csv", folder), 32, None)
    assert len(films) == 34 and len(set(films.patients)) == 14
    assert films.findings is not None
    row = films.findings[films.names.index("00000001_001")]
    assert {name for name, there in zip(FINDINGS, row) if there} == {"Mass", "Nodule"}


def test_a_table_that_is_none_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "t.csv"
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="no column"):
        collection.read_chestxray14(wrong, folder)
    wrong.write_text("Image Index,Finding Labels,Patient ID\n00000001_000.png,Flu,1\n")
    with pytest.raises(ConfigError, match="line 2 names 1 finding"):
        collection.read_chestxray14(wrong, folder)
    with pytest.raises(ConfigError, match="no films"):
        collection.read_folder(tmp_path)


def test_no_patient_is_learned_from_and_judged_on(loaded: source.Films) -> None:
    split = source.split_patients(loaded, 3)
    assert not split.train & split.test
    assert split.train | split.test == set(loaded.patients)
    assert split == source.split_patients(loaded, 3)
    test = loaded.of(split.test)
    for a, b, one in source.pairs_of(test, 1):
        assert a != b
        assert (test.patients[a] == test.patients[b]) == one


def test_published_pair_lists(loaded: source.Films, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("00000001_000.png\t00000001_001.png\t1.0\n00000001_002.png\t00000002_000.png\t0.0\n")
    listed = collection.read_pairs(path)
    split = source.split_by_pairs(loaded, listed)
    assert split.test == {"00000001", "00000002"}
    pairs = source.listed_pairs(loaded.of(split.test), listed)
    assert [pair[2] for pair in pairs] == [True, False]
    path.write_text("one two three\n")
    with pytest.raises(ConfigError, match="line 1"):
        collection.read_pairs(path)


def test_scaled_films_are_kept(folder: Path, tmp_path: Path) -> None:
    found = collection.read_folder(folder)[:3]
    first = source.load(found, 32, None, tmp_path)
    (stored,) = tmp_path.glob("*.npy")
    np.save(stored, np.zeros_like(first.pictures))
    assert not source.load(found, 32, None, tmp_path).pictures.any()


def test_scaling_that_was_broken_off_goes_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, scaled, asked = collection.read_folder(folder), source._picture, []
    whole = source.load(found, 32, None)
    monkeypatch.setattr(source, "_TOGETHER", 5)

    def breaks_off(path: Path, *rest: object) -> np.ndarray:
        asked.append(path)
        if len(asked) == 13:
            raise KeyboardInterrupt
        return scaled(path, *rest)

    monkeypatch.setattr(source, "_picture", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        source.load(found, 32, None, tmp_path)
    assert not list(tmp_path.glob("*.npy"))
    again = source.load(found, 32, None, tmp_path)
    assert np.array_equal(again.pictures, whole.pictures)
    assert len(asked) == 13 + len(found) - 10  # ten were kept
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_films_kept_at_half_the_size_are_the_same_films(loaded: source.Films) -> None:
    whole, half = (tensor(loaded.pictures, 32, CPU, half=half) for half in (False, True))
    assert half.dtype == torch.float16 and half.float().sub(whole).abs().max() < 1 / 1024
    net = Verifier(width=4).eval()
    assert torch.allclose(learn.batched(net.embed, half), learn.batched(net.embed, whole), atol=0.02)


def test_the_metric_learns_from_some_patients_of_a_large_collection(loaded: source.Films, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attackers, "_MOST", 12)
    monkeypatch.setattr(attackers, "_PER_PATIENT", 2)
    chosen = loaded.at(attackers._some(loaded))
    assert 12 <= len(chosen) <= 13 and max(map(len, chosen.by_patient().values())) == 2
    pairs = source.pairs_of(loaded, 1, per_patient=1, negatives=2)
    metric, films = Metric(components=5), loaded.pictures
    assert np.isfinite(metric.fit(films, films, loaded).scores(films, films, pairs)).all()


def test_every_batch_has_two_films_of_those_who_have_them(loaded: source.Films) -> None:
    one, two, numbers = next(batches(loaded, 8, np.random.default_rng(0)))
    assert len(set(numbers)) == 8
    pairs = [(loaded.names[a], loaded.names[b]) for a, b in zip(one, two)]
    assert sum(a != b for a, b in pairs) >= 6
    assert all(a[:8] == b[:8] for a, b in pairs)


def test_auc_and_its_interval() -> None:
    truth = np.array([True] * 50 + [False] * 50)
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 1, 100) + truth * 1.5
    assert auc(truth.astype(float), truth) == 1.0
    assert auc(np.zeros(100), truth) == 0.5
    pairs = [(index, index, bool(value)) for index, value in enumerate(truth)]
    low, high = bootstrap(scores, pairs, [str(index) for index in range(100)])
    assert low < auc(scores, truth) < high
    assert 0.05 < high - low < 0.3


def test_attackers_know_patients_again_and_pixelisation_stops_them(loaded: source.Films) -> None:
    pairs = source.pairs_of(loaded, 1, per_patient=1, negatives=2)
    truth = same(pairs)
    films = loaded.pictures
    assert auc(keypoint_scores(films, films, pairs), truth) > 0.9
    assert auc(registration_scores(films, films, pairs), truth) > 0.9
    assert auc(Metric(components=20).fit(films, films, loaded).scores(films, films, pairs), truth) > 0.9
    hidden = np.stack([dp_pix_method(16, 1, 0.02)(film) for film in films])
    assert auc(keypoint_scores(hidden, films, pairs), truth) < 0.7


def test_similarity_of_a_film_to_itself_is_one_and_falls_with_the_deformation(loaded: source.Films) -> None:
    film = loaded.pictures[0]
    assert ssim(film, film) == pytest.approx(1.0)
    little, much = (ssim(film, random_method(mu)(film)) for mu in (0.005, 0.05))
    assert 1 > little > much > 0


def test_how_far_lengths_can_be_trusted() -> None:
    still, stretched = np.zeros((32, 32, 2), np.float32), np.zeros((32, 32, 2), np.float32)
    assert length_change(still, 400, 300) == pytest.approx(0, abs=1e-9)
    assert length_change(still + np.float32(7.5), 400, 300) == pytest.approx(0, abs=1e-6)  # all move alike: nothing changes
    stretched[..., 0] = (np.arange(32, dtype=np.float32) * (300 / 32) * 0.02)[None]
    assert 0.01 < length_change(stretched, 400, 300) < 0.03
    film = np.random.default_rng(1).integers(0, 256, (128, 128)).astype(np.uint8)
    little, much = (random_method(mu) for mu in (0.01, 0.05))
    assert isinstance(little, Deforming) and isinstance(much, Deforming)
    assert 0 < length_change(little.moves(film), 128, 128) < length_change(much.moves(film), 128, 128) < 0.5


def test_warping_nothing_changes_nothing_and_gradients_flow() -> None:
    x = torch.rand(2, 1, 32, 32)
    flow = torch.rand(2, 2, 32, 32) * 2 - 1
    assert torch.allclose(warp(x, flow, 0.0), x, atol=1e-4)
    flow.requires_grad_(True)
    warp(x, flow, 0.05).square().mean().backward()
    assert flow.grad is not None and float(flow.grad.abs().sum()) > 0


def test_augmentation_keeps_shape_and_range() -> None:
    out = augmented(torch.rand(4, 1, 32, 32), torch.Generator().manual_seed(1))
    assert out.shape == (4, 1, 32, 32)
    assert float(out.min()) >= 0 and float(out.max()) <= 1


def test_a_verifier_learns_to_tell_drawn_patients_apart(loaded: source.Films) -> None:
    torch.set_num_threads(1)
    recipe = Recipe(side=32, opponent_width=4, batch=10, verifier_steps=40)
    net = train_verifier(loaded, recipe, CPU)
    pairs = source.pairs_of(loaded, 1, per_patient=2, negatives=2)
    from radanon_node.training.biometrics.attackers import network_scores

    found = network_scores(net, loaded.pictures, loaded.pictures, pairs, 32, CPU)
    assert auc(found, same(pairs)) > 0.75


def test_a_run_is_gone_on_with_and_gives_weights_that_the_node_loads(loaded: source.Films, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    split = source.split_patients(loaded, 1)
    seen: list[str] = []
    path = train(loaded, split, TINY, tmp_path, "cpu", lambda line: seen.append(str(line["stage"])))
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (card["side"], card["mu"]) == (32, 0.01)
    kept = (tmp_path / "verifier.pt").stat().st_mtime_ns
    path.unlink()
    (tmp_path / "generator.pt").unlink()
    train(loaded, split, TINY, tmp_path, "cpu")
    assert path.exists() and (tmp_path / "verifier.pt").stat().st_mtime_ns == kept
    with pytest.raises(ConfigError, match="another recipe"):
        train(loaded, split, Recipe(side=32), tmp_path, "cpu")
    from radanon_node.biometrics.generator import Generator
    from radanon_node.biometrics.weights import find_generator

    settings = BiometricsSettings(method="deformation", weights=path, weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    found = find_generator(settings.weights, settings.weights_sha256)
    assert found is not None
    flow = Generator(found, 1).flow(loaded.pictures[0])
    assert flow.shape == (2, 32, 32) and np.abs(flow).max() <= 1


def test_adversarial_training_that_was_broken_off_goes_on_as_if_it_had_not(
    loaded: source.Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(learn, "_KEPT", 2)
    recipe, known = Recipe(**(TINY.as_dict() | {"adversarial_steps": 5})), loaded.of(source.split_patients(loaded, 1).train)

    def fresh() -> tuple[UNet, Verifier]:
        torch.manual_seed(0)
        return UNet(2, 4), Verifier(width=4).eval()

    whole = learn.adversarial(*fresh(), None, known, recipe, CPU)
    state, calls = tmp_path / "adversarial.state", []

    def breaks_off(*_: object) -> object:
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return warped(*_)

    warped = learn.apply_generator
    monkeypatch.setattr(learn, "apply_generator", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        learn.adversarial(*fresh(), None, known, recipe, CPU, None, state)
    monkeypatch.setattr(learn, "apply_generator", warped)
    gone_on = learn.adversarial(*fresh(), None, known, recipe, CPU, None, state)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, gone_on.state_dict()[name], atol=1e-5), name


def test_a_trained_attacker_is_kept_for_the_same_films_and_no_others(
    loaded: source.Films, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    first = attackers.fresh_network(loaded, TINY, CPU, None, 0, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(attackers, "train_verifier", lambda *_, **__: pytest.fail("trained again"))
        again = attackers.fresh_network(loaded, TINY, CPU, None, 0, tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    other = source.Films(loaded.names, loaded.patients, loaded.pictures // 2)
    attackers.fresh_network(loaded, TINY, CPU, other, 0, tmp_path)
    attackers.fresh_network(loaded, TINY, CPU, None, 1, tmp_path)
    assert len(list(tmp_path.glob("*.pt"))) == 3


def test_the_exported_network_is_the_trained_one(tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(0)
    net = UNet(2, 4).eval()
    path = export(net, TINY, tmp_path / "g.onnx")
    x = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    made = onnxruntime.InferenceSession(str(path)).run(None, {"film": x})[0]
    with torch.no_grad():
        assert np.abs(made - net(torch.from_numpy(x)).numpy()).max() < 1e-4


def test_an_evaluation_judges_with_and_without(loaded: source.Films) -> None:
    torch.set_num_threads(1)
    split = source.split_patients(loaded, 2)
    known, judged = loaded.of(split.train), loaded.of(split.test)
    pairs = source.pairs_of(judged, 1, per_patient=1, negatives=2)
    methods = (("original", None), ("random", random_method(0.01)))
    verdicts = [judge(name, method, known, judged, pairs, TINY, CPU, 2) for name, method in methods]
    assert verdicts[0].ssim[0] == pytest.approx(1.0)
    assert verdicts[1].ssim[0] < 1
    assert len(verdicts[0].attacks["network"]["runs"]) == 2
    # Of real films, the attacker who knows the method and the one who does not are the same.
    assert verdicts[0].attacks["network"] == verdicts[0].attacks["unaware"]
    text = table(verdicts)
    assert "keypoints" in text and "± " in text and text.count("\n") == 3


def test_networks_trained_on_two_anonymised_films_are_judged_on_both_questions(loaded: source.Films, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    split = source.split_patients(loaded, 2)
    known, judged = loaded.of(split.train), loaded.of(split.test)
    pairs = source.pairs_of(judged, 1, per_patient=1, negatives=2)
    hides = dp_pix_method(16, 1, 0.02)
    verdict = judge("hidden", hides, known, judged, pairs, TINY, CPU, 1, kept=tmp_path, mismatched=True)
    assert {"unaware", "network", "mismatched", "linkage"} < set(verdict.attacks)
    assert len(list(tmp_path.glob("*.pt"))) == 3  # one network for both questions
    assert not np.array_equal(verdict.scores["mismatched"], verdict.scores["linkage"])
    assert "AUC linkage" in table([verdict])
    # Neither tells what an attacker finds who knows the method and holds a real film.
    plain = judge("hidden", hides, known, judged, pairs, TINY, CPU, 1, kept=tmp_path)
    assert verdict.attacks["together"] == plain.attacks["together"]
    assert verdict.ssim == plain.ssim


def test_views_leave_one_kind_of_trace(loaded: source.Films) -> None:
    film = loaded.pictures[0]
    for name, view in VIEWS.items():
        shown = view(film)
        assert shown.shape == film.shape and shown.dtype == np.uint8, name
        assert np.array_equal(film, loaded.pictures[0]), name
    assert np.array_equal(coarse(film, 128), film)
    assert np.array_equal(np.bincount(grays(film).ravel(), minlength=256), np.bincount(film.ravel(), minlength=256))
    shuffled = np.random.default_rng(1).permutation(film.ravel()).reshape(film.shape)
    assert np.array_equal(grays(shuffled), grays(film))
    assert not rim(film)[20:-20, 20:-20].any() and np.array_equal(rim(film)[:10], film[:10])
    other = film.copy()
    other[:12] = 255 - other[:12]
    assert np.array_equal(core(film), core(other))
    assert np.array_equal(seen(loaded.pictures, None), loaded.pictures)
    assert not seen(loaded.pictures, rim)[:, 64, 64].any()


def test_the_published_code_draws_the_border_inwards_and_leaves_the_middle() -> None:
    film = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    shown = published_border(film)
    assert np.array_equal(shown[5:-5, 5:-5], film[5:-5, 5:-5])
    assert shown[128, 0] > 40 and shown[128, 255] < 215


def test_the_field_searched_for_a_film_leads_away_from_it(loaded: source.Films) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    net, side = Verifier(width=4).eval(), 32
    x = tensor(loaded.pictures[:4], side, CPU)
    flows = strongest_flows(x, [net], 0.1, steps=15)
    assert flows.shape == (4, 2, side, side) and np.abs(flows).max() <= 1
    with torch.no_grad():
        own = net.embed(x)
        found = (net.embed(warp(x, torch.from_numpy(flows), 0.1)) * own).sum(1)
        drawn = (net.embed(warp(x, torch.rand(4, 2, side, side) * 2 - 1, 0.1)) * own).sum(1)
    assert found.mean() < drawn.mean()
    method = direct_method(loaded.pictures[:2], [net], side, CPU, 0.1, steps=1)
    assert method(loaded.pictures[1]).shape == loaded.pictures[1].shape
    with pytest.raises(KeyError):
        method(loaded.pictures[5])


def test_the_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [
        "--films", str(folder), "--table", str(folder / "Data_Entry_2017.csv"), "--keep-markers", "--film-side", "32", "--side", "32",
        "--opponent-width", "4", "--verifier-steps", "2", "--batch", "6", "--threads", "1", "--cache", str(tmp_path / "cache"),
        "--classifier-steps", "1",
    ]  # fmt: skip
    steps = ["--width", "4", "--pretraining-steps", "1", "--adversarial-steps", "1"]
    assert main(["biometrics", "train", *common, *steps, "--out", str(tmp_path / "run")]) == 0
    assert "weights_sha256" in capsys.readouterr().out
    assert main(["biometrics", "train", *common, *steps, "--picture", "--out", str(tmp_path / "painted")]) == 0
    more = ["--run", str(tmp_path / "run"), "--run", str(tmp_path / "painted"), "--dp-pix", "8,1,0.1", "--network-runs", "0"]
    assert main(["biometrics", "evaluate", *common, *more, "--out", str(tmp_path / "figures")]) == 0
    out = capsys.readouterr().out
    assert "| original | 1.000 |  |" in out and "AUC findings" in out
    figures = json.loads((tmp_path / "figures" / "figures.json").read_text())
    assert [each["method"] for each in figures] == ["original", "run mu=0.01", "painted", "DP-Pix 8,1,0.1"]
    assert figures[0]["findings"]
    more = ["--direct-mu", "0.02", "--published-border", "--mismatched", "--view", "coarse-8", "--network-runs", "1", "--no-original"]
    assert main(["biometrics", "evaluate", *common, *more, "--out", str(tmp_path / "views")]) == 0
    assert "direct field mu=0.02" in capsys.readouterr().out
    assert main(["biometrics", "evaluate", *common, "--dp-pix", "nonsense", "--out", str(tmp_path / "x")]) == 2
    if pytest.importorskip("matplotlib"):
        assert (tmp_path / "figures" / "curves.png").stat().st_size > 5000
        assert (tmp_path / "figures" / "films.png").stat().st_size > 5000
        assert [path.name for path in (tmp_path / "figures").glob("field-*.png")] == ["field-2.png"]
