"""The saving methods that are measured in a Lightning fit: this package, its peers, and the limits."""

from __future__ import annotations

import mmap
import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.lightning import LightningCheckpoint

from .limits import RawFile, warm_memory
from .subject import LIMIT, PEER, NotInstalled, ReportsItself, Subject


class LightningSubject(Subject):
    """A Lightning fit without checkpoints, and the base class of the other subjects."""

    hook = "on_train_batch_end"
    plugins = ()
    accelerator = "cpu"


# -- this package ----------------------------------------------------------------------------------------------------


class Ours(ReportsItself, LightningSubject):
    name, background = "LightningCheckpoint", True

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        policy = Policy(Every(steps=every), KeepLast(1))
        self.callback = LightningCheckpoint(folder, policy, background=self.background)


class OursInTheForeground(Ours):
    name, background = "LightningCheckpoint, background=False", False


# -- peers -----------------------------------------------------------------------------------------------------------


class LightningsModelCheckpoint(LightningSubject):
    name, role, fsyncs = "Lightning ModelCheckpoint", PEER, False

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self.callback = ModelCheckpoint(folder, every_n_train_steps=every)


class LightningsAsyncCheckpointIO(LightningsModelCheckpoint):
    name = "Lightning AsyncCheckpointIO"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self.plugins = (AsyncCheckpointIO(),)
        self._last: tuple[int, Future] | None = None

    def landed(self) -> bool:
        executor = self.plugins[0]._executor
        if executor is None:
            return True  # `fit` has ended and waited
        if self._last is None or self._last[0] != self.step:
            # The plugin drops its futures. A later one on its single thread shows when they are done.
            self._last = self.step, executor.submit(lambda: None)
        return self._last[1].done()


class Saving(LightningSubject, lightning.Callback):
    """The callback that people write around a peer that is only a function."""

    role = PEER

    def __init__(self, folder: Path, every: int) -> None:
        LightningSubject.__init__(self, folder, every)
        self.callback = self

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if trainer.global_step % self.every == 0:
            states = [optimizer.state_dict() for optimizer in trainer.optimizers]
            self.save({"state_dict": module.state_dict(), "optimizers": states, "global_step": trainer.global_step})

    def save(self, state: Mapping[str, object]) -> None:
        raise NotImplementedError


def write_synced(state: Mapping[str, object], path: Path) -> None:
    """Save to a temporary file with ``torch.save``, call fsync, and rename the file."""
    staged = path.with_suffix(".staged")
    with open(staged, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, path)


class TorchSave(Saving):
    name = "torch.save, fsync, rename"

    def save(self, state: Mapping[str, object]) -> None:
        write_synced(state, self.folder / "last.ckpt")


def tensors_of(value: object) -> list[torch.Tensor]:
    """Return all tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in inner for tensor in tensors_of(item)]


def copied(value: object) -> object:
    """Return a copy of nested dicts and lists with their tensors, on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


class TorchSaveInThread(Saving):
    name = "clone, then torch.save, fsync, rename in a thread"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._thread = threading.Thread()

    def save(self, state: Mapping[str, object]) -> None:
        if self._thread.ident:
            self._thread.join()
        self._thread = threading.Thread(target=write_synced, args=(copied(state), self.folder / "last.ckpt"))
        self._thread.start()

    def landed(self) -> bool:
        return not self._thread.is_alive()


