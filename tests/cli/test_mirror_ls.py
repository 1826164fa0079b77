"""``ckpt ls`` of a mirror, and what the other commands say about one."""

import json

import pytest

from ckpt_callbacks.cli import places
from ckpt_callbacks.errors import MirrorError
from ckpt_callbacks.mirrors.catalog import Catalog, Entry, Part
from ckpt_callbacks.mirrors.keys import CATALOG, ENTRIES
from ckpt_callbacks.record import Attempt, Record, Status
from tests.cli.command_line import ckpt
from tests.cli.mirrored import RecordedRun, mirrored
from tests.support.memory_store import MemoryStore

SECRET = "canary-7b2f"


@pytest.fixture
def run(tmp_path):
    return RecordedRun(tmp_path / "run", losses=(3.0, 1.0, 2.0))


@pytest.fixture
def folder(run, tmp_path):
    mirrored(run, tmp_path / "mirror")
    return tmp_path / "mirror"


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_mirror_is_listed_as_its_run_directory(run, folder, scheme):
    code, out, err = ckpt("ls", f"{scheme}{folder}", "--json")
    assert (code, err) == (0, "")
    _, own, _ = ckpt("ls", run.manifest.layout.dirpath, "--json")
    there, here = ([json.loads(line) for line in text.splitlines()] for text in (out, own))
    assert [record["id"] for record in there] == [1, 2, 3]
    assert there == here


def test_the_table_names_the_links_and_the_reasons(run, folder):
    rows = ckpt("ls", folder, "--why")[1].splitlines()
    assert len(rows) == 4 and "kept because" in rows[0]
    assert " best " in rows[2] and "loss=1" in rows[2] and " last " in rows[3]


def test_a_mirror_without_checkpoints_is_no_error(run, tmp_path):
    empty = RecordedRun(tmp_path / "empty", run="other")
    mirrored(empty, tmp_path / "mirror")
    assert ckpt("ls", tmp_path / "mirror") == (0, f"{tmp_path}/mirror: no checkpoint yet\n", "")


def test_ten_thousand_records_take_two_requests(monkeypatch):
    records = [Record(n, f"{n}.ckpt", step=n, status=Status.VERIFIED, run="run", size=1) for n in range(1, 10_001)]
    entries = tuple(Entry(r.id, r, (Part(f"checkpoints/{r.id}", 1),), "w") for r in records)
    store = MemoryStore()
    store.put(
        CATALOG, Catalog("w", "here", 10_000, entries, (Attempt("run", 1, None, 0.0),), 10_000, "keras").to_bytes()
    )
    store.requests.clear()
    monkeypatch.setattr(places, "open_store", lambda url, options: store)
    code, out, _ = ckpt("ls", "s3://bucket/run", "--json")
    assert code == 0 and len(out.splitlines()) == 10_000
    assert store.requests == [("read", CATALOG), ("list", ENTRIES)]


def test_the_options_reach_the_store(monkeypatch):
    given = []

    def open_store(url, options):
        given.append((url, options))
        return MemoryStore()

    monkeypatch.setattr(places, "open_store", open_store)
    ckpt(
        "ls", "s3://bucket/run", "--storage-option", "endpoint_url=http://a?b=c", "--storage-option", "allow_http=true"
    )
    assert given == [("s3://bucket/run", {"endpoint_url": "http://a?b=c", "allow_http": True})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "gopher://host/run"], "Error: gopher:// is not a kind of mirror; expected one of s3, "),
        (["ls", "s3a://bucket/run"], "did you mean s3://?"),
        (["pull", "/no/such/folder"], "Error: /no/such/folder: there is no folder /no/such; mount its disk"),
        (["mirror", "check", "file://host/run"], "Error: file://host/run: names the machine host; expected file:///"),
        (["push", "/no/run", "s3://b/run"], "Error: /no/run: does not exist; expected a run directory"),
        (["ls", "s3://b/run", "/tmp"], "Error: s3://b/run: is a mirror; expected it alone, without another DIR"),
        (["path", "s3://bucket/run", "best"], "`ckpt pull URL DIR` makes a run directory of it"),
        (["show", "sftp://host/run"], "`ckpt ls`, `ckpt pull`, `ckpt push`, `ckpt sync` and `ckpt mirror check` take"),
        (["mirror", "status", "s3://bucket/run"], "is a URL; expected a local path"),
    ],
)  # fmt: skip
def test_bad_places_get_one_line(arguments, message):
    code, out, err = ckpt(*arguments)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1, err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", f"s3://user:{SECRET}@bucket/run"],
        ["pull", f"sftp://user:{SECRET}@host/run"],
        ["show", f"sftp://user:{SECRET}@host/run"],
        ["ls", "s3://bucket/run", "--storage-option", SECRET],
        ["push", ".", "s3://bucket/run", "--storage-option", f"={SECRET}"],
        ["mirror", "check", f"s3://bucket/run?token={SECRET}"],
        ["pull", "/no/such/folder", "--storage-option", f"password={SECRET}"],
    ],
)
def test_no_secret_is_shown(arguments):
    code, out, err = ckpt(*arguments)
    assert code == 2 and err and SECRET not in out + err


