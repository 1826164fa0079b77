"""Split checkpoints: plain libraries read the shards, every byte of the native file comes back, damage is noticed."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

import ckpt_callbacks
from ckpt_callbacks import StoreError, VerifyError, load_weights
from ckpt_callbacks.formats import format_of
from ckpt_callbacks.formats.sharded.assignment import assigned
from tests.formats.splitting import split

INDEX = "model.safetensors.index.json"


def read_plainly(folder):
    """Return the tensors as any reader of Hugging Face's format reads them, with tied ones by each of their names."""
    index = json.loads((folder / INDEX).read_text())
    found = {}
    for shard in sorted({*index["weight_map"].values()}):
        held = load_file(folder / shard)
        assert {name for name, file in index["weight_map"].items() if file == shard} == held.keys()
        found |= held
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in found.values())
    with safe_open(folder / shard, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
    return found | {alias: found[name] for alias, name in index["metadata"].get("tied", {}).items()}


def shards_of(folder):
    return sorted(folder.glob("model*-of-*")) or sorted(folder.glob("model_*.h5"))


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and (
        torch.cat([a.flatten()] * 2).view(torch.uint8).equal(torch.cat([b.flatten()] * 2).view(torch.uint8))
    )  # fmt: skip


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_each_tensor_is_in_one_file_in_order_and_no_file_is_too_large(sizes, most):
    files = assigned(sizes, most)
    assert [place for file in files for place in file] == list(range(len(sizes)))
    for file, following in zip(files, [*files, None][1:], strict=True):
        assert len(file) == 1 or sum(sizes[place] for place in file) <= most
        assert following is None or sum(sizes[place] for place in file) + sizes[following[0]] > most, "full"


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
          torch.uint16]  # fmt: skip
shapes = st.lists(st.integers(0, 6), max_size=4)


@st.composite
def states(draw):
    """State dictionaries of tensors of all types, in any layout, tied, overlapping, and with other things between."""
    state = {}
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["new", "new", "permuted", "tied", "part", "expanded", "other"]))
        known = [value for value in state.values() if isinstance(value, torch.Tensor)]
        if kind == "other":
            state[f"ä.{number}"] = {"steps": number}
        elif kind == "tied" and known:
            state[f"t.{number}"] = draw(st.sampled_from(known))
        elif kind == "part" and known and (base := draw(st.sampled_from(known))).dim():
            state[f"p.{number}"] = base[base.shape[0] // 2 :]
        else:
            shape = draw(shapes)
            bits = torch.from_numpy(np.random.default_rng(number).integers(0, 2, (*shape, 8), dtype=np.uint8))
            made = bits.sum(-1).to(draw(st.sampled_from(DTYPES)))
            if kind == "permuted":
                made = made.permute(draw(st.permutations(range(made.dim()))))
            state[f"w.{number}"] = made.expand(3, *made.shape) if kind == "expanded" else made
    state["last"] = torch.ones(2)
    return state


@given(state=states(), most=st.integers(64, 3000), extra=st.booleans())
@settings(deadline=None, max_examples=50)
def test_any_state_is_read_by_safetensors_and_comes_back(tmp_path_factory, state, most, extra):
    path = tmp_path_factory.mktemp("any") / "x.ckpt"
    torch.save({"state_dict": state, "epoch": 3, **({"more": torch.arange(700)} if extra else {})}, path)
    folder = split(path, most)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    found = read_plainly(folder)
    assert found.keys() == tensors.keys() and all(same(found[name], value) for name, value in tensors.items())
    for shard in shards_of(folder):
        assert shard.stat().st_size <= most or len(load_file(shard)) == 1
    assert all(file.stat().st_size <= most for file in folder.glob("*.bin"))
    loaded = load_weights(folder)
    assert loaded.keys() == state.keys() and all(same(loaded[name], value) for name, value in tensors.items())


def test_names_and_tied_weights_are_those_of_hugging_face(tmp_path):
    first = torch.nn.Linear(20, 20)
    state = {"embed": first.weight, "mid": torch.randn(20, 20), "head": first.weight, "bias": first.bias}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    folder = split(tmp_path / "a.ckpt", 2000)
    assert {file.name for file in folder.iterdir()} == {
        INDEX, *(f"model-0000{n}-of-00002.safetensors" for n in (1, 2)), "ckpt_callbacks.json",
        *(file.name for file in folder.glob("ckpt_callbacks-*.bin")),
    }  # fmt: skip
    index = json.loads((folder / INDEX).read_text())
    assert list(index["weight_map"]) == ["embed", "mid", "bias"]
    with safe_open(folder / index["weight_map"]["embed"], framework="pt") as file:
        assert file.metadata() == {"format": "pt", "head": "embed"}
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2 * (tmp_path / "a.ckpt").stat().st_size


def test_weights_in_another_order_of_axes_are_stored_once(tmp_path):
    """As ``channels_last`` leaves them."""
    kernel = torch.randn(64, 32, 3, 3).to(memory_format=torch.channels_last)
    torch.save({"state_dict": {"kernel": kernel}}, tmp_path / "a.ckpt")
    folder = split(tmp_path / "a.ckpt", 10_000)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1.2 * kernel.nbytes
    with ckpt_callbacks.open(folder) as file:
        found = torch.load(file, weights_only=True)["state_dict"]["kernel"]
    assert found.equal(kernel) and found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"a": torch.eye(3).to_sparse()}, "a is of a kind that safetensors cannot hold; it stays one file"),
        ({"a": torch.randn(3, dtype=torch.complex64).conj()}, "a is of a kind that safetensors cannot hold"),
        ({"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, "a is of a kind that safetensors"),
        ({"a": 3}, "it holds no tensors; it stays one file"),
        (None, "it holds no state_dict; it stays one file"),
    ],
)  # fmt: skip
def test_what_safetensors_cannot_hold_stays_one_file(tmp_path, state, line):
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(StoreError, match=line):
        split(tmp_path / "a.ckpt", 100)


