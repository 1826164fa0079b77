"""Secrets that are wrong, or come another way: none of them is in a line, a traceback or a file.

`no_secret_is_left` in ``conftest.py`` looks into the files of all tests of mirrors.
"""

import dataclasses
import logging
import traceback

import pytest

from ckpt_callbacks.errors import MirrorError
from ckpt_callbacks.remote.url import open_store
from tests.system.mirrors.canary import WORD, traces
from tests.system.mirrors.uploads import Uploads, warnings

pytestmark = pytest.mark.mirrors
WRONG = {
    "s3": {"secret_access_key": "canary-wrong-secret"},
    "azure": {"account_key": "Y2FuYXJ5LXdyb25nLWtleQ=="},
    "sftp": {"password": "canary-wrong-password", "look_for_keys": False, "allow_agent": False},
    "webdav": {"password": "canary-wrong-password"},
    "hub-buckets": {"token": "hf_canaryWrongToken"},
    "hub-models": {"token": "hf_canaryWrongToken"},
}


@pytest.mark.parametrize("place", WRONG, indirect=True)
def test_a_wrong_secret_gets_one_line_without_it(place, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "ckpt_callbacks")
    kept = {} if "look_for_keys" in WRONG[place.name] else place.options
    wrong = dataclasses.replace(place, options={**kept, **WRONG[place.name]})
    uploads = Uploads(place, wrong, tmp_path / "run")
    uploads.run.save()
    uploads.begin()
    uploads.mirror.finish(60)
    (line,) = warnings(caplog)
    assert "\n" not in line and WORD not in line.lower() and WORD not in caplog.text.lower()
    with pytest.raises(MirrorError) as caught:
        open_store(wrong.url, wrong.options).stat("mirror/catalog.json")
    assert WORD not in "".join(traceback.format_exception(caught.value)).lower()
    assert WORD not in repr(caught.value).lower()
    assert not list(traces(tmp_path / "run"))


VARIABLES = {
    "s3": {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"},
    "azure": {"account_name": "AZURE_STORAGE_ACCOUNT_NAME", "account_key": "AZURE_STORAGE_ACCOUNT_KEY"},
    "hub-buckets": {"token": "HF_TOKEN"},
}


@pytest.mark.parametrize("place", VARIABLES, indirect=True)
def test_secrets_of_the_environment_are_used_and_not_left_anywhere(place, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "ckpt_callbacks")
    options = dict(place.options)
    for option, variable in VARIABLES[place.name].items():
        monkeypatch.setenv(variable, options.pop(option))
    uploads = Uploads(place, dataclasses.replace(place, options=options), tmp_path / "run")
    uploads.run.save()
    uploads.begin()
    uploads.complete()
    assert WORD not in caplog.text.lower() and not list(traces(tmp_path / "run"))


def test_the_search_finds_what_it_looks_for(tmp_path):
    (tmp_path / "log.txt").write_text("the key is canary-key")
    (tmp_path / "state.json").write_text('{"uri": "http://host/o?uploadType=resumable&upload_id=1"}')
    notes = tmp_path / "mirrors" / "1.json"
    notes.parent.mkdir()
    notes.write_text((tmp_path / "state.json").read_text())
    notes.chmod(0o600)
    found = [line.partition(": ")[0] for line in traces(tmp_path)]
    (tmp_path / "log.txt").unlink()
    (tmp_path / "state.json").unlink()
    assert found == [str(tmp_path / "log.txt"), str(tmp_path / "state.json")]
