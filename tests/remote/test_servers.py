"""Servers that refuse, hang, or are not there, and what the messages about them hide."""

import contextlib
import http.server
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from ckpt_callbacks.errors import MirrorError, MirrorUnreachable
from ckpt_callbacks.remote import sftp_files, webdav_files
from ckpt_callbacks.remote.host_keys import ACCEPT
from ckpt_callbacks.remote.sftp_files import SftpFiles
from ckpt_callbacks.remote.url import open_store
from tests.support.disks import mounted
from tests.support.proxy import Proxy
from tests.support.servers.process import free_port

from .sent_file import PART, SentFile

pytestmark = pytest.mark.mirrors
CANARY = "canary-p@ss/word"
QUOTED = "canary-p%40ss%2Fword"


@pytest.fixture
def sftp(places, tmp_path):
    return places.place("sftp", tmp_path)


@pytest.fixture
def webdav(places, tmp_path):
    return places.place("webdav", tmp_path)


def refused(line, url, **options):
    """Expect a refusal in one line, without the canary."""
    with pytest.raises(MirrorError, match=re.escape(line)) as found:
        open_store(url, options).put("a/b", b"")
    text = str(found.value)
    assert not isinstance(found.value, MirrorUnreachable), text
    assert "\n" not in text and "canary" not in text and "ss/word" not in text
    assert found.value.__suppress_context__ or found.value.__context__ is None


def unreachable(line, url, **options):
    """Expect a failure that may pass, in one line, without the canary."""
    with pytest.raises(MirrorUnreachable, match=re.escape(line)) as found:
        open_store(url, options).put("a/b", b"")
    assert "\n" not in str(found.value) and "canary" not in str(found.value)


def test_sftp_refuses_strangers(sftp, tmp_path):
    alone = {"allow_agent": False, "look_for_keys": False, "known_hosts": sftp.options["known_hosts"]}
    refused("the server refused the log-in", sftp.url, **alone)
    refused("the server refused the log-in", sftp.url, **alone, password=CANARY)
    refused("the server refused the log-in", sftp.url.replace("@", f":{QUOTED}@"), **alone)
    refused("that paramiko's connect knows", sftp.url, **sftp.options, other=CANARY)
    refused("cannot be created", sftp.url.replace(sftp.url[sftp.url.index("/", 8) :], "/proc/none"), **sftp.options)
    (tmp_path / "file").write_bytes(b"")
    refused("file is a file; expected a folder", f"{sftp.url.removesuffix('/elsewhere')}/file", **sftp.options)


class Ending(Proxy):
    """Ends connections instead of resetting them, as a server does that is shut down."""

    def _reset(self, one):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", [Proxy, Ending])
def test_a_connection_that_is_cut_in_the_log_in_is_no_refusal(sftp, kind):
    port = int(re.search(r":(\d+)/", sftp.url)[1])
    with kind(port) as proxy:
        for sent in range(100, 8000, 100):  # bytes to the server; the last ones are behind the log-in
            files = SftpFiles(sftp.url.replace(f":{port}/", f":{proxy.port}/"), {**sftp.options, ACCEPT: True})
            proxy.cut_after = sent
            try:
                files.find("none")
            except Exception as error:
                found = files.problem("here", error)
                assert isinstance(found, MirrorUnreachable), (sent, found)
            if proxy.cut_after is not None:  # nothing was cut
                break
        assert 500 < sent < 7900


def test_a_missing_key_is_not_taken_for_an_empty_place(sftp, webdav, places, tmp_path, monkeypatch):
    absent = str(tmp_path / "absent")
    with pytest.raises(MirrorError, match="absent does not exist"):
        list(open_store(sftp.url, {**sftp.options, "key_filename": absent}).list())
    with pytest.raises(MirrorError, match="names a file of certificates that does not exist"):
        open_store(webdav.url.replace("webdav:", "webdavs:"), {**webdav.options, "verify": absent})
    store = places.place("rclone-local", tmp_path).open()
    monkeypatch.setattr(store._files._rclone, "_program", absent)
    with pytest.raises(MirrorUnreachable, match="absent cannot be run: No such file or directory"):
        list(store.list())


