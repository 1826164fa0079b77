"""Files that are reduced to smaller contents: the same promises in each format."""

import numpy as np
import pytest
import torch

from ckpt_callbacks import Contents
from ckpt_callbacks.errors import StoreError
from ckpt_callbacks.formats.torch import writer
from ckpt_callbacks.policy.contents_order import contents_of, holds_more
from ckpt_callbacks.policy.contents_order import held as contents_held
from ckpt_callbacks.record import Record
from tests.formats.reducible import OPTIMIZER, SUFFIXES, held, name_in, reduced, weights, write

# The largest error as a part of the value, if the value is in the type's normal range.
EXACTNESS = {"fp32": 2**-24, "bf16": 2**-8, "fp16": 2**-11}
in_each_format = pytest.mark.parametrize("suffix", SUFFIXES)


@in_each_format
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("kind", ["weights", "full"])
def test_weights_are_rounded_and_nothing_else_changes(tmp_path, suffix, dtype, kind):
    if suffix == ".weights.h5" and kind == "full":
        pytest.skip("holds only weights")
    old = tmp_path / f"old{suffix}"
    new, record = reduced(old, write(old), Contents(kind, dtype))
    found, before = held(new), weights()
    kinds = {"body/0": "fp32" if dtype == "fp32" else dtype, "body/1": "int64", "head/1": dtype}
    assert found.types == kinds | {"head/0": kinds["body/0"]}
    for name, array in before.items():
        assert np.allclose(found.arrays[name], array, rtol=EXACTNESS[dtype], atol=1e-7), name
    assert (found.optimizer is not None and np.array_equal(found.optimizer, OPTIMIZER)) == (kind == "full")
    assert found.record == record and contents_of(record.contents, record.reduced) == Contents(kind, dtype)
    errors = record.reduced["errors"]
    assert errors["tensors"] == (1 if dtype == "fp32" else 3)
    name, absolute, share = errors["worst"][0]
    array = before[name.replace(".", "/")]
    off = np.abs(found.arrays[name.replace(".", "/")] - array).max()
    assert absolute == pytest.approx(off) and share == pytest.approx(off / np.abs(array).max())
    if dtype != "fp32":
        assert new.stat().st_size < old.stat().st_size - 20_000


