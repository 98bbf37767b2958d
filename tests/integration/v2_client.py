"""Asks a server of the v2 protocol for outputs of conformance rows, with Triton's own client.

Runs in the environment of MLServer: v2_client.py ADDRESS MODEL CONFORMANCE CONFIG OUTPUTS
"""

import json
import sys
from pathlib import Path

import numpy as np
from google.protobuf import json_format, text_format
from tritonclient.grpc import InferenceServerClient, InferInput, model_config_pb2

BUILDERS = {
    "TYPE_FP32": lambda values: np.array(values, np.float32),
    "TYPE_STRING": lambda values: np.array([value or "" for value in values], object),
}


def main(address: str, model: str, conformance: str, config: str, outputs: str) -> None:
    asked = text_format.Parse(Path(config).read_text(), model_config_pb2.ModelConfig())
    rows = json.loads(Path(conformance).read_text())["inputs"]
    inputs = [column(tensor, rows[tensor.name]) for tensor in asked.input]
    with InferenceServerClient(address) as client:
        answer = client.infer(model, inputs)
        metadata = client.get_model_metadata(model, as_json=True)
    np.savez(outputs, **{each.name: answer.as_numpy(each.name) for each in asked.output})
    sys.stdout.write(json.dumps({"config": json_format.MessageToDict(asked), "metadata": metadata}))


def column(tensor, values) -> InferInput:
    kind = model_config_pb2.DataType.Name(tensor.data_type)
    array = BUILDERS[kind](values).reshape(-1, *tensor.dims[1:])
    datatype = {"TYPE_FP32": "FP32", "TYPE_STRING": "BYTES"}[kind]
    wanted = InferInput(tensor.name, array.shape, datatype)
    wanted.set_data_from_numpy(array)
    return wanted


main(*sys.argv[1:])
