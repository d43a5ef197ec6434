"""Prelinks TensorFlow's shared libraries: relocations against their own symbols become relative.

-Bsymbolic would have made them so when the libraries were linked. Without it, a C++ library that exports everything is
resolved symbol by symbol when it is loaded, though nearly all of its symbols are its own: TensorFlow's has 427,000 such
relocations, with names of 82 MB. This turns each one into the address that it resolves to (R_X86_64_RELATIVE), and
keeps only the names that are still looked up: those that another of TensorFlow's libraries has too, and the C API's.
The same functions are called as before: a library's own definitions precede those of the libraries that it needs, and
neither Python nor the C and C++ libraries define any of these names.

x86-64 only; the GNU hash table has the form that the GNU and LLVM linkers write.
"""

from __future__ import annotations

import struct
from collections.abc import Set
from pathlib import Path

import numpy as np

from tools.package import elf
from tools.package.elf import LayoutError, Library

_PAGE = 0x1000


class _Strings:
    """A string table under construction, with each string once."""

    def __init__(self) -> None:
        self.data, self._places = bytearray(b"\0"), {b"": 0}

    def add(self, text: bytes) -> int:
        if text not in self._places:
            self._places[text] = len(self.data)
            self.data += text + b"\0"
        return self._places[text]


def names(path: Path) -> tuple[set[bytes], set[bytes]]:
    """Return the names that a library defines, and those that it needs from others; raises LayoutError."""
    library = Library.read(path)
    symbols = library.symbols()
    is_defined = symbols["section"] != 0
    defined, needed = (
        {library.string(int(offset)) for offset in symbols["name"][which]} for which in (is_defined, ~is_defined)
    )
    return defined, needed


def prelink_pair(library: Path, needed: Path, prefix: bytes) -> None:
    """Prelink, in place, a library and one that it needs and is loaded with.

    Names that start with a prefix can still be looked up. Raises LayoutError, and leaves both files as they were, for
    libraries with another layout than this module knows.
    """
    defined, imported = names(library)
    contents = [
        _prelinked(library, set().union(*names(needed)), frozenset(), prefix),
        # What both define is the library's, which is searched first: it must still be looked up.
        _prelinked(needed, defined | imported, defined, prefix),
    ]
    for path, content in zip((library, needed), contents, strict=True):
        path.write_bytes(content)


def _prelinked(path: Path, asked_for: Set[bytes], elsewhere: Set[bytes], prefix: bytes) -> bytes:
    library = Library.read(path)
    symbols = library.symbols()
    texts = [library.string(int(offset)) for offset in symbols["name"]]
    relocations = _relocations(library)
    own = _resolvable(relocations, symbols)
    own &= ~np.array([text in elsewhere for text in texts])[relocations["symbol"]]
    value = symbols["value"][relocations["symbol"][own]].astype(np.int64)
    relocations["addend"][own] = value + np.where(relocations["type"][own] == elf.R_64, relocations["addend"][own], 0)
    relocations["type"][own], relocations["symbol"][own] = elf.R_RELATIVE, 0

    kept = np.array([text in asked_for or text.startswith(prefix) for text in texts]) & (symbols["section"] != 0)
    kept[relocations["symbol"]] = True
    order, hash_table = _hash(texts, symbols, kept)
    numbers = np.zeros(len(symbols), np.uint32)
    numbers[order] = np.arange(len(order))
    relocations["symbol"] = numbers[relocations["symbol"]]
    _write_relocations(library, relocations)
    return _moved_together(library, symbols[order], order, hash_table)


def _relocations(library: Library) -> np.ndarray:
    start, size = library.get(elf.DT_RELA), library.get(elf.DT_RELASZ)
    if library.get(elf.DT_JMPREL) != start + size:
        raise LayoutError("its two tables of relocations are apart")
    count = (size + library.get(elf.DT_PLTRELSZ)) // elf.RELOCATION.itemsize
    return np.frombuffer(library.data, elf.RELOCATION, count, library.offset_of(start)).copy()


