"""``ckpt explain``: what the callbacks of a script or a configuration mean."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from ckpt_callbacks import Every, Improves, KeepAll, KeepBest, KeepLast, Metric, NonFinite, Patience, Policy
from ckpt_callbacks.cli.explaining.call import Unread, known_class
from ckpt_callbacks.cli.explaining.script import calls_of_script
from ckpt_callbacks.config import Config
from ckpt_callbacks.lightning import ModelCheckpoint
from tests.cli.command_line import ckpt
from tests.support.processes import ENVIRONMENT, ROOT

VAL = Metric("val_loss", mode="min")
SCRIPT = """
import os
import sys
from datetime import timedelta

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping as Stop

sys.exit("a script is not run")
MONITOR = "val_loss"
for name in ("a", "b"):
    pass
best = L.pytorch.callbacks.ModelCheckpoint(f"runs/{name}", monitor=MONITOR, save_top_k=3)
often = L.pytorch.callbacks.ModelCheckpoint(f"runs/{name}", train_time_interval=timedelta(minutes=2 * 15))
stop = Stop(MONITOR, patience=args.patience)
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda text, name="train.py": Path(name).write_text(dedent(text))


def policies(out):
    """The policy of each YAML that was printed, by the line above it."""
    found = {}
    for part in out.split("\n\n"):
        first, *lines = part.splitlines()
        text = [line[4:] for line in lines if line.startswith("    ")]
        found[first] = Config.from_mapping(_parsed("\n".join(text))).policy if text else None
    return found


def _parsed(text):
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def test_a_script_is_read_and_not_run(script):
    script(SCRIPT)
    code, out, err = ckpt("explain", "train.py")
    assert (code, err) == (0, "")
    rules = Patience(VAL, 3) | NonFinite("val_loss")
    assert list(policies(out).values()) == [
        ModelCheckpoint(monitor="val_loss", save_top_k=3).to_policy(),
        ModelCheckpoint(train_time_interval=timedelta(minutes=30)).to_policy(),
        Policy(Every(epochs=1), KeepLast(1), rules),
        Policy(Every(epochs=1) | Every(seconds=1800), KeepLast(1) | KeepBest(3, by=VAL), rules),
    ]
    assert list(policies(out))[::3] == [
        "train.py:13: ModelCheckpoint of Lightning",
        "together: ModelCheckpoint (13), ModelCheckpoint (14), EarlyStopping (15)",
    ]
    assert "note: dirpath=f'runs/{name}' cannot be read; explained with 'runs/<name>' in its place" in out
    assert "note: patience=args.patience cannot be read; explained without it" in out
    assert re.search(r"^  different: NaN ranks: original: .*; drop-in: NaN is never among the best$", out, re.M)
    assert re.search(
        r"^  different in any case: .*full disk, damaged last, .*; docs/drop-ins.md describes each$", out, re.M
    )


def test_the_callbacks_of_keras(script):
    script(
        """
        from pathlib import Path
        from tensorflow import keras
        from keras.callbacks import *

        folder = Path("runs") / "a"
        keras.callbacks.ModelCheckpoint(str(folder / "{epoch}.keras"), "val_auc", save_best_only=True)
        ModelCheckpoint(filepath=args.out + "/best.hdf5", save_weights_only=True)
        BackupAndRestore(**options)
        """
    )
    code, out, err = ckpt("explain", "train.py")
    auc = Metric("val_auc", mode="max")
    assert (code, list(policies(out).values())) == (
        1,
        [Policy(Improves(auc), KeepAll(), best_by=auc), Policy(Every(epochs=1), KeepLast(1)), None],
    )
    assert "\n    dirpath: runs/a\n" in out and '\n    dirpath: "<args.out>"\n' in out
    assert "**options cannot be read" in out and "\n    contents: weights\n" in out
    (refused,) = err.splitlines()
    assert "note: without all arguments, it is refused: " in out and "backup_dir" in out.partition("it is refused: ")[2]
    assert refused.startswith("train.py:8: ") and refused.endswith("write filepath='<args.out>/best.weights.h5'")


UNPACKED = """
import argparse
from lightning.pytorch.callbacks import ModelCheckpoint
from ckpt_callbacks.lightning import LightningCheckpoint
common = dict(monitor="val_loss", mode="min")
more = {"save_top_k": 2, **common}
added = {"monitor": "val_loss"}
added["monitor"] = "val_acc"
changed = {"monitor": "val_loss"}
changed.update(monitor="val_acc")
partly = {"save_top_k": 2, "monitor": args.monitor}
itself = {**itself}
twice0 = {"monitor": "a"}
""" + "".join(f"twice{n + 1} = {{**twice{n}, **twice{n}}}\n" for n in range(40))


