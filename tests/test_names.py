"""Names that are imported from the wrong module."""

import importlib
import subprocess
import sys

import pytest

import ckpt_callbacks

LIGHTNING = "`from ckpt_callbacks.lightning import LightningCheckpoint`"
KERAS = "`from ckpt_callbacks.keras import KerasCheckpoint`"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("LightningCheckpoint", LIGHTNING),
        ("KerasCheckpoint", KERAS),
        ("ModelCheckpoint", f"{LIGHTNING} or {KERAS}"),
        ("BackupAndRestore", KERAS),
        (
            "EarlyStopping",
            "patience=... of a callback, or `from ckpt_callbacks import Patience` for the stop of a policy",
        ),
    ],
)
def test_an_import_of_a_callback_names_the_right_one(name, instead):
    with pytest.raises(ImportError) as caught:
        exec(f"from ckpt_callbacks import {name}")
    assert str(caught.value) == f"ckpt_callbacks has no {name}; expected {instead}"
    assert not hasattr(ckpt_callbacks, name) and getattr(ckpt_callbacks, name, None) is None
    with pytest.raises(AttributeError) as missed:
        getattr(ckpt_callbacks, name)
    assert str(missed.value) == str(caught.value)


@pytest.mark.parametrize("room", ["lightning", "keras"])
def test_a_part_of_a_policy_is_not_beside_the_callbacks(room):
    module = importlib.import_module(f"ckpt_callbacks.{room}")
    with pytest.raises(ImportError, match=r"has no KeepBest; expected `from ckpt_callbacks import KeepBest`$"):
        exec(f"from ckpt_callbacks.{room} import KeepBest")
    if room == "lightning":
        with pytest.raises(ImportError, match=r"has no BackupAndRestore; expected `from ckpt_callbacks.keras import"):
            exec("from ckpt_callbacks.lightning import BackupAndRestore")
    assert not any(hasattr(module, name) for name in ("KeepBest", "KeepBst")) and hasattr(module, "callback")


def test_any_other_name_is_just_absent():
    assert not hasattr(ckpt_callbacks, "KeepBst") and not hasattr(ckpt_callbacks, "__wrapped__")
    with pytest.raises(AttributeError, match=r"^module 'ckpt_callbacks' has no attribute 'KeepBst'$") as caught:
        _ = ckpt_callbacks.KeepBst
    assert (caught.value.name, caught.value.obj) == ("KeepBst", ckpt_callbacks)  # from which Python suggests a name
    with pytest.raises(ImportError, match="cannot import name 'KeepBst'"):
        exec("from ckpt_callbacks import KeepBst")


def test_the_hint_loads_no_framework_and_submodules_can_be_imported():
    code = """
import sys
try:
    from ckpt_callbacks import LightningCheckpoint
except ImportError as error:
    print(error)
print([name for name in ("torch", "keras", "lightning", "numpy") if name in sys.modules])
from ckpt_callbacks import config, units
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"ckpt_callbacks has no LightningCheckpoint; expected {LIGHTNING}\n[]\n", done.stderr