def test_a_missing_library_names_its_extra(monkeypatch):
    import importlib

    def import_module(name, package=None):
        raise ModuleNotFoundError("No module named 'obstore'", name="obstore")

    monkeypatch.setattr(importlib, "import_module", import_module)
    code, _, err = ckpt("ls", "s3://bucket/run")
    assert code == 2 and 'pip install "ckpt-callbacks[s3]"' in err and len(err.splitlines()) == 1


def test_an_empty_folder_is_no_mirror(tmp_path):
    code, _, err = ckpt("ls", f"file://{tmp_path}")
    assert code == 2 and err == (
        f"Error: {tmp_path}: holds no mirror; expected the place to which a run was sent, with its prefix\n"
    )


@pytest.mark.parametrize("command", ["path", "show", "verify", "du", "log", "doctor"])
def test_commands_for_run_directories_say_what_to_do_with_a_mirror(folder, command):
    code, _out, err = ckpt(command, folder)
    assert code == 2 and f"{folder}: is a mirror; expected a run directory: `ckpt pull {folder}` makes one" in err


def test_a_catalog_of_a_newer_version_is_refused(folder):
    catalog = folder / CATALOG
    catalog.write_bytes(catalog.read_bytes().replace(b'"format":1', b'"format":9', 1))
    code, _, err = ckpt("ls", folder)
    assert code == 2 and "has format 9; this version reads up to 1" in err


@pytest.mark.parametrize("command", [["ls"], ["pull"], ["mirror", "check"]])
def test_refused_credentials_are_one_line(monkeypatch, tmp_path, command):
    store = MemoryStore()

    def refuse(when, name, key):
        raise MirrorError("s3://bucket/run: the key is refused; expected AWS_SECRET_ACCESS_KEY")

    store.fails = refuse
    monkeypatch.setattr(places, "open_store", lambda url, options: store)
    monkeypatch.chdir(tmp_path)
    code, out, err = ckpt(*command, "s3://bucket/run")
    assert (code, out) == (2, "")
    assert err == "Error: s3://bucket/run: the key is refused; expected AWS_SECRET_ACCESS_KEY\n"
    assert len(store.requests) == 1 and list(tmp_path.iterdir()) == []


def test_the_reasons_are_those_of_the_mirror(tmp_path):
    rules = [{"url": str(tmp_path / "mirror"), "keep": [{"every": {"steps": 2}}]}]
    run = RecordedRun(tmp_path / "run", losses=(3.0, 1.0, 2.0), mirrors=[rules[0]["url"]], mirror_rules=rules)
    run.manifest.change(1, tags=("paper",))
    mirrored(run, tmp_path / "mirror")
    _, *rows = ckpt("ls", tmp_path / "mirror", "--why")[1].splitlines()
    assert [row.split("  ")[-1] for row in rows] == [
        "tagged paper", "every 2 steps; best", "last; newest resumable",
    ]  # fmt: skip


def test_a_folder_of_mirrors_is_no_run_directory(tmp_path):
    (tmp_path / "mirrors").mkdir()
    for name in ("a", "b"):
        mirrored(RecordedRun(tmp_path / "runs" / name, losses=(1.0,)), tmp_path / "mirrors" / name)
    code, out, err = ckpt("ls", tmp_path / "mirrors")
    assert (code, out) == (2, "") and err == (
        f"Error: {tmp_path}/mirrors: holds no run directory, but 2 mirrors; expected one of them, as in `ckpt ls "
        f"{tmp_path}/mirrors/a`\n"
    )
