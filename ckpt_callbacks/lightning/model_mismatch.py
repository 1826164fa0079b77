"""The differences between a model and the one that wrote a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch.nn.parameter import is_lazy

from ..errors import ResumeError

_SHOWN = 4


def refuse_other_model(trainer: Trainer, path: Any, checkpoint: Mapping[str, Any]) -> None:
    """Raise `ResumeError`, and name the layers that differ, if a different model wrote the checkpoint."""
    found = differences(trainer, checkpoint)
    if found is not None:
        name = type(trainer.lightning_module).__name__
        raise ResumeError(
            f"{path}: was written by a different model than {name}: {found}; expected the model that wrote it; choose "
            "another directory, or start from scratch without ckpt_path"
        )


def differences(trainer: Trainer, checkpoint: Mapping[str, Any]) -> str | None:
    """Describe the differences; None if all weights have the same names and shapes, or if that is unknown."""
    saved = checkpoint.get("state_dict")
    if not loads_plainly(trainer) or not isinstance(saved, Mapping):
        return None
    module = trainer.lightning_module
    special = tuple(_specially_loaded(module))
    ours, theirs = _shapes(module.state_dict(), special), _shapes(saved, special)
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    if not differing:
        return None
    shown = ", ".join(
        f"{name} ({_text(theirs, name)} in the file, {_text(ours, name)} in the model)" for name in differing[:_SHOWN]
    )
    return shown + (f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else "")


def loads_plainly(trainer: Trainer) -> bool:
    """Return whether the weights in a checkpoint are copied into the model as they are.

    A module or a strategy that changes what is loaded, or how, also decides what fits.
    """
    module = trainer.lightning_module
    changed = any(
        getattr(type(module), name) is not getattr(LightningModule, name)
        for name in ("on_load_checkpoint", "load_state_dict", "state_dict")
    )
    return module.strict_loading and not changed and type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)


def _specially_loaded(module: LightningModule) -> Iterator[str]:
    """Yield the prefixes of weights that may have other shapes, or other names, in a file that fits."""
    for name, part in module.named_modules():
        changed = not type(part)._load_from_state_dict.__module__.startswith("torch.nn.")  # such as an observer's
        own = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if changed or any(map(is_lazy, own)) or part._load_state_dict_pre_hooks:
            yield f"{name}." if name else ""


def _shapes(state: Mapping[str, Any], special: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not (name.startswith(special) or name.endswith("_extra_state")) and hasattr(value, "shape")
    }


def _text(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return str(shapes[name]) if name in shapes else "missing"
