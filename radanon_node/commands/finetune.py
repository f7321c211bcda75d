"""``radanon finetune FILMS LABELS --out DIR``: adapt the marker weights to some films of one's own hospital."""

from __future__ import annotations

import argparse
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("films", type=Path, help="folder of films: DICOM, PNG, JPEG or TIFF")
    parser.add_argument("labels", type=Path, help=".jsonl, COCO or LabelMe .json, or a folder of LabelMe .json or YOLO .txt")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new weights")
    parser.add_argument("--base", type=Path, help=".pt to start from; default: the packaged weights")
    parser.add_argument("--replay-labels", type=Path, help="labels of films of the base training to replay too")
    parser.add_argument("--keep", type=float, default=0.3, help="share of the old weights in the new ones; 0: learn and forget most")
    parser.add_argument("--held-out", type=float, default=0.2, help="share of the films kept out to compare old and new weights on")
    parser.add_argument("--passes", type=int, default=2000, help="training windows")
    parser.add_argument("--rate", type=float, default=0.0004)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])


def run(args: argparse.Namespace) -> int:
    """Tune, compare old and new on the films kept out, print the configuration lines."""
    from radanon_node.markers.detector import MarkerDetector
    from radanon_node.markers.weights import find_weights
    from radanon_node.training.evaluate import evaluate, real_subjects
    from radanon_node.training.films import read_labels
    from radanon_node.training.finetune import finetune

    base = args.base
    if base is None:
        packaged = find_weights(None, None)
        if packaged is None or packaged.torch_path is None:
            raise ConfigError("finetune: the packaged weights are not installed; name a checkpoint with --base")
        base = packaged.torch_path
    replay = [f for f in read_labels(args.replay_labels) if f.split in ("", "train")] if args.replay_labels else []

    def report(line: dict[str, float]) -> None:
        print("  ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)

    tuned = finetune(
        read_labels(args.labels, args.films),
        args.out,
        base=base,
        base_films=replay,
        held_out=args.held_out,
        passes=args.passes,
        rate=args.rate,
        keep=args.keep,
        seed=args.seed,
        workers=args.workers,
        threads=args.threads,
        device=args.device,
        report=report,
    )
    if tuned.held_out:
        from radanon_node.training.export import digest

        subjects = list(real_subjects(tuned.held_out))
        old = base.with_suffix(".onnx") if base.with_suffix(".onnx").is_file() else base
        for name, path in (("before", old), ("after", tuned.weights)):
            detector = MarkerDetector.load(path, digest(path), "cpu", args.threads)
            print(f"\n{name}, {len(subjects)} films kept out\n\n{evaluate(detector, subjects).table()}")
    print(f"\nworker:\n  weights: {tuned.weights.resolve()}\n  weights_sha256: {tuned.sha256}")
    return EXIT_OK
