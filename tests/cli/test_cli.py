"""The command ``ckpt``, on run directories that a real `Run` wrote."""

import json
import os
import pty
import re
import resource
import shutil
import subprocess
import sys

import pytest

from ckpt_callbacks import EMA, EventKind, Every, Improves, KeepBest, KeepLast, Metric, Optimal, Policy, Record, Status
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeClock, FakeWriter
from tests.support import command as support
from tests.support.processes import ENVIRONMENT
from tests.support.training import new_run, report, start

VAL = Metric("val_loss", mode="min", smoothing=EMA(0.5))
POLICY = Policy(save=Improves(VAL) | Improves(VAL.raw), keep=KeepLast(2) | KeepBest(1, by=VAL))
LOSSES = [1.0, 0.5, 0.4, 0.3, 0.2]  # the fifth save fails
COMMAND = [sys.executable, "-c", "from ckpt_callbacks.cli import main; main(prog_name='ckpt')"]


def train(dirpath, losses=LOSSES, fail_on=(5,)):
    clock = FakeClock()
    metadata = {"dataset": "digits", "sizes": [1, 2], "optimizer": {"lr": 0.1, "nesterov": True}}
    run = new_run(dirpath, POLICY, suffix=".ckpt", filename="{epoch:03d}", metadata=metadata, clock=clock)
    run.open()
    start(run)
    writer = FakeWriter(b"x" * 2345, fail_on=set(fail_on))
    for epoch, loss in enumerate(losses, start=1):
        clock.advance(3600)
        report(run, EventKind.EPOCH_END, step=10 * epoch, epoch=epoch, metrics={"val_loss": loss, "acc": 0.5},
                    complete=True, stage=writer)  # fmt: skip
    run.close()
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    dirpath = tmp_path_factory.mktemp("trained")
    train(dirpath)
    return dirpath


@pytest.fixture
def run_dir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run", symlinks=True)


def ckpt(*arguments):
    """Run the command in this process; output and errors apart, and nothing unexpected raised."""
    result = support.ckpt(*arguments)
    return result.exit_code, result.stdout, result.stderr


def on_terminal(columns, *arguments):
    """Run the command on a terminal of this width; returns what it drew."""
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "NO_COLOR")} | {
        "TERM": "xterm-256color"
    }
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=environment, stdout=child, stderr=child, stdin=child
    )
    os.close(child)
    drawn = b""
    while True:
        try:
            piece = os.read(parent, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(parent)
    return process.wait(), drawn.decode()


def without_colours(drawn):
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn).replace("\r", "").splitlines()]


# -- ls --------------------------------------------------------------------------------------------------------------


def test_ls_lists_what_is_there_and_why(run_dir):
    code, out, err = ckpt("ls", run_dir)
    assert (code, err) == (0, "")
    assert [re.sub(r" {2,}", " | ", line.strip()) for line in out.splitlines()] == [
        "id | file | step | epoch | metrics | size | status | saved | aliases | saved because | kept because | error",
        "3 | 003.ckpt | 30 | 3 | ema(0.5) of val_loss=0.575, val_loss=0.4, acc=0.5 | 2.3 kB | verified | "
        "2023-11-15T01:13:20Z | val_loss improved to 0.575; val_loss improved to 0.4",
        "4 | 004.ckpt | 40 | 4 | ema(0.5) of val_loss=0.4375, val_loss=0.3, acc=0.5 | 2.3 kB | verified | "
        "2023-11-15T02:13:20Z | last, best | val_loss improved to 0.4375; val_loss improved to 0.3 | "
        "last; best; newest resumable",
        "5 | 005.ckpt | 50 | 5 | ema(0.5) of val_loss=0.31875, val_loss=0.2, acc=0.5 | failed | 2023-11-15T03:13:20Z | "
        "val_loss improved to 0.31875; val_loss improved to 0.2 | OSError: [Errno 28] No space left on device",
    ]


