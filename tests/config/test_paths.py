"""Run directories as people write them."""

import os
from pathlib import Path

import pytest

from ckpt_callbacks import ConfigError, Mirror, OnPreempt, Policy, PolicyError, open_run
from ckpt_callbacks.config import Config
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.config.resume import split_resume
from tests.support.command import ckpt
from tests.support.training import new_run

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


@pytest.mark.parametrize("given", ["file:///runs/a", "hdfs+x://a", Path("http://b/a")])
def test_a_url_of_no_store_is_refused_and_never_a_local_folder(given):
    for dirpath, policy in ((given, SAVE), (None, {**SAVE, "dirpath": str(given)})):
        with pytest.raises(PolicyError, match=r"^LightningCheckpoint: dirpath is '.*', a URL; expected a local path"):
            build_config("LightningCheckpoint", dirpath, policy)


@pytest.mark.parametrize("given", ["ftp://me:canary@host/a", "s3a://key:ca/n@ary@host/a", Path("smb://x:canary@h/a")])
def test_a_url_is_refused_without_its_password(given):
    with pytest.raises(PolicyError, match=r"a URL; expected a local path") as caught:
        build_config("KerasCheckpoint", given, SAVE)
    assert "canary" not in str(caught.value) and "ca/n" not in str(caught.value) and "***@" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a", "s3://bucket/a"),
        ("gs://bucket/runs/$JOB", "gs://bucket/runs/7"),
        (Path("s3://b/a"), "s3://b/a"),
        ("hf://buckets/me/a", "hf://buckets/me/a"),
        ("rclone:drive:a", "rclone:drive:a"),
    ],
)
def test_a_run_directory_elsewhere_is_written_in_the_cache_and_mirrored(given, url, tmp_path, monkeypatch):
    monkeypatch.setenv("CKPT_CALLBACKS_CACHE", str(tmp_path / "cache"))
    for dirpath, policy in ((given, SAVE), (None, {**SAVE, "dirpath": str(given)})):
        settings = build_config("KerasCheckpoint", dirpath, policy).settings
        assert Path(settings.dirpath).parent == tmp_path / "cache" / "runs"
        assert [mirror.url for mirror in settings.mirrors] == [url]


def test_a_run_directory_elsewhere_may_have_options_and_further_mirrors(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mirrors = [str(tmp_path / "disk"), Mirror("s3://bucket/a", storage_options={"region": "eu"})]
    settings = build_config("KerasCheckpoint", "s3://bucket/a/", SAVE, mirrors=mirrors).settings
    assert [mirror.url for mirror in settings.mirrors] == ["s3://bucket/a", str(tmp_path / "disk")]
    assert settings.mirrors[0].storage_options == {"region": "eu"}
    assert Path(settings.dirpath).is_relative_to(tmp_path / "ckpt_callbacks")
    other = build_config("KerasCheckpoint", "s3://bucket/b/a", SAVE).settings
    assert other.dirpath != settings.dirpath


def test_a_run_directory_elsewhere_with_a_password_is_refused():
    with pytest.raises(PolicyError, match=r"^KerasCheckpoint: dirpath: url") as caught:
        build_config("KerasCheckpoint", "sftp://me:canary@host/a", SAVE)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["policy", "resume"])
