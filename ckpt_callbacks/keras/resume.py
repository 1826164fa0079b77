"""The continuation of a fit at the place where its checkpoint was taken."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import keras

from ..errors import ResumeError, VerifyError
from ..formats.keras.unsupported import one_line
from ..record import Record
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from ..store.digest import verify
from .embedded import FitState
from .fit_call import FitCall
from .model.load import load as load_model
from .model.load import load_weights, read_embedded
from .model.objects import optimizers
from .model.uncounted import Uncounted
from .other_callbacks import OtherCallbacks, without_averages
from .resume_point import ResumePoint
from .saved_optimizers import refuse_other_class
from .state import assign, build_further_optimizers, seed_variables
from .update_counter import has_trained, updates_done

log = logging.getLogger("ckpt_callbacks")


@dataclass(frozen=True)
class ResumeRequest:
    """The checkpoint that a script asks to resume from, and the parts of it.

    Attributes:
        where: ``auto``, ``never`` or a path; see `KerasCheckpoint`.
        parts: The parts of the checkpoint to restore.
        trained: Whether the callback has trained this model before.
    """

    where: str | PathLike[str]
    parts: ResumedParts
    trained: bool


def resume_run(
    run: Run, request: ResumeRequest, model: keras.Model, call: FitCall, others: OtherCallbacks
) -> ResumePoint | None:
    """Load the checkpoint that a fit continues from, and restore the run. Return None if a new run begins.

    Args:
        run: The run.
        request: The script's request.
        model: The model.
        call: The call of `fit`.
        others: The other callbacks of that call.
    """
    parts = request.parts
    path = checkpoint_to_load(run, request, model)
    if path is None:
        if run.is_first_fit and request.where != "never" and parts.step:
            adopt_run(run, model)
        return None
    state = read_embedded(path)
    load(model, path, state, call, run.directory.staging, parts)
    if parts != ResumedParts():
        log.warning("%s: resuming only from its %s, as requested", path, parts)
    if not parts.step:
        if not run.is_first_fit:
            run.begin_new_run()
        return None
    if not parts.optimizer:
        callbacks = without_averages(state.volatile.callbacks)
        state = replace(state, volatile=replace(state.volatile, callbacks=callbacks))
    run.restore(state.run)
    again = partial(load_again, model, path, state, run.directory.staging, parts)
    point = ResumePoint(path, model, state, call, others, again)
    log.warning("resumed from %s, at step %d, epoch %d", path, run.state.step, run.state.epoch)
    return point


def checkpoint_to_load(run: Run, request: ResumeRequest, model: keras.Model) -> Path | None:
    """Return the checkpoint that a model continues from; None to train the model as it is.

    Args:
        run: The run.
        request: The script's request.
        model: The model.

    Raises:
        ResumeError: ``resume`` names a file that does not exist.
        VerifyError: ``resume`` names a damaged checkpoint.
    """
    if request.where == "never":
        return None
    if request.where == "auto":
        if request.trained or has_trained(model):
            return None
        record = next(run.view.verified_resumable(), None)
        return record.path if record else None
    if not run.is_first_fit:
        return None
    path = Path(request.where)
    if not path.is_file():
        raise ResumeError(f"{path}: is not a file; expected resume='auto', 'never' or the path of a checkpoint")
    record = run.view.find(path)
    if record is not None:
        verify(record)
    return path


def adopt_run(run: Run, model: keras.Model) -> None:
    """Attach an already trained model to the run that it came from, without loading weights."""
    if not has_trained(model):
        return
    record = next(run.view.verified_resumable(until=updates_done(model)), None)
    if record is not None:
        run.restore(read_embedded(record.path).run)


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
    load_model(model, path, scratch, _prepare_optimizers(model, state, parts))
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
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()  # `fit` holds the variables' values while it trains
    skip = _prepare_optimizers(model, state, parts)  # a callback may have compiled the model again
    load_model(model, path, scratch, skip, compare=False)
    assign(seed_variables(model), state.volatile.seeds)


def load_verified(model: keras.Model, record: Record, scratch: Path) -> None:
    """Load the weights of a checkpoint at the end of a fit. If the file is damaged, only log a message.

    Args:
        model: The model.
        record: The checkpoint.
        scratch: A folder on disk for a temporary copy.
    """
    try:
        verify(record)
    except VerifyError as error:
        log.warning("did not load the weights: %s", error)
        return
    load_weights(model, record.path, scratch)
    log.info("loaded the weights of %s", record.file)


def _prepare_optimizers(model: keras.Model, state: FitState, parts: ResumedParts) -> list[keras.optimizers.Optimizer]:
    """Create the variables of the optimizers to load, and return the optimizers to leave as they are."""
    if not parts.optimizer:
        return list(optimizers(model).values())
    if state.optimizer and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    build_further_optimizers(model, state.further_optimizers)
    return [] if state.optimizer else [model.optimizer]


def _build(model: keras.Model, path: Path, call: FitCall) -> None:
    """Create all variables that the checkpoint has values for."""
    error = call.build(model)
    if not (model.built or model.weights):
        problem = "call model.build()" if error is None else f"{one_line(error)}; call the model on a batch"
        raise ResumeError(f"{path}: {model.name!r} has no variables yet to load it into: {problem} before model.fit()")
