"""The benchmarks' own code: figures and tables, and that each script measures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import contents, end_to_end, long_runs, models, restore, stall
from benchmarks.engines import forked
from benchmarks.interference import Watch
from benchmarks.limits import RawFile
from benchmarks.probes import resident
from benchmarks.report import Spread, Table, Target, number
from benchmarks.run import document, missed
from benchmarks.subject import PEER, Enough, NotInstalled, Subject, measured
from tests.support.processes import ROOT

SCRIPTS = ("models", "stall", "interference", "overhead", "restore", "end_to_end", "long_runs", "contents", "mirrors")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.0, "1"), (0.000123456, "0.000123"), (0.1, "0.1"), (12.345, "12.3"), (4567.8, "4570"),
     (-0.25, "-0.25"), (1e-12, "1e-12"), (float("nan"), "nan")],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_table_shows_spreads_and_what_was_not_measured():
    rows = [("ours", Spread.of([0.3, 0.1, 0.2]), None), ("a|b", Spread.of([2]), 1.5)]
    lines = Table("Title", ("", "seconds", "ratio"), rows, ["a note"], "make it").markdown().splitlines()
    assert lines == [
        "## Title", "", "`make it`", "",
        "|      | seconds          | ratio |",
        "|------|------------------|-------|",
        "| ours | 0.2 (0.1 to 0.3) | -     |",
        "| a/b  | 2                | 1.5   |",
        "", "- a note", "",
    ]  # fmt: skip


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 cells, there are 1 columns"):
        Table("Title", ("",), [(1, 2)]).markdown()


def test_missed_targets_are_never_hidden():
    targets = [Target("a", 2.0, 1), Target("b", 1.0, 1), Target("c", 0.5, 0.9, at_least=True), Target("d", None, 1)]
    assert [target.verdict for target in targets] == ["MISSED", "met", "MISSED", "not measured"]
    text = Target.table("Targets", targets).markdown()
    assert missed(text) == ["a: 2; the target is at most 1", "c: 0.5; the target is at least 0.9"]
    page = document(False, {"one": text}, 1)
    assert "2 targets were missed" in page.split("## Targets")[0]
    assert "No target was missed" in document(False, {"one": Target.table("Targets", targets[1:2]).markdown()}, 1)


class Hook(Subject):
    """A subject that lands a number of questions after its save."""

    role = PEER

    def __init__(self, after):
        super().__init__(Path(), 1)
        self.asked, self.after = 0, after

    def landed(self):
        self.asked += 1
        return self.asked > self.after


@pytest.mark.parametrize(("told", "reading"), [({}, None), ({"written": 4.0}, 0.5)])
def test_the_time_lost_is_what_steps_took_beyond_undisturbed_ones(monkeypatch, told, reading):
    """A fake clock: steps take 1 s; a save blocks for 2 s, and lands after 3 more steps, which take 1.5 s."""
    now = 100.0
    monkeypatch.setattr("benchmarks.interference.time.perf_counter", lambda: now)
    subject = Hook(0)
    subject.timings = lambda: told
    watch = Watch(subject, every=20, count=2)

    def hook():
        nonlocal now
        if step % 20 == 0:
            now += 2
            subject.asked, subject.after = 0, 3

    with pytest.raises(Enough):
        for step in range(1, 100):
            now += 1.5 if step > 20 and 1 <= step % 20 <= 3 else 1
            watch.end()
            watch.save(hook, step)
    assert len(watch.saves) == 2
    expected = {"alone": 1, "writing": 3 / 4.5, "blocked": 2, "landed": 6.5, "lost": 2 + 1.5, "lost_reading": reading}
    for save in watch.saves:
        assert save == pytest.approx(expected)


def test_a_save_that_does_not_land_in_time_is_an_error():
    subject = Hook(10**9)
    watch = Watch(subject, every=8, count=1)
    with pytest.raises(RuntimeError, match="had not landed after 8 steps"):
        for step in range(1, 20):
            watch.end()
            watch.save(lambda: None, step)


@pytest.mark.skipif(resident() is None, reason="the system does not tell a process its memory")
def test_a_save_is_followed_until_it_has_landed():
    held = []
    cost = measured(Hook(3), lambda: held.append(bytearray(b"x" * 100_000_000)))
    assert cost["written"] >= cost["blocked"] + 3 * 0.002
    assert cost["peak"] - cost["before"] > 90_000_000, "more than the largest block that malloc takes from freed memory"
    assert cost["durable"] == cost["written"] and cost["verified"] is None


def test_a_raw_write_has_all_bytes(tmp_path):
    RawFile(100_001).write(tmp_path / "file.raw")
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("file.raw", 102_400)]


def test_the_end_of_a_measurement_is_reported(tmp_path, capfd):
    def missing(place):
        raise NotInstalled("some-package")

    def wrong(place):
        raise ValueError("no good\nmore")

    def well(place):
        (place / "file").write_text("x")
        return {"files": len(list(place.iterdir()))}

    for job in (missing, wrong, well, lambda place: sys.exit(3)):
        forked({"name": job.__name__}, job, tmp_path)
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [set(line) - {"name"} for line in said] == [{"missing"}, {"error"}, {"files"}, {"error"}]
    assert said[1]["error"] == "no good" and said[2]["files"] == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [*SCRIPTS, "run"])
def test_each_script_tells_how_it_is_called(script):
    command = [sys.executable, "-m", f"benchmarks.{script}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "--quick" in done.stdout


def test_stall_compares_ours_with_the_peers_and_the_targets(monkeypatch):
    """A copy blocks for 1 s, ours for 2 s, peers for 20 to 40 s; ours is verified after 4 s."""

    def save(blocked, durable=None, verified=None, cpu=1.0, peak=200e6):
        return {"blocked": blocked, "written": durable, "durable": durable, "verified": verified, "cpu": cpu,
                "before": 100e6, "peak": peak}  # fmt: skip

    def of(name, role, *saves, **labels):
        return {"size": 10**8, "name": name, "role": role, "fsyncs": True, "saves": saves, **labels}

    results = [
        of("no checkpointing", "limit", {"before": 90e6}, {"before": 90e6}),
        of("warm copy of the tensors, nothing written", "limit", save(5), save(1)),
        of("LightningCheckpoint", "ours", save(9), save(2, 3, 4), save(2, 3, 4)),
        of("Lightning ModelCheckpoint", "peer", save(40), save(40, 41), fsyncs=False),
        of("torch.save, fsync, rename", "peer", save(20), save(20, 30, cpu=1.5)),
        of("safetensors save_file", "peer", missing="safetensors"),
    ]  # fmt: skip
    monkeypatch.setattr("benchmarks.stall.plan", lambda engine, quick: ((10**8,), 1, 4))
    monkeypatch.setattr("benchmarks.engines.has_gpu", lambda: False)
    monkeypatch.setattr(
        "benchmarks.engines.run", lambda script, names, *_: [{**r, "engine": name} for name in names for r in results]
    )
    first, *_, targets = stall.tables(True)
    rows = {row[0]: row[1:] for row in first.rows}
    assert [str(cell) for cell in rows["LightningCheckpoint"]] == ["2", "2.0", "0.1", "3", "3", "4", "1", "110", "9"]
    assert "Lightning ModelCheckpoint †" in rows and "safetensors save_file: not installed: safetensors" in first.notes
    judged = {row[0].split(": ")[1]: row[1:] for row in targets.rows if "Lightning, 0.1 GB" in row[0]}
    assert judged["blocked ÷ warm copy"] == (2, "at most 1.5", "MISSED")
    assert judged["blocked ÷ Lightning ModelCheckpoint"] == (0.05, "at most 0.0667", "met")
    what = "CPU seconds until durable and verified ÷ torch.save, fsync, rename"
    assert judged[what] == (1 / 1.5, "at most 0.5", "MISSED")


def test_contents_are_compared_with_full_ones_and_compressors_with_zipnn(monkeypatch):
    """A full file has 24 MB, weights a third of that, and compression takes off a half."""

    def of(name, size, accuracy):
        return {"name": name, "bytes": size, "save": 1.0, "cpu": 0.5, "load": 2.0, "accuracy": accuracy}

    sizes = {"full": 24, "weights": 8, "weights, bf16": 4}
    found = [of(f"{name}{end}", size * 10**6 * part, 0.5 if part == 1 else 0.25)
             for name, size in sizes.items() for end, part in (("", 1), (", compressed", 0.5))]  # fmt: skip
    found += [
        {"data": "weights fp32", "codec": contents.OURS, "off": 0.5, "in": 0.4, "out": 2.0},
        {"data": "weights fp32", "codec": contents.ZIPNN, "off": 0.6, "in": 1.0, "out": 2.0},
        {"data": "weights bf16", "codec": contents.ZIPNN, "missing": "zipnn"},
        *({"way": way, "seconds": seconds, "saves": 2, "steps": 100}
          for way, seconds in (("no saves", 10.0), ("saves, native", 12.0), ("saves, compressed", 15.0))),
    ]  # fmt: skip
    monkeypatch.setattr(
        "benchmarks.engines.run", lambda script, names, *_: [{**r, "engine": name} for name in names for r in found]
    )
    made = {table.title: table for table in contents.tables(True)}
    assert [str(cell) for cell in made["Contents: Lightning"].rows[5]] == [
        "weights, bf16, compressed", "2.0", str(2 / 24), "1", "0.5", "2", "25.00%",
    ]  # fmt: skip
    room = {row[0].split(" ")[-1]: row[1:] for row in made["Contents: room"].rows}
    assert room["full"] == ((3 * 24 + 5 * 8) / (8 * 24), "at most 0.59", "met")
    assert room["run"][0] == (3 * 12 + 5 * 2) / (8 * 24)
    assert made["Lossless compression: weights bf16"].notes == ["zipnn: not installed: zipnn"] * 2
    judged = {row[0]: row[1:] for row in made["Contents: targets"].rows}
    assert judged["weights fp32: bytes ÷ zipnn's"] == (1.25, "at most 1.01", "MISSED")
    assert judged["weights fp32: GB/s in"] == (0.4, "at least 0.5", "MISSED")
    assert judged["weights bf16: GB/s in"][2] == "not measured"
    assert judged["ms of training lost per save, compressed ÷ native"] == (2.5, "at most 2", "MISSED")


def test_models_are_compared_with_the_limit_and_the_peer(monkeypatch):
    """A copy blocks for 10 ms, ours for 19 ms, the peer for 400 ms; the first ones take 50, 90 and 500 ms."""

    def of(kind, name, role, *blocked, **found):
        saves = [{"blocked": seconds, **found} for seconds in blocked]
        return {"kind": kind, "name": name, "role": role, "model": "m", "saves": saves, "tensors": 100, "size": 10**6}

    tiny = ((0.003,) * 2 + (0.005,) * 10, (0.001,) * 10 + (0.001, 0.005) * 50)
    results = [
        of("waiting", "copy", "limit", 0.05, 0.01, 0.01),
        of("waiting", "ours", "ours", 0.09, 0.019, 0.019),
        of("waiting", "peer", "peer", 0.5, 0.4, 0.4),
        of(models.APART, "ours", "ours", *tiny[0]),
        of(models.EACH_STEP, "ours", "ours", *tiny[1]),
        of(models.EACH_STEP, "peer", "peer", *(0.002,) * 20),
        of("busy", "copy", "limit", 0.05, 0.01, lost=0.0),
        of("busy", "ours", "ours", 0.09, 0.02, lost=0.032),
    ]
    results.append({**results[2], "saves": (), "error": "no good"})
    monkeypatch.setattr(
        "benchmarks.engines.run", lambda script, names, *_: [{**r, "engine": name} for name in names for r in results]
    )
    first, second, saves, lost, targets = models.tables(False, ("lightning", "jax"))
    assert [str(cell) for cell in second.rows[0]] == ["m", "100", "1.0", "10", "19", "400", "50", "90", "500"]
    assert first.title.endswith("Lightning") and first.notes == ["m, peer: no good"]
    assert [str(cell) for cell in saves.rows[2][2:]] == ["at each step", "ours", "3 (1 to 5)", "3.0"]
    assert [str(cell) for cell in lost.rows[0][2:]] == ["10.0", "31.0", "ours", "20", "32"]
    judged = {row[0].removeprefix("Keras on jax, m"): row[1:] for row in targets.rows if "jax" in row[0]}
    assert judged == {
        ": ms blocked": (19, "at most 20", "met"),
        ": blocked ÷ ModelCheckpoint": (19 / 400, "at most 0.1", "met"),
        ": first save, ms blocked": (90, "at most 80", "MISSED"),
        ", 0.5 s apart: ms blocked": (5, "at most 4", "MISSED"),
        ", at each step: ms blocked in the mean, ModelCheckpoint's own": (pytest.approx(3), "at most 2", "MISSED"),
        ": ms of training lost per save": (32, "at most 31", "MISSED"),
    }


def test_restore_and_whole_runs_are_given_beyond_those_without_checkpoints(monkeypatch):
    def of(name, **found):
        return {"engine": "lightning", "cache": "warm", "role": "peer", "name": name, **found}

    results = [
        of(restore.FRESH, total=1.0),
        of("ours: ckpt.resume_path(), fit", opened=0.5, total=3.0),
        of(restore.PLAIN, seconds=8.0),
    ]  # fmt: skip
    monkeypatch.setattr(
        "benchmarks.engines.run", lambda script, names, *_: [{**r, "engine": name} for name in names for r in results]
    )
    first, *_, targets = restore.tables(True)
    ours = next(row for row in first.rows if row[0].startswith("ours"))
    assert [str(cell) for cell in ours[1:]] == ["warm", "0.5", "1.5", "2", "0.25"]
    assert targets.rows[0][1:] == (0.25, "at most 0.5", "met")

    results[:] = [of("no checkpointing", wall=10.0), of("peer", wall=14.0), of("other", error="no good")]
    first = end_to_end.tables(True)[0]
    assert [row[2:] for row in first.rows] == [(None,) * 4, (4.0, 40.0, 1.0, 1.0), (None,) * 4]
    assert first.notes == ["other: no good"]


@pytest.mark.slow
def test_a_long_run_is_measured_at_each_mark_and_continues(tmp_path):
    rows = list(long_runs.measured(tmp_path, (5, 280, 290)))
    assert [row["saves"] for row in rows] == [5, 280, 290]
    assert [row["history"] > 0 for row in rows] == [False, True, True]
    assert all(min(row[name] for name in ("journal", "memory", "resume", "open", "ls")) > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "engine"),
    [
        ("models", "torch"), ("stall", "jax"), ("restore", "lightning"), ("interference", "lightning"),
        ("end_to_end", "tensorflow"),
    ],
)  # fmt: skip
def test_each_script_measures_ours_and_the_peers(script, engine):
    command = [sys.executable, "-m", f"benchmarks.{script}", "--quick", "--engine", engine]
    environment = {**os.environ, "KERAS_BACKEND": engine}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len({line["name"] for line in said}) >= 3
    assert [line for line in said if "error" in line] == []
