"""What may not be resumed from is refused, in one line, before anything is loaded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.plugins.precision import DoublePrecision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch.nn.parameter import is_lazy

from ..errors import ResumeError

_SHOWN = 4  # so many layers are named


def refuse_last(dirpath: Path) -> None:
    """Raise `ResumeError` when the user typed ``ckpt_path="last"``."""
    # Lightning resolves it before any hook, and only among ModelCheckpoints: it would silently start from scratch.
    if _path_given_to(Trainer.fit) == "last" and path_to_load() is None:
        raise ResumeError(
            f'{dirpath}: ckpt_path="last" is not known to Lightning for this callback, and would start from scratch; '
            "call trainer.fit(model, ckpt_path=ckpt.resume_path())"
        )


def refuse_to_begin_again(dirpath: Path, step: int, resumed_at: int | None) -> None:
    """Raise `ResumeError` when training begins elsewhere than where the checkpoint was taken."""
    if resumed_at is not None and step < resumed_at:
        raise ResumeError(
            f"{dirpath}: a checkpoint of step {resumed_at} was loaded, and another callback has set training back to "
            f"step {step}; leave callbacks such as LearningRateFinder and BatchSizeFinder out of a run that is resumed"
        )


def path_to_load() -> Any:
    """What the running `fit` resumes from; `trainer.ckpt_path` tells only once it has been loaded."""
    return _path_given_to(Trainer._run)


def _path_given_to(method: Callable[..., Any]) -> Any:
    frame = sys._getframe()
    while frame is not None and frame.f_code is not method.__code__:
        frame = frame.f_back
    return frame.f_locals.get("ckpt_path") if frame is not None else None


def convert_in_time(trainer: Trainer) -> None:
    """Make a model double that shall be, which Lightning does only once its weights are loaded, rounded to single."""
    if path_to_load() is not None and isinstance(trainer.precision_plugin, DoublePrecision):
        trainer.precision_plugin.convert_module(trainer.lightning_module)


def refuse_other_model(trainer: Trainer, path: Any, checkpoint: Mapping[str, Any]) -> None:
    """Raise `ResumeError`, naming the layers that differ, when a checkpoint was written by another model."""
    module, saved = trainer.lightning_module, checkpoint.get("state_dict")
    if not loads_plainly(trainer) or not isinstance(saved, Mapping):
        return
    apart = tuple(_loaded_in_ways_of_their_own(module))
    ours, theirs = _shapes(module.state_dict(), apart), _shapes(saved, apart)
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if differing:
        shown = ", ".join(
            f"{name} ({_said(theirs, name)} in the file, {_said(ours, name)} in the model)"
            for name in differing[:_SHOWN]
        )
        more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise ResumeError(
            f"{path}: was written by another model than {type(module).__name__}: {shown}{more}; expected the model "
            "that wrote it; choose another directory, or start afresh without ckpt_path"
        )


def loads_plainly(trainer: Trainer) -> bool:
    """The weights in a checkpoint are copied into the model as they are.

    Who changes what is loaded, or loads it in a way of their own, knows better.
    """
    module = trainer.lightning_module
    changed = any(
        getattr(type(module), name) is not getattr(LightningModule, name)
        for name in ("on_load_checkpoint", "load_state_dict", "state_dict")
    )
    return module.strict_loading and not changed and type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)


def _loaded_in_ways_of_their_own(module: LightningModule) -> Iterator[str]:
    """What the names of weights begin with that may have other shapes, or other names, in a file that fits."""
    for name, part in module.named_modules():
        changed = not type(part)._load_from_state_dict.__module__.startswith("torch.nn.")  # an observer's, say
        lazy = any(is_lazy(own) for own in (*part._parameters.values(), *part._buffers.values()))
        if changed or lazy or part._load_state_dict_pre_hooks:
            yield f"{name}." if name else ""


def _shapes(state: Mapping[str, Any], apart: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not (name.startswith(apart) or name.endswith("_extra_state")) and hasattr(value, "shape")
    }


def _said(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return str(shapes[name]) if name in shapes else "missing"
