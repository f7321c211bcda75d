"""The YOLOv5 network is the original's, and its checkpoints are read without running anything in them."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from radanon_node.errors import ConfigError  # noqa: E402
from radanon_node.markers.checkpoint import read_checkpoint  # noqa: E402
from radanon_node.markers.yolov5 import COCO_ANCHORS, YoloV5  # noqa: E402


@pytest.mark.parametrize(("size", "parameters"), [("n", 1_872_157), ("s", 7_235_389), ("m", 21_190_557), ("x", 86_749_405)])
def test_sizes_have_the_published_number_of_parameters(size: str, parameters: int) -> None:
    """The original prints these numbers for 80 classes."""
    with torch.device("meta"):
        net = YoloV5(size, 80, COCO_ANCHORS)
    assert sum(p.numel() for p in net.parameters()) == parameters


def _net(seed: int = 0) -> YoloV5:
    torch.manual_seed(seed)
    net = YoloV5("n")
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.6)
    return net.eval()


def test_folding_batch_normalisation_changes_no_prediction() -> None:
    x = torch.rand(2, 3, 96, 128)
    net = _net()
    with torch.no_grad():
        before = net.decode(net(x))
        after = net.fuse().decode(net(x))
    assert before.shape == (2, 3 * (12 * 16 + 6 * 8 + 3 * 4), 8)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_decoded_boxes_sit_on_their_cells() -> None:
    """Zero logits: centres in the middle of cells, sizes those of the anchors."""
    net = _net()
    raw = [torch.zeros(1, 3, 64 // s, 64 // s, 8) for s in (8, 16, 32)]
    rows = net.decode(raw)[0]
    assert rows[0, :2].tolist() == [4.0, 4.0]
    torch.testing.assert_close(rows[0, 2:4], net.head.anchors[0, 0] * 8)
    assert rows[-1, :2].tolist() == [48.0, 48.0]


def test_a_plain_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    net = _net()
    path = tmp_path / "w.pt"
    torch.save({"state_dict": net.state_dict(), "names": ["a", "b", "c"]}, path)
    held = read_checkpoint(path)
    assert (held.size, held.nc, held.names) == ("n", 3, ("a", "b", "c"))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(held.build()(x), net(x))


def test_a_checkpoint_of_pickled_modules_is_read_without_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the original's train.py writes it: whole modules of packages that are not installed where it is read."""
    made: dict[str, type] = {}
    home = types.ModuleType("models.yolo")

    def foreign(module: nn.Module) -> nn.Module:
        name = type(module).__name__
        if not type(module).__module__.startswith("torch"):
            made.setdefault(name, type(name, (nn.Module,), {"__module__": "models.yolo"}))
            setattr(home, name, made[name])
            twin = made[name].__new__(made[name])
            nn.Module.__init__(twin)
            for key in ("_parameters", "_buffers"):
                getattr(twin, key).update(getattr(module, key))
        else:
            twin = module
        for key, child in module._modules.items():
            twin._modules[key] = foreign(child) if child is not None else None
        return twin

    net = _net()
    want = {k: v.clone() for k, v in net.state_dict().items()}
    monkeypatch.setitem(sys.modules, "models", types.ModuleType("models"))
    monkeypatch.setitem(sys.modules, "models.yolo", home)
    whole = foreign(net)
    whole.names = {0: "x", 1: "y", 2: "z"}
    path = tmp_path / "original.pt"
    torch.save({"model": whole.half(), "ema": None, "epoch": -1, "optimizer": None}, path)
    monkeypatch.delitem(sys.modules, "models.yolo")
    held = read_checkpoint(path)
    assert held.names == ("x", "y", "z")
    for key, value in want.items():
        torch.testing.assert_close(held.state[key], value.half().float() if value.is_floating_point() else value)


class _Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_wants_code_to_run_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "evil.pt"
    torch.save({"model": _Trap(mark)}, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"state_dict": {}})])
def test_what_is_no_checkpoint_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"w\.pt"):
        read_checkpoint(path)


def test_a_state_with_a_missing_layer_is_a_clear_error(tmp_path: Path) -> None:
    state = _net().state_dict()
    del state["model.9.cv1.conv.weight"]
    path = tmp_path / "w.pt"
    torch.save({"state_dict": state}, path)
    with pytest.raises(ConfigError, match="1 parameters missing"):
        read_checkpoint(path)


def test_the_original_package_gives_the_same_predictions() -> None:
    """Same state in yolov5's own model: same raw predictions."""
    yolo = pytest.importorskip("yolov5.models.yolo", exc_type=ImportError)
    import yolov5

    folder = Path(yolov5.__file__).parent / "models"
    net = _net()
    theirs = yolo.Model(str(folder / "yolov5n.yaml"), ch=3, nc=3).eval()
    theirs.load_state_dict(net.state_dict())
    x = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(net.decode(net(x)), theirs(x)[0], rtol=1e-4, atol=1e-3)
