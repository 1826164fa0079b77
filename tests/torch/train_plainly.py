"""A plain PyTorch script that saves and resumes through `Run`.

Arguments: the run directory, and the number of the optimizer step after which the process kills itself (0: never). The
last line of the output is the final state.
"""

import json
import os
import signal
import sys

import torch
from torch.nn.functional import mse_loss

from ckpt_callbacks import EMA, Event, Every, Improves, KeepBest, KeepLast, Metric, Patience, Policy
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.testing import FakeClock
from ckpt_callbacks.torch.source import TorchSource

EPOCHS, BATCHES, SIZE = 5, 8, 16
VAL = Metric("val_loss", mode="min", smoothing=EMA(0.5))
POLICY = Policy(Every(steps=3) | Improves(VAL), KeepLast(3) | KeepBest(1, by=VAL), Patience(VAL, checks=4))


def train(dirpath, kill_at):
    torch.manual_seed(7)
    x, y = torch.randn(BATCHES * SIZE, 10), torch.randn(BATCHES * SIZE, 1)
    model = torch.nn.Sequential(
        torch.nn.Linear(10, 200), torch.nn.BatchNorm1d(200), torch.nn.Dropout(0.3), torch.nn.Linear(200, 1)
    )
    adam = torch.optim.AdamW(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, EPOCHS * BATCHES)
    source = TorchSource(model, [adam], [schedule])

    run = Run(POLICY, Settings(dirpath), suffix=".ckpt", framework="torch", name="train_plainly", clock=FakeClock())
    run.open()
    newest = next(run.view.verified_resumable(), None)
    if newest is not None:
        run.restore(source.load(newest.path))
        print("resumed at step", run.state.step, flush=True)
    step = run.state.step
    decision = run.start(source, step=step, epoch=run.state.epoch)

    while decision.stop is None and (epoch := step // BATCHES) < EPOCHS:
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(SIZE)
        for batch in order[step % BATCHES :]:
            loss = mse_loss(model(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            step += 1
            if step % BATCHES:
                decision = run.observe(Event.step_end(step=step, epoch=epoch, metrics={"loss": float(loss)}))
            if step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if decision.stop is not None:
                break
        else:
            model.eval()
            with torch.no_grad():
                val_loss = float(mse_loss(model(x), y))
            model.train()
            decision = run.observe(Event.epoch_end(step=step, epoch=epoch + 1, metrics={"val_loss": val_loss}))
    run.observe(Event.end(step=step, epoch=run.state.epoch))
    run.end()
    return {
        "weights": {name: value.tolist() for name, value in model.state_dict().items()},
        "optimizer": [[value.tolist() for value in state.values()] for state in adam.state.values()],
        "schedule": schedule.state_dict(),
        "policy": run.state.to_json(),
        "random": torch.get_rng_state().tolist(),
    }


if __name__ == "__main__":
    print(json.dumps(train(sys.argv[1], int(sys.argv[2]))))
