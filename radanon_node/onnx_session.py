"""How this package opens a network in ONNX Runtime: one place for its threads, its idle cores and its telemetry."""

from __future__ import annotations

import onnxruntime as ort


def open_session(model: str | bytes, threads: int, **entries: str) -> ort.InferenceSession:
    """Open a network on the CPU.

    Parameters
    ----------
    model : str or bytes
        Path of the ONNX file, or its content.
    threads : int
        CPU threads of one call.
    entries : str
        Further session configuration: ``set_denormal_as_zero="1"`` sets ``session.set_denormal_as_zero``.

    Raises
    ------
    Exception
        The runtime raises its own, undocumented types.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(threads, 1)
    options.inter_op_num_threads = 1
    # Spinning threads would keep an idle node's cores busy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    options.log_severity_level = 3
    ort.disable_telemetry_events()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
