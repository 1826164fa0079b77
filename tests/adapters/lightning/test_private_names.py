"""The list of private names that the adapter relies on, against the installed Lightning and torch."""

from pathlib import Path

import lightning
import pytest
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

import ckpt_callbacks.lightning
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.lightning import private_names as private
from ckpt_callbacks.runtime.private_names import missing
from tests.adapters.lightning.task import fit
from tests.support.forks import forks_of
from tests.support.private_names import private_names

ROOM = Path(ckpt_callbacks.lightning.__file__).parent
LISTED = private.RELIED_ON + private.RELIED_ON_BY_DROP_INS + private.RELIED_ON_IN_TORCH


def test_every_name_is_there():
    assert missing(LISTED) == []


def test_the_list_is_complete_and_holds_nothing_else():
    used = private_names(ROOM) - {"_getframe", "_fit", "_observe", "_save_if_urgent"}  # python's, and the package's own
    used |= {name for where, name in LISTED if where.endswith(".ModelCheckpoint")}  # the drop-in's own by inheritance
    listed = {name for _, name in LISTED}
    assert used == {name for name in listed if name.startswith("_")}
    sources = "".join(path.read_text() for path in ROOM.rglob("*.py") if path.name != "private_names.py")
    assert all(name in sources for name in listed)


def test_the_versions_are_those_of_the_package():
    project = (ROOM.parents[1] / "pyproject.toml").read_text()
    assert f'lightning = ["{private.LIGHTNING}", "{private.TORCH}", ' in project


def test_a_fit_with_another_version_ends_at_its_beginning_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delattr(_TrainingEpochLoop, "_should_accumulate")
    private.check_private_names.cache_clear()
    with pytest.raises(CkptError) as caught:
        fit(tmp_path / "run")
    assert str(caught.value) == (
        f"lightning {lightning.__version__} lacks lightning.pytorch.loops.training_epoch_loop._TrainingEpochLoop."
        "_should_accumulate, which this version of ckpt_callbacks relies on; run "
        f'`pip install "{private.LIGHTNING}"`'
    )
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_imported_is_missed_in_the_same_words(tmp_path):
    code = (
        "import lightning.fabric.utilities.data as data; del data._set_sampler_epoch\n"
        "import lightning.pytorch\n"
        "try: import ckpt_callbacks.lightning\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = forks_of().complete_code(code, cwd=tmp_path)
    assert done.stdout.startswith(
        f"MissingDependency lightning {lightning.__version__} lacks lightning.fabric.utilities.data._set_sampler_epoch,"
    ), done.stdout + done.stderr
