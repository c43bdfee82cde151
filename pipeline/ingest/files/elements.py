"""Big JSON values cut at their commas: the elements of a list, the members of an object, without parsing what is inside.

Only quotes, brackets, commas and colons are looked at, a block at a time, so that one bad element is one bad row and a file
of any size takes a few blocks of memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.errors import UnreadableFileError

BLOCK_BYTES: Final = 8 << 20
FIRST_BYTES: Final = 1 << 20  # the first block is smaller: who only wants to know the layout reads no more
LONGEST_ELEMENT: Final = 256 << 20
_MOST_MEMBERS: Final = 100_000
_QUOTE, _COMMA, _COLON = b'",:'
_STEP: Final = np.zeros(256, np.int8)
_STEP[[*b"[{"]], _STEP[[*b"]}"]] = 1, -1
_MARKS: Final = bytes(code in b'"[]{},:' for code in range(256))
_SPACE: Final = b" \t\r\n"


@dataclass
class Member:
    """One member of a JSON object.

    Attributes:
        number: its place among them, from 0.
        key: its name, as JSON text.
        start: bytes of the plain file before its value.
        opens: `[` for a list, `{` for an object, nothing for a scalar.
        elements: how many elements a list has that is not empty.
    """

    number: int
    key: str
    start: int
    opens: str
    elements: int = 0


class _Marks:
    """Finds the marks outside strings, block after block: how deep the value is nested and whether a string is open."""

    def __init__(self) -> None:
        self.depth, self._in_string = 0, 0

    def of(self, block: bytes) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Position, byte and depth after it, of each mark; a block may not end within an escape."""
        if b"\\" in block:
            block = block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        places = np.flatnonzero(np.frombuffer(block.translate(_MARKS), np.bool_))
        marks = np.frombuffer(block, np.uint8)[places]
        inside = (np.cumsum(marks == _QUOTE) + self._in_string) & 1
        self._in_string = int(inside[-1]) if len(inside) else self._in_string
        outside = (inside == 0) & (marks != _QUOTE)
        places, marks = places[outside], marks[outside]
        depths = np.cumsum(_STEP[marks], dtype=np.int64) + self.depth
        self.depth = int(depths[-1]) if len(depths) else self.depth
        return places, marks, depths


def _blocks(file: IO[bytes], size: int, first: int = FIRST_BYTES) -> Iterator[bytes]:
    """The bytes of a file, never cut between a backslash and what it escapes."""
    held = b""
    wanted = min(size, first)
    while block := file.read(wanted):
        wanted = size
        block = held + block
        odd = (len(block) - len(block.rstrip(b"\\"))) % 2
        held = block[len(block) - odd :]
        if whole := block[: len(block) - odd]:
            yield whole
    if held:
        yield held


def read_elements(
    file: IO[bytes], place: str, size: int = BLOCK_BYTES, *, first: int = FIRST_BYTES, alone: bool = True
) -> Iterator[pl.Series]:
    """The elements of a JSON list, as bytes with the blanks around them.

    Args:
        file: stands before the list's bracket.
        place: for messages.
        size: bytes read at once.
        first: bytes read the first time.
        alone: whether nothing may follow the list.

    Yields:
        Binary series: the elements that end in one block.

    Raises:
        UnreadableFileError: the list does not end, something follows it, or an element is longer than 256 MB.
    """
    marks, waiting, some, closed = _Marks(), list[bytes](), False, False
    for block in _blocks(file, size, first):
        if closed:
            _nothing_follows(block, place)
            continue
        begin = 0 if marks.depth else block.find(b"[") + 1
        if not marks.depth and not begin:
            continue  # blanks before it
        places, kinds, depths = marks.of(block)
        ends = places[depths == 0]
        closed = len(ends) > 0
        cuts = places[(depths == 1) & (kinds == _COMMA)]
        if closed:
            cuts = np.append(cuts[cuts < ends[0]], ends[0])
        if len(cuts):
            held = b"".join(waiting)
            found = _cut(held + block, begin, cuts + len(held))
            empty = closed and not some and len(found) == 1 and not found[0].strip(_SPACE)
            if not empty:
                yield found
            some, waiting, begin = True, [], int(cuts[-1]) + 1
        if closed and not alone:
            return
        if closed:
            _nothing_follows(block[begin:], place)
            continue
        waiting.append(block[begin:])
        if sum(map(len, waiting)) > LONGEST_ELEMENT:
            raise UnreadableFileError(
                f"{place}: an element of its list is longer than {LONGEST_ELEMENT >> 20} MB; expected one JSON object each."
            )
    if not closed:
        raise UnreadableFileError(f"{place}: cannot be read to its end: its JSON list is not closed; it was cut off. Get the file again.")


def _cut(text: bytes, begin: int, cuts: "np.ndarray[Any, Any]") -> pl.Series:
    data: Any = np.frombuffer(bytearray(text), np.uint8)
    data[cuts] = _SPACE[0]  # else the comma would start the next element
    offsets: Any = np.concatenate([[begin], cuts]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pl.Series(pa.Array.from_buffers(pa.large_binary(), len(cuts), buffers))


def _nothing_follows(rest: bytes, place: str) -> None:
    if rest.strip(_SPACE):
        raise UnreadableFileError(
            f"{place}: something follows the end of its JSON list; expected one list, or JSON lines in a .jsonl file."
        )


def members(file: IO[bytes], place: str, size: int = BLOCK_BYTES) -> list[Member]:
    """The members of the one JSON object in a file, in its order.

    Raises:
        UnreadableFileError: the file is not one whole object.
    """
    marks, found = _Marks(), list[Member]()
    before, commas, name, ended = 0, 0, b"", False  # bytes and commas of lists in earlier blocks; the start of a key cut by their end
    naming = False  # between the start of a member and its colon
    for block in _blocks(file, size):
        if ended and block.strip(_SPACE):
            raise _not_whole(place)
        places, kinds, depths = marks.of(block)
        separates = (kinds == _COMMA) & (depths == 2)
        so_far = np.cumsum(separates) + commas
        begin = 0
        for mark in np.flatnonzero((depths <= 1) | ((depths == 2) & (_STEP[kinds] == 1))).tolist():
            at, kind, depth = int(places[mark]), int(kinds[mark]), int(depths[mark])
            if depth == 2 and found and not found[-1].opens:
                found[-1].opens, found[-1].start, found[-1].elements = chr(kind), before + at, -int(so_far[mark])
            elif depth == 1 and kind == _COLON:
                found.append(Member(len(found), (name + block[begin:at]).strip().decode(errors="replace"), before + at + 1, ""))
                name, naming = b"", False
            elif depth == 1 and kind in b"{,":
                name, naming, begin = b"", True, at + 1
            elif depth == 1 and found and found[-1].opens:
                found[-1].elements += int(so_far[mark]) + 1
            elif depth == 0:
                ended = True
                if block[at + 1 :].strip(_SPACE):
                    raise _not_whole(place)
        name += block[begin:] if naming else b""
        before, commas = before + len(block), int(so_far[-1]) if len(so_far) else commas
        if len(found) > _MOST_MEMBERS:
            raise UnreadableFileError(f"{place}: one JSON object of more than {_MOST_MEMBERS} members; expected a list of objects.")
    if not ended:
        raise _not_whole(place)
    return found


def _not_whole(place: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"{place}: is not one whole JSON object; expected a JSON list, an object of columns "
        "or of one list of rows; JSON lines are known by the ending .jsonl."
    )
