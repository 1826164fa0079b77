"""Files that this package writes itself: whatever `torch.save` accepts loads equal, and the archive is valid."""

import copy
import dataclasses
import weakref
import zipfile
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks.formats.torch import checkpoint_pickler
from ckpt_callbacks.formats.torch import format as torch_zip
from ckpt_callbacks.formats.torch import pickler as torch_pickle
from ckpt_callbacks.formats.torch import writer as torch_file
from ckpt_callbacks.formats.torch.pickler import is_known
from ckpt_callbacks.torch.staging import TorchStaging

Pair = namedtuple("Pair", "a b")
DTYPES = [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.bool, torch.int8, torch.float64]


class Plain:
    """A value of the user's own class."""

    def __init__(self, value):
        self.value = value


class Named(torch.Tensor):
    """A tensor subclass."""


def equal(a, b):
    if isinstance(a, torch.Tensor):
        same = type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.layout == b.layout
        if a.layout != torch.strided:
            return same and torch.equal(a.to_dense(), b.to_dense())
        if a.is_quantized:
            return same and torch.equal(a.int_repr(), b.int_repr()) and a.q_scale() == b.q_scale()
        if a.device.type == "meta":
            return same and b.device.type == "meta"
        raw = [t.detach().contiguous().resolve_conj().resolve_neg().flatten().view(torch.uint8) for t in (a, b)]
        return same and a.requires_grad == b.requires_grad and torch.equal(*raw)
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a.value == b.value if isinstance(a, Plain) else a == b


