"""The meaning of rclone's messages, which are all that tells failures of its exit status 1 apart."""

import pytest

from ckpt_callbacks.errors import MirrorError, MirrorUnreachable
from ckpt_callbacks.remote.rclone_files import RcloneFiles
from ckpt_callbacks.remote.rclone_process import RcloneFailed
from tests.support.servers import rclone

LASTING = [
    (1, 'couldn\'t fetch token: oauth2: "invalid_grant" "Token has been expired or revoked."'),
    (1, "Error 401: Invalid Credentials, authError"),
    (1, "googleapi: Error 403: The user does not have sufficient permissions"),
    (1, "NewFs: couldn't login: Incorrect password"),
    (1, "mkdir /proc/x: permission denied"),
    (1, "invalid_access_token/"),
    (7, "account suspended"),
    (1, "open /f: read-only file system"),
]
PASSING = [
    (1, "dial tcp 127.0.0.1:9: connect: connection refused"),
    (1, "couldn't fetch token: dial tcp: lookup oauth2.googleapis.com: no such host"),
    (1, 'Put "https://content.dropboxapi.com": net/http: TLS handshake timeout'),
    (1, "googleapi: Error 403: Rate Limit Exceeded, rateLimitExceeded"),
    (1, "too_many_requests/..."),
    (1, "HTTP error 503 (503 Service Unavailable)"),
    (5, "token refresh failed"),
    (-1, "rclone did nothing for 120 s"),
    (1, "rclone gave no reason"),
]


@pytest.mark.skipif(bool(rclone.missing()), reason=rclone.missing() or "rclone is there")
@pytest.mark.parametrize(
    ("status", "text", "lasts"), [(*each, True) for each in LASTING] + [(*each, False) for each in PASSING]
)
def test_a_message_says_whether_to_try_again(status, text, lasts):
    files = RcloneFiles("dropbox:run", {})
    found = files.problem("dropbox:run", RcloneFailed(status, text))
    assert type(found) is (MirrorError if lasts else MirrorUnreachable)
    assert str(found).startswith(f"dropbox:run: {text}")
