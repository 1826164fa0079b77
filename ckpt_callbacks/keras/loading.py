"""The loading of a checkpoint into the model of a fit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras

from ..errors import ResumeError, VerifyError
from ..formats.keras.suffix import LEGACY
from ..formats.keras.unsupported import one_line
from ..policy.contents import WHOLE_NUMBERS
from ..policy.contents_order import held
from ..record import Record
from ..run.directory import RunDirectory
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..store.replacement import verify_now
from .embedded import FitState
from .fit_call import FitCall
from .model.assets import load_assets, refuse_other_vocabulary
from .model.current_values import update_variables
from .model.load import load as load_model
from .model.load import load_weights
from .model.objects import optimizers
from .model.unbuilt import built_since
from .model.unlisted_variables import Uncounted
from .native_file import native_file
from .saved_optimizers import refuse_other_class
from .state import assign, build_optimizers, seed_variables

log = logging.getLogger("ckpt_callbacks")


def load(model: keras.Model, path: Path, state: FitState, call: FitCall, scratch: Path, parts: ResumedParts) -> None:
    """Load weights, optimizer and seeds from a checkpoint.

    Args:
        model: The model.
        path: The checkpoint.
        state: The state that is embedded in it.
        call: The call of `fit` that continues from it.
        scratch: A folder on disk for a temporary copy.
        parts: The parts of the checkpoint to load.

    Raises:
        ResumeError: The checkpoint was written by a different model or optimizer.
    """
    if parts.optimizer:
        refuse_other_class(model, path, state.optimizer)
    _build(model, path, call)
    with native_file(path, scratch) as native:
        refuse_other_vocabulary(model, native)
        load_model(model, native, scratch, _prepare_optimizers(model, native, state, parts))
        load_assets(model, native)
    if parts.step and not assign(seed_variables(model), state.volatile.seeds):
        log.warning(
            "%s: the model's random layers differ from those in the checkpoint; their seeds start from scratch", path
        )
    if unmatched := Uncounted(model).assign(state.volatile.uncounted):
        log.warning(
            "%s: the variables that Keras does not count differ from those in the checkpoint; not restored: %s",
            path, ", ".join(unmatched),
        )  # fmt: skip


def load_again(model: keras.Model, path: Path, state: FitState, scratch: Path, parts: ResumedParts) -> None:
    """Load a checkpoint once more, after callbacks have changed the model.

    Args:
        model: The model.
        path: The checkpoint.
        state: The state that is embedded in it.
        scratch: A folder on disk for a temporary copy.
        parts: The parts of the checkpoint to load.
    """
    update_variables(model)
    with native_file(path, scratch) as native:
        skip = _prepare_optimizers(model, native, state, parts)  # a callback may have compiled the model again
        load_model(model, native, scratch, skip, compare=False)
    assign(seed_variables(model), state.volatile.seeds)


def load_best(model: keras.Model, run: Run) -> None:
    """Load the weights of a run's best checkpoint at the end of a fit; log why if there is none."""
    view = run.directory.shown
    run.directory.thinning.wait()  # otherwise, the file might be replaced while it is read
    if (best := view.existing(view.best)) is not None:
        load_verified(model, best, run.directory)
    else:
        log.warning("%s: restore_best_weights changed nothing: %s", run.dirpath, view.why_no_best(run.state))


def load_verified(model: keras.Model, record: Record, directory: RunDirectory) -> None:
    """Load the weights of a checkpoint at the end of a fit. If the file is damaged, only log a message.

    Args:
        model: The model.
        record: The checkpoint.
        directory: The run directory that holds it.
    """
    if record.reduced.get("dtype") in WHOLE_NUMBERS:
        log.warning(
            "%s: its weights were not loaded: it holds them as %s, which this model does not; keras.saving.load_model "
            "loads it, and a rule that needs contents='weights' keeps them as they were",
            record.path, record.reduced["dtype"],
        )  # fmt: skip
        return
    try:
        verify_now(directory.manifest, record)
    except VerifyError as error:
        log.warning("did not load the weights: %s", error)
        return
    load_weights(model, record.path, directory.staging, partial="dropped" in record.reduced)
    log.info("loaded the weights of %s", record.file)
    if record.reduced:
        log.warning(
            "%s: its weights were loaded as it holds them: %s; what was left out stays as it is in the model, and a "
            "rule that needs contents='weights' keeps all of them exactly", record.path, held(record),
        )  # fmt: skip


def _prepare_optimizers(model: keras.Model, path: Path, state: FitState, parts: ResumedParts) -> list[Any]:
    """Create the variables of the optimizers to load, and return the optimizers and layers to leave as they are."""
    later = built_since(model, state.unbuilt)
    if not parts.optimizer:
        return [*optimizers(model).values(), *later]
    build_optimizers(model, state)
    # An optimizer that trains nothing is not built, but a schedule may have changed its learning rate.
    is_unused = model.optimizer is not None and not model.optimizer.built and path.suffix != LEGACY
    return later if state.optimizer or is_unused else [model.optimizer, *later]


def _build(model: keras.Model, path: Path, call: FitCall) -> None:
    """Create all variables that the checkpoint has values for."""
    error = call.build(model)
    if not model.weights and (error is not None or not model.built):
        problem = "call model.build()" if error is None else f"{one_line(error)}; call the model on a batch"
        raise ResumeError(f"{path}: {model.name!r} has no variables yet to load it into: {problem} before model.fit()")