def _resolvable(relocations: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    symbol = symbols[relocations["symbol"]]
    kind, binding = symbol["info"] & 15, symbol["info"] >> 4
    return (
        np.isin(relocations["type"], (elf.R_64, elf.R_GLOB_DAT, elf.R_JUMP_SLOT))
        & (symbol["section"] != 0)
        & (symbol["section"] != elf.SHN_ABS)
        & ~np.isin(kind, (elf.STT_TLS, elf.STT_IFUNC))
        & (binding != elf.STB_GNU_UNIQUE)
    )


def _hash(texts: list[bytes], symbols: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Return the new order of the kept symbols, and the GNU hash table of those that are defined."""
    undefined = np.flatnonzero(kept & (symbols["section"] == 0))
    defined = np.flatnonzero(kept & (symbols["section"] != 0))
    hashes = np.array([_gnu_hash(texts[index]) for index in defined], np.uint32)
    buckets = max(1, len(defined) // 2)
    by_bucket = np.argsort(hashes % buckets, kind="stable")
    defined, hashes = defined[by_bucket], hashes[by_bucket]
    bucket = hashes % buckets

    shift, words = 26, 1 << max(0, (len(defined) // 8).bit_length())
    bloom = np.zeros(words, np.uint64)
    word = hashes // 64 % words
    for bits in (hashes, hashes >> shift):
        np.bitwise_or.at(bloom, word, np.uint64(1) << (bits % 64).astype(np.uint64))

    first = np.zeros(buckets, np.uint32)  # 0 for an empty one
    starts = np.flatnonzero(np.diff(bucket.astype(np.int64), prepend=-1))
    first[bucket[starts]] = len(undefined) + starts
    is_last = np.diff(bucket.astype(np.int64), append=-1) != 0
    chain = (hashes & ~np.uint32(1)) | is_last.astype(np.uint32)
    head = struct.pack("<4I", buckets, len(undefined), words, shift)
    table = b"".join([head, bloom.tobytes(), first.tobytes(), chain.astype(np.uint32).tobytes()])
    return np.concatenate([undefined, defined]), table


def _gnu_hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _write_relocations(library: Library, relocations: np.ndarray) -> None:
    """Write them in the order that the dynamic linker needs: relative ones, others by symbol, lazily bound ones."""
    relative = relocations[relocations["type"] == elf.R_RELATIVE]
    relative = relative[np.argsort(relative["offset"], kind="stable")]
    lazy_before = np.arange(len(relocations)) - library.get(elf.DT_RELASZ) // elf.RELOCATION.itemsize
    is_lazy = relocations["type"] == elf.R_JUMP_SLOT
    rest = relocations[(relocations["type"] != elf.R_RELATIVE) & ~is_lazy]
    rest = rest[np.argsort(rest["symbol"], kind="stable")]
    lazy = relocations[is_lazy]
    for index, (slot, before) in enumerate(zip(lazy["offset"], lazy_before[is_lazy], strict=True)):
        _renumber_stub(library, int(slot), int(before), index)
    start = library.offset_of(library.get(elf.DT_RELA))
    table = np.concatenate([relative, rest, lazy]).tobytes()
    library.data[start : start + len(table)] = table
    size = (len(relative) + len(rest)) * elf.RELOCATION.itemsize
    library.set(elf.DT_RELACOUNT, len(relative))
    library.set(elf.DT_RELASZ, size)
    library.set(elf.DT_JMPREL, library.get(elf.DT_RELA) + size)
    library.set(elf.DT_PLTRELSZ, len(lazy) * elf.RELOCATION.itemsize)


def _renumber_stub(library: Library, slot: int, before: int, index: int) -> None:
    """Change the relocation's number that a stub of the procedure linkage table pushes; its slot holds its address."""
    push = library.offset_of(struct.unpack_from("<Q", library.data, library.offset_of(slot))[0])
    if library.data[push] != 0x68 or struct.unpack_from("<I", library.data, push + 1)[0] != before:
        raise LayoutError("its procedure linkage table has another form")
    struct.pack_into("<I", library.data, push + 1, index)


def _moved_together(library: Library, symbols: np.ndarray, order: np.ndarray, hash_table: bytes) -> bytes:
    """Return the file with the small tables in place of the large ones, and the gap after them cut out."""
    strings = _Strings()
    symbols = symbols.copy()
    symbols["name"] = [strings.add(library.string(int(offset))) for offset in symbols["name"]]
    versions = np.frombuffer(library.data, "<u2", int(order.max()) + 1, library.offset_of(library.get(elf.DT_VERSYM)))[
        order
    ]
    tables = [
        (elf.DT_SYMTAB, symbols.tobytes()),
        (elf.DT_VERSYM, versions.tobytes()),
        (elf.DT_VERNEED, _versions(library, strings, elf.DT_VERNEED, elf.DT_VERNEEDNUM, 16, 4)),
        (elf.DT_GNU_HASH, hash_table),
    ]
    if library.has(elf.DT_VERDEF):
        tables.append((elf.DT_VERDEF, _versions(library, strings, elf.DT_VERDEF, elf.DT_VERDEFNUM, 20, None)))
    _move_strings(library, strings)
    tables.append((elf.DT_STRTAB, bytes(strings.data)))

    old_tables = [library.get(tag) for tag, _ in tables]
    if library.segments["type"][0] != elf.PT_PHDR or max(old_tables) > library.get(elf.DT_RELA):
        raise LayoutError("its tables stand in another order")
    front = bytearray(elf.HEADER_BYTES + (len(library.segments) + 1) * elf.SEGMENT.itemsize)
    for tag, content in tables:
        front += bytes(-len(front) % 8)
        library.set(tag, len(front))
        front += content
    library.set(elf.DT_STRSZ, len(strings.data))
    return _joined(library, front)


def _move_strings(library: Library, strings: _Strings) -> None:
    """Have the dynamic section's own strings refer to the new table."""
    for entry in library.tags[np.isin(library.tags["tag"], (elf.DT_NEEDED, elf.DT_SONAME, elf.DT_RUNPATH))]:
        moved = strings.add(library.string(int(entry["value"])))
        library.tags["value"][(library.tags == entry)] = moved


def _versions(library: Library, strings: _Strings, tag: int, count: int, size: int, name_at: int | None) -> bytes:
    """Return a table of defined or needed versions, with the new places of its names."""
    start = library.offset_of(library.get(tag))
    table, place, end = library.data, start, start
    result: dict[int, bytes] = {}
    for _ in range(library.get(count)):
        entry = bytearray(table[place : place + size])
        if name_at is not None:
            struct.pack_into("<I", entry, name_at, strings.add(library.string(struct.unpack_from("<I", entry, 4)[0])))
        result[place] = bytes(entry)
        parts = struct.unpack_from("<H", entry, 6 if name_at is None else 2)[0]
        part_at, following = struct.unpack_from("<II", entry, size - 8)
        part = place + part_at
        for _ in range(parts):
            part_size, at = (8, 0) if name_at is None else (16, 8)
            item = bytearray(table[part : part + part_size])
            struct.pack_into("<I", item, at, strings.add(library.string(struct.unpack_from("<I", item, at)[0])))
            result[part] = bytes(item)
            end = max(end, part + part_size)
            part += struct.unpack_from("<I", item, part_size - 4)[0]
        end = max(end, place + size)
        place += following
    content = bytearray(table[start:end])
    for at, entry_or_item in result.items():
        content[at - start : at - start + len(entry_or_item)] = entry_or_item
    return bytes(content)


def _joined(library: Library, front: bytearray) -> bytes:
    """Return the header, the table of segments, the front, and the rest from the relocations' page on unchanged."""
    resumes = library.get(elf.DT_RELA) // _PAGE * _PAGE
    front_end = -(-len(front) // _PAGE) * _PAGE
    cut = resumes - front_end
    if cut <= 0:
        raise LayoutError("there is nothing to gain")
    segments = library.segments
    first = int(np.flatnonzero(segments["type"] == elf.PT_LOAD)[0])
    if (
        segments["offset"][first]
        or segments["address"][first]
        or (segments["align"][segments["type"] == 1] != _PAGE).any()
    ):
        raise LayoutError("its segments are aligned in another way")
    second = segments[first].copy()
    second["offset"] = second["address"] = second["physical"] = resumes
    second["file_size"] = second["memory_size"] = segments["file_size"][first] - resumes
    segments["file_size"][first] = segments["memory_size"][first] = len(front)
    segments = np.insert(segments, first + 1, second)
    end = int(max(segments["offset"] + segments["file_size"]))
    [dynamic] = segments[segments["type"] == elf.PT_DYNAMIC]
    tags = library.tags.tobytes()
    library.data[int(dynamic["offset"]) : int(dynamic["offset"]) + len(tags)] = tags

    segments["offset"][segments["offset"] >= resumes] -= np.uint64(cut)
    segments["file_size"][0] = segments["memory_size"][0] = len(segments) * elf.SEGMENT.itemsize
    front[: elf.HEADER_BYTES] = _header(library, segments)
    front[elf.HEADER_BYTES : elf.HEADER_BYTES + len(segments) * elf.SEGMENT.itemsize] = segments.tobytes()
    return bytes(front) + bytes(front_end - len(front)) + bytes(library.data[resumes:end])


def _header(library: Library, segments: np.ndarray) -> bytearray:
    header = bytearray(library.data[: elf.HEADER_BYTES])
    struct.pack_into("<Q", header, 40, 0)  # no section headers, which the dynamic linker does not read
    struct.pack_into("<H", header, 56, len(segments))
    struct.pack_into("<HH", header, 60, 0, 0)
    return header
