"""The measurements of mirrors: uploads to a bucket, downloads from it, and fits whose mirror hangs."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import engines, probes
from .report import MB
from .subject import NotInstalled

OURS_UP, BARE_UP, FSSPEC_UP = "a mirror's upload", "obstore.put", "Lightning's save_checkpoint to s3://"
OURS_DOWN, BARE_DOWN = "a resume's download", "obstore.get into a file"
WITHOUT, HANGING = "no mirror", "a mirror that hangs"
GRACE = 10.0  # seconds


def say(**result: Any) -> None:
    """Print one result for `engines.run`."""
    print(json.dumps(result), flush=True)


def tell(name: str, size: int, found: dict[str, float], *, is_first: bool) -> None:
    """Print one measurement. The first one allocates what the others use again, and is slower."""
    if is_first:
        say(name=name, memory=found["memory"])
    else:
        say(name=name, size=size, seconds=found["seconds"])


@contextmanager
def bucket() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the URL of a bucket on a server of its own, and the `storage_options` for it."""
    from tests.support.servers import seaweed

    if why := seaweed.missing():
        raise NotInstalled(why)
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None, prefix="bench-") as folder:
        server = seaweed.Seaweed(Path(folder))
        try:
            yield server.url("bench"), server.options
        finally:
            server.server.kill()


