"""Servers and networks that fail while checkpoints are sent: nothing is lost, and one line tells of each outage."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.support.forks import forks_of
from tests.support.http_proxy import Answer
from tests.support.interrupted import wait_for
from tests.system.mirrors.places import proxied
from tests.system.mirrors.uploads import Uploads, later, wait_until, warnings

pytestmark = pytest.mark.mirrors
BUCKETS = ("s3", "gcs", "azure")
HTTP = (*BUCKETS, "webdav")
SERVERS = (*HTTP, "sftp")
FORGETFUL = ("gcs", "azure")  # these stand-ins lose what is in memory, so the way to them is cut instead
SIZE = 32 << 20
HERE = Path(__file__).parent


@pytest.fixture
def proxy(place):
    """Return a proxy in front of the place's server."""
    with proxied(place) as made:
        yield made


@pytest.fixture
def uploads(place, proxy, tmp_path):
    """Return a run whose mirror is reached through the proxy."""
    return Uploads(place, place.through(proxy.port), tmp_path / "run")


def is_body(request):
    """Whether a request carries bytes of a checkpoint."""
    return request.method in ("PUT", "POST") and int(request.headers.get("content-length", 0)) > 100_000


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_server_that_dies_in_mid_upload_and_comes_back(place, proxy, uploads, caplog):
    first = uploads.run.save(size=1 << 20)
    uploads.begin()
    wait_until(lambda: first.id in uploads.whole())
    proxy.rate, before = 16 << 20, proxy.sent
    uploads.run.save(size=SIZE)
    uploads.mirror.wake()
    wait_until(lambda: proxy.sent > before + SIZE / 3)
    proxy.rate = None
    if place.name in FORGETFUL:
        proxy.resets = True
        proxy.drop()
    else:
        place.server.kill()
    time.sleep(4)
    proxy.resets = False
    if place.name not in FORGETFUL:
        place.server.start()
    uploads.complete()
    said = warnings(caplog)
    assert len(said) <= 2, said
    assert all("answers again" in line for line in said[1:])


