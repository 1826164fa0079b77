"""Uploads to clouds, and proxies before their servers, for tests."""

from tests.support.http_proxy import HttpProxy


def begun(file):
    """Return a list of the bytes that attempts are about to send, as `before` is told, and arguments of an upload."""
    counts = []
    return counts, {"before": counts.append, "part": (len(file.data) - 5) // 3, "threads": 1}


class Between:
    """A proxy before the server of a place, and a store that uses it."""

    def __init__(self, cloud):
        self._cloud = cloud
        self._proxy = None if cloud.name == "gcs" else HttpProxy(int(cloud.endpoint.split(":")[2].split("/")[0]))

    def __enter__(self):
        if self._proxy is None:  # Google's has one already, whose address the server gives to clients
            return self._cloud.proxy, self._cloud.open()
        self._proxy.__enter__()
        return self._proxy, self._cloud.open(endpoint=moved(self._cloud, self._proxy.port))

    def __exit__(self, *_):
        if self._proxy is not None:
            self._proxy.__exit__()


def moved(cloud, port):
    """Return the endpoint of a place at another port."""
    path = cloud.endpoint.partition("://")[2].partition("/")[2]
    return f"http://127.0.0.1:{port}/{path}".rstrip("/")