def test_ls_all_shows_deleted_ones_too(run_dir):
    _, out, _ = ckpt("ls", run_dir, "--all")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["1", "2", "3", "4", "5"]
    assert out.splitlines()[1].count("deleted") == 1


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
    out = ckpt("ls", run_dir)[1].splitlines()
    assert "verified, superseded, exceptional" in out[1]
    assert "release, stable, pinned" in out[1]
    assert out[1].endswith("  pinned")
    manifest.start(Attempt("another", 1, None, 0.0))
    out = ckpt("ls", run_dir)[1].splitlines()
    assert out[1].endswith("of an earlier run")
    assert out[2].endswith("of an earlier run")
    assert "best" not in out[2]


def test_ls_counts_nothing_on_what_is_not_verified_yet(run_dir):
    newest = Manifest.read(run_dir).live()[-1]
    Manifest.read(run_dir).change(newest.id, status=Status.COMMITTED)
    *older, last = ckpt("ls", run_dir)[1].splitlines()[1:-1]
    assert last.endswith("  not verified yet") and "last" not in last
    assert "last" in older[-1]


def test_the_best_is_what_the_alias_on_disk_says(run_dir):
    (run_dir / "best.ckpt").unlink()
    (run_dir / "best.ckpt").symlink_to("003.ckpt")
    assert "Z  best " in ckpt("ls", run_dir)[1].splitlines()[1]
    (run_dir / "best.ckpt").unlink()
    assert "best" not in ckpt("ls", run_dir)[1]
    (run_dir / "best.pointer").write_text("004.ckpt")
    assert "last, best" in ckpt("ls", run_dir)[1].splitlines()[2]


@pytest.mark.parametrize("command", ["ls", "show", "verify", "log"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "run: does not exist; expected a run directory"),
        (lambda path: path.write_text("x"), "run: is not a directory; expected a run directory"),
        (lambda path: path.mkdir(), "call `ckpt doctor {path}`; expected a run directory"),
        (lambda path: (path / "a" / ".ckpt" / "manifest.jsonl").mkdir(parents=True), "such as {path}/a"),
    ],
)
def test_a_wrong_directory_is_one_clear_line(tmp_path, command, make, message):
    path = tmp_path / "run"
    make(path)
    code, out, err = ckpt(command, path, *(["best"] if command == "show" else []))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("Error: ")
    assert err.endswith(f"{message.format(path=path)}\n")


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


# -- show ------------------------------------------------------------------------------------------------------------


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
        "saved because:\n  - val_loss improved to 0.4375\n  - val_loss improved to 0.3\n",
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
        ("99", "has no checkpoint '99'; expected an id, a file, a tag, or one"),
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


# -- log -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def timed_dir(run_dir):
    """The run, as if these were the times that its saves took, and the first was from before they were measured."""
    manifest = Manifest.read(run_dir)
    manifest.change(1, timings={})
    for id_, blocked in ((2, 4.0), (3, 0.25), (4, 0.5)):
        manifest.change(id_, timings={"blocked": blocked, "written": 2 * blocked, "verified": 3 * blocked})
    manifest.change(5, timings={"blocked": 100.0})
    return run_dir


ADAPTIVE = Policy(save=Every(overhead=0.01) | Every(steps=5) & Optimal(mtbf="4 h"))


def test_log_tells_the_history_in_order(timed_dir):
    code, out, err = ckpt("log", timed_dir)
    assert (code, err) == (0, "")
    assert [re.sub(r" {2,}", " | ", line.strip()) for line in out.splitlines()] == [
        "id | saved | step | epoch | blocked | durable | size | status | saved because | error",
        "1 | 2023-11-14T23:13:20Z | 10 | 1 | 2.3 kB | deleted | val_loss improved to 1",
        "2 | 2023-11-15T00:13:20Z | 20 | 2 | 4 s | 8 s | 2.3 kB | deleted | "
        "val_loss improved to 0.75; val_loss improved to 0.5",
        "3 | 2023-11-15T01:13:20Z | 30 | 3 | 0.25 s | 0.5 s | 2.3 kB | verified | "
        "val_loss improved to 0.575; val_loss improved to 0.4",
        "4 | 2023-11-15T02:13:20Z | 40 | 4 | 0.5 s | 1 s | 2.3 kB | verified | "
        "val_loss improved to 0.4375; val_loss improved to 0.3",
        "5 | 2023-11-15T03:13:20Z | 50 | 5 | 1.67 min | failed | "
        "val_loss improved to 0.31875; val_loss improved to 0.2 | OSError: [Errno 28] No space left on device",
    ]