@in_each_format
def test_what_is_out_of_range_keeps_its_type_and_is_named(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    of = weights()
    of["head/0"][0, 0] = 1e5
    of["head/1"][:] = [1e300, np.inf, np.nan]
    of["body/0"][0, :3] = [np.nan, -np.inf, 65504]
    new, record = reduced(old, write(old, of), Contents("weights", "fp16"))
    found = held(new)
    assert found.types == {"body/0": "fp16", "body/1": "int64", "head/0": "fp32", "head/1": "fp64"}
    wider = {name.replace(".", "/"): kind for name, kind in record.reduced["wider"].items()}
    assert wider == {"head/0": "fp32", "head/1": "fp64"}
    assert np.array_equal(found.arrays["head/0"], of["head/0"])
    assert np.isnan(found.arrays["body/0"][0, 0]) and found.arrays["body/0"][0, 1] == -np.inf
    of["head/1"] = np.array([1e30, 1.0, 2.0])
    other = tmp_path / f"other{suffix}"
    new, record = reduced(other, write(other, of), Contents("weights", "fp16"), "second")
    assert held(new).types["head/1"] == "fp32", "the next larger type that holds it"


@in_each_format
def test_a_part_is_left_out_and_named(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    contents = Contents("weights", drop=("body", "haed"), reference="hub/body")
    new, record = reduced(old, write(old), contents)
    assert set(held(new).arrays) == {"head/0", "head/1"}
    assert record.reduced == {
        "drop": ["body"], "dropped": {"tensors": 2, "bytes": 48016}, "reference": "hub/body",
        "unknown": {"haed": "did you mean 'head'?"},
    }  # fmt: skip
    newer, record = reduced(new, record, Contents("weights", "bf16", drop=("head*1", "body")), "newer")
    assert set(held(newer).arrays) == {"head/0"} and held(newer).types["head/0"] == "bf16"
    assert record.reduced["drop"] == ["body", "head*1"] and record.reduced["unknown"].keys() == {"haed"}
    assert record.reduced["dropped"] == {"tensors": 3, "bytes": 48016 + 24}
    assert record.reduced["reference"] == "hub/body"
    _, record = reduced(newer, record, Contents("weights", drop=("b*", "hea")), "newest")
    assert record.reduced["drop"] == ["head*1", "b*"], "which has left out the body, if earlier"
    assert record.reduced["unknown"].keys() == {"haed", "hea"}


@in_each_format
def test_a_name_that_nothing_has_is_not_named_as_left_out(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    wanted = Contents("weights", drop="haed", reference="hub/body")
    new, record = reduced(old, write(old), wanted)
    assert record.reduced == {"unknown": {"haed": "did you mean 'head'?"}}
    assert str(contents_held(record)) == "weights" and not holds_more(record, wanted)
    assert not holds_more(record, Contents("weights", drop="haed/0")), "a part of what nothing has"
    assert holds_more(record, Contents("weights", drop="h*d")), "which means more"
    _, record = reduced(new, record, Contents("weights", "bf16"), "newer")
    assert record.reduced["unknown"].keys() == {"haed"} and not holds_more(record, wanted)


@in_each_format
def test_a_file_is_reduced_step_by_step_and_keeps_what_was_noted(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    first, record = reduced(old, write(old), Contents("weights", "bf16"))
    worst = record.reduced["errors"]["worst"]
    second, record = reduced(first, record, Contents("weights", drop="body"), "second")
    assert held(second).types == {"head/0": "bf16", "head/1": "bf16"}
    assert record.reduced["dtype"] == "bf16" and record.reduced["errors"] == {"tensors": 3, "worst": worst}
    assert contents_of(record.contents, record.reduced) == Contents("weights", "bf16", drop="body")


@in_each_format
def test_to_leave_out_all_is_refused(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    record = write(old)
    with pytest.raises(StoreError, match="drop=body, \\*ead leaves no weight in it; the file stays whole"):
        reduced(old, record, Contents("weights", drop=("body", "*ead")))


@in_each_format
def test_frozen_parameters_are_left_out_and_named_by_their_digest(tmp_path, suffix):
    old, other = tmp_path / f"old{suffix}", tmp_path / f"other{suffix}"
    frozen = [name_in(old, "body/0")]
    wanted = Contents("weights", "bf16", weights="trainable", reference="hub/base")
    new, record = reduced(old, write(old, frozen=frozen), wanted)
    assert held(new).types == {"body/1": "int64", "head/0": "bf16", "head/1": "bf16"}
    assert record.reduced["dropped"] == {"tensors": 1, "bytes": 48000} and record.reduced["reference"] == "hub/base"
    assert contents_of(record.contents, record.reduced) == Contents("weights", "bf16", weights="trainable")
    of = weights()
    of["head/0"] += 1
    _, trained = reduced(other, write(other, of, frozen=frozen), wanted, "trained")
    assert trained.reduced["base"] == record.reduced["base"], "only the frozen ones count"
    of["body/0"][0, 0] += 1
    other.unlink()
    _, changed = reduced(other, write(other, of, frozen=frozen), wanted, "changed")
    assert changed.reduced["base"] != record.reduced["base"]
    newer, later = reduced(new, record, Contents("weights", weights="trainable", drop="head*1"), "newer")
    assert later.reduced["base"] == record.reduced["base"] and set(held(newer).arrays) == {"body/1", "head/0"}


@in_each_format
def test_frozen_parameters_can_be_left_out_later(tmp_path, suffix):
    old = tmp_path / f"old{suffix}"
    new, record = reduced(old, write(old, frozen=[name_in(old, "body/0")]), Contents("weights", "fp16"))
    newer, record = reduced(new, record, Contents("weights", weights="trainable"), "newer")
    assert set(held(newer).arrays) == {"body/1", "head/0", "head/1"} and record.reduced["dtype"] == "fp16"


@in_each_format
@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (Contents("weights", weights="trainable"), "weights='trainable' needs the names of the frozen parameters"),
        (Contents("weights", source="ema"), "it holds no averages for source='ema'; expected "),
        (Contents("weights", source="swa"), "it holds no averages for source='swa'; expected "),
    ],
)
def test_what_a_file_does_not_hold_leaves_it_whole(tmp_path, suffix, contents, problem):
    if suffix == ".weights.h5" and contents.source is not None:
        pytest.skip("no rule asks for averages of a file that was saved without them")
    old = tmp_path / f"old{suffix}"
    record = write(old)
    with pytest.raises(StoreError, match=f"^{problem}.*the file stays whole$"):
        reduced(old, record, contents)


def tied(path):
    """Write a checkpoint with tied weights, views, and a module's versions."""
    layer, table = torch.nn.Linear(40, 30), torch.randn(1000)
    layer.register_buffer("part", table[10:20])
    state = layer.state_dict()
    state |= {"tied": state["weight"], "turned": state["weight"].t(), "table": table, "empty": torch.empty(0, 3)}
    state |= {"half": torch.randn(3).half(), "extra": {"x": torch.randn(2)}, "sparse": torch.eye(3).to_sparse()}
    torch.save({"state_dict": state, "epoch": 3}, path)
    return state


@pytest.mark.parametrize("known", [True, False], ids=["own writer", "torch.save"])
def test_tied_weights_and_views_share_their_storage_afterwards(tmp_path, monkeypatch, known):
    monkeypatch.setattr(writer, "is_known", lambda: known)
    before, old = tied(tmp_path / "old.ckpt"), tmp_path / "old.ckpt"
    new, _ = reduced(old, Record(1, "old.ckpt"), Contents("weights", "bf16"))
    after = torch.load(new, weights_only=True)["state_dict"]
    assert list(after) == list(before) and after._metadata == before._metadata
    for name, value in before.items():
        if name not in ("half", "extra", "sparse", "empty"):
            assert after[name].dtype == torch.bfloat16 and torch.equal(after[name], value.bfloat16())
            assert after[name].stride() == value.stride()
    assert after["half"].dtype == torch.float16 and after["extra"]["x"].dtype == torch.float32
    for one, other in (("weight", "tied"), ("weight", "turned"), ("part", "table")):
        assert after[one].untyped_storage().data_ptr() == after[other].untyped_storage().data_ptr()
    model = torch.nn.Linear(40, 30)
    model.load_state_dict({name: after[name] for name in ("weight", "bias")})
    assert model.weight.dtype == torch.float32 and torch.equal(model.weight, before["weight"].bfloat16().float())
