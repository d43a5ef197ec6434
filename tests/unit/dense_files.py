"""A model of one Dense, in every format that Keras has had, with further layers: written without Keras."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Node = dict[str, Any]


def layer(class_name: str, module_: str = "keras.layers", /, **config: Any) -> Node:
    return {"module": module_, "class_name": class_name, "config": {"name": "x", **config}, "registered_name": None}


@dataclass(frozen=True)
class Format:
    """A model of one Dense in a format: how its files are written, and where its kernel is."""

    keras_version: str
    suffix: str
    kernel: str

    def write(
        self, folder: Path, nodes: Sequence[Node] = (), tamper: Callable[[h5py.Group], object] | None = None
    ) -> None:
        """Write the model with further layers; ``tamper`` may change the group and name of its kernel."""
        folder.mkdir(exist_ok=True)
        description = self._description(nodes)
        weights = folder / ("weights.tmp" if self.suffix == ".keras" else "model.h5")
        with h5py.File(weights, "w") as file:
            self._write_weights(file)
            if self.suffix == ".h5":
                file.attrs["model_config"] = json.dumps(description)
            if tamper:
                group = file[self.kernel].parent
                del file[self.kernel]
                tamper(group)
        if self.suffix == ".json":
            (folder / "model.json").write_text(json.dumps(description))
        if self.suffix == ".keras":
            with zipfile.ZipFile(folder / "model.keras", "w") as archive:
                archive.writestr("metadata.json", json.dumps({"keras_version": self.keras_version}))
                archive.writestr("config.json", json.dumps(description))
                archive.write(weights, "model.weights.h5")
            weights.unlink()

    @property
    def name_of_kernel(self) -> str:
        return self.kernel.rpartition("/")[2]

    def _description(self, nodes: Sequence[Node]) -> Node:
        shape = "batch_shape" if self.keras_version.startswith("3") else "batch_input_shape"
        first = layer("InputLayer", dtype="float32", **{shape: [None, 2]})
        layers = [first, *nodes, layer("Dense", units=1, name="dense")]
        description = {**layer("Sequential", "keras", layers=layers), "keras_version": self.keras_version}
        if self.keras_version < "2.12":  # before modules were written
            for node in (*layers, description):
                node.pop("module", None)
        return description

    def _write_weights(self, file: h5py.File) -> None:
        if self.suffix == ".keras":
            file.create_group("vars")
            file.create_group("layers/input_layer/vars")
            file["layers/dense/vars/0"] = np.ones((2, 1), np.float32)
            file["layers/dense/vars/1"] = np.ones(1, np.float32)
            return
        group = file.create_group("model_weights") if self.suffix == ".h5" else file
        group.attrs.update({"keras_version": self.keras_version, "backend": "tensorflow", "layer_names": [b"dense"]})
        dense = group.create_group("dense")
        dense.attrs["weight_names"] = [b"dense/kernel:0", b"dense/bias:0"]
        dense["dense/kernel:0"] = np.ones((2, 1), np.float32)
        dense["dense/bias:0"] = np.ones(1, np.float32)


FORMATS = {
    ".keras of Keras 3": Format("3.15.1", ".keras", "layers/dense/vars/0"),
    ".keras of Keras 2": Format("2.15.0", ".keras", "layers/dense/vars/0"),
    "whole .h5 of Keras 3": Format("3.15.1", ".h5", "model_weights/dense/dense/kernel:0"),
    "whole .h5 of Keras 2": Format("2.15.0", ".h5", "model_weights/dense/dense/kernel:0"),
    "whole .h5 of 2017": Format("2.0.8", ".h5", "model_weights/dense/dense/kernel:0"),
    "model.json + .h5 of Keras 3": Format("3.15.1", ".json", "dense/dense/kernel:0"),
    "model.json + .h5 of Keras 2": Format("2.15.0", ".json", "dense/dense/kernel:0"),
    "model.json + .h5 of 2017": Format("2.0.8", ".json", "dense/dense/kernel:0"),
}
