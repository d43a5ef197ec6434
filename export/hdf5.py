"""Checks of an HDF5 file before Keras or anything else reads data from it.

HDF5 can refer to other files (external links, external storage, virtual datasets) and can declare far more data than
it stores. A Keras model needs none of that: it is groups, datasets and attributes, by hard links only.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from serving.models.export_record import SourceError

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html, "Superblock"

_MOST_OBJECTS = 200_000
_MOST_DEPTH = 64
_LARGEST_ATTRIBUTE_BYTES = 64 * 2**20  # a whole model's architecture is one

# Trained weights hardly compress, but zeros do; a bomb declares a thousand times what it stores.
_FREE_BYTES = 256 * 2**20
_LARGEST_RATIO = 32


def check(path: Path) -> None:
    """Raise SourceError where a file has anything but hard links to data stored in itself."""
    try:
        with h5py.File(path, "r") as file:
            _Walk().group(file.id, "/", 0)
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{path} is not a readable HDF5 file: {_one_line(error)}") from error


class _Walk:
    """One pass over all objects of a file."""

    def __init__(self) -> None:
        self._seen: set[object] = set()
        self._declared = self._stored = 0

    def group(self, group: h5py.h5g.GroupID, name: str, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise SourceError(f"its groups are nested more than {_MOST_DEPTH} deep at {name[:80]}")
        self._attributes(group, name)
        for link in group:
            child = f"{name.rstrip('/')}/{link.decode(errors='replace')}"
            if group.links.get_info(link).type != h5py.h5l.TYPE_HARD:
                raise SourceError(f"{child} is a soft or external link, which is not allowed")
            self._object(h5py.h5o.open(group, link), child, depth)

    def _object(self, item: h5py.h5g.ObjectID, name: str, depth: int) -> None:
        address = h5py.h5o.get_info(item).addr
        if address in self._seen:
            return
        self._seen.add(address)
        if len(self._seen) > _MOST_OBJECTS:
            raise SourceError(f"it holds more than {_MOST_OBJECTS:,} objects")
        if isinstance(item, h5py.h5g.GroupID):
            self.group(item, name, depth + 1)
        elif isinstance(item, h5py.h5d.DatasetID):
            self._dataset(item, name)
            self._attributes(item, name)

    def _dataset(self, dataset: h5py.h5d.DatasetID, name: str) -> None:
        properties = dataset.get_create_plist()
        if properties.get_external_count():
            raise SourceError(f"{name} keeps its data in another file, which is not allowed")
        if properties.get_layout() == h5py.h5d.VIRTUAL:
            raise SourceError(f"{name} is a virtual dataset, which is not allowed: its data may be in another file")
        self._declared += int(np.prod(dataset.shape, dtype=object)) * dataset.get_type().get_size()
        self._stored += dataset.get_storage_size()
        if self._declared > _FREE_BYTES + _LARGEST_RATIO * self._stored:
            raise SourceError(
                f"its datasets up to {name} declare {self._declared:,} bytes, but store only {self._stored:,}"
            )

    def _attributes(self, item: h5py.h5g.ObjectID, name: str) -> None:
        for index in range(h5py.h5a.get_num_attrs(item)):
            attribute = h5py.h5a.open(item, index=index)
            size = int(np.prod(attribute.shape, dtype=object)) * attribute.get_type().get_size()
            if size > _LARGEST_ATTRIBUTE_BYTES:
                raise SourceError(
                    f"the attribute {attribute.name.decode(errors='replace')!r} of {name} is larger than "
                    f"{_LARGEST_ATTRIBUTE_BYTES:,} bytes"
                )


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