def test_a_full_disk_of_an_sftp_server_is_tried_again_later(sftp, tmp_path):
    sftp.files.mkdir()
    with mounted(sftp.files, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        store, file = sftp.open(), SentFile(tmp_path / "sent", 32 * PART)
        with pytest.raises(MirrorUnreachable, match="is its disk full"):
            store.upload(file.upload())
        assert list(store.list()) == []
        store.delete(list(store.list(unfinished=True)))
        store.put("a", b"1")


def test_sftp_compares_the_key_of_a_known_host(sftp, tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    port, keys = sftp.url.split("/")[2].rpartition(":")[2], Path(sftp.options["key_filename"]).parent

    def know(name):
        key = " ".join((keys / name).read_text().split()[:2])
        (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {key}\n")

    options = {name: value for name, value in sftp.options.items() if name != "known_hosts"}
    refused(f"known_hosts does not name [127.0.0.1]:{port}, whose key is ssh-ed25519 SHA256:", sftp.url, **options)
    know("user.pub")
    refused("the server has another key than known_hosts says", sftp.url, **options)
    know("host.pub")
    assert open_store(sftp.url, options).put("a", b"1").size == 1


def test_sftp_accepts_an_unknown_server_only_if_it_is_told_to(sftp, tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {name: value for name, value in sftp.options.items() if name != "known_hosts"}
    (tmp_path / "empty").touch()
    refused("does not name", sftp.url, **options, known_hosts=str(tmp_path / "empty"))
    refused("known_hosts: /no/file cannot be read", sftp.url, **options, known_hosts="/no/file")
    refused("accept_unknown_host is of the type str; expected true or false", sftp.url, **options,
            accept_unknown_host="canary")  # fmt: skip
    assert open_store(sftp.url, {**options, "accept_unknown_host": True}).put("a", b"1").size == 1
    (tmp_path / ".ssh" / "config").write_text("Host 127.0.0.1\n  StrictHostKeyChecking no\n")
    assert open_store(sftp.url, options).stat("a").size == 1
    refused("does not name", sftp.url, **options, accept_unknown_host=False)
    (tmp_path / ".ssh" / "config").write_text(
        f"Host 127.0.0.1\n  UserKnownHostsFile {tmp_path}/none {sftp.options['known_hosts']}\n"
    )
    assert open_store(sftp.url, options).stat("a").size == 1


def test_sftp_reads_the_settings_of_ssh(sftp, tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    user, _, port = sftp.url.split("/")[2].replace("@", ":").split(":")
    (tmp_path / ".ssh" / "config").write_text(
        f"Host box\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {sftp.options['key_filename']}\n"
        f"  UserKnownHostsFile {sftp.options['known_hosts']}\n"
    )
    assert open_store(f"sftp://box{tmp_path}/run").put("a", b"1").size == 1
    assert (tmp_path / "run" / "a").read_bytes() == b"1"


def test_webdav_refuses_strangers(webdav, tmp_path):
    refused("the server refused the log-in; check the user and the password (HTTP 401)", webdav.url)
    refused("the server refused the log-in", webdav.url, username="mirror", password=CANARY)
    refused("the server refused the log-in", webdav.url.replace("://", f"://mirror:{QUOTED}@"))
    refused("the server refused the log-in", webdav.url, auth=["mirror", CANARY])
    refused("there is no such address on the server", webdav.url.replace("/dav/", "/none/"), **webdav.options)
    refused("expected storage_options that httpx knows", webdav.url, other=CANARY)


def test_webdav_refuses_names_that_would_be_cut(webdav):
    for name in ("a?b", "a#b", "a;b"):
        with pytest.raises(MirrorError, match="cannot be sent over WebDAV"):
            webdav.open().put(name, b"")
    assert list(webdav.open().list()) == []


def test_webdav_takes_a_password_from_the_url_and_from_netrc(webdav, tmp_path, monkeypatch):
    user, password = webdav.options.values()
    assert open_store(webdav.url.replace("://", f"://{user}:{password}@")).put("a", b"1").size == 1
    assert password not in open_store(webdav.url.replace("://", f"://{user}:{password}@")).url
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {user} password {password}\n")
    refused("~/.netrc cannot be used; check its rights and its lines", webdav.url)
    (tmp_path / ".netrc").chmod(0o600)
    assert open_store(webdav.url).read("a")[0] == b"1"


@pytest.mark.parametrize("kind", ["hub-bucket", "hub-model"])
def test_the_hub_refuses_strangers(places, tmp_path, kind):
    place = places.place(kind, tmp_path)
    refused("the Hub refused the token; log in with `hf auth login`", place.url, **{**place.options, "token": CANARY})
    refused("there is no such place on the Hub", place.url.replace("me/run", "me/none"), **place.options)
    refused("storage_options has other; expected token, endpoint, revision", place.url, other=CANARY)
    refused("expected hf://buckets/namespace/name or hf://models/namespace/name", "hf://datasets/me/run")
    unreachable("Connection refused", place.url, **{**place.options, "endpoint": f"http://127.0.0.1:{free_port()}"})


def test_rclone_refuses_what_it_does_not_know(places, tmp_path):
    place = places.place("rclone-local", tmp_path)
    refused("rclone has no remote none; add it with `rclone config`", "rclone:none:run", **place.options)
    refused("rclone has no remote dropbox; add it", "dropbox:run", **place.options)
    refused("rclone has no remote gdrive; add it", "gdrive://run", **place.options)
    refused("names no remote of rclone; expected rclone:REMOTE:path", "rclone:run", **place.options)
    refused("names no remote of rclone", f"rclone::sftp,host=h,pass={CANARY}:run", **place.options)
    files = tmp_path / "file"
    files.write_bytes(b"")
    with pytest.raises(MirrorError, match="not a directory"):
        open_store(f"rclone:local:{files}", place.options).put("a", b"")


def test_rclone_takes_a_password_from_its_settings_only(places, tmp_path):
    place = places.place("rclone-webdav", tmp_path)
    refused("401", place.url, **place.options, webdav_pass="Y2FuYXJ5LXRoYXQtaXMtd3Jvbmc")
    assert place.open().put("a", b"1").size == 1


@pytest.mark.parametrize("scheme", ["sftp", "webdav", "webdavs", "ftp"])
def test_nobody_listens(scheme):
    unreachable("127.0.0.1", f"{scheme}://user:{QUOTED}@127.0.0.1:{free_port()}/run")
    unreachable("host.invalid", f"{scheme}://user:{QUOTED}@host.invalid/run")


@pytest.mark.parametrize("scheme", ["sftp", "webdav", "webdavs"])
def test_a_url_without_a_server(scheme):
    for url in (f"{scheme}:///run", f"{scheme}://user:{QUOTED}@/run", f"{scheme}://user:{QUOTED}@host:port/run"):
        refused("names no server; expected", url)
    refused("has an @ after its password; write it as %40", f"{scheme}://user:{CANARY}@host/run")


@pytest.mark.parametrize("kind", ["sftp", "webdav"])
def test_a_server_that_hangs_is_left(places, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(sftp_files, "_PATIENCE", 0.5)
    monkeypatch.setattr(webdav_files, "_PATIENCE", 0.5)
    place = places.place(kind, tmp_path)
    store, file = place.open(), SentFile(tmp_path / "sent", 80 * PART)
    store.put("a", b"1")

    def pause(count):
        if len(file.sent) == 0:
            place.server.signal(signal.SIGSTOP)
        file.sent.append(count)

    try:
        attempt = file.upload(progress=pause)
        for call in (lambda: store.upload(attempt), lambda: store.stat("a"), lambda: place.open().stat("a")):
            with pytest.raises(MirrorUnreachable):
                call()
    finally:
        place.server.kill()
        place.server.start()
    store.upload(file.upload())
    assert store.read("data/a.ckpt")[0] == file.data


def answered(answer):
    """Return the URL of an HTTP server that answers each request with a status and bytes."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.command, self.path.rstrip("/"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PROPFIND = do_PUT = do_MKCOL = do_MOVE = do_DELETE = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def multistatus(path, prop):
    """Return an answer to PROPFIND."""
    item = f"<d:propstat><d:prop>{prop}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>"
    response = f"<d:response><d:href>{path}</d:href>{item}</d:response>"
    return 207, f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{response}</d:multistatus>'.encode()


def test_a_webdav_server_without_ranges_is_read():
    """Such a server answers with the whole file."""
    data = bytes(range(256)) * 1000

    def answer(method, path):
        if method == "GET":
            return 200, data
        return multistatus(path, f"<d:resourcetype/><d:getcontentlength>{len(data)}</d:getcontentlength>")

    with answered(answer) as server:
        store = open_store(f"webdav://127.0.0.1:{server.server_port}/run")
        assert store.read("a", 1000, 500)[0] == data[1000:1500]
        assert store.read("a", 255_990)[0] == data[-10:]
        assert store.read("a", 0, 10)[0] == data[:10]
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "line", "lasts"),
    [
        (200, "the server does not speak WebDAV at this address; check the URL", True),
        (403, "the server refused access; check the rights of this user (HTTP 403)", True),
        (501, "the server does not speak WebDAV at this address; check the URL (HTTP 501)", True),
        (423, "423", False),
        (429, "429", False),
        (500, "500", False),
        (502, "refused", False),
        (503, "503", False),
        (507, "no space left; free some space, or keep less in this mirror", False),
    ],
)
def test_what_a_webdav_server_answers(status, line, lasts):
    with answered(lambda method, path: (status, b"<html>")) as server:
        (refused if lasts else unreachable)(line, f"webdav://127.0.0.1:{server.server_port}/run")
        server.shutdown()


@pytest.mark.parametrize("kind", ["buckets", "models"])
@pytest.mark.parametrize(
    ("status", "line", "lasts"),
    [
        (401, "log in with `hf auth login`, or set HF_TOKEN (HTTP 401)", True),
        (403, "the token may not do that; expected one with write access (HTTP 403)", True),
        (404, "there is no such place on the Hub, or the token may not see it", True),
        (429, "429", False),
        (500, "500", False),
        (503, "503", False),
        (200, "", False),
    ],
)
def test_what_the_hub_answers(kind, status, line, lasts):
    with answered(lambda method, path: (status, b"<html>")) as server:
        options = {"endpoint": f"http://127.0.0.1:{server.server_port}", "token": CANARY}
        (refused if lasts else unreachable)(line or kind, f"hf://{kind}/me/run", **options)
        server.shutdown()
