"""Run directories as people write them."""

import os
from pathlib import Path

import pytest

from ckpt_callbacks import ConfigError, OnPreempt, Policy, PolicyError
from ckpt_callbacks.config import Config
from ckpt_callbacks.config.arguments import build_config

SAVE = {"save": "on_preempt"}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOB", "7")
    monkeypatch.delenv("NOTHING", raising=False)


@pytest.mark.parametrize("wrap", [str, Path])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~/runs", "{home}/runs"),
        ("~", "{home}"),
        ("$HOME/runs", "{home}/runs"),
        ("runs/$JOB", "runs/7"),
        ("runs/${JOB}-a", "runs/7-a"),
        ("runs/a~b", "runs/a~b"),
        ("runs/100%", "runs/100%"),
        ("/runs/a", "/runs/a"),
    ],
)
def test_a_home_directory_and_variables_are_expanded(tmp_path, path, expected, wrap):
    expected = expected.format(home=tmp_path)
    assert build_config("KerasCheckpoint", wrap(path), Policy(OnPreempt())).settings.dirpath == expected
    assert build_config("KerasCheckpoint", None, {**SAVE, "dirpath": path}).settings.dirpath == expected


def test_a_variable_that_is_not_set_is_an_error_in_a_file_and_stays_in_python():
    assert build_config("KerasCheckpoint", "runs/$NOTHING", SAVE).settings.dirpath == "runs/$NOTHING"
    for path, name in (("runs/$NOTHING", "$NOTHING"), ("${NOTHING}/a", "${NOTHING}")):
        with pytest.raises(PolicyError) as caught:
            build_config("KerasCheckpoint", None, {**SAVE, "dirpath": path})
        assert str(caught.value) == (
            f"KerasCheckpoint: dirpath is {path!r}, and {name} is not set; expected an environment variable that is set"
        )


@pytest.mark.parametrize("given", ["s3://bucket/a", "gs://bucket/a", "file:///runs/a", "hdfs+x://a", Path("s3://b/a")])
def test_a_url_is_refused_and_never_a_local_folder(given):
    for dirpath, policy in ((given, SAVE), (None, {**SAVE, "dirpath": str(given)})):
        with pytest.raises(PolicyError, match=r"^LightningCheckpoint: dirpath is '.*', a URL; expected a local path"):
            build_config("LightningCheckpoint", dirpath, policy)


def test_the_home_directory_of_an_unknown_user_is_one_clear_line():
    with pytest.raises(PolicyError, match=r"^KerasCheckpoint: dirpath is '~nobody-here/a', which names the home"):
        build_config("KerasCheckpoint", "~nobody-here/a", SAVE)


def test_the_path_of_the_file_may_begin_at_home(tmp_path):
    (tmp_path / "policy.yaml").write_text("save: on_preempt\ndirpath: ~/runs\n")
    assert build_config("KerasCheckpoint", None, "~/policy.yaml").settings.dirpath == os.fspath(tmp_path / "runs")
    assert Config.from_yaml("~/policy.yaml").settings.dirpath == "~/runs", "written back as it was read"
    for missing in ("~/no.yaml", "~nobody-here/policy.yaml"):
        with pytest.raises(ConfigError, match=f"^{missing}: cannot be read"):
            Config.from_yaml(missing)