def test_log_tells_the_interval_that_each_adaptive_rule_chose_and_why(timed_dir, tmp_path):
    config = pytest.importorskip("ckpt_callbacks.config")
    manifest = Manifest.read(timed_dir)
    facts = {"policy": config.Config(ADAPTIVE).to_mapping()}
    manifest.start(Attempt(manifest.attempts[-1].run, 2, 4, 0.0, facts))
    # of 4, 0.25 and 0.5 s the median; what the failed save took is no measure
    rules = [
        "overhead 1%: every 50 s, because a save blocks 0.5 s",
        "optimal for a failure every 4 hours: every 2 min, because a save blocks 0.5 s",
    ]
    assert ckpt("log", timed_dir)[1].splitlines()[-2:] == rules
    (tmp_path / "ckpt.yaml").write_text("save: {every: {overhead: 0.1}}")
    assert ckpt("log", timed_dir, "--config", tmp_path / "ckpt.yaml")[1].splitlines()[5:] == [
        ckpt("log", timed_dir)[1].splitlines()[5],
        "overhead 10%: every 5 s, because a save blocks 0.5 s",
    ]
    lines = [json.loads(line) for line in ckpt("log", timed_dir, "--json")[1].splitlines()]
    records = Manifest.read(timed_dir).records
    assert lines[:5] == [records[id_].to_json() for id_ in range(1, 6)]
    assert lines[5] == {"rule": "Every(overhead=0.01)", "interval": 50.0, "because": rules[0]}
    assert [line.get("rule") for line in lines[6:]] == ["Optimal(mtbf=14400)"]


def test_what_was_gone_back_behind_and_what_another_run_saved_is_no_measure(timed_dir, tmp_path):
    (tmp_path / "ckpt.yaml").write_text("save: {every: {overhead: 0.01}}")
    manifest = Manifest.read(timed_dir)
    for id_ in (2, 4):
        manifest.change(id_, superseded=True)
    arguments = ("log", timed_dir, "--config", tmp_path / "ckpt.yaml")
    assert ckpt(*arguments)[1].splitlines()[-1] == "overhead 1%: every 25 s, because a save blocks 0.25 s"
    manifest.start(Attempt("another", 1, None, 0.0))
    assert ckpt(*arguments)[1].splitlines()[-1] == "overhead 1%: at once, because no save was measured yet"
    assert json.loads(ckpt(*arguments, "--json")[1].splitlines()[-1])["interval"] is None


# -- verify ----------------------------------------------------------------------------------------------------------


def test_verify_reads_everything_and_says_ok(run_dir):
    expected = f"ok   {run_dir}/003.ckpt\nok   {run_dir}/004.ckpt\n2 of 2 checkpoints verified\n"
    assert ckpt("verify", run_dir) == (0, expected, "")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_bytes(b"x" * 2344 + b"y"), "its bytes changed: digest is xxh3_128:"),
        (lambda path: path.write_bytes(b"x" * 2344), "has 2344 bytes; the manifest says 2345"),
        (lambda path: path.unlink(), "missing; the manifest has it with 2345 bytes"),
    ],
)
def test_verify_names_what_does_not_match(run_dir, damage, problem):
    damage(run_dir / "003.ckpt")
    code, out, err = ckpt("verify", run_dir)
    assert (code, err) == (1, "")
    assert f"BAD  {run_dir}/003.ckpt: {problem}" in out
    assert out.endswith("1 of 2 checkpoints verified\n")
    code, out, err = ckpt("verify", run_dir, "--json")
    assert (code, err) == (1, "")
    bad, good = map(json.loads, out.splitlines())
    assert problem in bad["problem"]
    records = Manifest.read(run_dir).records
    assert bad == {**records[3].to_json(), "ok": False, "problem": bad["problem"]}
    assert good == {**records[4].to_json(), "ok": True, "problem": None}


def test_what_a_live_run_deletes_meanwhile_is_no_damage(run_dir, monkeypatch):
    from ckpt_callbacks.cli import verify as module

    def verify_record(record, real=module.verify_record, **options):
        if record.id == 3:
            Manifest.read(run_dir).change(3, status=Status.DELETED)
            record.path.unlink()
        return real(record, **options)

    monkeypatch.setattr(module, "verify_record", verify_record)
    assert ckpt("verify", run_dir) == (0, f"ok   {run_dir}/004.ckpt\n1 of 1 checkpoint verified\n", "")