@pytest.mark.parametrize("place", HTTP, indirect=True)
def test_a_server_that_answers_many_requests_with_an_error(proxy, uploads, caplog):
    draw, left = random.Random(7), [20]

    def answer(request):
        if left[0] and draw.random() < 0.4:
            left[0] -= 1
            return draw.choice((500, 503, 429))
        return None

    proxy.answer = answer
    uploads.run.save(size=SIZE)
    uploads.begin()
    uploads.complete()
    said = warnings(caplog)
    assert len(said) <= 2, said


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_connections_that_are_reset_again_and_again(proxy, uploads, caplog):
    draw = random.Random(7)
    uploads.run.save(size=SIZE)
    uploads.begin()
    for _ in range(12):
        proxy.cut_after = draw.randrange(1, SIZE // 4)
        time.sleep(0.15)
    proxy.cut_after = None
    proxy.drop()
    uploads.complete()
    assert len(warnings(caplog)) <= 2, warnings(caplog)


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_slow_link(proxy, uploads, caplog):
    proxy.rate, proxy.delay = 6 << 20, 0.001
    uploads.run.save(size=SIZE)
    uploads.begin()
    uploads.complete()
    assert warnings(caplog) == []


@pytest.mark.parametrize("place", BUCKETS, indirect=True)
def test_a_byte_that_changes_on_its_way_is_found_by_the_store(proxy, uploads, caplog):
    """Three times; then the network is well again."""
    left, seen = [3], set()

    def change(request, data):
        if left[0] and is_body(request) and id(request) not in seen and len(data) > 1000:
            left[0] -= 1
            seen.add(id(request))
            return data[:500] + bytes([data[500] ^ 1]) + data[501:]
        return data

    proxy.change = change
    uploads.run.save(size=SIZE)
    uploads.begin()
    uploads.complete()
    assert left == [0]


def denied(code, text):
    return f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"


DENIED = {
    "s3": Answer(400, denied("ExpiredToken", "The provided token has expired.")),
    "gcs": Answer(401, '{"error": {"code": 401, "message": "Invalid Credentials"}}'),
    "azure": Answer(
        403, denied("AuthenticationFailed", "Signature not valid"), {"x-ms-error-code": "AuthenticationFailed"}
    ),
    "webdav": Answer(401),
}


@pytest.mark.parametrize("place", HTTP, indirect=True)
def test_credentials_that_expire_in_mid_upload(place, proxy, uploads, caplog):
    """One line says so; with new ones, the next save sends what is missing."""
    is_expired = [False]
    proxy.answer = lambda request: DENIED[place.name] if is_expired[0] else None
    proxy.rate = 16 << 20
    uploads.run.save(size=SIZE)
    uploads.begin()
    wait_until(lambda: proxy.sent > SIZE / 3)
    is_expired[0] = True
    wait_until(lambda: warnings(caplog))
    proxy.rate = None
    second = uploads.run.save(size=1 << 20)
    uploads.mirror.wake()
    time.sleep(1)
    assert uploads.whole() == set()
    (line,) = warnings(caplog)
    assert "\n" not in line and len(line) < 400
    is_expired[0] = False
    uploads.complete()
    assert second.id in uploads.whole()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_store_that_hangs_delays_nobody_and_gets_the_newest_afterwards(proxy, uploads):
    uploads.run.save(size=1 << 20)
    uploads.begin()
    wait_until(lambda: uploads.whole())
    proxy.hangs = True
    for loss in (3, 2, 1):
        begin = time.monotonic()
        uploads.run.save(loss, size=1 << 20)
        uploads.mirror.wake()
        assert time.monotonic() - begin < 15
        time.sleep(0.2)
    begin = time.monotonic()
    assert not uploads.mirror.finish(patience=0.5)
    assert time.monotonic() - begin < 15
    later(0.1, lambda: setattr(proxy, "hangs", False))
    proxy.drop()
    uploads.mirror.start()
    uploads.complete()


WITH_SERVER = (*SERVERS, "rclone-webdav", "rclone-sftp", "hub-buckets", "hub-models")


@pytest.mark.parametrize(
    ("place", "moment"),
    [*((name, "from the beginning") for name in WITH_SERVER), *((name, "in mid-upload") for name in SERVERS)],
    indirect=["place"],
)
def test_a_process_ends_in_time_although_its_store_hangs(place, moment, tmp_path):
    with proxied(place) as proxy:
        proxy.hangs, proxy.rate = moment == "from the beginning", 4 << 20
        there = place.through(proxy.port)
        patience = 2.0 if proxy.hangs else 6.0  # on a busy machine, a client needs seconds before it sends anything
        arguments = (tmp_path / "run", there.url, json.dumps(dict(there.options)), 1 << 20, SIZE, patience)
        child = forks_of("tests.system.mirrors.clients").start(HERE / "mirror_once.py", *arguments)
        wait_for(child, "begun")
        if not proxy.hangs:
            wait_until(lambda: proxy.sent > 6 << 20)
            proxy.hangs = True
        begin = time.monotonic()
        assert child.wait(30) == 0
        assert time.monotonic() - begin < 20


CHAOS = ("s3", "webdav", "sftp")


@pytest.mark.parametrize("framework", ["lightning", "keras"])
@pytest.mark.parametrize("place", CHAOS, indirect=True)
def test_training_ends_as_without_a_mirror_whatever_the_network_does(framework, place, proxy, train, tmp_path):
    expected = train(framework, tmp_path / "alone", [], 3)[-1]
    is_over = [False]

    def disturb():
        draw = random.Random(7)
        while not is_over[0]:
            proxy.resets, proxy.hangs = draw.random() < 0.2, draw.random() < 0.2
            proxy.cut_after = draw.randrange(1, 50_000)
            proxy.delay = draw.choice([0.0, 0.0, 0.01])
            if draw.random() < 0.3:
                proxy.drop()
            time.sleep(0.1)
        proxy.resets = proxy.hangs = False
        proxy.cut_after, proxy.delay = None, 0.0

    thread = later(0, disturb)
    later(4, lambda: is_over.__setitem__(0, True))
    lines = train(framework, tmp_path / "run", [place.through(proxy.port).mirror], 3, 0.1)
    thread.join()
    assert lines[-1] == expected
    assert not any("Traceback" in line for line in lines)
