"""Weights as whole numbers: how far they may be off, and how they are packed."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from ckpt_callbacks import Contents, load_weights
from ckpt_callbacks.errors import PolicyError, StoreError, VerifyError
from ckpt_callbacks.formats.torch import writer
from ckpt_callbacks.formats.torch.quantization import LEVELS, dequantized, error, quantized, scales, shape_of_numbers
from ckpt_callbacks.record import Record
from tests.cli.command_line import ckpt
from tests.formats.reducible import reduced

DTYPES = sorted(LEVELS)
KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def network():
    """A network with each kind of weight, of which one is tied."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Flatten(), torch.nn.Linear(45, 31),
        torch.nn.Linear(31, 10),
    )  # fmt: skip
    model.register_parameter("tied", model[3].weight)
    return model


def saved(path, model):
    torch.save({"state_dict": model.state_dict(), "optimizer_states": [{}], "epoch": 2}, path)
    return path, Record(1, path.name)


SHAPES = st.lists(st.integers(1, 7), min_size=2, max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(DTYPES), st.sampled_from(KINDS), st.integers(0, 10**6), st.floats(-30, 30))
def test_no_value_is_off_by_more_than_half_a_scale(shape, dtype, kind, seed, exponent):
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(shape, generator=generator, dtype=torch.float64) * 2.0 ** (
        exponent / (4 if kind is torch.float16 else 1)
    )
    tensor[torch.rand(shape[0], generator=generator) < 0.2] = 0
    tensor = tensor.to(kind)
    scale = scales(tensor, dtype)
    numbers = quantized(tensor, scale, dtype)
    assert numbers.shape == shape_of_numbers(shape, dtype) and numbers.element_size() == 1
    found = dequantized(numbers, scale, dtype, shape)
    off = (found.double() - tensor.double()).abs().flatten(1)
    assert (off <= scale.double()[:, None] * (0.5 + 1e-5)).all()
    largest = float(tensor.double().abs().max())
    absolute, share = error(tensor, scale, dtype)
    loaded = float((found.to(kind).double() - tensor.double()).abs().max())
    assert absolute == pytest.approx(loaded, rel=1e-3, abs=float(scale.max()) * (0 if kind.itemsize == 2 else 1e-4))
    assert share == (absolute / largest if largest else 0)
    assert scales(found, dtype).tolist() == pytest.approx(scale.tolist(), rel=1e-6)  # a second time changes nothing
    assert torch.equal(quantized(found, scale, dtype), numbers)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_has_no_scale_is_not_quantized(dtype):
    for value, kind in ((float("nan"), torch.float32), (float("inf"), torch.float32), (1e300, torch.float64)):
        tensor = torch.ones(3, 2, dtype=kind)
        tensor[1, 1] = value
        assert scales(tensor, dtype) is None


