"""Reads shared libraries for x86-64: their segments, dynamic section, symbols and relocations, as arrays.

The format: the System V gABI (www.sco.com/developers/gabi) and its x86-64
supplement (gitlab.com/x86-psABIs/x86-64-ABI).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])
SEGMENT = np.dtype(
    [
        *(("type", "<u4"), ("flags", "<u4"), ("offset", "<u8"), ("address", "<u8"), ("physical", "<u8")),
        *(("file_size", "<u8"), ("memory_size", "<u8"), ("align", "<u8")),
    ]
)
TAG = np.dtype([("tag", "<i8"), ("value", "<u8")])

HEADER_BYTES = 64
_X86_64 = 62
PT_LOAD, PT_DYNAMIC, PT_PHDR = 1, 2, 6

# Entries of the dynamic section.
DT_NEEDED, DT_SONAME, DT_RUNPATH = 1, 14, 29
DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_GNU_HASH = 5, 10, 6, 0x6FFFFEF5
DT_RELA, DT_RELASZ, DT_RELACOUNT, DT_JMPREL, DT_PLTRELSZ = 7, 8, 0x6FFFFFF9, 23, 2
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = (0x6FFFFFF0, *range(0x6FFFFFFC, 0x70000000))

# Types of relocations, types and bindings of symbols, and the section of absolute ones.
R_64, R_GLOB_DAT, R_JUMP_SLOT, R_RELATIVE = 1, 6, 7, 8
STT_TLS, STT_IFUNC, STB_GNU_UNIQUE, SHN_ABS = 6, 10, 10, 0xFFF1


class LayoutError(Exception):
    """The library has another layout than this module knows."""


@dataclass
class Library:
    """A library's bytes, and its segments and dynamic section, which may be changed apart from them."""

    data: bytearray
    segments: np.ndarray
    tags: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Library:
        """Read a library; raises LayoutError for any other file."""
        data = bytearray(path.read_bytes())
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", data, 18)[0] != _X86_64:
            raise LayoutError("it is not a 64-bit library for x86-64")
        start, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
        segments = np.frombuffer(data, SEGMENT, count, start).copy()
        [dynamic] = segments[segments["type"] == PT_DYNAMIC]
        tags = np.frombuffer(data, TAG, int(dynamic["file_size"]) // TAG.itemsize, int(dynamic["offset"])).copy()
        return cls(data, segments, tags)

    def get(self, tag: int) -> int:
        """Return the value of an entry of the dynamic section; raises LayoutError unless there is exactly one."""
        values = self.tags["value"][self.tags["tag"] == tag]
        if len(values) != 1:
            raise LayoutError(f"it has {len(values)} entries {tag:#x} in its dynamic section")
        return int(values[0])

    def set(self, tag: int, value: int) -> None:
        """Change an entry of the dynamic section."""
        self.tags["value"][self.tags["tag"] == tag] = value

    def offset_of(self, address: int) -> int:
        """Return where in the file an address is loaded from."""
        for segment in self.segments[self.segments["type"] == PT_LOAD]:
            if segment["address"] <= address < segment["address"] + segment["file_size"]:
                return int(address - segment["address"] + segment["offset"])
        raise LayoutError(f"address {address:#x} is in no segment")

    def symbols(self) -> np.ndarray:
        """Return the dynamic symbols; raises LayoutError where their number can't be determined."""
        # Their number is not stored; the names follow them, with only versions and the hash table between.
        start = self.offset_of(self.get(DT_SYMTAB))
        end = self.offset_of(min(self.get(tag) for tag in (DT_VERSYM, DT_GNU_HASH, DT_STRTAB) if self.has(tag)))
        if end <= start:
            raise LayoutError("its symbol table does not come first")
        return np.frombuffer(self.data, SYMBOL, (end - start) // SYMBOL.itemsize, start).copy()

    def has(self, tag: int) -> bool:
        """Return whether the dynamic section has such an entry."""
        return tag in self.tags["tag"]

    def string(self, offset: int) -> bytes:
        """Return a string of the dynamic string table."""
        start = self.offset_of(self.get(DT_STRTAB)) + offset
        return bytes(self.data[start : self.data.index(0, start)])
