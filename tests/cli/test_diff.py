"""``ckpt diff``: what differs between two checkpoints, and by how much."""

import json
import os
import shutil
import tracemalloc

import h5py
import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks import EventKind, Every, KeepBest, KeepLast, Metric, Policy
from ckpt_callbacks.formats import weight_change
from ckpt_callbacks.formats.inside import WeightOnDisk
from ckpt_callbacks.torch.staging import TorchStaging
from ckpt_callbacks.units import rough_size
from tests.cli.command_line import ckpt
from tests.formats.splitting import split
from tests.support.training import new_run, report, start

WEIGHTS = {
    "net.weight": torch.arange(12.0).reshape(4, 3),
    "net.bias": torch.zeros(4),
    "frozen": torch.ones(5),
    "gone": torch.ones(2),
    "grown": torch.ones(2),
}


VAL = Metric("val_loss", mode="min")


class Unknown:
    """An object of the user's own class, whose unpickling runs code."""

    def __init__(self, marker, value):
        self.marker, self.value = marker, value

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def save(path, weights=WEIGHTS, **others):
    found = {"state_dict": weights, "hyper_parameters": {"lr": 0.1, "opt": {"name": "adam"}}, "epoch": 1}
    torch.save({**found, "global_step": 10, "pytorch-lightning_version": "2.6.6", **others}, path)
    return path


def snapshot(epoch, embedded):
    """A checkpoint whose only weight is the number of the epoch."""
    data = {"record": embedded.record}
    return TorchStaging("memory").stage({"state_dict": {"w": torch.full((3,), epoch)}, "ckpt_callbacks": data})


