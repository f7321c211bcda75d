"""``radanon biometrics``: train and evaluate the deformation field of chest films; time the stage."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radanon_node.errors import EXIT_OK, ConfigError

if TYPE_CHECKING:
    import torch

    from radanon_node.training.biometrics.films import Films, Split
    from radanon_node.training.biometrics.learn import Recipe
    from radanon_node.training.biometrics.methods import Method


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the three commands."""
    commands = parser.add_subparsers(dest="biometrics", metavar="WHAT", required=True)
    train = commands.add_parser("train", help="train a generator and export it for the node")
    _films(train)
    train.add_argument("--mu", type=float, default=0.01, help="largest deformation; the paper's are 0.001, 0.005, 0.01")
    train.add_argument("--width", type=int, default=8, help="channels of the generator's first level; the paper's is 32")
    train.add_argument("--pretraining-steps", type=int, default=100)
    train.add_argument("--adversarial-steps", type=int, default=600)
    train.add_argument("--utility", type=float, default=1.0, help="weight of the films' worth in the generator's loss")
    train.add_argument("--privacy", type=float, default=1.0, help="weight of the verifier in it")
    train.add_argument("--picture", action="store_true", help="the PrivacyNet-like baseline: paint a new film instead of deforming it")
    evaluate = commands.add_parser("evaluate", help="attack films before and after with fresh attackers")
    _films(evaluate)
    evaluate.add_argument("--run", type=Path, action="append", default=[], help="folder of a finished training; may be repeated")
    evaluate.add_argument("--also-mu", type=float, action="append", default=[], help="the same generators at another deformation")
    evaluate.add_argument("--random-mu", type=float, action="append", default=[], help="a random smooth field of this size")
    evaluate.add_argument(
        "--dp-pix", action="append", default=[], metavar="B,M,EPSILON", help="differentially private pixelisation, such as 8,1,0.1"
    )
    evaluate.add_argument(
        "--network-runs", type=int, default=2, help="Siamese attackers from scratch per method, and as many unaware ones; 0 for none"
    )
    evaluate.add_argument(
        "--direct-mu", type=float, action="append", default=[],
        help="for each film the strongest field of this size against the first unaware network: how far a field can go at all",
    )  # fmt: skip
    evaluate.add_argument("--published-border", action="store_true", help="no field, only what the paper's code does to the border")
    evaluate.add_argument(
        "--mismatched", action="store_true", help="also networks trained on two anonymised films, as in the paper's code; and linkage"
    )
    evaluate.add_argument(
        "--view", choices=["coarse-32", "coarse-16", "coarse-8", "grays", "rim", "core"],
        help="attackers see this of each film alone: what recognition leans on",
    )  # fmt: skip
    evaluate.add_argument("--no-original", action="store_true", help="leave out the films as they are")
    evaluate.add_argument("--json", action="store_true", help="print figures as JSON")
    bench = commands.add_parser("bench", help="milliseconds of the stage per 2500 x 2048 film")
    bench.add_argument("--films", type=int, default=5)
    bench.add_argument("--threads", type=int, default=2)
    bench.add_argument("--weights", type=Path, help="generator to time (.onnx); default: an untrained one of 256 pixels (extra [train])")


def _films(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--films", type=Path, required=True, help="folder of films named PATIENT_FOLLOWUP.png or .jpg")
    parser.add_argument("--table", type=Path, help="Data_Entry_2017.csv of ChestX-ray14: patients and findings")
    parser.add_argument(
        "--pairs", type=Path, help="test pairs as the paper publishes them; their patients are kept out of training. Default: drawn"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for networks, figures and pictures")
    parser.add_argument("--cache", type=Path, help="folder for the scaled films (default: OUT/cache)")
    parser.add_argument("--keep-markers", action="store_true", help="leave markers on the films (default: blackened first)")
    parser.add_argument("--film-side", type=int, default=512, help="pixels that films are scaled to; a multiple of --side")
    parser.add_argument("--side", type=int, default=128, help="pixels of the networks' square; the paper's is 256")
    parser.add_argument("--opponent-width", type=int, default=16, help="channels of the verifier's first level")
    parser.add_argument("--verifier-steps", type=int, default=1500)
    parser.add_argument("--classifier-steps", type=int, default=3000, help="of the classifier of findings, where they are labelled")
    parser.add_argument("--batch", type=int, default=16, help="patients per step")
    parser.add_argument("--seed", type=int, default=1, help="of the training")
    parser.add_argument("--split-seed", type=int, default=1, help="of the split into training and test patients, where no pairs are given")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)


def run(args: argparse.Namespace) -> int:
    """Hand over to the command."""
    if args.biometrics == "bench":
        from radanon_node.commands.bench_biometrics import measure

        print(measure(args.films, args.threads, args.weights))
        return EXIT_OK
    try:
        import torch
    except ImportError:
        raise ConfigError("biometrics: training and evaluation need the extra [train]") from None
    torch.set_num_threads(args.threads)
    films, split, listed = _load(args)
    return _train(args, films, split) if args.biometrics == "train" else _evaluate(args, films, split, listed)


def _load(args: argparse.Namespace) -> tuple[Films, Split, list[tuple[str, str, bool]]]:
    from radanon_node.markers.detector import MarkerDetector
    from radanon_node.training.biometrics import collection
    from radanon_node.training.biometrics import films as source

    if args.film_side % args.side or args.side % 16:
        raise ConfigError("--side must be a multiple of 16, and --film-side a multiple of it")
    detector = None if args.keep_markers else MarkerDetector.load(None, None, "cpu", args.threads)
    if detector is not None and not detector.model_hash:
        raise ConfigError("the packaged marker weights are not installed; --keep-markers trains on films with their markers")
    found = collection.read_chestxray14(args.table, args.films) if args.table else collection.read_folder(args.films)
    films = source.load(found, args.film_side, detector, args.cache or args.out / "cache")
    listed = collection.read_pairs(args.pairs) if args.pairs else []
    split = source.split_by_pairs(films, listed) if listed else source.split_patients(films, args.split_seed)
    several = sum(len(own) > 1 for own in films.by_patient().values())
    print(f"{len(films)} films of {len(set(films.patients))} patients, {several} with several; {len(split.test)} kept for the test")
    if not films.of(split.train).names or not films.of(split.test).names:
        raise ConfigError("too few patients for a training and a test part")
    return films, split, listed


def _recipe(args: argparse.Namespace, **more: Any) -> Recipe:
    from radanon_node.training.biometrics.learn import Recipe

    return Recipe(
        side=args.side, opponent_width=args.opponent_width, verifier_steps=args.verifier_steps,
        classifier_steps=args.classifier_steps, batch=args.batch, seed=args.seed, **more,
    )  # fmt: skip


def _report(line: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in line.items()), flush=True)


