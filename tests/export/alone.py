"""Exported files, opened by their own runtime where neither this package nor the model's code can be imported."""

import subprocess
import sys

import numpy as np

BLOCK = """
import sys
sys.modules.update(dict.fromkeys(("ckpt_callbacks", "lightning", "tests", *sys.argv[4:])))
import numpy as np
path, given, made = sys.argv[1:4]
named = dict(np.load(given).items())
inputs = list(named.values())
def feed(names):
    return {name: named.get(name, value) for name, value in zip(names, inputs)}
"""
SAVE = "\nnp.savez(made, *[np.asarray(value) for value in outputs])\n"
TORCH = """
tensors = list(map(torch.from_numpy, inputs))
outputs = [module(tensors if len(tensors) > 1 else tensors[0]).detach()]
"""
RUNTIMES = {
    ".onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
outputs = session.run(None, feed([entry.name for entry in session.get_inputs()]))
""",
    ".pt2": f"import torch\nmodule = torch.export.load(path).module()\n{TORCH}",
    ".torchscript": f"import torch\nmodule = torch.jit.load(path)\n{TORCH}",
    ".tflite": """
from ai_edge_litert.interpreter import Interpreter
runner = Interpreter(path).get_signature_runner()
outputs = [value for _, value in sorted(runner(**feed(runner.get_input_details())).items())]
""",
    ".keras": """
import keras
outputs = keras.tree.flatten(keras.models.load_model(path)(inputs if len(inputs) > 1 else inputs[0]))
outputs = [keras.ops.convert_to_numpy(output) for output in outputs]
""",
}
RUNTIMES[".h5"] = RUNTIMES[".keras"]


def outputs_of(path, inputs, *blocked):
    """Return what a file computes, as its runtime alone does.

    Args:
        path: The file.
        inputs: Its inputs, in order, by name.
        blocked: Further modules that the process cannot import.
    """
    given, made = path.with_name("given.npz"), path.with_name("made.npz")
    np.savez(given, **inputs)
    code = BLOCK + RUNTIMES[path.suffix] + SAVE
    command = [sys.executable, "-I", "-W", "ignore", "-c", code, str(path), str(given), str(made), *blocked]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(made) as file:
        found = [file[f"arr_{number}"] for number in range(len(file.files))]
    given.unlink()
    made.unlink()
    return found


def distance(expected, found):
    """Return the largest difference of outputs, relative to the largest value of each."""
    assert [x.shape for x in expected] == [x.shape for x in found]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, found, strict=True))