def change_of(*arguments):
    """The changes of all weights by their names, from the JSON output."""
    code, out, err = ckpt("diff", *arguments, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    return found, {change["name"]: change for change in found["weights"]}


def test_two_torch_files_are_compared_value_by_value(tmp_path):
    other = {**WEIGHTS, "net.weight": WEIGHTS["net.weight"] * 1.5, "new": torch.ones(3), "grown": torch.ones(3)}
    del other["gone"]
    a = save(tmp_path / "a.ckpt")
    b = save(tmp_path / "b.ckpt", other, hyper_parameters={"lr": 0.01, "opt": {"name": "adam"}}, global_step=20)
    found, changes = change_of(a, b)
    assert found["facts"] == {"step": [10, 20], "epoch": [1, 1]} and found["hyperparameters"] == {"lr": [0.1, 0.01]}
    assert [change["change"] for change in found["weights"]] == [
        "added", "removed", "reshaped", "changed", "unchanged", "unchanged",
    ]  # fmt: skip
    assert changes["net.weight"]["relative"] == pytest.approx(0.5) and changes["net.weight"]["largest"] == 5.5
    assert changes["grown"]["shape"] == [[2], [3]] and changes["grown"]["relative"] is None
    code, out, _ = ckpt("diff", a, b)
    assert code == 0 and "lr              0.1  0.01\n" in out and "unchanged  " not in out
    assert "\n0.5       5.5                float32  [4, 3]      net.weight\n" in out
    assert out.endswith(
        "6 weights: 1 added, 1 removed, 1 reshaped, 1 changed, 2 unchanged\n"
        f"together: relative {(126.5 / (506 + 5)) ** 0.5:.6g}, largest 5.5\n"
    )
    assert "  frozen\n" in ckpt("diff", a, b, "--all")[1]


def test_types_do_not_matter_but_values_do(tmp_path):
    a = save(tmp_path / "a.ckpt", {"w": torch.tensor([1.0, 1 / 3]), "n": torch.tensor(3)})
    b = save(tmp_path / "b.ckpt", {"w": torch.tensor([1.0, 1 / 3]).bfloat16(), "n": torch.tensor(3, dtype=torch.int8)})
    _, changes = change_of(a, b)
    assert changes["n"]["change"] == "unchanged" and changes["n"]["dtype"] == ["int64", "int8"]
    assert 0 < changes["w"]["relative"] < 2**-8 and changes["w"]["dtype"] == ["float32", "bfloat16"]
    assert "float32 -> bfloat16" in ckpt("diff", a, b)[1]


def test_what_is_not_finite_in_one_file_only_comes_first(tmp_path):
    a = save(tmp_path / "a.ckpt", {"x": torch.tensor([1.0, 2.0]), "w": torch.tensor([1.0, float("nan"), float("inf")])})
    b = save(
        tmp_path / "b.ckpt", {"x": torch.tensor([3.0, 2.0]), "w": torch.tensor([float("nan")] * 2 + [float("inf")])}
    )
    found, changes = change_of(a, b)
    assert [change["name"] for change in found["weights"]] == ["w", "x"] and changes["w"]["relative"] == "inf"
    assert change_of(a, a)[0]["relative"] == 0  # NaN equals itself


def test_no_code_in_a_file_runs(tmp_path):
    a, b = (save(tmp_path / f"{n}.ckpt", mine=Unknown(str(tmp_path / "ran"), n)) for n in "ab")
    assert change_of(a, b)[0]["relative"] == 0 and not (tmp_path / "ran").exists()


def test_checkpoints_of_a_run_are_named_as_elsewhere(tmp_path):
    run = new_run(tmp_path / "run", Policy(Every(epochs=1), KeepLast(2) | KeepBest(1, by=VAL)), suffix=".ckpt")
    run.open()
    start(run)
    for epoch, loss in enumerate((0.1, 0.5, 0.3), start=1):
        facts = {"step": 10 * epoch, "epoch": epoch, "metrics": {"val_loss": loss}, "complete": True}
        report(run, EventKind.EPOCH_END, stage=lambda embedded, n=epoch: snapshot(n, embedded), **facts)
    run.close()
    found, changes = change_of(tmp_path / "run", "best", "last")
    assert found["facts"]["epoch"] == [1, 3] and found["facts"]["id"] == [1, 3]
    assert found["metrics"] == {"val_loss": [0.1, 0.3]} and changes["w"]["relative"] == 2
    best, last = (tmp_path / "run" / f"{name}.ckpt" for name in ("best", "last"))
    assert change_of(best, last)[0]["facts"] == found["facts"]
    copy = shutil.copy(best, tmp_path / "copy.ckpt")  # the record in the file takes the place of the manifest's
    assert change_of(copy, last)[0]["metrics"] == found["metrics"]
    assert change_of(tmp_path / "run", copy, "last")[0]["metrics"] == found["metrics"]
    code, _, err = ckpt("diff", tmp_path / "run", "best", tmp_path / "none.ckpt")
    assert code == 2 and err.startswith(f"Error: {tmp_path / 'run'}: has no checkpoint '{tmp_path / 'none.ckpt'}'; ")


def test_one_checkpoint_under_two_names_is_said_to_be_the_same(tmp_path):
    run = new_run(tmp_path / "run", Policy(Every(epochs=1), KeepLast(1) | KeepBest(1, by=VAL)), suffix=".ckpt")
    run.open()
    start(run)
    facts = {"step": 10, "epoch": 1, "metrics": {"val_loss": 0.1}, "complete": True}
    report(run, EventKind.EPOCH_END, stage=lambda embedded: snapshot(1, embedded), **facts)
    run.close()
    found = f"are the same checkpoint: {run.view.last().path}\n"
    assert ckpt("diff", tmp_path / "run", "best", "last") == (0, f"best and last {found}", "")
    links = [tmp_path / "run" / f"{name}.ckpt" for name in ("best", "last")]
    assert ckpt("diff", *links) == (0, f"{links[0]} and {links[1]} {found}", "")
    assert change_of(tmp_path / "run", "best", "last")[0]["relative"] == 0  # JSON has the same form for any two
    (tmp_path / "a.txt").write_text("no checkpoint")
    assert ckpt("diff", *[tmp_path / "a.txt"] * 2)[0] == 2


def test_a_split_checkpoint_has_the_size_of_its_files(tmp_path):
    whole = save(tmp_path / "whole.ckpt", {"w": torch.arange(5000.0)})
    folder = split(save(tmp_path / "a.ckpt", {"w": torch.arange(5000.0), "v": torch.ones(5000)}), 30_000)
    sizes = [rough_size(sum(file.stat().st_size for file in files)) for files in (folder.iterdir(), [whole])]
    code, out, _ = ckpt("diff", folder, whole)
    assert code == 0 and out.startswith(f"A: {folder} ({sizes[0]})\nB: {whole} ({sizes[1]})\n")
    train = new_run(tmp_path / "run", Policy(Every(epochs=1)), suffix=".ckpt")
    train.open()
    start(train)
    report(train, EventKind.EPOCH_END, step=1, epoch=1, stage=lambda embedded: snapshot(1, embedded), complete=True)
    train.close()
    assert change_of(tmp_path / "run", folder, "last")[1].keys() == {"w", "v"}


def test_two_files_of_keras_are_compared(tmp_path):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="head")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    paths = [tmp_path / name for name in ("a.keras", "a.weights.h5", "a.h5")]
    model.save(paths[0])
    model.save_weights(paths[1])
    model.optimizer.learning_rate = 0.5
    for path in (tmp_path / "b.keras", paths[2], tmp_path / "b.h5"):  # after an .h5 file, Keras forgets the optimizer
        model.layers[0].kernel.assign(model.layers[0].kernel * 2)
        model.save(path)
    found, changes = change_of(paths[0], tmp_path / "b.keras")
    assert found["hyperparameters"] == {"compiled.optimizer.config.learning_rate": [pytest.approx(0.1), 0.5]}
    assert changes["layers/dense/vars/0"]["relative"] == 1 and changes["layers/dense/vars/0"]["layer"] == "head"
    assert changes["layers/dense/vars/1"]["change"] == "unchanged" and len(changes) == 2
    assert change_of(paths[1], paths[0])[0]["relative"] == 0
    assert change_of(paths[2], tmp_path / "b.h5")[0]["weights"][0]["relative"] == 1
    code, out, err = ckpt("diff", paths[0], paths[2])
    assert (code, out, err.count("\n")) == (2, "", 1) and "a.h5: is a legacy .h5 file of Keras, but " in err
    code, out, err = ckpt("diff", save(tmp_path / "a.ckpt"), paths[0])
    assert (code, out, err.count("\n")) == (2, "", 1) and "a.keras: is a Keras file, but " in err


