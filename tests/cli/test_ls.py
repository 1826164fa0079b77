"""``ckpt ls``."""

import json
import re

import pytest

from ckpt_callbacks import EventKind, KeepBest, Policy, Record, Status
from ckpt_callbacks.config import Config
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter
from tests.cli.command_line import POLICY, VAL, ckpt, train
from tests.support.training import new_run, report, start


def test_ls_lists_what_is_there_and_why(run_dir):
    code, out, err = ckpt("ls", run_dir, "--why")
    assert (code, err) == (0, "")
    assert [re.sub(r" {2,}", " | ", line.strip()) for line in out.splitlines()] == [
        "id | file | step | epoch | metrics | size | status | saved | aliases | saved because | kept because | error",
        "3 | 003.ckpt | 30 | 3 | ema(0.5) of val_loss=0.575, val_loss=0.4, acc=0.5 | 2.3 kB | verified | "
        "2023-11-15T01:13:20Z | ema(0.5) of val_loss improved to 0.575; val_loss improved to 0.4",
        "4 | 004.ckpt | 40 | 4 | ema(0.5) of val_loss=0.4375, val_loss=0.3, acc=0.5 | 2.3 kB | verified | "
        "2023-11-15T02:13:20Z | last, best | ema(0.5) of val_loss improved to 0.4375; val_loss improved to 0.3 | "
        "last; best; newest resumable",
        "5 | 005.ckpt | 50 | 5 | ema(0.5) of val_loss=0.31875, val_loss=0.2, acc=0.5 | failed | 2023-11-15T03:13:20Z | "
        "ema(0.5) of val_loss improved to 0.31875; val_loss improved to 0.2 | "
        "OSError: [Errno 28] No space left on device",
    ]


def test_ls_without_a_folder_looks_in_the_working_directory(run_dir, monkeypatch):
    for folder in (run_dir, run_dir.parent):
        monkeypatch.chdir(folder)
        listed = ckpt("ls", ".")
        assert ckpt("ls") == listed and listed[0] == 0 and len(listed[1].splitlines()) > 1


def test_ls_fits_in_200_columns_and_shows_the_metric_that_ranks(run_dir, tmp_path):
    manifest = Manifest.read(run_dir)
    manifest.change(4, metrics={f"metric_{n}": n / 7 for n in range(40)} | {"val_loss": 0.3}, error="e" * 300)
    lines = ckpt("ls", run_dir)[1].splitlines()
    assert max(map(len, lines)) <= 200
    assert "004.ckpt" in lines[2] and "last, best" in lines[2]
    assert max(map(len, ckpt("ls", run_dir, "--why")[1].splitlines())) > 1000
    path = tmp_path / "ckpt.yaml"
    path.write_text(
        "metrics: {val: {monitor: val_loss, mode: min}}\nsave: {improves: val}\nkeep: {best: {n: 1, by: val}}\n"
    )
    lines = ckpt("ls", run_dir, "--config", path)[1].splitlines()
    assert "  val_loss=0.3  " in lines[2] and "metric_" not in lines[2]


def test_ls_all_shows_deleted_ones_too(run_dir):
    _, out, _ = ckpt("ls", run_dir, "--all")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["1", "2", "3", "4", "5"]
    assert out.splitlines()[1].count("deleted") == 1


def test_a_long_error_does_not_cut_the_metrics_and_all_cuts_nothing(run_dir):
    Manifest.read(run_dir).change(5, error="its bytes changed " * 20)
    whole = "ema(0.5) of val_loss=0.31875, val_loss=0.2, acc=0.5"
    line = ckpt("ls", run_dir)[1].splitlines()[-1]
    assert whole in line and line.endswith("…") and len(line) <= 200
    line = ckpt("ls", run_dir, "--all")[1].splitlines()[-1]
    assert whole in line and line.endswith("its bytes changed " * 19 + "its bytes changed")


def test_ls_shows_only_the_latest_failed_saves(tmp_path):
    train(tmp_path, losses=[1 / n for n in range(1, 8)], fail_on=range(2, 8))
    manifest = Manifest.read(tmp_path)
    for id_ in range(8, 13):
        manifest.put(Record(id_, f"{id_}.ckpt", status=Status.FAILED, error="OSError: full"))
    ids = [json.loads(line)["id"] for line in ckpt("ls", tmp_path, "--json")[1].splitlines()]
    assert ids == [1, 10, 11, 12]
    assert len(ckpt("ls", tmp_path, "--json", "--all")[1].splitlines()) == len(manifest.records)


