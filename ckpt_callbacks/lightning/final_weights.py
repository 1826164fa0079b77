"""The weights that training ended with, for a fit that has nothing left to train."""

from __future__ import annotations

import logging
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ProgressBar, WeightAveraging

from ..errors import VerifyError, first_line
from ..formats.torch.check import load
from ..record import Record
from ..run.run import Run
from ..store.replacement import verify_now
from .averaging import end_averages
from .model_mismatch import decides_what_fits

log = logging.getLogger("ckpt_callbacks")
_KNOWN = (Checkpoint, EarlyStopping, ProgressBar, WeightAveraging)  # `end_averages` does the work of the last one


def end_with_final_weights(trainer: Trainer, run: Run) -> str:
    """Bring the model to the state in which training ended, and return what to add to the message about it.

    Lightning calls `on_train_end` only if there was anything to train. If that hook has changed the weights, as
    StochasticWeightAveraging does, the checkpoint that was loaded does not hold them, and `final` does. If training was
    killed before that hook had run, no file holds them.
    """
    end_averages(trainer)
    found: tuple[bool, str | None]
    found = run.processes.broadcast(_final(trainer, run) if run.processes.is_primary else None)
    has_final, path = found
    if has_final:
        return _load(trainer, Path(path)) if path is not None else ""
    if hooks := hooks_at_end(trainer):
        log.warning(
            "%s: the run was killed before training had ended, so on_train_end of %s did not run and there is no final "
            "checkpoint; do its work after trainer.fit(), or train one more epoch",
            run.dirpath, ", ".join(hooks),
        )  # fmt: skip
        return ""
    run.end_without_training()
    return ""


def _final(trainer: Trainer, run: Run) -> tuple[bool, str | None]:
    """Return whether the run's end was saved, and the path of its checkpoint if the one before it was loaded."""
    final = run.view.final()
    if final is None or final.step < run.state.step:
        return False, None
    is_loaded = final.step > run.state.step or Path(str(trainer.ckpt_path)).resolve() == final.path.resolve()
    return True, None if is_loaded else _verified(run, final)


def _verified(run: Run, final: Record) -> str | None:
    try:
        verify_now(run.view.manifest, final)
    except VerifyError as error:
        log.warning("did not load the final weights: %s", error)
        return None
    return str(final.path)


def _load(trainer: Trainer, path: Path) -> str:
    try:
        saved = None if decides_what_fits(trainer) else load(path)
        if saved is None:  # the module, the strategy or classes of the user's own decide how to load it
            return f"; to continue with the weights that it ended with, load {path.name}"
        trainer.lightning_module.load_state_dict(saved["state_dict"])
    except Exception as error:  # whatever torch raises for a file that does not fit
        return f"; the weights that it ended with, in {path.name}, could not be loaded: {first_line(error)}"
    return f"; loaded the weights that it ended with from {path.name}"


def hooks_at_end(trainer: Trainer) -> list[str]:
    """Return the classes, other than Lightning's that leave the weights alone, that do something at the end."""
    module = trainer.lightning_module
    own = [type(module).__name__] if type(module).on_train_end is not LightningModule.on_train_end else []
    others = [
        type(one).__name__
        for one in trainer.callbacks
        if not isinstance(one, _KNOWN) and type(one).on_train_end is not Callback.on_train_end
    ]
    return own + others
