"""Run as a script: the process that transcodes, with a codec that crashes of some instances, as one written in C may."""

from __future__ import annotations

import os

from radanon_node.network import transcode
from radanon_node.pipeline.types import Buffer

MARK = "CRASH HERE"
_real = transcode.transcode


def _crashing(data: Buffer, source: str, target: str) -> bytes:
    if MARK.encode() in bytes(data):
        os.abort()
    return _real(data, source, target)


if __name__ == "__main__":
    transcode.transcode = _crashing
    transcode.serve()
