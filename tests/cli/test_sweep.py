"""``ckpt ls`` of several runs."""

import json
import shutil

import pytest

from ckpt_callbacks.config import Config
from ckpt_callbacks.store.lock import TrainingLock
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import POLICY, ckpt, on_terminal, train, without_colours


@pytest.fixture
def sweep(tmp_path):
    """Return a folder with two runs, one of them as deep as loggers put it, and with other things."""
    folder = tmp_path / "sweep"
    train(folder / "000", described=Config(POLICY).described)
    shutil.copytree(folder / "000", folder / "001/version_0/checkpoints", symlinks=True)
    (folder / "study.db").write_text("x")
    (folder / "empty").mkdir()
    (folder / "link").symlink_to("000")
    (folder / "loop").symlink_to(".")
    return folder


def runs_in(out):
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_a_folder_of_runs_is_one_line_for_each(sweep):
    code, out, err = ckpt("ls", sweep)
    assert (code, err) == (0, "")
    assert runs_in(out) == [f"{sweep}/000", f"{sweep}/001/version_0/checkpoints"]
    assert out.splitlines()[0].split() == ["run", "saves", "step", "epoch", "best", "at", "step", "size", "saved"]
    assert out.splitlines()[1].split()[1:] == [
        "2", "40", "4", "ema(0.5)", "of", "val_loss=0.4375", "40", "4.7", "kB", "2023-11-15T02:13:20Z",
    ]  # fmt: skip
    assert max(map(len, out.splitlines())) <= 200


def test_a_run_without_a_policy_shows_no_metric_that_may_be_another(sweep, tmp_path):
    """As after a rebuild of the manifest, when only the link tells which checkpoint is the best."""
    journal = Manifest.read(sweep / "000").layout.journal
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '{"attempt"' not in line))
    columns = ckpt("ls", sweep)[1].splitlines()[1].split()
    assert columns[1:8] == ["2", "40", "4", "metric", "not", "known", "40"]
    config = tmp_path / "ckpt.yaml"
    config.write_text("monitor: acc\n")
    assert ckpt("ls", sweep, "--config", config)[1].splitlines()[1].split()[4] == "acc=0.5"


def test_several_directories_may_be_given_with_others_between_them(sweep):
    code, out, err = ckpt("ls", *sorted(sweep.iterdir()))
    assert (code, err) == (0, "")
    runs = runs_in(out)
    assert runs[:2] == [f"{sweep}/000", f"{sweep}/001/version_0/checkpoints"] and f"{sweep}/link" in runs
    code, out, err = ckpt("ls", sweep / "study.db", sweep / "empty")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("neither it nor any other DIR is a run directory, or holds one\n")


def test_each_run_is_a_json_object(sweep):
    lines = [json.loads(line) for line in ckpt("ls", sweep, "--json")[1].splitlines()]
    records = Manifest.read(sweep / "000").records
    assert lines[0] == {
        "run_dir": f"{sweep}/000", "training": False, "checkpoints": 2, "size": 2 * 2345,
        "last": records[4].to_json(), "best": records[4].to_json(),
    }  # fmt: skip
    assert len(lines) == 2


def test_a_run_that_trains_says_so_and_one_that_cannot_be_read_stops_no_other(sweep):
    layout = Manifest(sweep / "000").layout
    lock = TrainingLock(layout.training_lock, layout.owner, "test")
    lock.acquire()
    try:
        broken = Manifest(sweep / "001/version_0/checkpoints").layout.journal
        broken.unlink()
        broken.mkdir()
        code, out, err = ckpt("ls", sweep)
    finally:
        lock.release()
    assert code == 1 and err.count("\n") == 1 and err.startswith("Warning: ")
    assert out.splitlines()[1].split()[:2] == [f"{sweep}/000", "training"]


def test_it_fits_a_terminal(sweep, monkeypatch):
    monkeypatch.chdir(sweep.parent)
    lines = without_colours(on_terminal(80, "ls", "sweep")[1])
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("sweep/") for line in lines) == 2
