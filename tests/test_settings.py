"""Settings: validated once, and named in as few files as possible."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import ckpt_callbacks
from ckpt_callbacks import Mirror, OnPreempt, Policy, PolicyError
from ckpt_callbacks.config import Config
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.config.schema import DocumentNode
from ckpt_callbacks.settings import Settings

PACKAGE = Path(ckpt_callbacks.__file__).parent
NAMES = [field.name for field in fields(Settings)]
POLICY = Policy(OnPreempt())
WRITTEN = {"mirrors": ["s3://bucket/run"]}  # in a file, if that differs
# One value for each setting, other than its default.
OTHER = {
    "dirpath": "runs/a", "filename": "{epoch:03d}", "contents": "weights", "metadata": {"a": 1}, "on_error": "raise",
    "grace": 5.0, "min_free": 7, "max_total_size": 9, "background": False, "max_pending": 2, "when_busy": "skip",
    "staging": "none", "resume": {"optimizer": False},
    "mirrors": (Mirror("s3://bucket/run"),),
}  # fmt: skip


def parameters(path):
    (init,) = (n for n in ast.walk(ast.parse(path.read_text())) if getattr(n, "name", "") == "__init__")
    return {argument.arg for argument in (*init.args.args, *init.args.kwonlyargs)}


def test_a_setting_is_in_the_schema_and_in_both_signatures():
    assert set(NAMES) < set(DocumentNode.__annotations__)
    for adapter in ("lightning", "keras"):
        assert set(NAMES) < parameters(PACKAGE / adapter / "callback.py")


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_read_written_and_handed_on_without_further_code(name):
    config = Config(POLICY, Settings(**{name: OTHER[name]}))
    assert config != Config(POLICY)
    assert config.to_mapping()[name] == WRITTEN.get(name, OTHER[name])
    assert Config.from_mapping(config.to_mapping()) == config
    given = {"dirpath": "runs/a", name: OTHER[name]}
    assert build_config("Test", policy=POLICY, **given).settings == Settings(**given)
    assert build_config("Test", "runs/a", config.to_mapping()).settings == Settings(**given)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("dirpath", "filename", "metadata")])
def test_no_other_file_of_the_configuration_names_a_setting(name):
    files = [PACKAGE / "config" / file for file in ("arguments.py", "config.py", "writer.py")]
    assert not [file.name for file in files if re.search(rf"\b{name}\b", file.read_text())]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"contents": "all"}, "contents is 'all'; expected one of full, weights"),
        ({"on_error": ["warn"]}, "on_error is ['warn']; expected one of warn, raise"),
        ({"when_busy": "drop"}, "when_busy is 'drop'; expected one of wait, skip"),
        ({"staging": "disk"}, "staging is 'disk'; expected one of memory, none"),
        ({"background": 1}, "background is 1; expected True or False"),
        (
            {"resume": {"optimizer": "no"}},
            "resume is {'optimizer': 'no'}; expected True or False for the optimizer and the step, such as "
            "{'optimizer': False}",
        ),
        (
            {"resume": True},
            "resume is True; expected 'auto', 'never' or a checkpoint's path, or which parts to restore, such as "
            "{'optimizer': False}",
        ),
        ({"max_pending": 0}, "max_pending is 0; expected a whole number of at least 1"),
        ({"max_pending": True}, "max_pending is True; expected a whole number of at least 1"),
        ({"grace": 0}, "grace is 0; expected a duration above 0: seconds, or text such as 30 s, 10 min, 1.5 h or 2 d"),
        ({"max_total_size": 0}, "max_total_size is 0; expected the size of at least one checkpoint"),
        ({"min_free": -1}, "min_free is -1; expected a size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_the_callback(given, message):
    with pytest.raises(PolicyError) as caught:
        Settings(**given)
    assert str(caught.value) == f"Settings: {message}"
    with pytest.raises(PolicyError) as caught:
        build_config("KerasCheckpoint", "runs/a", POLICY, **given)
    assert str(caught.value).startswith(f"KerasCheckpoint: {message}")


@pytest.mark.parametrize(("dirpath", "what"), [(None, "missing"), ("", "''")])
def test_a_callback_needs_a_run_directory(dirpath, what):
    with pytest.raises(PolicyError, match=f"^KerasCheckpoint: dirpath is {what}; expected "):
        build_config("KerasCheckpoint", dirpath, POLICY)
