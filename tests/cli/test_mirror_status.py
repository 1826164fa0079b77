"""``ckpt mirror status``: what mirrors hold, what they lack, and what they cost."""

import json
import time

import pytest

from ckpt_callbacks.mirrors.cost import Price, Prices
from ckpt_callbacks.mirrors.notes import Notes
from ckpt_callbacks.remote.folder_store import FolderStore
from tests.cli.command_line import ckpt, on_terminal
from tests.cli.mirrored import RecordedRun


@pytest.fixture
def run(tmp_path):
    return RecordedRun(tmp_path / "run", losses=(3.0, 1.0, 2.0), mirrors=[str(tmp_path / "mirror")])


@pytest.fixture
def sent(run, tmp_path):
    """The run, after its mirror has received all; then came one more checkpoint."""
    run.mirror(FolderStore(str(tmp_path / "mirror")))._synchronise()
    run.save(2.0)
    return run


def status(run, *more):
    code, out, _err = ckpt("mirror", "status", run.manifest.layout.dirpath, "--json", *more)
    return code, [json.loads(line) for line in out.splitlines()]


def test_what_is_there_and_what_is_missing(sent, tmp_path):
    code, (found,) = status(sent)
    assert code == 0
    assert (found["url"], found["records"], found["size"], found["newest_step"]) == (
        str(tmp_path / "mirror"),
        2,
        200,
        3,
    )
    assert (found["missing"], found["missing_size"], found["error"]) == (1, 100, "")
    assert time.time() - found["sent"] < 60 and found["writes"] > 4 and found["reads"] > 2
    assert found["monthly"] is None and found["currency"] == "USD"  # a folder has no price


def test_a_mirror_that_was_only_pushed_to_is_known(tmp_path):
    run = RecordedRun(tmp_path / "run")
    run.save()
    ckpt("push", tmp_path / "run", tmp_path / "pushed")
    code, (found,) = status(run)
    assert (code, found["url"], found["records"], found["missing"]) == (0, str(tmp_path / "pushed"), 1, 0)


def test_the_table_is_readable(sent, tmp_path):
    code, out, err = ckpt("mirror", "status", tmp_path / "run")
    header, row = out.splitlines()
    assert (code, err) == (0, "") and header.split()[:3] == ["mirror", "records", "size"]
    assert f"{tmp_path}/mirror" in row and "1 (100 bytes)" in row and "just now" in row and " writes, " in row


def test_money_comes_from_an_editable_file(sent, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "currency: EUR\nprices:\n  file: {gb_month: 1000000, egress_gb: 2000000, date: 2026-01, source: my contract}\n"
        "  file:///elsewhere: {gb_month: 1}\n"
    )
    _, (found,) = status(sent, "--prices", prices)
    assert found["monthly"] == pytest.approx(0.2) and found["restore"] == pytest.approx(0.4)
    assert (found["currency"], found["price"]) == ("EUR", "2026-01, my contract")
    out = ckpt("mirror", "status", tmp_path / "run", "--prices", prices)[1]
    assert "0.2 EUR" in out and "0.4 EUR" in out and "my contract" in out


@pytest.mark.parametrize(("text", "message"), [
    ("currency: EUR\n", "holds no prices; expected"),
    ("prices: {s3: 3}\n", "prices.yaml: s3: got 3; expected a mapping of gb_month"),
    ("prices: {s3: {gb_month: dear}}\n", "prices.yaml: s3.gb_month: got 'dear'; expected a number of at least 0"),
    ("prices: {s3: {gb_months: 1}}\n", "prices.yaml: s3.gb_months: is not known; expected one of gb_month"),
    ("prices: {s3: {gb_month: .nan}}\n", "expected a number of at least 0"),
])  # fmt: skip
def test_a_wrong_price_file_gets_one_line(run, tmp_path, text, message):
    (tmp_path / "prices.yaml").write_text(text)
    code, out, err = ckpt("mirror", "status", tmp_path / "run", "--prices", tmp_path / "prices.yaml")
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_the_prices_of_the_package_have_a_date_and_a_source():
    prices = Prices()
    for url in ("s3://bucket/run", "gs://bucket/run", "az://container/run", "hf://buckets/me/run"):
        price = prices.of(url)
        assert price.gb_month > 0 and price.date and price.source.startswith("https://")
    assert prices.of("/nfs/run") is None and prices.of("sftp://host/run") is None