# -- the policy's file -----------------------------------------------------------------------------------------------


def test_with_its_policy_ls_knows_every_rule_and_what_goes_next(run_dir, tmp_path):
    config = pytest.importorskip("ckpt_callbacks.config")
    path = tmp_path / "ckpt.yaml"
    path.write_text(config.Config(policy=Policy(save=POLICY.save, keep=KeepBest(1, by=VAL))).to_yaml())
    out = ckpt("ls", run_dir, "--config", path)[1].splitlines()
    assert out[1].endswith("nothing; the next save deletes it")
    assert out[2].endswith("best 1 by val_loss (#1); last; best; newest resumable")
    path.write_text("keep: 5\n")
    code, out, err = ckpt("ls", run_dir, "--config", path)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_schema_prints_the_schema():
    config = pytest.importorskip("ckpt_callbacks.config")
    code, out, err = ckpt("schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == config.json_schema()


# -- terminals and pipes ---------------------------------------------------------------------------------------------


def test_a_terminal_gets_lines_that_fit_and_pipes_do_not(run_dir):
    for columns in (70, 80, 200):
        code, drawn = on_terminal(columns, "ls", run_dir)
        lines = without_colours(drawn)
        assert code == 0
        assert "\x1b[" in drawn
        assert max(map(len, lines)) <= columns
        metrics = ["metrics"] if columns == 200 else []
        assert lines[0].split() == ["id", "file", "step", "epoch", *metrics, "size", "status", "saved", "aliases"]
        assert "kept because: last; best; newest resumable" in "\n".join(lines)
        assert lines[-1] == "2 deleted; --all shows them"
    piped = subprocess.run(
        [*COMMAND, "ls", run_dir], env=ENVIRONMENT | {"COLUMNS": "30"}, capture_output=True, text=True
    )
    assert piped.stdout == ckpt("ls", run_dir)[1]


def test_log_fits_a_terminal(timed_dir):
    code, drawn = on_terminal(100, "log", timed_dir)
    lines = without_colours(drawn)
    assert code == 0
    assert lines[0].split() == ["id", "saved", "step", "epoch", "blocked", "durable", "size", "status"]
    assert "error: OSError: [Errno 28] No space left on device" in lines[-1]
    assert max(map(len, lines)) <= 100


def test_verify_draws_progress_on_a_terminal_only(run_dir):
    code, drawn = on_terminal(100, "verify", run_dir)
    assert code == 0
    assert "4.7/4.7 kB" in drawn
    lines = without_colours(drawn)
    assert [line for line in lines if line.startswith(("ok", "2 of"))][-1] == "2 of 2 checkpoints verified"
    parent, child = pty.openpty()  # errors go to a terminal, results do not
    piped = subprocess.run(
        [*COMMAND, "verify", run_dir], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=child, text=True
    )
    os.close(child)
    os.close(parent)
    assert piped.stdout == ckpt("verify", run_dir)[1]


def test_a_reader_that_leaves_is_no_error(tmp_path):
    manifest = Manifest(tmp_path)
    for id_ in range(1, 30):
        manifest.put(Record(id_, f"{id_}.ckpt", status=Status.VERIFIED, reasons=("x" * 9999,)))
    for arguments in (["ls"], ["ls", "--json"], ["log"], ["verify"], ["verify", "--json"]):
        process = subprocess.Popen([*COMMAND, *arguments, tmp_path], env=ENVIRONMENT, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait()


def test_it_starts_quickly_and_loads_no_framework():
    code = """
import sys
import ckpt_callbacks.cli
dear = {"torch", "keras", "lightning", "tensorflow", "jax", "numpy", "pydantic", "rich", "ruamel", "yaml"}
print(sorted(dear.intersection(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    took = []
    for _ in range(3):
        began = processor_seconds()
        subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, check=True)
        took.append(processor_seconds() - began)
    assert min(took) < 0.5


def processor_seconds():
    """Return the processor time of all children that have ended; other tests at the same time do not add to it."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
