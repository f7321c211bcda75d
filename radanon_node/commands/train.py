"""``radanon train``: train the marker detector from labelled and drawn films."""

from __future__ import annotations

import argparse
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run in it is gone on with")
    parser.add_argument(
        "--labels",
        type=Path,
        action="append",
        default=[],
        help="labelled films (.jsonl, COCO, LabelMe, YOLO); may be repeated; "
        "of films with a split only `train` is used; none: drawn films alone",
    )
    parser.add_argument("--films", type=Path, help="folder of the films, if not beside the labels")
    parser.add_argument(
        "--unlabelled", type=Path, help="folder of further films, labelled by --teacher; patients of the `val` split are left out"
    )
    parser.add_argument("--teacher", type=Path, help="weights (.onnx) that label them; default: the packaged ones")
    parser.add_argument(
        "--sure", type=float, default=0.5, help="confidence from which the teacher is believed; below it regions are left out"
    )
    parser.add_argument("--start", type=Path, help="checkpoint to start from")
    parser.add_argument(
        "--second-stage-of",
        type=Path,
        metavar="CHECKPOINT",
        help="train the second stage of this detector instead; --passes counts candidates, the result holds both",
    )
    parser.add_argument("--windows", type=int, default=8_000, help="with --second-stage-of: windows to take candidates from")
    parser.add_argument("--views", type=int, default=2, help="with --second-stage-of: other views of each labelled film")
    parser.add_argument(
        "--keep", type=float, default=0.0, metavar="SHARE", help="with --second-stage-of: taken back so far to the one it holds"
    )
    parser.add_argument("--size", default="n", choices=["n", "s", "m", "l", "x"], help="size of the network")
    parser.add_argument("--image", type=int, default=416, help="side of a training window in pixels")
    parser.add_argument("--long-side", type=int, default=1024, help="films are scaled to this long side")
    parser.add_argument("--passes", type=int, default=30_000, help="training windows in all")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.002, help="learning rate")
    parser.add_argument("--final", type=float, default=0.02, help="share of the rate left at the end")
    parser.add_argument("--real", type=float, default=0.55, help="share of windows from labelled films")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make samples")
    parser.add_argument("--threads", type=int, default=2, help="threads of the network")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])


def run(args: argparse.Namespace) -> int:
    """Train until the passes are done; prints a line of figures now and then."""
    from radanon_node.training.films import read_labels
    from radanon_node.training.samples import Mix
    from radanon_node.training.train import Recipe, train

    known = [f for labels in args.labels for f in read_labels(labels, args.films)]
    films = [f for f in known if f.split in ("", "train")]
    if args.unlabelled:
        from radanon_node.markers.detector import MarkerDetector
        from radanon_node.training.export import digest
        from radanon_node.training.selftrain import label_films, unlabelled_films

        teacher = MarkerDetector.load(args.teacher, digest(args.teacher) if args.teacher else None, "cpu", args.threads)
        added = label_films(teacher, unlabelled_films(args.unlabelled, known), args.sure)
        print(f"{len(added)} films labelled by the teacher, {sum(i.label >= 0 for f in added for i in f.items)} markers believed")
        films += added

    def report(line: dict[str, float]) -> None:
        print("  ".join(f"{k} {v:.4g}" for k, v in line.items()), flush=True)

    if not 0 <= args.keep <= 1:
        raise ConfigError(f"train: --keep must be 0 to 1, not {args.keep}")
    if args.second_stage_of:
        from radanon_node.training.second_stage import fit

        path = fit(
            args.second_stage_of,
            films,
            args.out,
            windows=args.windows,
            drawn_films=args.windows // 40,
            views=args.views,
            keep=args.keep,
            passes=args.passes,
            rate=args.rate,
            seed=args.seed,
            threads=args.threads,
            long_side=args.long_side,
            report=report,
        )
        print(f"weights: {path}")
        return EXIT_OK
    recipe = Recipe(
        size=args.size,
        image=args.image,
        long_side=args.long_side,
        passes=args.passes,
        batch=args.batch,
        rate=args.rate,
        final=args.final,
        seed=args.seed,
        start=args.start.name if args.start else "",
        mix=Mix(real=args.real if films else 0.0),
    )
    print(f"{len(films)} labelled films, {recipe.passes} windows of {recipe.image} pixels, YOLOv5{recipe.size}")
    path = train(recipe, films, args.out, start=args.start, workers=args.workers, threads=args.threads, device=args.device, report=report)
    print(f"weights: {path}")
    return EXIT_OK