def test_bfloat16_of_keras_is_read(tmp_path):
    for name, dtype in (("a", "float32"), ("b", "bfloat16")):
        with h5py.File(tmp_path / f"{name}.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.array([1.0, 1.5, -3.0], np.float32).astype(np.dtype(dtype))
    found, changes = change_of(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    assert found["relative"] == 0 and changes["layers/dense/vars/0"]["dtype"] == ["float32", "bfloat16"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.ckpt", b"hello", "x.ckpt: torch cannot open it: "),
        ("x.ckpt", None, "x.ckpt: torch cannot open it: "),
        ("x.keras", b"hello", "x.keras: is not a readable Keras archive: "),
        ("x.h5", b"hello", "x.h5: h5py cannot open it: "),
        ("x.txt", b"hello", "x.txt: is no checkpoint; expected a .ckpt, .keras, .weights.h5 or .h5 file"),
    ],
    ids=["text", "cut", "keras", "h5", "other"],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
    good = save(tmp_path / "good.ckpt")
    (tmp_path / name).write_bytes(good.read_bytes()[:-100] if content is None else content)
    code, out, err = ckpt("diff", good, tmp_path / name)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"Error: {tmp_path}/{message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}"], "diff: got '{0}'; expected two checkpoints, as in"),
        ([], "diff: got nothing; expected two checkpoints, as in"),
        (["{1}", "best"], "diff: got '{1}', 'best'; expected two checkpoints, as in"),
        (["{0}", "{1}/none.ckpt"], "{1}/none.ckpt: no such file; expected two checkpoints"),
        (["{0}", "{1}"], "{1}: is a directory; expected a single file"),
        (["{1}", "best", "last"], "{1}: is not a run directory"),
        (["{0}", "{1}/empty.ckpt"], "{1}/empty.ckpt: holds no weights; expected a state_dict of tensors"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, arguments, message):
    good = save(tmp_path / "good.ckpt")
    torch.save({"epoch": 3}, tmp_path / "empty.ckpt")
    code, out, err = ckpt("diff", *(argument.format(good, tmp_path) for argument in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"Error: {message.format(good, tmp_path)}")


VALUES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40)


@settings(max_examples=30, deadline=None)
@given(VALUES, VALUES, st.integers(1, 7))
def test_pieces_add_up_to_the_norms_of_the_whole(a, b, size):
    n = min(len(a), len(b))
    first, second = np.array(a[:n]), np.array(b[:n])
    entries = [
        {"w": WeightOnDisk((n,), "float32", lambda v=v: (v[i : i + size] for i in range(0, n, size)))}
        for v in (first, second)
    ]
    (change,) = weight_change.changes(*entries)
    assert change.norm == pytest.approx(np.linalg.norm(first))
    assert change.moved == pytest.approx(np.linalg.norm(second - first))
    assert change.largest == max(np.abs(second - first), default=0)


@pytest.mark.slow
def test_a_large_tensor_is_not_copied_as_a_whole(tmp_path):
    size = 40_000_000
    a, b = (save(tmp_path / f"{n}.ckpt", {"w": torch.full((size,), 1.0 + n)}) for n in range(2))
    tracemalloc.start()
    try:
        assert change_of(a, b)[0]["relative"] == 1
        assert tracemalloc.get_traced_memory()[1] < size  # bytes: a quarter of the tensor
    finally:
        tracemalloc.stop()