@pytest.mark.parametrize(
    ("arguments", "named", "starred"),
    [
        ("**common", {"monitor": "val_loss", "mode": "min"}, ()),
        ("save_last=True, **more", {"save_last": True, "save_top_k": 2, "monitor": "val_loss", "mode": "min"}, ()),
        ("**{'monitor': 'a', **dict(mode='max')}", {"monitor": "a", "mode": "max"}, ()),
        ("**{**common, 'mode': 'max'}", {"monitor": "val_loss", "mode": "max"}, ()),
        ("**partly", {"save_top_k": 2, "monitor": Unread("args.monitor", "<args.monitor>")}, ()),
        ("**added", {}, ("**added",)),
        ("**changed, mode='min'", {"mode": "min"}, ("**changed",)),
        ("**itself", {}, ("**itself",)),
        ("**twice40", {"monitor": "a"}, ()),
        ("**{args.name: 1}", {}, ("**{args.name: 1}",)),
        ("**{1: 2}", {}, ("**{1: 2}",)),
        ("**vars(args)", {}, ("**vars(args)",)),
        ("*rest, **common", {"monitor": "val_loss", "mode": "min"}, ("*rest",)),
    ],
)
def test_the_arguments_of_a_dictionary(script, arguments, named, starred):
    script(f"{UNPACKED}ModelCheckpoint({arguments})\n")
    (call,) = calls_of_script(Path("train.py"))
    assert (dict(call.named), call.starred, call.problems) == (named, starred, ())


def test_an_argument_that_is_given_twice_is_a_mistake(script):
    script(f"{UNPACKED}ModelCheckpoint(mode='min', **common)\n")
    code, _, err = ckpt("explain", "train.py")
    assert (code, err) == (1, "train.py:54: ModelCheckpoint: got mode twice; expected each argument once\n")


@pytest.mark.parametrize(
    "call", ["ModelCheckpoint('b', save_top_k=2, **kw)", "LightningCheckpoint('b', mode='min', **kw)"]
)
def test_what_is_refused_without_unknown_arguments_is_no_mistake(script, call):
    script(f"{UNPACKED}{call}\n")
    code, out, err = ckpt("explain", "train.py")
    assert (code, err) == (0, "")
    assert "  note: **kw cannot be read; explained without it\n  note: without all arguments, it is refused: " in out
    read = "dirpath='b', save_top_k=2" if "save_top_k" in call else "dirpath='b', mode='min'"
    assert f"  note: the arguments that can be read: {read}\n" in out
    script(f"{UNPACKED}{call.replace('**kw', 'no_such=1, **kw')}\n")
    assert ckpt("explain", "train.py")[0] == 1, "whatever kw holds"


def test_a_backup_beside_others_that_save_joins_them(script):
    script(
        """
        from keras.callbacks import *

        ModelCheckpoint("runs/{epoch:02d}-{val_loss:.2f}.weights.h5", save_weights_only=True)
        BackupAndRestore("backup")
        EarlyStopping("val_loss", patience=3, restore_best_weights=True)
        """
    )
    code, out, err = ckpt("explain", "train.py")
    assert (code, err) == (0, "")
    title, policy = list(policies(out).items())[-1]
    assert title == "together: ModelCheckpoint (4), BackupAndRestore (5), EarlyStopping (6)"
    assert policy == Policy(Every(epochs=1) | Improves(VAL), KeepAll(), Patience(VAL, 3))
    said = out[out.index(title) :]
    assert "\n    dirpath: runs\n" in said and '\n    filename: "{epoch:02d}-{val_loss:.2f}"\n' in said
    assert "\n    resume:" not in said and "\n    contents:" not in said  # the backups are full
    assert "note: restore_best_weights: pass restore_best_weights=True to KerasCheckpoint as well\n" in said


def test_what_no_policy_says_is_said_once_of_several_together(script):
    script(
        """
        from keras.callbacks import *

        ModelCheckpoint("runs/a.keras", "loss", save_best_only=True, save_freq=5)
        ModelCheckpoint("runs/b.keras", "loss", save_best_only=True, save_freq=7)
        """
    )
    out = ckpt("explain", "train.py")[1]
    together = out[out.index("together: ") :]
    assert together.count("note: ") == together.count("note: batch_metrics=True lets KerasCheckpoint compare") == 1


