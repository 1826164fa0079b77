"""Control characters in names of directories, files, metrics and tags, which no command prints as they are."""

import pytest

from ckpt_callbacks.errors import printable
from ckpt_callbacks.store.manifest import Manifest
from tests.cli.command_line import ckpt, on_terminal, train, without_colours

NAMES = ["\x1b[31mred", "a\x9bb", "two\nlines", "re\u202everse", "\x07bell\x7f"]
EACH = [["ls"], ["ls", "--all"], ["log"], ["verify"], ["show", "last"], ["doctor"], ["doctor", "--dry-run"], ["save"],
        ["pin", "last"], ["unpin", "last"], ["tag", "last", "x"], ["untag", "last", "x"], ["untag", "last", "x"],
        ["show", "\x1b[31m"], ["rm", "last"], ["rm", "3"], ["ls", "--config", "\x1b[31m.yaml"]]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_command_escapes_the_name_of_the_directory(tmp_path, name):
    run_dir = tmp_path / name
    train(run_dir)
    for command, *rest in EACH:
        _, out, err = ckpt(command, run_dir, *rest)
        assert out + err
        for line in (out + err).split("\n"):
            assert line == printable(line), (command, rest)
        if str(tmp_path) in out + err:
            assert printable(str(run_dir)) in out + err, (command, rest)
    for command in ("ls", "verify", "nothing\x1b[31m"):
        _, out, err = ckpt(command, tmp_path / "mis\x1b[31msing", "ex\x1b[31mtra")
        assert "\x1b" not in out + err


def test_other_texts_of_a_record_are_escaped(run_dir):
    text = "\x1b]0;title\x07\n"
    Manifest.read(run_dir).change(
        4, metrics={text: 1.0}, reasons=(text,), tags=(text,), error=text, metadata={text: [text, {text: text}]}
    )
    for command in ("ls", "log", "show"):
        _, out, _ = ckpt(command, run_dir, *(["4"] if command == "show" else []))
        assert "\x1b" not in out and "\x07" not in out and "\\x1b]0;title\\x07\\n" in out
    drawn = on_terminal(200, "ls", run_dir)[1]
    assert "\x1b]0;" not in drawn and "\x07" not in drawn
    assert any("\\x1b]0;title" in line for line in without_colours(drawn))


def test_names_in_any_script_are_left_as_they_are():
    for name in ("größe", "模型", "نموذج", "📦", "a b", b"caf\xe9".decode("utf-8", "surrogateescape")):
        assert printable(name) == name