def sound(path):
    """Check that all CRCs match in Python's reader, and that this package's own reader opens the file."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    torch_zip.TORCH.check(path, ())


def written(path, obj, staging="memory"):
    """The file of a snapshot, its digest compared with its bytes."""
    snapshot = TorchStaging(staging).stage(obj)
    assert snapshot.live == (staging == "none")
    result = snapshot.write(path)
    snapshot.release()
    data = path.read_bytes()
    assert (result.digest, result.size) == (f"xxh3_128:{xxhash.xxh3_128(data).hexdigest()}", len(data))
    sound(path)
    return path


def unusual():
    grown = torch.nn.Parameter(torch.randn(40_000))
    base = torch.arange(60_000.0)
    return {
        "tied": [base, base],
        "overlapping": [base[:40_000], base[20_000:]],
        "small view of a large storage": base[5:7],
        "strides": torch.randn(300, 200).t()[::2],
        "parameter": grown,
        "with a history": grown * 2,
        "subclass": torch.randn(30_000).as_subclass(Named),
        "coo": torch.eye(300).to_sparse(),
        "csr": torch.eye(300).to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(torch.randn(90_000), 0.1, 3, torch.qint8),
        "meta": torch.empty(3, 4, device="meta"),
        "conjugate": torch.randn(20_000, dtype=torch.complex64).conj(),
        "negative": torch.randn(20_000, dtype=torch.complex64).conj().imag,
        "empty": torch.zeros(0, 3),
        "no dimensions": torch.tensor(3.5),
        "numpy": np.arange(12).reshape(3, 4).T,
        "values": OrderedDict(a={1, 2}, b=frozenset([3]), c=Pair(1, [None, True, b"x"]), d=Plain(4), e=range(3)),
        **{str(dtype): torch.arange(70_000).remainder(2).to(dtype) for dtype in DTYPES},
    }


def test_this_torch_is_known():
    assert is_known()


@pytest.mark.parametrize("name", unusual())
@pytest.mark.parametrize("staging", ["memory", "none"])
def test_unusual_values_load_equal(tmp_path, name, staging):
    obj = unusual()[name]
    path = written(tmp_path / "a.ckpt", obj, staging)
    for mmap in (False, True):
        assert equal(obj, torch.load(path, weights_only=False, mmap=mmap))


def test_views_of_one_storage_stay_views_of_one(tmp_path):
    base = torch.arange(60_000.0)
    loaded = torch.load(written(tmp_path / "a.ckpt", [base, base[10:20], base.view(200, 300).t()]))
    loaded[0][10] = -1
    assert loaded[1][0] == -1 and loaded[2].stride() == (1, 300) and (tmp_path / "a.ckpt").stat().st_size < 260_000


def test_one_storage_seen_as_two_types_loads_equal(tmp_path):
    base = torch.randn(60_000)
    obj = [base, base.view(torch.int32)]  # torch.save refuses it
    assert equal(obj, torch.load(written(tmp_path / "a.ckpt", obj)))


def test_weights_only_reads_what_it_reads_of_torch_save(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.BatchNorm1d(300))
    path = written(tmp_path / "a.ckpt", model.state_dict())
    for mmap in (False, True):
        assert equal(dict(model.state_dict()), dict(torch.load(path, weights_only=True, mmap=mmap)))


def test_equal_content_is_an_equal_file(tmp_path):
    paths = [written(tmp_path / name, {"a": torch.arange(50_000), "b": 1}) for name in ("one.ckpt", "two.ckpt")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_unknown_torch_gets_a_plain_file(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "is_known", lambda: False)
    assert torch_file.write(tmp_path / "a.ckpt", {"a": torch.ones(3)}).digest is None
    assert torch.equal(torch.load(tmp_path / "a.ckpt")["a"], torch.ones(3))


def test_what_cannot_be_pickled_is_torchs_to_refuse(tmp_path):
    snapshot = TorchStaging().stage({"a": lambda: None})
    assert snapshot.live
    with pytest.raises(Exception, match="pickle"):
        snapshot.write(tmp_path / "a.ckpt")


class Distant(torch.UntypedStorage):
    """Stands for a storage on a device; its copies in host memory are counted while they live."""

    copies, at_once, broken = weakref.WeakSet(), 0, False
    device = torch.device("cuda")

    def cpu(self):
        if self.broken:
            raise RuntimeError("a device that is not read like this")
        copied = torch.UntypedStorage(self.nbytes()).copy_(self)
        self.copies.add(copied)
        Distant.at_once = max(Distant.at_once, len(self.copies))
        return copied


def distant(monkeypatch, broken=False):
    """Storages of 100 kB and more are on a device."""

    def pickled(obj):
        found = torch_pickle.pickled(obj)
        moved = [Distant(s.nbytes()).copy_(s) if s.nbytes() >= 100_000 else s for s in found.storages]
        return dataclasses.replace(found, storages=tuple(moved))

    monkeypatch.setattr(torch_file, "pickled", pickled)
    monkeypatch.setattr(checkpoint_pickler, "pickled", pickled)
    monkeypatch.setattr(Distant, "at_once", 0)
    monkeypatch.setattr(Distant, "broken", broken)


def test_of_a_devices_state_one_storage_at_a_time_is_in_host_memory(tmp_path, monkeypatch):
    distant(monkeypatch)
    base = torch.randn(50_000)
    obj = {"a": base, "b": [torch.randn(40_000), torch.ones(3)], "c": base.view(torch.int32)}
    assert equal(obj, torch.load(written(tmp_path / "a.ckpt", obj, "none")))
    assert Distant.at_once == 1 and not Distant.copies


def test_a_device_that_cannot_be_read_like_this_is_torchs_to_read(tmp_path, monkeypatch):
    distant(monkeypatch, broken=True)
    obj = {"a": torch.randn(50_000), "b": torch.ones(3)}
    assert torch_file.write(tmp_path / "a.ckpt", obj).digest is None
    assert equal(obj, torch.load(tmp_path / "a.ckpt"))


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5),
    st.tuples(st.sampled_from(DTYPES), st.sampled_from([0, 1, 17, 9_000, 70_001])).map(
        lambda given: torch.arange(given[1]).remainder(2).to(given[0])
    ),
    st.integers(0, 30).map(np.arange),
)  # fmt: skip
OBJECTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4),
                            st.tuples(inner, inner).map(lambda pair: Pair(*pair))),
    max_leaves=8,
)  # fmt: skip


def change(value):
    """Change in place whatever can be."""
    if isinstance(value, torch.Tensor):
        torch.empty(0, dtype=torch.uint8).set_(value.untyped_storage()).bitwise_not_()
    elif isinstance(value, np.ndarray):
        value += 1
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            change(item)
        value.clear()
    elif isinstance(value, tuple):
        for item in value:
            change(item)


@settings(max_examples=40, deadline=None)
@given(OBJECTS)
def test_a_file_holds_what_was_there_when_it_was_staged(tmp_path_factory, obj):
    staging, path = TorchStaging(), tmp_path_factory.mktemp("staged") / "a.ckpt"
    kept = copy.deepcopy(obj)
    snapshot = staging.stage(obj)
    change(obj)
    snapshot.write(path)
    sound(path)
    assert equal(kept, torch.load(path, weights_only=False))
