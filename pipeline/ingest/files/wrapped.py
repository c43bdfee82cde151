"""A JSON object around the rows: `{"version": 1, "data": [{...}, ...]}`."""

import io
import json
from typing import Final

import ijson

from pipeline.errors import UnreadableFileError
from pipeline.ingest.aliases import SIDES, SLOTS, plain
from pipeline.ingest.files.elements import Member, members
from pipeline.ingest.files.sources import open_plain, skip

DEPTH: Final = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}  # what an event of ijson does to the nesting
_PEEK_BYTES: Final = 1 << 20
_ANSWERS: Final = tuple({*SLOTS[side]} for side in ("chosen", "rejected"))


def rows_member(place: str) -> Member | None:
    """The member whose list holds the rows of a file that is one JSON object; None when it is columns or one record.

    Raises:
        UnreadableFileError: several lists could be the rows, or the file is not one whole object.
    """
    with open_plain(place) as file:
        found = members(file, place)
    if _are_columns(found) or _is_record({plain(_name(one)) for one in found}):
        return None
    lists = [one for one in found if one.opens == "[" and _holds_rows(place, one)]
    if len(lists) > 1:
        names = ", ".join(f"{_name(one)} ({one.elements})" for one in lists)
        raise UnreadableFileError(
            f"{place}: an object with several lists of objects: {names}; expected one, which holds the rows. "
            "Write each list to a file of its own."
        )
    return lists[0] if lists else None


def _name(member: Member) -> str:
    return str(json.loads(member.key))


def _are_columns(found: list[Member]) -> bool:
    return len(found) > 1 and {one.opens for one in found} == {"["} and len({one.elements for one in found}) == 1


def _is_record(names: set[str]) -> bool:
    """Whether answers stand in the object itself: its lists are then messages or votes."""
    return all(names & side for side in _ANSWERS) or any({a, b} <= names for a, b in SIDES)


def _holds_rows(place: str, member: Member) -> bool:
    """Whether a list's first element is an object that is not a message."""
    with open_plain(place) as file:
        skip(file, member.start)
        head = file.read(_PEEK_BYTES)
    keys, depth = set[str](), 0
    try:
        for event, value in ijson.basic_parse(io.BytesIO(head)):
            depth += DEPTH.get(event, 0)
            if event == "map_key" and depth == 2:
                keys.add(str(value))
            elif depth < 2 and event != "start_array":
                break  # the end of the first element, or one that is no object
    except ijson.JSONError:
        return _not_a_message(keys)  # the first element is longer than what was read, or wrong: what is known decides
    return _not_a_message(keys)


def _not_a_message(keys: set[str]) -> bool:
    return bool(keys) and not ({"role", "from"} & keys and {"content", "value"} & keys)
