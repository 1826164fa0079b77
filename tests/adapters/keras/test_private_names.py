"""The list of private names that the adapter relies on, against the installed Keras and TensorFlow."""

from pathlib import Path

import keras
import pytest
from keras.src.callbacks.callback_list import CallbackList

import ckpt_callbacks
from ckpt_callbacks.errors import CkptError
from ckpt_callbacks.keras import private_names as private
from ckpt_callbacks.runtime.private_names import missing
from tests.adapters.keras.task import BACKEND, checkpoint, fit, quick
from tests.support.forks import forks_of
from tests.support.private_names import names_below, private_names

PACKAGE = Path(ckpt_callbacks.__file__).parent
ROOMS = (PACKAGE / "keras", PACKAGE / "formats" / "keras")
ALWAYS = private.RELIED_ON + private.RELIED_ON_BY_DROP_INS + private.USED_FOR_COPIES
IN_TENSORFLOW = private.RELIED_ON_IN_TENSORFLOW + private.USED_FOR_READS_IN_TENSORFLOW
LISTED = ALWAYS + IN_TENSORFLOW + sum(private.RELIED_ON_WITH_BACKEND.values(), ())

# Python's, torch's, and the callbacks' own.
NOT_OF_KERAS = {"_current_frames", "_exit", "_finish", "_fit", "_getframe", "_run", "_take_over", "_version"}
# Read by `getattr` with a default, because an optimizer, a callback or a data set may be of another class.
WITH_A_DEFAULT = {
    "_distributed_dataset", "_ema_weights_in_model", "_global_test_batch", "_iterations", "_reshuffle_each_iteration",
    "_trainable_variables",
}  # fmt: skip
DOCUMENTED = {"save_own_variables"}
# What this package's own stores override or set.
INHERITED = {"_create_h5_group", "_get_h5_file", "_h5_entry_group", "_h5_entry_initialized", "_h5_entry_path"}


def test_every_name_is_there():
    names = ALWAYS + private.RELIED_ON_WITH_BACKEND.get(BACKEND, ())
    assert missing(names) == []
    if BACKEND == "tensorflow":
        assert missing(IN_TENSORFLOW) == []


def test_the_list_is_complete_and_holds_nothing_else():
    used = set().union(*map(private_names, ROOMS)) - NOT_OF_KERAS
    listed = {name for _, name in LISTED}
    assert used | WITH_A_DEFAULT | INHERITED == {name for name in listed if name.startswith("_")}
    modules = {path.rpartition(".")[2] for path, _ in LISTED}
    assert set().union(*(names_below(room, "keras.src") for room in ROOMS)) <= listed | modules | DOCUMENTED
    files = [path for room in ROOMS for path in room.rglob("*.py") if path.name != "private_names.py"]
    sources = "".join(path.read_text() for path in files)
    assert [name for name in sorted(listed) if name not in sources] == []


def test_the_versions_are_those_of_the_package():
    project = (PACKAGE.parent / "pyproject.toml").read_text()
    assert f'keras = ["{private.KERAS}", "{private.TENSORFLOW}", ' in project


def test_a_fit_with_another_version_ends_at_its_beginning_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delattr(CallbackList, "_flush_futures")
    private.check_private_names.cache_clear()
    with pytest.raises(CkptError) as caught:
        fit(quick(), checkpoint(tmp_path / "run"))
    assert str(caught.value) == (
        f"keras {keras.__version__} lacks keras.src.callbacks.callback_list.CallbackList._flush_futures, which this "
        f'version of ckpt_callbacks relies on; run `pip install "{private.KERAS}"`'
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_name_that_is_imported_is_missed_in_the_same_words(tmp_path):
    code = (
        "import keras.src.utils.rng_utils as utils; del utils.get_random_seed\n"
        "try: import ckpt_callbacks.keras\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = forks_of().complete_code(code, cwd=tmp_path)
    assert done.stdout.startswith(
        f"MissingDependency keras {keras.__version__} lacks keras.src.utils.rng_utils.get_random_seed,"
    ), done.stdout + done.stderr