def test_a_configuration(script):
    script(
        """
        trainer:
          callbacks:
          - class_path: ModelCheckpoint
            init_args: {monitor: "${metric}", save_top_k: 2, train_time_interval: "1 day, 0:20:00"}
          - class_path: ckpt_callbacks.lightning.LightningCheckpoint
            init_args: {dirpath: runs/b, policy: ckpt.yaml}
        callbacks:
          late:
            _target_: lightning.pytorch.callbacks.ModelCheckpoint
            dirpath: other
            train_time_interval: {_target_: datetime.timedelta, minutes: 5}
        """,
        "cli.yaml",
    )
    script("monitor: val_loss\n", "ckpt.yaml")
    code, out, err = ckpt("explain", "cli.yaml")
    assert (code, err) == (0, "")
    interpolated = Metric("<${metric}>", mode="min")
    assert policies(out) == {
        "cli.yaml: trainer.callbacks[0]: ModelCheckpoint of Lightning": Policy(
            Every(seconds=87600), KeepLast(1) | KeepBest(2, by=interpolated)
        ),
        "cli.yaml: trainer.callbacks[1]: LightningCheckpoint": Policy.default("val_loss"),
        "cli.yaml: callbacks.late: ModelCheckpoint of Lightning": Policy(Every(seconds=300), KeepLast(1)),
    }


def test_a_policy_in_a_script(script):
    script(
        """
        from ckpt_callbacks import *
        from ckpt_callbacks.keras import KerasCheckpoint

        val = Metric("val_loss", mode="min")
        KerasCheckpoint("~/runs", Policy(Every(epochs=1) | Improves(val), KeepBest(2, by=val)), mirrors="s3://b/c")
        KerasCheckpoint.from_yaml("no.yaml", dirpath="a")
        KerasCheckpoint("a", Policy(Every(epoch=1)))
        KerasCheckpoint("a", make())
        KerasCheckpoint("a", monitor="val_loss", save_top_k=3)
        """
    )
    code, out, err = ckpt("explain", "train.py")
    assert code == 1 and '    dirpath: "~/runs"\n' in out and "s3:" not in out
    assert [one for one in policies(out).values() if one] == [
        Policy(Every(epochs=1) | Improves(VAL), KeepBest(2, by=VAL)),
        Policy.default("val_loss"),
    ]
    assert "policy=make() cannot be read, so its rules are not known" in out
    assert [line.partition("; ")[0] for line in err.splitlines()] == [
        "train.py:7: no.yaml: cannot be read: No such file or directory",
        "train.py:8: Every: got an unknown argument 'epoch'",
        "train.py:10: KerasCheckpoint: got an unknown argument 'save_top_k'",
    ]