def test_the_longest_beginning_of_a_url_decides(tmp_path):
    (tmp_path / "prices.yaml").write_text("prices: {s3: {gb_month: 1}, 's3://mine/': {gb_month: 2}}")
    prices = Prices(tmp_path / "prices.yaml")
    assert [prices.of(url).gb_month for url in ("s3://other/run", "s3://mine/run")] == [1, 2]


def test_costs_add_up():
    price = Price(gb_month=0.02, writes=0.005, reads=0.0004, egress_gb=0.1)
    assert price.storage(50 * 10**9) == pytest.approx(1.0) and price.download(10**9) == pytest.approx(0.1)
    assert price.requests(10_000, 50_000, 30.4375 * 86400) == pytest.approx(0.05 + 0.02)
    assert price.requests(10, 0, 1) == price.requests(10, 0, 86400)


def test_a_mirror_that_cannot_be_read_is_named_and_the_others_are_shown(sent, tmp_path):
    Notes(sent.manifest.layout.private, "gopher://host/run").note_status(time=1.0)
    Notes(sent.manifest.layout.private, str(tmp_path / "no" / "disk")).note_status(time=1.0)
    code, found = status(sent)
    assert code == 1 and len(found) == 3 and found[0]["is_read"]
    errors = " ".join(one["error"] for one in found)
    assert "gopher:// is not a kind of mirror" in errors and "there is no folder" in errors


def test_the_last_failure_is_shown(sent, tmp_path):
    Notes(sent.manifest.layout.private, str(tmp_path / "mirror")).note_status(error="the disk was full")
    code, (found,) = status(sent)
    assert (code, found["error"]) == (1, "the disk was full")


def test_a_run_without_mirrors_says_so(tmp_path):
    run = RecordedRun(tmp_path / "run")
    run.save()
    code, out, _ = ckpt("mirror", "status", tmp_path / "run")
    assert code == 0 and out == (
        f"{tmp_path}/run: has no mirror; `ckpt push {tmp_path}/run URL` sends its checkpoints to one\n"
    )


def test_it_fits_a_terminal(sent, tmp_path):
    code, drawn = on_terminal(80, "mirror", "status", tmp_path / "run")
    assert code == 0 and "mirror" in drawn


@pytest.mark.parametrize("command", ["status", "check"])
def test_a_mirror_that_the_run_has_no_longer_is_no_failure(sent, tmp_path, command):
    sent.facts = {**sent.facts, "mirrors": [str(tmp_path / "other")]}
    sent.begin(parent=4)
    assert ckpt("push", tmp_path / "run", tmp_path / "other")[0] == 0
    (tmp_path / "mirror").rename(tmp_path / "away")
    (tmp_path / "mirror").write_text("its folder is gone")
    code, out, err = ckpt("mirror", command, tmp_path / "run")
    assert code == 0, out + err
    if command == "status":
        assert [one["is_former"] for one in status(sent)[1]] == [False, True] and "former mirror" in out
    else:
        assert "it was a mirror of an earlier start, and is none any more" in err and len(err.splitlines()) == 1


def test_a_mirror_of_weights_has_a_newest_step_and_no_size_that_is_not_known(tmp_path):
    rules = [{"url": str(tmp_path / "mirror"), "contents": "weights"}]
    run = RecordedRun(tmp_path / "run", mirrors=[rules[0]["url"]], mirror_rules=rules)
    run.save(resumable=False, contents="weights")
    run.mirror(FolderStore(str(tmp_path / "mirror")))._synchronise()
    run.save(0.5)
    (found,) = status(run)[1]
    assert (found["newest_step"], found["resume_step"], found["is_reduced"]) == (1, None, True)
    out = ckpt("mirror", "status", tmp_path / "run")[1]
    assert "1 (weights alone)" in out and "1 (at most 100 bytes)" in out
    out = ckpt("sync", tmp_path / "run", tmp_path / "mirror")[1]
    assert f"2.ckpt: would be sent to {tmp_path}/mirror (weights of 100 bytes)" in out


def test_the_newest_step_may_be_another_than_that_to_resume_from(tmp_path):
    run = RecordedRun(tmp_path / "run", mirrors=[str(tmp_path / "mirror")], losses=(1.0,))
    run.save(resumable=False)
    run.mirror(FolderStore(str(tmp_path / "mirror")))._synchronise()
    assert "2 (to resume: 1)" in ckpt("mirror", "status", tmp_path / "run")[1]
