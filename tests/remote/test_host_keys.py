"""The key of an SFTP server, which must be known."""

import contextlib
import socket
import threading

import pytest

paramiko = pytest.importorskip("paramiko")

from ckpt_callbacks.errors import MirrorError, MirrorUnreachable  # noqa: E402
from ckpt_callbacks.remote.url import open_store  # noqa: E402

CANARY = "canary-p@ss"


class Anybody(paramiko.ServerInterface):
    """A server that lets everybody in."""

    def check_auth_password(self, username, password):
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username):
        return "password"

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class Empty(paramiko.SFTPServerInterface):
    """A server without files."""

    def lstat(self, path):
        return paramiko.SFTP_NO_SUCH_FILE


@pytest.fixture
def server():
    """The port and the key of a server that runs in this process."""
    key, transports = paramiko.ECDSAKey.generate(), []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            with contextlib.suppress(OSError):  # it was closed
                while True:
                    transport = paramiko.Transport(listening.accept()[0])
                    transports.append(transport)
                    transport.add_server_key(key)
                    transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Empty)
                    transport.start_server(threading.Event(), Anybody())  # without waiting: the client may refuse it

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1], key
        listening.shutdown(socket.SHUT_RDWR)
    for transport in transports:
        transport.close()


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ssh"


def known(port, key):
    return f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"


def look(port, **options):
    """Ask the server for an object, which it has not."""
    alone = {"allow_agent": False, "look_for_keys": False, "password": CANARY}
    return open_store(f"sftp://me@127.0.0.1:{port}/run", {**alone, **options}).stat("a")


def refusal(port, **options):
    with pytest.raises(MirrorError) as found:
        look(port, **options)
    assert not isinstance(found.value, MirrorUnreachable) and "canary" not in str(found.value)
    assert "\n" not in str(found.value) and str(found.value).startswith(f"sftp://127.0.0.1:{port}/run")
    return str(found.value)


def test_an_unknown_server_is_refused_in_one_line(server, home):
    port, key = server
    line = refusal(port)
    assert f"known_hosts does not name [127.0.0.1]:{port}, whose key is {key.get_name()} SHA256:" in line
    assert "log in once with ssh, or pass known_hosts or accept_unknown_host in storage_options" in line
    assert not (home / "known_hosts").exists()


def test_a_server_that_the_user_knows_is_accepted(server, home):
    port, key = server
    (home / "known_hosts").write_text(known(port, key))
    assert look(port) is None


def test_a_file_of_the_options_counts_instead(server, home, tmp_path):
    port, key = server
    (tmp_path / "known").write_text(known(port, key))
    assert look(port, known_hosts=str(tmp_path / "known")) is None
    assert look(port, known_hosts="~/known") is None
    (home / "known_hosts").write_text(known(port, key))
    (tmp_path / "known").write_text("")
    assert "does not name" in refusal(port, known_hosts=str(tmp_path / "known"))
    assert "known_hosts: /no/file cannot be read" in refusal(port, known_hosts="/no/file")


def test_another_key_than_the_known_one_is_never_accepted(server, home):
    port, _ = server
    (home / "known_hosts").write_text(known(port, paramiko.ECDSAKey.generate()))
    for options in ({}, {"accept_unknown_host": True}):
        assert "has another key than known_hosts says" in refusal(port, **options)


def test_any_server_is_accepted_on_demand(server, home):
    port, _ = server
    assert look(port, accept_unknown_host=True) is None
    (home / "config").write_text("Host 127.0.0.1\n  StrictHostKeyChecking no\n")
    assert look(port) is None
    assert "does not name" in refusal(port, accept_unknown_host=False)
    assert "accept_unknown_host is of the type str; expected true or false" in refusal(port, accept_unknown_host="yes")


def test_the_settings_of_ssh_name_the_files(server, home, tmp_path):
    port, key = server
    (tmp_path / "known").write_text(known(port, key))
    (home / "config").write_text(f"Host 127.0.0.1\n  UserKnownHostsFile {tmp_path}/none {tmp_path}/known\n")
    assert look(port) is None