def test_ls_json_is_one_record_on_a_line(run_dir):
    manifest = Manifest.read(run_dir)
    code, out, err = ckpt("ls", run_dir, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [manifest.records[i].to_json() for i in (3, 4, 5)]


def test_ls_marks_what_is_superseded_exceptional_tagged_pinned_and_of_an_earlier_run(run_dir):
    manifest = Manifest.read(run_dir)
    manifest.change(3, superseded=True, exceptional=True, tags=("release", "stable"), pinned=True)
    out = ckpt("ls", run_dir, "--why")[1].splitlines()
    assert "  superseded,exceptional  " in out[1]
    assert "release, stable, pinned" in out[1]
    assert out[1].endswith("  pinned")
    manifest.start(Attempt("another", 1, None, 0.0))
    out = ckpt("ls", run_dir, "--why")[1].splitlines()
    assert out[1].endswith("of an earlier run")
    assert out[2].endswith("of an earlier run")
    assert "best" not in out[2]


def test_ls_counts_nothing_on_what_is_not_verified_yet(run_dir):
    newest = Manifest.read(run_dir).live()[-1]
    Manifest.read(run_dir).change(newest.id, status=Status.COMMITTED)
    *older, last = ckpt("ls", run_dir, "--why")[1].splitlines()[1:-1]
    assert last.endswith("  not verified yet") and "last" not in last
    assert "last" in older[-1]


def test_the_best_is_what_the_alias_on_disk_says(run_dir):
    (run_dir / "best.ckpt").unlink()
    (run_dir / "best.ckpt").symlink_to("003.ckpt")
    assert "Z  best" in ckpt("ls", run_dir)[1].splitlines()[1]
    (run_dir / "best.ckpt").unlink()
    assert "best" not in ckpt("ls", run_dir)[1]
    (run_dir / "best.pointer").write_text("004.ckpt")
    assert "last, best" in ckpt("ls", run_dir)[1].splitlines()[2]


@pytest.mark.parametrize("command", ["ls", "show", "verify", "log"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "run: does not exist; expected a run directory"),
        (lambda path: path.write_text("x"), "run: is a file; expected a run directory"),
        (lambda path: path.mkdir(), "a run directory; if the manifest was lost, run `ckpt doctor {path}`"),
    ],
)
def test_a_wrong_directory_is_one_clear_line(tmp_path, command, make, message):
    path = tmp_path / "run"
    make(path)
    code, out, err = ckpt(command, path, *(["best"] if command == "show" else []))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("Error: ")
    assert err.endswith(f"{message.format(path=path)}\n")


@pytest.mark.parametrize("command", ["show", "verify", "log"])
def test_a_folder_of_runs_is_no_run_directory(tmp_path, command):
    (tmp_path / "a" / ".run" / "manifest.jsonl").mkdir(parents=True)
    code, out, err = ckpt(command, tmp_path, *(["best"] if command == "show" else []))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(f"such as {tmp_path}/a\n")


@pytest.mark.parametrize("command", ["ls", "verify", "log"])
def test_a_run_without_a_checkpoint_yet_is_no_error(tmp_path, command):
    Manifest(tmp_path).start(Attempt("r", 1, None, 0.0))
    assert ckpt(command, tmp_path) == (0, f"{tmp_path}: no checkpoint yet\n", "")
    assert ckpt(command, tmp_path, "--json") == (0, "", "")


def test_when_all_are_deleted_ls_says_so(tmp_path):
    manifest = Manifest(tmp_path)
    manifest.put(Record(1, "a.ckpt", status=Status.DELETED))
    assert ckpt("ls", tmp_path) == (0, "1 deleted; --all shows them\n", "")


def test_a_damaged_manifest_is_reported_beside_the_results(run_dir):
    journal = Manifest(run_dir).layout.journal
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:-1], b"garbage\n", lines[-1]]))
    warning = f"Warning: {journal}: line {len(lines)} is damaged and was skipped\n"
    code, out, err = ckpt("ls", run_dir, "--json")
    assert (code, len(out.splitlines()), err) == (0, 3, warning)
    code, out, err = ckpt("verify", run_dir)
    assert (code, err) == (1, warning)
    assert out.endswith("2 of 2 checkpoints verified\n1 line of the manifest damaged\n")


def test_with_its_policy_ls_knows_every_rule_and_what_goes_next(run_dir, tmp_path):
    config = pytest.importorskip("ckpt_callbacks.config")
    path = tmp_path / "ckpt.yaml"
    path.write_text(config.Config(policy=Policy(save=POLICY.save, keep=KeepBest(1, by=VAL))).to_yaml())
    out = ckpt("ls", run_dir, "--why", "--config", path)[1].splitlines()
    assert out[1].endswith("nothing; the next save deletes it")
    assert out[2].endswith("best 1 by ema(0.5) of val_loss (#1); last; best; newest resumable")
    path.write_text("keep: 5\n")
    code, out, err = ckpt("ls", run_dir, "--config", path)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_ls_says_that_a_metric_that_was_never_logged_keeps_everything(tmp_path):
    policy = Policy.default("val_loss", patience=2)
    for logged in ({"loss": 1.0}, {"loss": 1.0, "val_loss": 1.0}):
        dirpath = tmp_path / str(len(logged))
        run = new_run(dirpath, policy, suffix=".ckpt", described=Config(policy).described)
        run.open()
        start(run)
        for epoch in range(1, 6):
            facts = {"metrics": logged, "complete": True, "stage": FakeWriter(b"x")}
            report(run, EventKind.EPOCH_END, step=epoch, epoch=epoch, **facts)
        run.close()
        why = "'val_loss' was never logged; nothing is deleted until it is"
        out = ckpt("ls", dirpath, "--why")[1]
        assert "the next save deletes it" not in out
        assert (out.count(why), len(out.splitlines()) - 1) == ((3, 5) if len(logged) == 1 else (0, 3))
