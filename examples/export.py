"""Deploy the best model of a run of train_lightning.py: ``python export.py RUN_DIR FOLDER``.

The same on the command line: ``ckpt export RUN_DIR best --to digits.onnx --model train_lightning.py:Digits``.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits
from train_lightning import Digits

from ckpt_callbacks import open_run
from ckpt_callbacks.export import export


def main(run_dir, folder):
    best, folder = open_run(run_dir).best(), Path(folder)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)

    # The weights alone need no code, here or where they are loaded.
    export(best, folder / "digits.safetensors")

    # Each file is run by its own runtime and compared with the checkpoint's model before it takes its name.
    whole = export(best, folder / "digits.onnx", model=Digits)
    small = export(best, folder / "digits-int8.onnx", model=Digits, int8=True, inputs=images[:200])

    for done in (whole, small):
        session = onnxruntime.InferenceSession(done.path)
        (logits,) = session.run(None, {"image": images})
        accuracy = (logits.argmax(1) == labels).mean()
        print(f"{done.path.name}: {done.size} bytes, relative difference {done.relative:.1g}, accuracy {accuracy:.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