def bare_client(url: str, options: dict[str, Any]) -> Any:
    """Return obstore's own client for a bucket."""
    from obstore.store import S3Store

    return S3Store.from_url(
        url, **options, virtual_hosted_style_request=False, client_options={"allow_http": True}
    )  # fmt: skip


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds that a call takes, and the MB of memory that it takes besides."""
    probes.forget_peak()
    before, begin = probes.resident() or 0, time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - begin, "memory": ((probes.peak() or before) - before) / MB}


# -- the bare client ---------------------------------------------------------------------------------------------------


def speeds(folder: Path, url: str, options: dict[str, Any], size: int, rounds: int) -> None:
    """Measure uploads and downloads of files of random bytes."""
    import obstore

    from ckpt_callbacks.mirrors.reading import read_catalog
    from ckpt_callbacks.mirrors.restoring import download
    from ckpt_callbacks.remote.url import open_store

    client = bare_client(url, options)
    run, store = Sender(folder / "run", f"{url}/ours", options), open_store(f"{url}/ours", options)
    target = folder / "downloaded"
    for turn in range(rounds + 1):
        path = run.save(size)

        def put(path: Path = path) -> None:
            obstore.put(client, "bare", path)

        def get() -> None:
            with target.open("wb") as file:
                for piece in obstore.get(client, "bare").stream(min_chunk_size=10 << 20):
                    file.write(piece)

        def pull() -> None:
            catalog, _ = read_catalog(store)
            assert catalog is not None
            download(store, catalog.entries[-1], target)

        pairs = [(BARE_UP, put), (OURS_UP, run.send), (BARE_DOWN, get), (OURS_DOWN, pull)]
        for name, work in pairs if turn % 2 else [*pairs[1::-1], *pairs[:1:-1]]:
            target.unlink(missing_ok=True)
            tell(name, size, measured(work), is_first=not turn)


class Sender:
    """A run directory with one checkpoint at a time, and a mirror of it.

    Args:
        dirpath: The run directory.
        url: Of the mirror.
        options: Of its client.
    """

    def __init__(self, dirpath: Path, url: str, options: dict[str, Any]) -> None:
        from ckpt_callbacks import Every, KeepLast, Mirror, Policy
        from ckpt_callbacks.mirrors.mirroring import Mirroring
        from ckpt_callbacks.mirrors.source import MirroredRun
        from ckpt_callbacks.record import Attempt
        from ckpt_callbacks.remote.url import open_store
        from ckpt_callbacks.store.manifest import Manifest

        dirpath.mkdir()
        self._manifest, policy = Manifest(dirpath), Policy(Every(steps=1), KeepLast(1))
        self._manifest.refresh()
        self._manifest.start(Attempt("run", 1, None, 0.0, {"framework": "lightning"}))
        run = MirroredRun(self._manifest, lambda: self._manifest.verified("run"), policy, "lightning")
        self._mirroring = Mirroring(Mirror(url, storage_options=options), open_store(url, options), run)

    def save(self, size: int) -> Path:
        """Replace the checkpoint by one of random bytes, and return its path."""
        from ckpt_callbacks.record import Record, Status
        from ckpt_callbacks.store.digest import digest

        for old in self._manifest.verified("run"):
            self._manifest.change(old.id, status=Status.DELETED)
            old.path.unlink()
        id_ = self._manifest.next_id
        path = self._manifest.layout.dirpath / f"{id_}.ckpt"
        piece = random.randbytes(8 << 20)
        with path.open("wb") as file:
            for start in range(0, size, len(piece)):
                file.write(start.to_bytes(8, "big") + piece[8 : min(len(piece), size - start)])
        found, size = digest(path)
        facts = {"size": size, "digest": found, "status": Status.VERIFIED, "run": "run", "attempt": 1}
        self._manifest.put(Record(id_, path.name, step=id_, **facts))
        return path

    def send(self) -> None:
        """Send it, as a run does at its end."""
        self._mirroring.start()
        if not self._mirroring.finish(60):
            raise RuntimeError("the mirror has not received the checkpoint")


# -- Lightning's own way -----------------------------------------------------------------------------------------------


def lightning_saves(folder: Path, url: str, options: dict[str, Any], size: int, rounds: int) -> None:
    """Measure Lightning's own saves to the bucket, and ours of a file of the same size."""
    import lightning
    import torch

    if find_spec("s3fs") is None:
        raise NotInstalled("s3fs")
    os.environ |= {
        "AWS_ACCESS_KEY_ID": options["access_key_id"], "AWS_SECRET_ACCESS_KEY": options["secret_access_key"],
        "AWS_ENDPOINT_URL": options["endpoint"], "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip

    class Weights(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.rand(size // 4))

    module = Weights()
    trainer = lightning.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    trainer.strategy.connect(module)
    sender = Sender(folder / "run", f"{url}/ours", options)
    for turn in range(rounds + 1):
        sender.save(size)
        works = [(FSSPEC_UP, lambda: trainer.save_checkpoint(f"{url}/theirs.ckpt")), (OURS_UP, sender.send)]
        for name, work in works if turn % 2 else works[::-1]:
            tell(name, size, measured(work), is_first=not turn)


# -- a store that hangs ------------------------------------------------------------------------------------------------


def hanging(folder: Path, seconds: float, rounds: int) -> None:
    """Measure fits with a mirror that hangs, and without one, by turns."""
    with silent_port() as port:
        places = {WITHOUT: [], HANGING: [{"url": f"webdav://127.0.0.1:{port}/run"}]}
        for turn in range(rounds):
            for name in places if turn % 2 else reversed(places):
                say(name=name, **one_fit(folder / f"{turn}-{len(name)}", places[name], seconds))
        say(name=HANGING, exit=exit_after_signal(folder / "signal", places[HANGING]))


@contextmanager
def silent_port() -> Iterator[int]:
    """Yield a port that accepts connections, and answers nothing."""
    open_: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    open_.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


def one_fit(dirpath: Path, mirrors: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Train for some seconds, with a save in each of them."""
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from ckpt_callbacks import Every, KeepLast, OnPreempt, Policy
    from ckpt_callbacks.lightning import LightningCheckpoint
    from ckpt_callbacks.store.manifest import Manifest

    from .lightning_fit import Model

    times: list[float] = []

    class Clock(lightning.Callback):
        def on_train_batch_end(self, trainer, *_: Any) -> None:
            times.append(time.perf_counter())
            if times[-1] - times[0] > seconds:
                trainer.should_stop = True

    ckpt = LightningCheckpoint(dirpath, Policy(Every("1 s") | OnPreempt(), KeepLast(2)), mirrors=mirrors, grace=GRACE)
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        callbacks=[Clock(), ckpt],
    )  # fmt: skip
    trainer.fit(Model(3 * MB, work=1), DataLoader(TensorDataset(torch.zeros(10**6, 1))))
    ended = time.perf_counter() - times[-1]
    saved = [record.time for record in Manifest.read(dirpath).records.values()]
    gaps = [after - before for before, after in pairwise(saved)]
    return {
        "steps": len(times) / (times[-1] - times[0]), "saves": len(saved), "gap": max(gaps, default=0.0), "end": ended,
    }  # fmt: skip


def exit_after_signal(dirpath: Path, mirrors: list[dict[str, Any]]) -> float:
    """Return the seconds from a signal to the end of a process whose mirror hangs."""
    code = (
        "import sys, json; from pathlib import Path; from benchmarks.mirroring import one_fit;"
        "one_fit(Path(sys.argv[1]), json.loads(sys.argv[2]), 600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(dirpath), json.dumps(mirrors)], cwd=engines.ROOT)
    try:
        deadline = time.monotonic() + 120
        while not list(dirpath.glob("*.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2)
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        return time.perf_counter() - begin
    finally:
        process.kill()
