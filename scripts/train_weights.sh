#!/bin/sh
# The recipe of weights/markers.*: `sh scripts/train_weights.sh FOLDER` with the folder of labelled films (labels.jsonl beside them).
# Five runs on windows of 320 pixels, each from the one before it: the second with the decoys and labels that a person reviewed on
# further films of the same collection (scripts/recipe/reviewed.jsonl), the third to the fifth on wider and wider drawn films with more
# that is no marker. Then the second stage, on the detector's own candidates on films, windows and whole drawn films, and at last on other
# views of the films: turned, framed, cut, inverted. An interrupted run of the detector is gone on with.
set -eu
films=${1:?folder with labels.jsonl and its films}
radanon=${RADANON:-.venv/bin/radanon}
# Spinning threads are worse than waiting ones wherever something else runs on the machine.
export OMP_WAIT_POLICY=PASSIVE
labels="--labels $films/labels.jsonl"
# The labelled films five times, so that they outweigh the reviewed ones.
known="$labels $labels $labels $labels $labels --labels scripts/recipe/reviewed.jsonl"
"$radanon" train --out runs/first --films "$films" $labels --image 320 --passes 18000 --rate 0.002
"$radanon" train --out runs/second --films "$films" $known --start runs/first/best.pt --image 320 --passes 28500 --rate 0.0015 --real 0.6
"$radanon" train --out runs/third --films "$films" $known --start runs/second/best.pt --image 320 --passes 40000 --rate 0.0012 \
    --final 0.01 --real 0.6 --seed 11
"$radanon" train --out runs/fourth --films "$films" $known --start runs/third/best.pt --image 320 --passes 23000 --rate 0.0011 \
    --final 0.01 --real 0.5 --seed 21
"$radanon" train --out runs/fifth --films "$films" $known --start runs/fourth/best.pt --image 320 --passes 48000 --rate 0.0015 \
    --final 0.01 --real 0.4 --seed 31
"$radanon" train --out runs/pair --films "$films" $labels --labels scripts/recipe/reviewed.jsonl \
    --second-stage-of runs/fifth/best.pt --windows 11500 --passes 380000 --rate 0.002 --views 0
"$radanon" train --out runs/last --films "$films" $labels --labels scripts/recipe/reviewed.jsonl \
    --second-stage-of runs/pair/best.pt --windows 5000 --passes 200000 --rate 0.001 --views 2 --keep 0.5 --seed 51
"$radanon" export runs/last/best.pt --out runs/weights --card scripts/recipe/card.json
"$radanon" evaluate --weights runs/weights/markers.onnx --labels "$films/labels.jsonl" --films "$films" --drawn 60 --calibrate