def test_what_a_framework_refuses_is_one_line_and_the_rest_is_explained(script):
    script(
        """
        from pytorch_lightning.callbacks import ModelCheckpoint
        ModelCheckpoint(filepath="a", monitor="val_loss", prefix="", period=2)
        ModelCheckpoint(save_top_k=3)
        ModelCheckpoint(monitor="step", save_top_k=3)
        """
    )
    code, out, err = ckpt("explain", "train.py")
    assert code == 1 and next(iter(policies(out).values())) == ModelCheckpoint(monitor="val_loss").to_policy()
    refused, unranked, oldest = err.splitlines()
    assert refused.startswith("train.py:3: ModelCheckpoint: got unknown arguments: 'filepath' (instead, write dirpath")
    assert "'period' (instead, write every_n_epochs)" in refused and "monitor='val_loss' as well" in unranked
    assert oldest.startswith("train.py:5: ModelCheckpoint: monitor='step' with mode='min' keeps the oldest")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py", "def f(:", "a.py: line 1: invalid syntax; expected a Python script"),
        ("a.py", "x = '\0'", "null byte.*; expected a Python script"),
        ("a.py", "x = " + "-" * 5000 + "1", "; expected a Python script"),
        ("a.yaml", "a: [", "a.yaml: line 1, column 5: "),
        ("a.yaml", "a: 1\na: 2", "a.yaml: line 2, column 1: duplicate key 'a'"),
        ("a.ipynb", "{}", r"a.ipynb: expected a Python script \(.py\) or a configuration"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(script, name, text, message):
    script(text, name)
    code, out, err = ckpt("explain", name)
    assert (code, out, err.count("\n")) == (2, "", 1) and re.search(message, err)


def test_a_file_without_callbacks_is_one_line(script):
    script("class ModelCheckpoint: pass\nModelCheckpoint()\nlocal.callbacks.EarlyStopping('a')\n")
    code, out, err = ckpt("explain", "train.py")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("train.py: constructs no ModelCheckpoint, BackupAndRestore, EarlyStopping, ")


@pytest.mark.parametrize("text", ["monitor: val_loss\n", "save: {every: 20 min}\nkeep: {last: 1}\n"])
def test_a_policy_file_is_named_as_one_for_another_command(script, text):
    script(text, "ckpt.yaml")
    code, out, err = ckpt("explain", "ckpt.yaml")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.endswith("; this is a policy, which `ckpt check ckpt.yaml` reads\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "absent", "made"),
    [("lightning.pytorch", "torch", "ModelCheckpoint()"), ("keras", "keras", "ModelCheckpoint('a.keras')")],
)
def test_a_missing_framework_is_one_line(script, framework, absent, made):
    script(f"from {framework}.callbacks import ModelCheckpoint\n{made}\n")
    code = f"import sys; sys.modules[{absent!r}] = None; from ckpt_callbacks.cli import main; main(prog_name='ckpt')"
    command = [sys.executable, "-c", code, "explain", "train.py"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    extra = framework.partition(".")[0]
    assert done.stderr == f'Error: {absent} is not installed: run `pip install "ckpt-callbacks[{extra}]"`\n'


BEFORE = """
import os
from datetime import timedelta
from pathlib import Path
once = 2 + 3
twice = 1
twice = 2
itself = itself
inside = f"{out}/a"
imported = 1
from settings import imported
captured = 1
match os.environ:
    case {"A": captured, **rest}:
        pass
number0 = 1
text0 = "ab"
""" + "".join(f"number{n + 1} = number{n} + number{n}\ntext{n + 1} = text{n} + text{n}\n" for n in range(40))
VALUES = [
    ("-1", -1),
    ("[1, (2, 'a'), {'b': None}]", [1, (2, "a"), {"b": None}]),
    ("timedelta(hours=1) / 2", timedelta(minutes=30)),
    ("once", 5),
    ("os.path.join('a', 'b')", "a/b"),
    ("twice", Unread("twice", "<twice>")),
    ("itself", Unread("itself", "<itself>")),
    ("imported", Unread("imported", "<imported>")),
    ("captured", Unread("captured", "<captured>")),
    ("text3", "ab" * 8),
    ("number40", 2**40),
    ("text40 + 'a'", Unread("text40 + 'a'", "<text39 + text39>a")),
    ("'a' * 10**9", Unread("'a' * 10 ** 9", "<'a' * 10 ** 9>")),
    ("1 // 0", Unread("1 // 0", "<...>")),
    ("inside + '/' + name", Unread("inside + '/' + name", "<out>/a/<name>")),
    ("open('a').read()", Unread("open('a').read()", "<open('a').read()>")),
    ("os.path.join(out, 'b.keras')", Unread("os.path.join(out, 'b.keras')", "<out>/b.keras")),
    ("Path(out) / f'{{epoch}}-{x}'", Unread("Path(out) / f'{{epoch}}-{x}'", "<out>/{epoch}-<x>")),
]


@pytest.mark.parametrize(("expression", "value"), VALUES)
def test_the_values_of_expressions(script, expression, value):
    script(f"{BEFORE}from keras.callbacks import EarlyStopping\nEarlyStopping({expression})\n")
    (call,) = calls_of_script(Path("train.py"))
    assert call.positional == (value,)


def test_the_names_of_callbacks():
    known = {
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint": ("lightning", "ModelCheckpoint"),
        "tensorflow.keras.callbacks.experimental.BackupAndRestore": ("keras", "BackupAndRestore"),
        "ckpt_callbacks.keras.EarlyStopping": ("keras", "EarlyStopping"),
        "EarlyStopping": ("lightning", "EarlyStopping"),
        "keras.EarlyStopping": None,
        "ckpt_callbacks.lightning.KerasCheckpoint": None,
        "lightning.pytorch.callbacks.Timer": None,
    }
    assert {path: known_class(path) for path in known} == known


def test_the_examples_name_the_callbacks_of_this_package():
    found = [call.name for path in (ROOT / "examples").glob("train_*.py") for call in calls_of_script(path)]
    assert sorted(found) == ["KerasCheckpoint", "LightningCheckpoint"]