def test_two_numbers_of_int4_are_in_a_byte_the_first_one_below():
    tensor = torch.tensor([[7.0, -7.0, 1.0], [0.0, 14.0, -6.0]])
    scale = scales(tensor, "int4")
    assert scale.tolist() == [1.0, 2.0]
    assert quantized(tensor, scale, "int4").tolist() == [[15 + 16 * 1, 9 + 16 * 8], [8 + 16 * 15, 5 + 16 * 8]]
    with pytest.raises(ValueError, match="expected"):
        dequantized(quantized(tensor, scale, "int4"), scale, "int4", (2, 5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("known", [True, False], ids=["own writer", "torch.save"])
def test_a_file_holds_whole_numbers_that_plain_torch_reads(tmp_path, monkeypatch, dtype, known):
    monkeypatch.setattr(writer, "is_known", lambda: known)
    model = network()
    old, record = saved(tmp_path / "old.ckpt", model)
    new, record = reduced(old, record, Contents("weights", dtype))
    assert record.reduced["dtype"] == dtype and record.reduced["errors"]["tensors"] == 4
    found = torch.load(new, weights_only=True)
    state, noted = found["state_dict"], found["quantized"]
    assert noted["dtype"] == dtype and set(noted["weights"]) == {"0.weight", "3.weight", "4.weight", "tied"}
    for name, facts in noted["weights"].items():  # as docs/contents.md says
        numbers, scale = state.pop(f"{name}.{dtype}"), state.pop(f"{name}.scale")
        if dtype == "int4":
            halves = torch.stack((numbers & 15, numbers >> 4), 2).flatten(1)
            numbers = halves[:, : math.prod(facts["shape"][1:])].to(torch.int8) - 8
        state[name] = (numbers.flatten(1) * scale[:, None]).reshape(facts["shape"])
        before = model.state_dict()[name]
        assert facts["relative_error"] <= 0.5001 / LEVELS[dtype]
        assert ((state[name] - before).abs().flatten(1) <= scale[:, None] * 0.5001).all()
    loaded = load_weights(new)
    assert list(loaded) and all(torch.equal(loaded[name], state[name]) for name in model.state_dict())
    network().load_state_dict(loaded)
    for name in ("0.bias", "1.weight", "1.num_batches_tracked", "4.bias"):
        assert torch.equal(loaded[name], model.state_dict()[name])
    with pytest.raises(RuntimeError, match="Missing key"):
        network().load_state_dict(torch.load(new)["state_dict"])
    again = torch.load(new)["state_dict"]
    assert again[f"tied.{dtype}"].data_ptr() == again[f"3.weight.{dtype}"].data_ptr()
    assert loaded["tied"].data_ptr() == loaded["3.weight"].data_ptr()


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_that_is_noted_is_that_of_what_is_loaded(tmp_path, kind):
    model = torch.nn.Linear(400, 50, bias=False).to(kind)
    old, record = saved(tmp_path / "old.ckpt", model)
    new, record = reduced(old, record, Contents("weights", "int8"))
    ((_, noted, _),) = record.reduced["errors"]["worst"]
    found = load_weights(new)["weight"]
    assert found.dtype == kind
    assert noted == pytest.approx(float((found.double() - model.weight.detach().double()).abs().max()), rel=1e-3)


def test_a_file_is_quantized_further_and_keeps_what_is_out_of_range(tmp_path):
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    old, record = saved(tmp_path / "old.ckpt", model)
    first, record = reduced(old, record, Contents("weights", "int8"))
    assert record.reduced["wider"] == {"0.weight": "fp32"}
    second, record = reduced(first, record, Contents("weights", "int4", drop="4"), "second")
    assert record.reduced["dtype"] == "int4" and "0.weight" in load_weights(second)
    assert set(load_weights(second)) == {name for name in model.state_dict() if not name.startswith("4.")}
    third, record = reduced(second, record, Contents("weights", "int4", drop=("4", "0")), "third")
    assert torch.equal(load_weights(third)["3.weight"], load_weights(second)["3.weight"])
    code, out, _ = ckpt("diff", first, second)
    assert code == 0 and "int8 -> int4" in out and "removed" in out


def test_whole_numbers_need_contents_that_no_run_resumes_from():
    with pytest.raises(PolicyError, match="dtype is 'int8', with kind 'full'; expected kind='weights' as well"):
        Contents(dtype="int8")
    with pytest.raises(PolicyError, match="did you mean 'int8'"):
        Contents("weights", dtype="8bit")


@pytest.mark.parametrize("lost", ["0.weight.scale", "0.weight.int8"])
def test_damage_is_one_line(tmp_path, lost):
    old, record = saved(tmp_path / "old.ckpt", network())
    new, _ = reduced(old, record, Contents("weights", "int8"))
    found = torch.load(new, weights_only=True)
    del found["state_dict"][lost]
    torch.save(found, new)
    with pytest.raises(VerifyError, match=r"0\.weight of type int8 is not complete"):
        load_weights(new)


def test_weights_of_other_files_are_loaded_too(tmp_path):
    model = network()
    old, _ = saved(tmp_path / "old.ckpt", model)
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    for path in (old, tmp_path / "plain.pt"):
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in load_weights(path).items())
    for name in ("a.keras", "a.keras.cz", "a.weights.h5"):
        with pytest.raises(StoreError, match=f"{re.escape(name)}: is a Keras file; expected a \\.ckpt file"):
            load_weights(tmp_path / name)
    (tmp_path / "bad.ckpt").write_bytes(b"no archive")
    with pytest.raises(VerifyError, match=r"bad\.ckpt: torch cannot open it"):
        load_weights(tmp_path / "bad.ckpt")


def test_a_classifier_of_digits_classifies_as_before(tmp_path):
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = x.float() / 16
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[:1200]), y[:1200]).backward()
        optimizer.step()

    def accuracy():
        with torch.no_grad():
            return float((model(x[1200:]).argmax(1) == y[1200:]).double().mean())

    before = accuracy()
    old, record = saved(tmp_path / "old.ckpt", model)
    assert before > 0.88
    for dtype, lost in (("int8", 0.004), ("int4", 0.03)):
        new, _ = reduced(old, record, Contents("weights", dtype), dtype)
        model.load_state_dict(load_weights(new))
        assert accuracy() > before - lost
        assert new.stat().st_size < old.stat().st_size