def test_other_paths_are_local_too(tmp_path, name):
    use = {
        "policy": lambda path: build_config("KerasCheckpoint", "a", path),
        "resume": lambda path: split_resume("KerasCheckpoint", path, "auto"),
    }[name]
    for given in ("s3://bucket/a", Path("gs://bucket/a"), "~nobody-here/a"):
        with pytest.raises(PolicyError, match=f"^KerasCheckpoint: {name} is '.*; expected a"):
            use(given)
    assert split_resume("KerasCheckpoint", "$HOME/runs/$JOB.keras", "auto") == ({}, f"{tmp_path}/runs/7.keras")
    assert split_resume("LightningCheckpoint", {"step": False}, "never") == ({"step": False}, "auto")
    assert split_resume("LightningCheckpoint", None, "never") == ({}, "never")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("yes", ""), ("last", ""), ("runs", ""), ("Auto", "; did you mean 'auto'?"), ("nver", "'never'?")],
)
def test_a_word_that_is_no_file_is_refused_at_once(tmp_path, monkeypatch, word, hint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    expected = f"resume is '{word}'; expected 'auto', 'never' or the path of a checkpoint"
    with pytest.raises(PolicyError, match=expected) as caught:
        split_resume("LightningCheckpoint", word, "never")
    assert str(caught.value).endswith(hint or "a checkpoint")
    (tmp_path / "checkpoint").touch()
    for later in ("checkpoint", "a.ckpt", "./last", "runs/last"):  # the file may be written before `fit`
        assert split_resume("LightningCheckpoint", later, "never")[1].endswith(later.removeprefix("./"))


def test_a_run_of_a_plain_loop_expands_its_directory_itself(tmp_path):
    assert new_run(Path("~/runs/$JOB"), Policy(OnPreempt())).dirpath == tmp_path / "runs" / "7"
    with pytest.raises(PolicyError, match=r"^test: dirpath is 's3:/bucket', a URL"):
        new_run(Path("s3://bucket"), Policy(OnPreempt()))


def test_the_command_expands_what_the_shell_has_not(tmp_path):
    (tmp_path / "7.yaml").write_text("save: on_preempt\n")
    assert ckpt("check", "~/$JOB.yaml").output.startswith(f"{tmp_path}/7.yaml: no mistakes")
    assert f"{tmp_path}/runs: does not exist" in ckpt("ls", "$HOME/runs").output
    for arguments in (["rm", "s3://bucket/runs", "1"], ["show", "file:///runs", "best"], ["check", "gs://a.yaml"]):
        done = ckpt(*arguments)
        assert done.exit_code != 0 and "a URL; expected a local path" in " ".join(done.output.split())


def test_the_home_directory_of_an_unknown_user_is_one_clear_line():
    with pytest.raises(PolicyError, match=r"^KerasCheckpoint: dirpath is '~nobody-here/a', which names the home"):
        build_config("KerasCheckpoint", "~nobody-here/a", SAVE)


def test_the_path_of_the_file_may_begin_at_home(tmp_path):
    (tmp_path / "policy.yaml").write_text("save: on_preempt\ndirpath: ~/runs\n")
    assert build_config("KerasCheckpoint", None, "~/policy.yaml").settings.dirpath == os.fspath(tmp_path / "runs")
    assert Config.from_yaml("~/policy.yaml").settings.dirpath == "~/runs", "written back as it was read"
    assert build_config("KerasCheckpoint", "a", Path("$HOME/policy.yaml")).policy == Policy(OnPreempt())
    for missing in ("~/no.yaml", "~nobody-here/policy.yaml", "s3://bucket/policy.yaml"):
        with pytest.raises(ConfigError, match=f"^{missing}: cannot be read"):
            Config.from_yaml(missing)


@pytest.mark.parametrize("empty", ["", " ", "$NOTHING", "${NOTHING}/", "$NOTHING/runs"])
def test_an_empty_path_is_neither_the_current_folder_nor_the_root(tmp_path, monkeypatch, empty):
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "ckpt.yaml"
    file.write_text(f"save: on_preempt\ndirpath: '{empty}'\n")
    refusals = [
        lambda: build_config("KerasCheckpoint", empty, SAVE),
        lambda: build_config("KerasCheckpoint", None, file),
        lambda: build_config("KerasCheckpoint", "runs", empty),
        lambda: split_resume("KerasCheckpoint", empty, "auto"),
        lambda: Config.from_yaml(empty),
        lambda: open_run(empty),
    ]
    for refused in refusals:
        with pytest.raises((ConfigError, PolicyError)) as caught:
            refused()
        assert repr(empty) in str(caught.value) and "expected" in str(caught.value)
        assert "\n" not in str(caught.value)
    for command in (["ls", empty], ["show", empty, "last"], ["doctor", empty], ["ls", ".", "--config", empty]):
        done = ckpt(*command)
        assert done.exit_code == 2 and done.output.count("\n") == 1 and "empty" in done.output
    assert build_config("KerasCheckpoint", "runs$NOTHING", SAVE).settings.dirpath == "runs"


def test_a_file_with_empty_names_is_wrong():
    for field in ("dirpath", "filename", "resume"):
        with pytest.raises(ConfigError, match=f"{field}: (got|is) ' '; expected"):
            Config.from_mapping({"save": "on_preempt", field: " "})
