"""ONNX files with weights of 8 bits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .onnx_runtime import OnnxModel


def quantize_file(path: Path, names: Sequence[str], calibration: Sequence[np.ndarray] | None) -> None:
    """Quantize a model in place.

    Args:
        path: The file.
        names: The names of its inputs, if it may have them in another order.
        calibration: Inputs, in order, whose activations set the ranges (static quantization, per channel, symmetric as
            TensorRT needs it); None to find the ranges at each call (dynamic quantization).
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    # With 8 bits, sums of products overflow on processors without VNNI, and the result is far off; 7 are right on all.
    weights: dict[str, Any] = {"per_channel": True, "weight_type": QuantType.QInt8, "reduce_range": True}
    quantized = path.with_name(f"{path.name}.int8")
    if calibration is None:
        quantize_dynamic(path, quantized, **weights)
    else:
        feeds = OnnxModel(path, names).feeds(calibration)
        quantize_static(
            path, quantized, _once(feeds), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True}, **weights,
        )  # fmt: skip
    os.replace(quantized, path)


def _once(calibration: Mapping[str, np.ndarray]) -> object:
    """Return a reader of calibration data that yields the inputs once."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[dict[str, np.ndarray]] = iter([dict(calibration)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    return Reader()
