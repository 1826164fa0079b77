"""The beginning of a fit after earlier fits, and its end if nothing is left to train."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from ..errors import ResumeError
from ..formats.keras.unsupported import one_line
from ..policy.decision import Decision
from ..policy.ranking import final_record
from ..record import Record
from ..run.announcements import run_out
from ..run.ended_fit import EndedFit
from ..run.loaded_weights import name_nan
from ..run.resumed_parts import ResumedParts
from ..run.run import Run
from .earlier_fits import Choice, ResumeRequest, choose, leave, start_facts
from .fit_call import FitCall
from .initial_epoch import is_set_elsewhere
from .loaded_checkpoint import initial_weights
from .loading import load, load_again, load_verified
from .missing_validation import refuse_without_validation
from .model.load import load_weights, read_embedded
from .open_end import name_open_end
from .other_callbacks import OtherCallbacks, without_averages
from .resume_point import ResumePoint
from .update_counter import has_trained, updates_done
from .weights import weights_are_finite

log = logging.getLogger("ckpt_callbacks")


class Beginning:
    """The state from which a fit continues. The constructor loads the checkpoint, if any, and restores the run.

    Args:
        run: The run, whose directory is open.
        request: The script's request.
        model: The model.
        call: The call of `fit`.
        others: The other callbacks of that call.
        epochs: The number of epochs that the call asks for.

    Raises:
        MetricError: The policy reads a metric that this call cannot log.

    Attributes:
        point: The place where the fit continues; None if no checkpoint was loaded.
        earlier_epochs: Number of epochs of the run that Keras does not count in this fit.
        facts: Facts that the journal holds about this start of training.
    """

    def __init__(
        self,
        run: Run,
        request: ResumeRequest,
        model: keras.Model,
        call: FitCall,
        others: OtherCallbacks,
        epochs: int,
    ) -> None:
        self._run, self._model, self._request, self._call, self._others = run, model, request, call, others
        self._earlier: Mapping[str, Any] = {}  # the facts about the start of training that saved the checkpoint
        is_backup = call.has_backup and is_set_elsewhere(model) and not run.fits.were_for(model)
        if is_backup:  # a model that BackupAndRestore has restored does not count as trained
            leave(model)
        self._choice = choice = choose(run, request, model, epochs)
        if is_backup and choice.path is not None:
            log.warning(
                "%s: BackupAndRestore has restored epoch %d; the newest checkpoint here is loaded instead; expected "
                "only one of the two callbacks", run.dirpath, model._initial_epoch,
            )  # fmt: skip
        self.facts: dict[str, Any] = {"epochs": epochs, **_compiled_rate(model)}
        self.point: ResumePoint | None = None
        self.earlier_epochs = 0
        if choice.path is not None:
            self._load(choice.path, request.parts, call, others)
        elif choice.loaded is not None:
            self._train_on_from(choice.loaded)
        elif choice.weights is not None:
            run.restore(read_embedded(choice.weights.path).run)
            self._load_if_it_fits(choice.weights)
        else:
            if not has_trained(model):
                self.facts |= initial_weights(model)
                if run.is_first_fit and request.where == "auto":
                    run.directory.announcements.name_unusable(run.view)
            if run.is_first_fit and request.where != "never" and request.parts.step:
                self._adopt()
        refuse_without_validation(run, call, others)

    def why_not_to_train(self, decision: Decision) -> tuple[str, ...]:
        """Return the reasons why this fit must not train anything; none if it trains.

        Args:
            decision: What the policy has decided about the start.
        """
        if self._choice.done:
            return (self._choice.done,)
        reasons = decision.stop.reasons if decision.stop is not None else ()
        ended_by = self.point.ended_by if self.point is not None else None
        return reasons + ((f"{ended_by} had ended it",) if ended_by else ())

    @property
    def lacks_final(self) -> bool:
        """True if no final state was saved at the step from which the fit continues, or after it."""
        if self.point is None or self._choice.done:
            return False
        final = self._final()
        return final is None or final.step < self._run.state.step

    def announce_end(self, *, has_begun: bool) -> None:
        """Log that a fit trained nothing because it has all its epochs, or that a callback has ended it early.

        Args:
            has_begun: Whether the fit has begun an epoch.
        """
        run = self._run
        if not has_begun and (why := self._run_out()):
            run.directory.announcements.end_untrained(run.state.step, why)
        if self._model.stop_training and not self._call.is_ended:
            name_open_end(run, self._others, self.facts["epochs"] - (run.state.epoch - self.earlier_epochs))

    def name_earlier_end(self) -> None:
        """Log, when training begins, that an earlier start of the script has ended this fit before its last epoch."""
        asked = self._earlier.get("epochs", 0)
        if self._request.where != "auto" or self.lacks_final or self.facts["epochs"] > asked:
            return  # the script asks for what follows
        if (final := self._final()) is not None and (done := final.epoch - self.earlier_epochs) < asked:
            log.warning(
                "%s: this fit had ended after %d of %d epochs, by stop_training or by a rule that does not stop it "
                "now; it trains on", self._run.dirpath, done, asked,
            )  # fmt: skip

    def end_without_training(self) -> None:
        """End a fit that trained nothing, and load the final weights if they differ from those it resumed from."""
        run, model = self._run, self._model
        if not self._choice.done:
            run.directory.announcements.end_untrained(run.state.step, self._run_out())
        final = self._final()
        if final is not None and self.point is not None and self.point.path != final.path:
            load_verified(model, final, run.directory)  # the final weights may be averages, or the best ones
        run.directory.finish_last_save(run.state)
        run.directory.ended = EndedFit(run.view, run.fits.next_number)
        if self._choice != Choice():
            leave(model)

    def _run_out(self) -> str:
        epochs, asked = self._run.state.epoch - self.earlier_epochs, self.facts["epochs"]
        return run_out(epochs, asked, "epochs", "resume='never'") if epochs >= asked else ""

    def _final(self) -> Record | None:
        """Return the state in which the fit that saved the checkpoint ended."""
        point = self.point
        return final_record([r for r in self._run.view.records() if point is not None and r.fit == point.fit])

    def _adopt(self) -> None:
        """Attach an already trained model to the run that it came from, without loading weights."""
        run, view = self._run, self._run.view
        if run.fits.were_for(self._model):
            own = run.fits.run
            record = next(view.verified_resumable(lambda r: r.run == own), None)
        elif has_trained(self._model):
            step = updates_done(self._model)
            record = next(view.verified_resumable(lambda r: r.step <= step), None)
        else:
            return
        if record is not None:
            run.restore(read_embedded(record.path).run)

    def _load(self, path: Path, parts: ResumedParts, call: FitCall, others: OtherCallbacks) -> None:
        """Load the requested parts of a checkpoint, and continue from its place unless a new run begins."""
        run, model = self._run, self._model
        state = read_embedded(path)
        load(model, path, state, call, run.directory.staging, parts)
        name_nan(run, path, lambda: weights_are_finite(model))
        if parts != ResumedParts():
            log.warning("%s: resuming only from its %s, as requested", path, parts)
        if not parts.step:
            if not run.is_first_fit:
                run.begin_new_run()
            return
        if not parts.optimizer:
            callbacks = without_averages(state.volatile.callbacks)
            state = replace(state, volatile=replace(state.volatile, callbacks=callbacks))
        run.restore(state.run, path)
        again = partial(load_again, model, path, state, run.directory.staging, parts)
        self.point = ResumePoint(path, model, state, call, others, again)
        self.earlier_epochs = self.point.earlier_epochs(run.fits.next_number)
        earlier = self._earlier = start_facts(run.view, own) if (own := run.view.find(path)) is not None else {}
        if earlier.get("loaded"):
            self.facts["loaded"] = True
        rates = [facts.get("learning_rate") for facts in (earlier, self.facts)]
        if parts.optimizer and None not in rates and rates[0] != rates[1]:
            log.warning(
                "%s: the script sets the learning rate to %g, and set it to %g before; the resume restores the "
                "checkpoint's rate; to change it, set model.optimizer.learning_rate in a callback's on_epoch_begin",
                path, rates[1], rates[0],
            )  # fmt: skip
        if not call.is_known:
            log.warning(
                "%s: resumed outside fit(), so nothing is skipped automatically; begin the loop with epoch %d "
                "(epochs_done)%s", run.dirpath, run.state.epoch,
                f", and skip its first {self.point.batch} batches" if self.point.batch else "",
            )  # fmt: skip

    def _train_on_from(self, record: Record) -> None:
        """Attach a model to the run from which the script has loaded its weights."""
        run = self._run
        self.facts["loaded"] = True
        if record.resumable:
            run.restore(read_embedded(record.path).run)
        elif not run.is_first_fit:
            run.begin_new_run()
        newest = next((r for r in run.view.resumable() if r.id > record.id), None)
        log.warning(
            "%s: the model has the weights of %s, so training continues from there, with its own optimizer%s",
            run.dirpath, record.file,
            f"; to continue from the newest checkpoint, pass resume={str(newest.path)!r}" if newest else "",
        )  # fmt: skip

    def _load_if_it_fits(self, record: Record) -> None:
        """Load the weights that a later call of `fit` saved, if they fit: that call's model may be different."""
        try:
            load_weights(self._model, record.path, self._run.directory.staging)
        except (ResumeError, ValueError, KeyError) as error:
            log.info("%s: not loaded yet: %s", record.path, one_line(error))


def _compiled_rate(model: keras.Model) -> dict[str, float]:
    """Return the script's learning rate as a fact; no fact with a schedule, or if the model was already trained."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    if has_trained(model) or not isinstance(rate, keras.Variable):
        return {}
    return {"learning_rate": float(keras.ops.convert_to_numpy(rate))}
