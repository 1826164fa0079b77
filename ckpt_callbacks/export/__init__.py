"""Checkpoints as files that other programs load: safetensors, ONNX, torch.export, LiteRT and others.

No training code imports this package. `export` writes a file, loads it with the library that will load it later, and
compares it with the checkpoint::

    from ckpt_callbacks import open_run
    from ckpt_callbacks.export import export

    export(open_run("runs/a").best(), "model.onnx", model=model)
"""

from typing import TYPE_CHECKING

from ..errors import absent

if TYPE_CHECKING:
    from .exporter import export
    from .result import Exported

__all__ = ["Exported", "export"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "export":  # only now, because it needs numpy
            from .exporter import export as found
        elif name == "Exported":
            from .result import Exported as found
        else:
            raise absent(__name__, name)
        return found
