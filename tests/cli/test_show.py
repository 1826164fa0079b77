"""``ckpt show``."""

import json

import pytest

from ckpt_callbacks import Record, Status
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt


@pytest.mark.parametrize("which", ["4", "last", "best", "004.ckpt", "{run_dir}/004.ckpt", "release"])
def test_show_finds_a_checkpoint_by_any_of_its_names(run_dir, which):
    Manifest.read(run_dir).change(4, tags=("release",))
    code, out, _ = ckpt("show", run_dir, which.format(run_dir=run_dir))
    assert code == 0
    assert out.startswith(f"id: 4\nfile: 004.ckpt\npath: {run_dir}/004.ckpt\nstatus: verified\naliases: last, best\n")


def test_show_tells_everything_metadata_nested(run_dir):
    out = ckpt("show", run_dir, "best")[1]
    for part in (
        "step: 40\nepoch: 4\nsaved: 2023-11-15T02:13:20Z (",
        "training time: 14400.0 s\nsize: 2.3 kB (2345 bytes)\ndigest: xxh3_128:",
        "contents: full\nresumable: yes\n",
        "saved because:\n  - ema(0.5) of val_loss improved to 0.4375\n  - val_loss improved to 0.3\n",
        "kept because:\n  - last\n  - best\n  - newest resumable\n",
        "metrics:\n  val_loss: 0.3\n  acc: 0.5\nscores:\n  ema(0.5) of val_loss: 0.4375\n",
        "metadata:\n  dataset: digits\n  sizes:\n    - 1\n    - 2\n  optimizer:\n    lr: 0.1\n    nesterov: yes\n",
    ):
        assert part in out
    assert "\x1b" not in out


def test_show_json_is_the_record(run_dir):
    assert json.loads(ckpt("show", run_dir, "best", "--json")[1]) == Manifest.read(run_dir).records[4].to_json()


def test_show_prefers_what_is_on_disk_where_a_name_was_used_again(run_dir):
    Manifest.read(run_dir).put(Record(6, "004.ckpt", status=Status.DELETED))
    assert ckpt("show", run_dir, "004.ckpt")[1].startswith("id: 4\n")
    assert ckpt("show", run_dir, "6")[1].startswith("id: 6\n")


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("final", "has no 'final' checkpoint yet"),
        ("99", "has no checkpoint '99'; expected an id, a step, a file, a tag, or one"),
    ],
)
def test_show_of_what_is_not_there_is_one_clear_line(run_dir, which, message):
    code, out, err = ckpt("show", run_dir, which)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"Error: {run_dir}: {message}")


def test_show_tells_what_a_save_took_where_that_was_measured(run_dir):
    manifest = Manifest.read(run_dir)
    manifest.change(4, timings={})
    assert "took" not in ckpt("show", run_dir, "best")[1]
    manifest.change(4, timings={"blocked": 0.25, "written": 1.5, "verified": 90.0})
    assert "\ntook:\n  blocked: 0.25 s\n  written: 1.5 s\n  verified: 1.5 min\n" in ckpt("show", run_dir, "best")[1]
