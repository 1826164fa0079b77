"""Mirrors: what a user may say about a place elsewhere, and what no text of one ever shows."""

import copy
import dataclasses
import pickle
from collections import UserList
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckpt_callbacks import Contents, Every, Improves, KeepBest, KeepLast, Metric, Mirror, Policy, PolicyError
from ckpt_callbacks.policy.mirror import as_mirrors, check_ranking
from ckpt_callbacks.settings import Settings

CANARY = "canary-4711"


@pytest.fixture(autouse=True, scope="module")
def environment(tmp_path_factory):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("JOB", "7")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOTHING", raising=False)
    yield
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("s3://bucket/run", "s3://bucket/run"),
        ("s3://bucket/run/", "s3://bucket/run"),
        (Path("s3://bucket/run"), "s3://bucket/run"),
        ("s3://bucket/$JOB", "s3://bucket/7"),
        ("s3://arn:aws:s3:eu-1:12:accesspoint/ada", "s3://arn:aws:s3:eu-1:12:accesspoint/ada"),
        ("hf://buckets/ada/runs", "hf://buckets/ada/runs"),
        ("rclone:dropbox:runs/a", "rclone:dropbox:runs/a"),
        ("rclone:box,user=ada:runs", "rclone:box,user=ada:runs"),
        ("sftp://ada@host:22/runs/a@b", "sftp://ada@host:22/runs/a@b"),
        ("sftp://host:22/a@b", "sftp://host:22/a@b"),
        ("file:///nfs/run", "file:///nfs/run"),
        (Path("file:///nfs/run"), "file:///nfs/run"),
        ("file:///nfs/what?", "file:///nfs/what?"),
        ("/nfs/run/", "/nfs/run"),
        ("/nfs/what?/a:b@c", "/nfs/what?/a:b@c"),
        (Path("/nfs/run"), "/nfs/run"),
        ("~/runs", "/home/ada/runs"),
        ("${JOB}/a", "{cwd}/7/a"),
        ("runs/a", "{cwd}/runs/a"),
    ],
)
def test_a_place_is_a_url_or_an_absolute_path(written, address):
    assert Mirror(written).url == address.format(cwd=Path.cwd())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"s3://ada:{CANARY}@bucket/run", "s3://***@bucket/run"),
        (f"s3://:{CANARY}@bucket/run", "s3://***@bucket/run"),
        (f"sftp://ada:{CANARY}@host:22/run", "sftp://***@host:22/run"),
        (f"sftp://ada:{CANARY}/b@host/run", "sftp://***@host/run"),
        (f"webdavs://ada:{CANARY}@host", "webdavs://***@host"),
        (f"file://ada:{CANARY}@host/nfs", "file://***@host/nfs"),
        (f"az://container/run?sv=1&sig={CANARY}", "az://container/run?***"),
        (f"rclone:box,user=ada,pass={CANARY}:runs", "rclone:box,user=ada,pass=***:runs"),
        (f"rclone:box,client_secret={CANARY}:runs", "rclone:box,client_secret=***:runs"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_shown(url, shown):
    with pytest.raises(PolicyError) as caught:
        Mirror(url)
    assert str(caught.value) == (
        f"Mirror: url is {shown!r}, which holds a password, a key or a query; expected a URL without it, and the "
        "secret in storage_options or where the store's own client looks for it, such as its environment variables"
    )


def test_a_secret_that_a_variable_brings_into_a_url_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv("KEY", f"ada:{CANARY}")
    with pytest.raises(PolicyError, match="which holds a password") as caught:
        Mirror("s3://$KEY@bucket")
    assert CANARY not in str(caught.value)


EXPECTED = "expected a URL or a path, such as 's3://bucket/run' or '/nfs/run'"
FORMS = f"{EXPECTED}, a Mirror, a mapping of its arguments, or a list of these"
OPTION = "expected text, a finite number, true, false, or a list or mapping of these"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", f"mirrors: url is ''; {EXPECTED}"),
        ("  ", f"mirrors: url is '  '; {EXPECTED}"),
        (" s3://b", f"mirrors: url is ' s3://b', with spaces around it; {EXPECTED}"),
        ("s3://b/$NOTHING", "mirrors: url is 's3://b/$NOTHING', and $NOTHING is not set; expected an environment "
         "variable with a value"),
        ("$EMPTY/a", "mirrors: url is '$EMPTY/a', and $EMPTY is not set; expected an environment variable with a "
         "value"),
        ("~nobody-at-all/a", "mirrors: url is '~nobody-at-all/a', which names the home directory of an unknown user; "
         "expected a path"),
        (3, f"mirrors is 3; {FORMS}"),
        (b"s3://b", f"mirrors is of the type bytes; {FORMS}"),
        ({"s3://b"}, f"mirrors is of the type set; {FORMS}"),
        ([None], f"mirrors[0] is None; {FORMS}"),
        (["/a", ["/b"]], f"mirrors[1] is of the type list; {FORMS}"),
        ({1: "a"}, f"mirrors is of the type dict; {FORMS}"),
        ({}, f"mirrors: url is missing; {EXPECTED}"),
        ({"every": "1 h"}, f"mirrors: url is missing; {EXPECTED}"),
        ({"url": 3}, f"mirrors: url is 3; {EXPECTED}"),
        ({"ulr": "/a"}, "mirrors: got an unknown argument 'ulr'; did you mean 'url'?"),
        (["/a", {"url": "/b", "evry": 3}], "mirrors[1]: got an unknown argument 'evry'; did you mean 'every'?"),
        ({"url": "/a", "every": -1}, "mirrors: every is -1; expected a duration of at least 0: seconds, or text such "
         "as 30 s, 10 min, 1.5 h or 2 d"),
        ({"url": "/a", "every": True}, "mirrors: every is True; expected a duration of at least 0: seconds, or text "
         "such as 30 s, 10 min, 1.5 h or 2 d"),
        ({"url": "/a", "max_upload_rate": 0}, "mirrors: max_upload_rate is 0; expected a rate above 0: whole bytes per "
         "second, or text such as 500 kB or 10 MB/s"),
        ({"url": "/a", "contents": "wieghts"}, "mirrors: contents is 'wieghts'; expected one of full, weights, or a "
         "Contents, such as Contents(kind='weights', dtype='bf16'); did you mean 'weights'?"),
        ({"url": "/a", "keep": 3}, "mirrors: keep is 3; expected a retention rule, such as KeepLast(1), or a list of "
         "rules"),
        ({"url": "/a", "keep": []}, "mirrors: keep is [], which would delete every checkpoint there; expected a "
         "retention rule, such as KeepLast(1), or a list of rules"),
        ({"url": "/a", "keep": [Every(epochs=1)]}, "mirrors: keep is [Every(epochs=1)]; expected a retention rule, "
         "such as KeepLast(1), or a list of rules"),
        ({"url": "/a", "storage_options": CANARY}, "mirrors: storage_options is of the type str; expected a mapping "
         "of names to values"),
        ({"url": "/a", "storage_options": {1: CANARY}}, "mirrors: storage_options has a name that is no text; expected "
         "a mapping of names to values"),
        ({"url": "/a", "storage_options": {"key": CANARY.encode()}}, f"mirrors: storage_options: key is of the type "
         f"bytes; {OPTION}"),
        ({"url": "/a", "storage_options": {"client": {"proxies": [CANARY, float("inf")]}}}, "mirrors: storage_options: "
         f"client.proxies is of the type float; {OPTION}"),
        (["s3://b/a", "/x", "s3://b/a/"], "mirrors: 's3://b/a' is there twice; expected each place once"),
        (["/x", Mirror("file:///x")], "mirrors: 'file:///x' is there twice; expected each place once"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_that_says_what_was_expected(given, message):
    with pytest.raises(PolicyError) as caught:
        as_mirrors("KerasCheckpoint", given)
    assert str(caught.value) == f"KerasCheckpoint: {message}"


KEYS = st.sampled_from([one.name for one in dataclasses.fields(Mirror)]) | st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary() | st.dates()
ANYTHING = st.recursive(
    SCALARS | st.sampled_from(["s3://b", "/a", "rclone:b:c", "10 min", "weights", "$HOME", "~", "a\nb:"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS | SCALARS, part, max_size=4),
    max_leaves=9,
)


@given(ANYTHING | st.dictionaries(KEYS, ANYTHING) | st.fixed_dictionaries({"url": st.just("/a")}, optional={
    name: ANYTHING for name in ("keep", "contents", "every", "max_upload_rate", "storage_options")
}))  # fmt: skip
def test_anything_is_taken_or_refused_in_one_line(value):
    try:
        mirrors = as_mirrors("test", value)
    except PolicyError as error:
        assert str(error).startswith("test: mirrors") and len(str(error).splitlines()) == 1
    else:
        assert as_mirrors("test", mirrors) == mirrors and len(f"{mirrors}".splitlines()) == 1


@given(st.text(alphabet="a/:@.,%1", max_size=9), st.text(alphabet="b/:@.,%1", max_size=9))
def test_no_password_of_a_url_is_shown_wherever_its_parts_end(before, after):
    url = f"s3://ada:{before}{CANARY}{after}@bucket/run"
    with pytest.raises(PolicyError) as caught:
        Mirror(url)
    assert CANARY not in str(caught.value)


def test_several_forms_of_one_mirror_are_equal():
    mirror = Mirror(
        "/nfs/run", keep=KeepLast(1) | KeepBest(1, by="val_loss"), contents="weights", every="10 min",
        max_upload_rate="10 MB/s", storage_options={"auto_mkdir": True, "hosts": ("a", "b")},
    )  # fmt: skip
    as_mapping = {
        "url": Path("/nfs/run/"), "keep": [KeepLast(1), KeepBest(1, by="val_loss")], "contents": {"kind": "weights"},
        "every": 600, "max_upload_rate": 10**7, "storage_options": {"auto_mkdir": True, "hosts": ["a", "b"]},
    }  # fmt: skip
    for form in (mirror, [mirror], (mirror,), UserList([mirror]), as_mapping, [as_mapping]):
        assert as_mirrors("test", form) == (mirror,)
    assert hash(mirror) == hash(Mirror(**as_mapping))
    assert (mirror.every, mirror.max_upload_rate, mirror.contents) == (600.0, 10**7, Contents("weights"))
    assert mirror.keep == KeepLast(1) | KeepBest(1, by="val_loss")
    assert pickle.loads(pickle.dumps(mirror)) == copy.deepcopy(mirror) == dataclasses.replace(mirror) == mirror
    assert dataclasses.replace(mirror, storage_options={}) != mirror


def test_a_mirror_alone_receives_all_files_as_they_are_at_once():
    (mirror,) = as_mirrors("test", "s3://bucket/run")
    assert (mirror.keep, mirror.contents, mirror.every, mirror.max_upload_rate, mirror.storage_options) == (
        None,
        None,
        0.0,
        None,
        {},
    )
    assert as_mirrors("test", None) == as_mirrors("test", []) == ()


def test_no_text_of_a_mirror_shows_what_the_options_hold():
    options = {"secret_access_key": CANARY, "client": {"headers": [CANARY]}, "retries": 3}
    mirror = Mirror("s3://bucket/run", every=60, storage_options=options)
    assert repr(mirror) == (
        "Mirror('s3://bucket/run', every=60.0, "
        "storage_options={'secret_access_key': '***', 'client': '***', 'retries': '***'})"
    )
    assert str(mirror) == repr(mirror)
    assert f"{Settings(mirrors=(mirror,))}".count("***") == 3
    assert mirror.storage_options == options


def test_what_was_given_may_change_later():
    options = {"client": {"hosts": ["a"]}}
    mirror = Mirror("s3://bucket/run", storage_options=options)
    options["client"]["hosts"].append("b")
    assert mirror.storage_options == {"client": {"hosts": ["a"]}}


VAL = Metric("val_loss", mode="min")


@pytest.mark.parametrize("by", [VAL, dataclasses.replace(VAL, min_delta=0.1)])
def test_a_mirror_may_rank_by_what_a_rule_of_the_policy_reads(by):
    check_ranking("test", as_mirrors("test", {"url": "/a", "keep": KeepBest(by=by)}), Policy(Improves(VAL)))


def test_a_mirror_that_ranks_by_another_metric_is_refused():
    mirrors = as_mirrors("test", ["/a", {"url": "/b", "keep": KeepLast(1) | KeepBest(by="val_lss_x/loss")}])
    with pytest.raises(PolicyError) as caught:
        check_ranking("KerasCheckpoint", mirrors, Policy(Improves(VAL)))
    assert str(caught.value).startswith(
        "KerasCheckpoint: mirrors[1]: keep ranks by 'val_lss_x/loss', which no rule of the policy reads; expected one "
        "of val_loss, or the metric in the policy as well, as best_by or in its keep"
    )


@pytest.mark.parametrize("given", ["s3://b", ["s3://b"], ("s3://b",), [{"url": "s3://b"}], None, (None,)])
def test_settings_take_mirrors_alone_and_show_nothing_else(given):
    with pytest.raises(PolicyError) as caught:
        Settings(mirrors=given)
    assert str(caught.value) == (
        "Settings: mirrors are no Mirror values; expected a tuple, such as (Mirror('s3://bucket/run'),)"
    )
