"""Keras weights as an HDF5 file that Keras 1, 2 (``tf_keras``) and 3 can read.

Keras 3 reads this layout if the file's name ends in plain ``.h5``, but no longer writes it. Source:
``save_weights_to_hdf5_group`` in ``keras/src/legacy/saving/legacy_h5_format.py``.

    /                      attributes layer_names, backend, keras_version
    /<layer>               attribute weight_names
    /<layer>/<weight name> one array; its name repeats the layer's, as in /hidden/hidden/kernel
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import h5py
import numpy as np


def encode(layers: Mapping[str, Mapping[str, np.ndarray]], keras_version: str) -> bytes:
    """Return the file with each layer's arrays by weight name; layers and weights keep their order.

    Suits models of up to some hundred layers: their names must fit into one HDF5 attribute of at most 64 kB.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        # Determines the memory layout of convolution kernels; Keras has always written this one since version 2.
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = keras_version.encode()
        for layer_name, weights in layers.items():
            group = file.create_group(layer_name)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for weight_name, values in weights.items():
                group.create_dataset(weight_name, data=values)
    return buffer.getvalue()
