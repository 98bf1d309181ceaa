"""Who else holds an object: all that is decided by counting references, and a check at import that the counts are right.

CPython counts exactly, but how many references looking itself adds (names, the pair of a loop, the argument of
`sys.getrefcount`) differs between its versions.  So it is measured, by the code that looks, on objects whose owners are
known.  Where that fails (an interpreter that does not count, or counts otherwise) everything counts as held by somebody:
values are then kept, copied or computed once too often, and never wrongly.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

_count: Callable[[Any], int] = getattr(sys, "getrefcount", lambda _: sys.maxsize)


def keys_held(uses: Mapping[Any, int], left_out: Collection[Any] = (), own: int | None = None) -> list[Any]:
    """The records among the keys, with inputs, that somebody holds beside this mapping and the `uses[r]` counted users."""
    own = _KEYS if own is None else own
    return [r for r, n in uses.items() if r.inputs and r not in left_out and _count(r) > n + own]


def places_held(order: Sequence[Any], places: Sequence[int], uses: Sequence[int], own: int | None = None) -> list[int]:
    """The places n other than 0 whose record `order[n]`, with inputs, somebody holds beside `order`, one table of which it
    is a key, and the `uses[n]` counted users."""
    own = _PLACES if own is None else own
    found = []
    for n in places:
        r = order[n]
        if n and r.inputs and _count(r) > uses[n] + own:
            found.append(n)
    return found


def alone(cell: Any, own: int | None = None) -> bool:
    """Whether nobody beside the cell holds its `owner`."""
    return _count(cell.owner) <= (_ALONE if own is None else own)


# --- how many references looking adds, and whether counting works ----------------------------------------------------------


class _Probe:
    """An object with what the functions above ask for."""

    __slots__ = ("inputs", "owner")

    def __init__(self) -> None:
        self.inputs, self.owner = (None,), object()


HELD = -sys.maxsize  # as if looking took references away: everything is held
_MOST = 16  # references that looking may add; an interpreter that does not count gives more, or always the same


def _of_keys(own: int, held: bool) -> bool:
    users = (_Probe(),)
    other = users[0] if held else None
    found = bool(keys_held({users[0]: 1}, (), own))
    del other
    return found


def _of_places(own: int, held: bool) -> bool:
    order = [_Probe(), _Probe()]
    table = {order[1]: 1}
    users = (order[1],)
    other = order[1] if held else None
    found = bool(places_held(order, (0, 1), (0, 1), own))
    del other, table, users
    return found


def _of_cells(own: int, held: bool) -> bool:
    cell = _Probe()
    other = cell.owner if held else None
    found = not alone(cell, own)
    del other
    return found


def _measured(look: Callable[[int, bool], bool]) -> int:
    """The references that looking adds; HELD where a second holder is not seen."""
    own = next((n for n in range(_MOST) if not look(n, False)), HELD)
    return own if own != HELD and look(own, True) else HELD


def _checked() -> tuple[int, int, int]:
    found = _measured(_of_keys), _measured(_of_places), _measured(_of_cells)
    if HELD in found:
        warnings.warn(
            f"{sys.implementation.name} {sys.version.split()[0]} does not count references as gradgen expects:"
            f" results are right, but more values are kept and computed than need be",
            RuntimeWarning, stacklevel=2,
        )
    return found


_KEYS, _PLACES, _ALONE = _checked()
