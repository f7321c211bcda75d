#!/bin/sh
# The recipe of weights/markers.*: `sh scripts/train_weights.sh FOLDER` with the folder of labelled films (labels.jsonl beside them).
# Two runs on windows of 320 pixels: the second starts from the first, on wider drawn films, with the decoys and labels that a
# person reviewed on further films of the same collection (scripts/recipe/reviewed.jsonl). An interrupted run is gone on with.
set -eu
films=${1:?folder with labels.jsonl and its films}
radanon=${RADANON:-.venv/bin/radanon}
# Spinning threads are worse than waiting ones wherever something else runs on the machine.
export OMP_WAIT_POLICY=PASSIVE
labels="--labels $films/labels.jsonl"
"$radanon" train --out runs/first --films "$films" $labels --image 320 --passes 18000 --rate 0.002
# The labelled films five times, so that they outweigh the reviewed ones.
"$radanon" train --out runs/second --films "$films" $labels $labels $labels $labels $labels --labels scripts/recipe/reviewed.jsonl \
    --start runs/first/best.pt --image 320 --passes 28500 --rate 0.0015 --real 0.6
"$radanon" export runs/second/best.pt --out runs/weights --threshold 0.2
"$radanon" evaluate --weights runs/weights/markers.onnx --labels "$films/labels.jsonl" --films "$films" --drawn 60 --calibrate