class DistributedCheckpoint(Saving):
    name = "torch dcp.async_save, cached stager"

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        from torch.distributed.checkpoint.staging import BlockingAsyncStager

        self._stager = BlockingAsyncStager(cache_staged_state_dict=True)
        self._future: Future | None = None
        self._count = 0

    def save(self, state: Mapping[str, object]) -> None:
        import torch.distributed.checkpoint as dcp
        from torch.distributed._state_dict_utils import _create_cpu_state_dict

        if self._future is not None:
            self._future.result()
        if self._stager.state_dict_cache is None and self.accelerator == "cpu":
            # By default, the stager asks for pinned memory, which fails without a GPU.
            self._stager.state_dict_cache = _create_cpu_state_dict(dict(state))
        place, self._count = self.folder / str(self._count), self._count + 1
        self._future = dcp.async_save(dict(state), checkpoint_id=place, async_stager=self._stager, no_dist=True)

    def tidy(self) -> None:
        shutil.rmtree(self.folder / str(self._count - 2), ignore_errors=True)

    def landed(self) -> bool:
        if self._future is None or not self._future.done():
            return self._future is None
        self._future.result()  # raises the exception, if any
        return True


class Safetensors(Saving):
    name, fsyncs = "safetensors save_file", False

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        try:
            from safetensors.torch import save_file
        except ImportError as error:
            raise NotInstalled("safetensors") from error
        self._write = save_file

    def save(self, state: Mapping[str, object]) -> None:
        named = {str(number): tensor.contiguous() for number, tensor in enumerate(tensors_of(state))}
        self._write(named, self.folder / "last.safetensors")


class IgniteDiskSaver(Saving):
    name, fsyncs = "ignite DiskSaver", False

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        try:
            from ignite.handlers import DiskSaver
        except ImportError as error:
            raise NotInstalled("pytorch-ignite") from error
        self._saver = DiskSaver(folder, require_empty=False)

    def save(self, state: Mapping[str, object]) -> None:
        self._saver(state, "last.pt")


# -- limits ----------------------------------------------------------------------------------------------------------


def warm_buffers(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return a buffer for each tensor: pinned if any tensor is on a GPU, else part of one block of warm memory."""
    if any(tensor.is_cuda for tensor in tensors):
        return [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
    memory, start, buffers = warm_memory(sum(t.nbytes + mmap.PAGESIZE for t in tensors)), 0, []
    for tensor in tensors:
        buffers.append(torch.frombuffer(memory, dtype=tensor.dtype, count=tensor.numel(), offset=start).view_as(tensor))
        start += -(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    return buffers


class WarmCopy(Saving):
    name, role = "warm copy of the tensors, nothing written", LIMIT

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._buffers: list[torch.Tensor] = []

    def save(self, state: Mapping[str, object]) -> None:
        tensors = tensors_of(state)
        if not self._buffers:
            self._buffers = warm_buffers(tensors)
        torch._foreach_copy_(self._buffers, tensors, non_blocking=True)
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()


class RawWrite(Saving):
    name, role = "raw O_DIRECT write of as many bytes, fsync", LIMIT

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__(folder, every)
        self._file: RawFile | None = None

    def save(self, state: Mapping[str, object]) -> None:
        if self._file is None:
            self._file = RawFile(sum(t.numel() * t.element_size() for t in tensors_of(state)))
        self._file.write(self.folder / "last.raw")


SUBJECTS = (
    LightningSubject, WarmCopy, RawWrite, Ours, OursInTheForeground, LightningsModelCheckpoint,
    LightningsAsyncCheckpointIO, TorchSave, DistributedCheckpoint, Safetensors, IgniteDiskSaver,
)  # fmt: skip
# The subjects of longer runs.
MAIN = (
    LightningSubject, Ours, LightningsModelCheckpoint, LightningsAsyncCheckpointIO, TorchSaveInThread,
    DistributedCheckpoint,
)  # fmt: skip
# The subjects that save models of many shapes.
MODELS = (WarmCopy, Ours, LightningsModelCheckpoint, DistributedCheckpoint)


def extent(module: lightning.LightningModule) -> tuple[int, int]:
    """Return the number and the bytes of the tensors of a module and its optimizers after a first step of AdamW."""
    trained = list(module.parameters())
    everything = [*trained, *trained, *trained, *module.buffers()]
    return len(everything) + len(trained), sum(t.nbytes for t in everything) + 4 * len(trained)
