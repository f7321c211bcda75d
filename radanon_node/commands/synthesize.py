"""``radanon synthesize``: draw films with markers, exact labels and ink masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from radanon_node.errors import EXIT_OK, ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--out", type=Path, required=True, help="folder for films/, masks/ and labels.jsonl")
    parser.add_argument("--count", type=int, default=20, help="films to draw")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same films")
    parser.add_argument("--rows", type=int, help="height; default: 400 to 3,000, drawn")
    parser.add_argument("--columns", type=int, help="width; default: 0.7 to 1.2 of the height")
    parser.add_argument("--grounds", type=Path, help="folder of marker-free films (PNG, JPEG) to draw on")


def run(args: argparse.Namespace) -> int:
    """Draw and write."""
    import json

    import cv2
    import numpy as np

    from radanon_node.training.films import read_image
    from radanon_node.training.synth.film import synthesize
    from radanon_node.training.synth.markers import CLASSES

    grounds = sorted(p for p in args.grounds.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if args.grounds else []
    if args.grounds and not grounds:
        raise ConfigError("synthesize: no PNG or JPEG in --grounds")
    (args.out / "films").mkdir(parents=True, exist_ok=True)
    (args.out / "masks").mkdir(parents=True, exist_ok=True)
    with (args.out / "labels.jsonl").open("w") as labels:
        for number in range(args.count):
            rng = np.random.default_rng((args.seed, number))
            rows = args.rows or int(np.exp(rng.uniform(np.log(400), np.log(3000))))
            columns = args.columns or int(rows * rng.uniform(0.7, 1.2))
            ground = read_image(grounds[int(rng.integers(0, len(grounds)))]) if grounds else None
            film = synthesize((rows, columns), rng, ground)
            name = f"{args.seed}-{number:05}.png"
            cv2.imwrite(str(args.out / "films" / name), film.image)
            cv2.imwrite(str(args.out / "masks" / name), film.ink)
            items = [{"bbox": [i.x0, i.y0, i.x1, i.y1], "kind": CLASSES[i.label] if i.label >= 0 else "unknown"} for i in film.items]
            labels.write(json.dumps({"image": f"films/{name}", "items": items}) + "\n")
    values = ", ".join(f"{k + 1} {c}" for k, c in enumerate(CLASSES))
    print(f"{args.count} films with labels.jsonl and ink masks (0 nothing, {values}) in {args.out}")
    return EXIT_OK
