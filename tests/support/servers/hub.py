"""A stand-in for the Hugging Face Hub, which answers its real clients: the API, and the storage behind it."""

import base64
import hashlib
import json
import os
import sys
import time
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs

from .process import ROOT_ENVIRONMENT, Server, free_port
from .xet import Xet

TOKEN = "hf_canaryHubToken"


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    absent = [name for name in ("starlette", "uvicorn", "huggingface_hub", "hf_xet") if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else ""


class LocalHub:
    """A Hub with one bucket and one model repository, ``me/run``.

    Args:
        folder: For its log.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.support.servers.hub", str(self.port)]
        self.server = Server(command, self.port, folder / "hub.log", ROOT_ENVIRONMENT)

    def url(self, kind: str, path: str = "") -> str:
        """Return the URL of the bucket (``buckets``) or the repository (``models``), or of a folder in it."""
        return f"hf://{kind}/me/run/{path}".rstrip("/")

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` that a client needs."""
        return {"endpoint": f"http://127.0.0.1:{self.port}", "token": TOKEN}


def _application(port: int):
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    storage = Xet()
    bucket: dict[str, dict] = {}
    commits: list[tuple[str, dict[str, dict]]] = [(hashlib.sha1(b"first").hexdigest(), {})]

    def refused(request, name):
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return JSONResponse({"error": "Invalid credentials"}, 401)
        if name != "me/run":
            return JSONResponse({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return None

    def guarded(handler):
        async def handle(request):
            name = f"{request.path_params['space']}/{request.path_params['name']}"
            return refused(request, name) or await handler(request)

        return handle

    def tree_of(revision):
        return next((tree for oid, tree in reversed(commits) if oid == revision), commits[-1][1])

    def listed(tree, folder):
        items = [item for path, item in sorted(tree.items()) if not folder or path.startswith(f"{folder}/")]
        if folder and not items:
            return JSONResponse({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return items

    def paged(request, items):
        if isinstance(items, Response):
            return items
        start = int(request.query_params.get("cursor", 0))
        query = f"recursive=true&cursor={start + 1000}"
        more = {"Link": f'<{request.url.replace(query=query)}>; rel="next"'} if len(items) > start + 1000 else {}
        return JSONResponse(items[start : start + 1000], headers=more)

    async def token(request):
        return JSONResponse(
            {"casUrl": f"http://127.0.0.1:{port}/cas", "accessToken": "canary-xet", "exp": int(time.time()) + 3600}
        )

    async def bucket_paths(request):
        paths = (await request.json())["paths"]
        return JSONResponse([bucket[path] for path in paths if path in bucket])

    async def bucket_tree(request):
        return paged(request, listed(bucket, request.path_params.get("path", "")))

    async def batch(request):
        failed = []
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        for line in lines:
            path = line["path"]
            if line["type"] == "addFile":
                size = storage.size(line["xetHash"])
                when = datetime.now(timezone.utc).isoformat()
                facts = {"type": "file", "path": path, "size": size, "uploadedAt": when}
                bucket[path] = {**facts, "xetHash": line["xetHash"]}
            elif bucket.pop(path, None) is None:
                failed.append({"path": path, "error": "not found"})
        return JSONResponse({"failed": failed}, 422 if len(failed) == len(lines) else 200)

    def content(request, item):
        if item is None:
            return JSONResponse({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        data = item["content"] if "content" in item else storage.content(item["xetHash"])
        return Response(data[int(first) : int(last) + 1], 206, media_type="application/octet-stream")

    async def block(request):
        storage.blocks[request.path_params["hash"]] = await request.body()
        return JSONResponse({"was_inserted": True})

    async def shard(request):
        storage.add_shard(await request.body())
        return JSONResponse({"result": 1})

    async def bucket_read(request):
        return content(request, bucket.get(request.path_params["path"]))

    async def revision(request):
        return JSONResponse({"id": "me/run", "sha": commits[-1][0]})

    def shown(item):
        return {key: value for key, value in item.items() if key not in ("content", "xetHash")}

    async def paths(request):
        tree, wanted = tree_of(request.path_params["revision"]), parse_qs((await request.body()).decode())["paths"]
        return JSONResponse([shown(tree[path]) for path in wanted if path in tree])

    async def tree(request):
        items = listed(tree_of(request.path_params["revision"]), request.path_params.get("path", ""))
        return paged(request, items if isinstance(items, Response) else list(map(shown, items)))

    async def commit(request):
        head, *lines = [json.loads(line) for line in (await request.body()).splitlines()]
        if head["value"].get("parentCommit", commits[-1][0]) != commits[-1][0]:
            return JSONResponse({"error": "A commit has happened since. Please refresh and try again."}, 412)
        tree = dict(commits[-1][1])
        for line in lines:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                data = base64.b64decode(value["content"])
                oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                tree[path] = {"type": "file", "path": path, "size": len(data), "oid": oid, "content": data}
            elif line["key"] == "lfsFile":
                large = {"oid": value["oid"], "size": value["size"], "pointerSize": 134}
                stored = storage.by_sha256[value["oid"]]
                facts = {"type": "file", "path": path, "size": value["size"], "oid": value["oid"][:40]}
                tree[path] = {**facts, "lfs": large, "xetHash": stored}
            elif tree.pop(path, None) is None:
                return JSONResponse({"error": f"{path} does not exist"}, 400)
        commits.append((hashlib.sha1(os.urandom(20)).hexdigest(), tree))
        return JSONResponse({"commitUrl": "", "commitOid": commits[-1][0], "success": True})

    async def read(request):
        return content(request, tree_of(request.path_params["revision"]).get(request.path_params["path"]))

    at_bucket, at_model = "/api/buckets/{space}/{name}", "/api/models/{space}/{name}"
    routes = [
        ("GET", at_bucket + "/xet-write-token", token),
        ("POST", at_bucket + "/paths-info", bucket_paths),
        ("GET", at_bucket + "/tree", bucket_tree),
        ("GET", at_bucket + "/tree/{path:path}", bucket_tree),
        ("POST", at_bucket + "/batch", batch),
        ("GET", "/buckets/{space}/{name}/resolve/{path:path}", bucket_read),
        ("GET", at_model + "/xet-write-token/{revision}", token),
        ("GET", at_model + "/revision/{revision}", revision),
        ("POST", at_model + "/paths-info/{revision}", paths),
        ("GET", at_model + "/tree/{revision}", tree),
        ("GET", at_model + "/tree/{revision}/{path:path}", tree),
        ("POST", at_model + "/commit/{revision}", commit),
        ("GET", "/{space}/{name}/resolve/{revision}/{path:path}", read),
    ]
    checked = [Route(path, guarded(handler), methods=[method]) for method, path, handler in routes]
    # Without grants for uploads, and without version 2 of shards, the client takes these.
    own = [
        Route("/cas/v1/xorbs/default/{hash}", block, methods=["POST"]),
        Route("/cas/v1/shards", shard, methods=["POST"]),
    ]
    return Starlette(routes=[*own, *checked])


if __name__ == "__main__":
    import uvicorn

    at = int(sys.argv[1])
    uvicorn.run(_application(at), host="127.0.0.1", port=at, log_level="info")
