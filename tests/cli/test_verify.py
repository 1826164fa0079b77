"""``ckpt verify``."""

import json

import pytest

from ckpt_callbacks import Status
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt


def test_verify_reads_everything_and_says_ok(run_dir):
    expected = f"ok   {run_dir}/003.ckpt\nok   {run_dir}/004.ckpt\n2 of 2 checkpoints verified\n"
    assert ckpt("verify", run_dir) == (0, expected, "")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.write_bytes(b"x" * 2344 + b"y"), "its bytes changed: digest is xxh3_128:"),
        (lambda path: path.write_bytes(b"x" * 2344), "has 2344 bytes; the manifest says 2345"),
        (lambda path: path.unlink(), "missing; the manifest lists it with 2345 bytes"),
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

    def verify_record(manifest, record, real=module.verify_now, **options):
        if record.id == 3:
            Manifest.read(run_dir).change(3, status=Status.DELETED)
            record.path.unlink()
        return real(manifest, record, **options)

    monkeypatch.setattr(module, "verify_now", verify_record)
    assert ckpt("verify", run_dir) == (0, f"ok   {run_dir}/004.ckpt\n1 of 1 checkpoint verified\n", "")
