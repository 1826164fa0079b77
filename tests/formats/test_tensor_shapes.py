"""The fast reader of shapes: it finds what torch finds, and leaves to torch what it does not understand."""

import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.formats.torch import check as torch_check
from ckpt_callbacks.formats.torch import format as torch_zip
from ckpt_callbacks.formats.torch.tensor_shapes import outline

check = torch_zip.TORCH.check
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool])


@pytest.fixture
def loads(monkeypatch):
    """The files that torch itself was asked to open, when none was opened before."""
    found, load = [], torch_check.load_known
    monkeypatch.setattr(torch_check, "_opened", set())
    monkeypatch.setattr(torch_check, "_refused", {})
    monkeypatch.setattr(torch_check, "load_known", lambda path: (found.append(path.name), load(path))[1])
    return found


def saved(path, **state):
    torch.save({"state_dict": state, "epoch": 1}, path)
    return path


def without(path, lost, instead=None):
    """The same archive without a record, or with another one in its place."""
    other = path.with_name("damaged.ckpt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            if not name.endswith(lost):
                new.writestr(name, old.read(name))
            elif instead is not None:
                new.writestr(name, instead)
    return other


@given(st.lists(st.tuples(DTYPES, st.lists(st.integers(0, 5), max_size=3)), max_size=5))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_sees_the_tensors_that_torch_sees(tmp_path, drawn):
    state = {f"t{n}": torch.zeros(shape, dtype=dtype) for n, (dtype, shape) in enumerate(drawn)}
    state |= {f"{name} turned": tensor.T for name, tensor in state.items() if tensor.ndim == 2}
    seen = outline(saved(tmp_path / "a.ckpt", **state))
    assert sorted(seen.shapes) == sorted((name, tuple(tensor.shape)) for name, tensor in state.items())


def test_torch_opens_one_file_of_each_vocabulary(tmp_path, loads):
    for name, state in (
        ("a", {"w": torch.ones(3)}),
        ("b", {"w": torch.ones(3), "v": torch.ones(70)}),
        ("c", {"w": torch.ones(3, dtype=torch.int8)}),
        ("d", {"w": torch.ones(3), "v": torch.ones(2, dtype=torch.int8)}),
        ("e", {"w": torch.ones(3), "names": {"a", "b"}, "v": torch.nn.Parameter(torch.ones(2))}),
        ("f", {"w": torch.ones(3), "v": torch.ones(2).to_sparse()}),
    ):
        check(saved(tmp_path / name, **state), [("w", (3,))])
    assert loads == ["a", "c", "e", "f"]


def test_a_missing_tensor_is_torchs_to_tell(tmp_path, loads):
    check(saved(tmp_path / "a", w=torch.ones(3)), [("w", (3,))])
    for wanted in (("w", (4,)), ("v", (3,))):
        with pytest.raises(VerifyError, match="lacks"):
            check(saved(tmp_path / "b", w=torch.ones(3)), [wanted])


@pytest.mark.parametrize(
    ("lost", "instead"), [("data/0", None), ("data/0", b"1234"), ("data.pkl", b"}"), ("data.pkl", None)]
)
def test_damage_is_found_in_a_file_like_one_that_was_sound(tmp_path, loads, lost, instead):
    sound = saved(tmp_path / "a.ckpt", w=torch.ones(1000))
    check(sound, [("w", (1000,))])
    with pytest.raises(VerifyError):
        check(without(sound, lost, instead), [("w", (1000,))])


def test_nothing_that_a_file_names_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = saved(tmp_path / "a.ckpt", w=torch.ones(3), trap=Trap())
    assert ("io", "open") in outline(path).named or ("_io", "open") in outline(path).named
    check(path, [("w", (3,))])
    assert not (tmp_path / "sprung").exists()
