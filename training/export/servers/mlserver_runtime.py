"""Serves the ONNX model of this folder with MLServer; needs mlserver and onnxruntime, nothing else."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    RequestInput,
    ResponseOutput,
)

_DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}


class OnnxModel(MLModel):
    """`1/model.onnx`, with the names, types and shapes that the graph declares, as Triton has them."""

    async def load(self) -> bool:
        """Open the graph."""
        self._session = ort.InferenceSession(Path(self.settings.parameters.uri) / "1/model.onnx")
        self.inputs = [_metadata(tensor) for tensor in self._session.get_inputs()]
        self.outputs = [_metadata(tensor) for tensor in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the graph once; all outputs, unless the request names some."""
        feeds = {tensor.name: _array(tensor) for tensor in payload.inputs}
        names = [tensor.name for tensor in payload.outputs or self.outputs]
        found = self._session.run(names, feeds)
        outputs = [_output(name, values) for name, values in zip(names, found, strict=True)]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)


def _metadata(tensor: ort.NodeArg) -> MetadataTensor:
    """A tensor of the graph; -1 stands for any number of rows."""
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    return MetadataTensor(name=tensor.name, datatype=_DATATYPES[tensor.type], shape=shape)


def _array(tensor: RequestInput) -> np.ndarray:
    """The values of an input; null, which JSON has for NaN, is NaN."""
    if tensor.datatype == "BYTES":
        texts = [text.decode() if isinstance(text, bytes) else text for text in tensor.data]
        return np.array(texts, object).reshape(tensor.shape)
    return np.array(list(tensor.data), np.float32).reshape(tensor.shape)


def _output(name: str, values: np.ndarray) -> ResponseOutput:
    datatype = "INT64" if values.dtype == np.int64 else "FP32"
    return ResponseOutput(
        name=name, datatype=datatype, shape=list(values.shape), data=values.ravel().tolist()
    )
