"""The mirrors that a start of training records, for commands."""

import pytest

from ckpt_callbacks import Every, KeepBest, KeepLast, Metric, Mirror, Policy
from ckpt_callbacks.cli.wishes import with_rules
from ckpt_callbacks.config import Config
from ckpt_callbacks.mirrors.recorded import described, recorded_mirrors, recorded_urls
from ckpt_callbacks.policy.retention import Retention
from ckpt_callbacks.record import Attempt
from ckpt_callbacks.store.manifest import Manifest
from tests.support.training import StartedRun, new_run

LOSS = Metric("loss", mode="min")
POLICY = Policy(save=Every(epochs=1), keep=KeepLast(2) | KeepBest(1, by=LOSS))
SECRET = "canary-7b2f"


def start(number=1, **facts):
    return Attempt("run", number, None, 0.0, facts)


def test_a_run_records_the_urls_and_the_rules(tmp_path):
    rules = KeepLast(1) | KeepBest(2, by=LOSS)
    mirrors = (Mirror(tmp_path / "a"), Mirror(tmp_path / "b", keep=rules, contents="weights", every="10 min"))
    run = new_run(tmp_path / "run", POLICY, mirrors=mirrors, described=Config(POLICY).described)
    with StartedRun(run):
        pass
    attempts = Manifest.read(tmp_path / "run").attempts
    assert recorded_mirrors(attempts) == mirrors
    assert recorded_urls(attempts) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_options_are_not_recorded():
    mirror = Mirror("s3://bucket/run", keep=KeepLast(3), storage_options={"secret_access_key": SECRET})
    rules = described((mirror,), POLICY)
    assert SECRET not in repr(rules) and "storage_options" not in repr(rules)
    (found,) = recorded_mirrors([start(mirrors=[mirror.url], mirror_rules=rules, policy=Config(POLICY).described)])
    assert (found.url, found.keep, found.storage_options) == (mirror.url, KeepLast(3), {})


def test_a_user_who_may_be_a_token_is_not_recorded():
    urls = [f"webdavs://{SECRET}@host/run", "sftp://me@host/run", "/nfs/me@home", "rclone:a:b@c"]
    rules = described(tuple(map(Mirror, urls)), POLICY)
    assert rules == ["webdavs://host/run", *urls[1:]]


@pytest.mark.parametrize(
    ("recorded", "given"),
    [
        (f"webdavs://{SECRET}@host/run", f"webdavs://{SECRET}@host/run"),
        ("webdavs://host/run", "webdavs://other@host/run/"),
        ("sftp://me@host/run", "sftp://me@host/run"),
        ("/nfs/a", "file:///nfs/a/"),
    ],
)
def test_a_mirror_that_a_command_names_has_its_rules_whatever_its_spelling(recorded, given):
    """Otherwise, those of the policy would delete there what its own rules keep."""
    rules = described((Mirror(recorded, keep=KeepLast(7)),), POLICY)
    known = recorded_mirrors([start(mirrors=[recorded], mirror_rules=rules, policy=Config(POLICY).described)])
    found = with_rules(Mirror(given), known)
    assert (found.url, found.keep) == (Mirror(given).url, KeepLast(7))


class KeepEven(Retention):
    """A rule of a user."""

    def kept(self, records):
        return ((record, "even") for record in records if record.id % 2 == 0)


def test_a_rule_without_a_form_in_yaml_leaves_the_urls():
    assert described((Mirror("/nfs/a", keep=KeepEven()),), POLICY) is None
    (found,) = recorded_mirrors([start(mirrors=["/nfs/a"], mirror_rules=None)])
    assert (found.url, found.keep) == ("/nfs/a", None)


@pytest.mark.parametrize("rules", [[{"url": "/nfs/a", "keep": [{"newest": 1}]}], ["$NO_SUCH_VARIABLE"], 3, [None]])
def test_rules_of_a_newer_version_leave_the_urls(rules):
    facts = {"mirrors": ["/nfs/a"], "mirror_rules": rules, "policy": Config(POLICY).described}
    (found,) = recorded_mirrors([start(**facts)])
    assert (found.url, found.keep) == ("/nfs/a", None)


def test_the_newest_start_counts_and_the_urls_of_all_are_known():
    attempts = [start(1, mirrors=["/a", "/b"]), start(2, mirrors=["/b", "/c"]), start(3)]
    assert recorded_mirrors(attempts) == () and recorded_mirrors([]) == ()
    assert recorded_urls(attempts) == ["/b", "/c", "/a"]