@pytest.fixture
def folder(tmp_path):
    torch.save({"state_dict": {f"w{n}": torch.randn(300) for n in range(4)}}, tmp_path / "a.ckpt")
    return split(tmp_path / "a.ckpt", 3000)


def test_any_changed_byte_is_noticed(folder):
    form = format_of(folder)
    for file in folder.iterdir():
        whole = file.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(VerifyError):
                form.check(folder, ())
        file.write_bytes(whole)
    form.check(folder, ())


def test_damaged_weights_are_not_loaded(folder):
    shard = folder / "model-00001-of-00002.safetensors"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(VerifyError, match=f"^{folder}: is damaged"):
        load_weights(folder)
    shard.write_bytes(whole[:-1])
    with pytest.raises(VerifyError, match=f"^{shard}: has {len(whole) - 1} bytes; expected {len(whole)}"):
        load_weights(folder)
    shard.unlink()
    with pytest.raises(VerifyError, match=f"^{folder}: lacks {shard.name}"):
        load_weights(folder)
    (folder / "ckpt_callbacks.json").unlink()
    with pytest.raises(VerifyError, match=f"^{folder}: lacks ckpt_callbacks.json; expected a folder of shards"):
        load_weights(folder)


def test_bytes_are_read_from_anywhere(folder):
    native = folder.with_name("a.ckpt").read_bytes()
    with ckpt_callbacks.open(folder) as file:
        for start in range(0, len(native), 997):
            file.seek(start)
            assert file.read(1500) == native[start : start + 1500]
        assert file.seek(0, 2) == len(native) and file.read(1) == b""


# -- Keras -------------------------------------------------------------------------------------------------------------


def network(seed=1):
    keras.utils.set_random_seed(seed)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(40), keras.layers.BatchNormalization()])
    made = keras.Sequential(
        [keras.Input((8,)), inner, keras.layers.Dense(300, dtype="bfloat16"), keras.layers.Dense(2)]
    )
    return made


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
@pytest.mark.parametrize("most", [9_000, 20_000, 10**6])
def test_plain_keras_reads_the_shards(tmp_path, suffix, most):
    made, path = network(), tmp_path / f"a{suffix}"
    made.save(path) if suffix == ".keras" else made.save_weights(path)
    folder = split(path, most)
    fresh = network(2)
    fresh.load_weights(folder / "model.weights.json")
    assert all(np.array_equal(a, b) for a, b in zip(fresh.get_weights(), made.get_weights(), strict=True))
    for shard in shards_of(folder):
        with h5py.File(shard) as file:
            held = []
            file.visititems(lambda name, item, held=held: held.append(name) if isinstance(item, h5py.Dataset) else None)
        assert shard.stat().st_size <= most or len(held) == 1
    assert len(shards_of(folder)) > 1 or most == 10**6
    rest = sum(file.stat().st_size for file in folder.glob("*.bin"))
    assert rest < path.stat().st_size - sum(value.nbytes for value in made.get_weights() if value.nbytes > 100), "once"
    if suffix == ".keras":
        config = json.loads((folder / "config.json").read_text())
        rebuilt = keras.saving.deserialize_keras_object(config)
        rebuilt.load_weights(folder / "model.weights.json")


def test_the_index_and_the_names_are_those_of_keras(tmp_path):
    made = network()
    made.save_weights(tmp_path / "a.weights.h5")
    made.save_weights(tmp_path / "model.weights.json", max_shard_size=25_000 / 2**30)
    folder = split(tmp_path / "a.weights.h5", 60_000)
    theirs, ours = (json.loads((place / "model.weights.json").read_text()) for place in (tmp_path, folder))
    assert ours["metadata"] == theirs["metadata"] and ours["weight_map"].keys() == theirs["weight_map"].keys()
    names = [[file.name for file in shards_of(place)] for place in (tmp_path, folder)]
    assert min(map(len, names)) > 1 and all(a == b for a, b in zip(*names, strict=False))


def test_a_legacy_file_stays_one(tmp_path):
    network().save(path := Path(tmp_path, "a.h5"))
    with pytest.raises(StoreError, match=r"Keras has no shards for the legacy format of \.h5 files"):
        split(path, 100)