def _train(args: argparse.Namespace, films: Films, split: Split) -> int:
    from radanon_node.training.biometrics.train import train

    recipe = _recipe(
        args, mu=args.mu, width=args.width, pretraining_steps=args.pretraining_steps, adversarial_steps=args.adversarial_steps,
        utility=args.utility, privacy=args.privacy, kind="picture" if args.picture else "flow",
    )  # fmt: skip
    path = train(films, split, recipe, args.out, args.device, _report)
    print(f"generator: {path}")
    if recipe.kind == "flow":
        digest = json.loads(path.with_suffix(".json").read_text())["sha256"]
        print("Evaluate it before use: radanon biometrics evaluate --run", args.out)
        print(f"biometrics: {{method: deformation, weights: {path}, weights_sha256: {digest}}}")
    return EXIT_OK


def _evaluate(args: argparse.Namespace, films: Films, split: Split, listed: list[tuple[str, str, bool]]) -> int:
    from radanon_node.training.biometrics import films as source
    from radanon_node.training.biometrics.evaluate import judge, table
    from radanon_node.training.biometrics.learn import device_of, train_classifier
    from radanon_node.training.biometrics.views import VIEWS

    train, test = films.of(split.train), films.of(split.test)
    pairs = source.listed_pairs(test, listed) if listed else source.pairs_of(test, args.split_seed)
    truth = [pair[2] for pair in pairs]
    if not any(truth) or all(truth):
        raise ConfigError("the test needs pairs of one patient and of two; too few patients have several films")
    print(f"{len(pairs)} pairs, {sum(truth)} of one patient")
    recipe, device = _recipe(args), device_of(args.device)
    classifier = train_classifier(train, recipe, device, _report) if train.findings is not None else None
    verdicts, kept, view = [], args.out / "attackers", VIEWS.get(args.view)
    methods = _methods(args, films, train, recipe, device, kept)
    for name, method in methods:
        verdicts.append(
            judge(name, method, train, test, pairs, recipe, device, args.network_runs, classifier, _report, kept, view, args.mismatched)
        )
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "figures.json").write_text(json.dumps([verdict.figures() for verdict in verdicts], indent=1) + "\n")
    print(json.dumps([verdict.figures() for verdict in verdicts], indent=1) if args.json else table(verdicts))
    try:
        from radanon_node.training.biometrics.methods import Deforming
        from radanon_node.training.biometrics.plots import draw_curves, draw_examples, draw_field

        drawn = [draw_curves(verdicts, pairs, args.out / "curves.png"), draw_examples(verdicts, args.out / "films.png")]
        film = test.pictures[pairs[0][0]]
        for number, (_, method) in enumerate(methods, 1):
            if isinstance(method, Deforming):
                drawn.append(draw_field(film, method.moves(film), args.out / f"field-{number}.png"))
        print("pictures:", ", ".join(str(path) for path in drawn))
    except ImportError:
        print("no pictures: matplotlib is not installed (extra [train])")
    return EXIT_OK


def _methods(
    args: argparse.Namespace, films: Films, train: Films, recipe: Recipe, device: torch.device, kept: Path
) -> list[tuple[str, Method | None]]:
    from radanon_node.training.biometrics.attackers import fresh_network
    from radanon_node.training.biometrics.direct import direct_method
    from radanon_node.training.biometrics.methods import dp_pix_method, learned_method, published_border, random_method
    from radanon_node.training.biometrics.train import load_generator

    methods: list[tuple[str, Method | None]] = [] if args.no_original else [("original", None)]
    methods += [(f"random field mu={mu:g}", random_method(mu)) for mu in args.random_mu]
    for folder in args.run:
        net, own = load_generator(folder)
        if own.kind == "flow":
            methods += [(f"{folder.name} mu={mu:g}", learned_method(net, own, mu, device)) for mu in (own.mu, *args.also_mu)]
        else:
            methods.append((folder.name, learned_method(net, own, None, device)))
    for mu in args.direct_mu:
        opponent = fresh_network(train, recipe, device, None, 0, kept)
        methods.append((f"direct field mu={mu:g}", direct_method(films.pictures, [opponent], recipe.side, device, mu)))
    methods += [("published border", published_border)] if args.published_border else []
    for text in args.dp_pix:
        try:
            grid, neighbours, epsilon = text.split(",")
            methods.append((f"DP-Pix {text}", dp_pix_method(int(grid), int(neighbours), float(epsilon))))
        except ValueError:
            raise ConfigError("--dp-pix: must be B,M,EPSILON such as 8,1,0.1") from None
    return methods
