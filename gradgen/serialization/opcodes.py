"""A pickle as data: its opcodes are interpreted here, and nothing that it names is imported or called.

A pickle is a program for a stack machine that can call what it likes.  Here a global is looked up in a table that the caller
gives, what the table has may be called with the arguments of the file, and every other opcode makes a number, a text or a
container.  The opcodes and their arguments are read by the standard library's pickletools.
"""

from __future__ import annotations

import pickle
import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from gradgen.errors import WeightsError

_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}
_SCALARS = (str, bytes, int, float, bool, complex, type(None))
_DEEP = 8  # tuples of tuples in a key: hashing goes down them on the machine's own stack


class Function:
    """What stands on the stack for a function of the table: nothing but REDUCE looks into it."""

    __slots__ = ("call", "name")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self.call = name, call


def key(value: Any, depth: int = 0) -> Any:
    """`value`, which is to be hashed.  WeightsError unless it is a number, a text or a shallow tuple of these."""
    if type(value) in _SCALARS:
        return value
    if type(value) is tuple and depth < _DEEP:
        return tuple(key(v, depth + 1) for v in value)
    raise WeightsError(f"the file has a {type(value).__name__} as a key: keys are numbers, texts and tuples of them")


class Machine:
    """Interprets one pickle.  `table` says what a global is by its dotted name, `persistent` what an id stands for."""

    def __init__(self, table: Mapping[str, Any], persistent: Callable[[Any], Any]) -> None:
        self.table, self.persistent = table, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """The object.  WeightsError for anything that is not data, or no pickle."""
        try:
            for opcode, argument, _ in pickletools.genops(program):
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, argument)
        except WeightsError:
            raise
        except Exception as error:  # whatever the bytes of a stranger lead to: it is the file that is wrong
            raise WeightsError(f"the pickle in the file is damaged ({type(error).__name__}: {error})") from error
        raise WeightsError("the pickle in the file ends early")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            n = _TUPLES[name]
            self._need(n)
            self.stack[-n:] = [tuple(self.stack[-n:])]
        elif name == "PROTO" and argument > pickle.HIGHEST_PROTOCOL:
            raise WeightsError(f"the file's pickle is of protocol {argument}, of which nothing is known")
        elif name not in _IGNORED:
            step = _STEPS.get(name)
            if step is None:
                raise WeightsError(f"the file's pickle has the opcode {name}, which no tensor needs: nothing was run")
            step(self, argument)

    def _need(self, n: int) -> None:
        if len(self.stack) < n:
            raise WeightsError("the pickle in the file is damaged (its stack is empty)")

    def _mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _above_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def _tuple(self, _: Any) -> None:
        items = self._above_mark()
        self.stack.append(tuple(items))

    def _put(self, place: Any) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def _get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._above_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._target("APPENDS", list)
        target.extend(items)

    def _add_items(self, _: Any) -> None:
        items = [key(v) for v in self._above_mark()]
        self._target("ADDITEMS", set).update(items)

    def _frozenset(self, _: Any) -> None:
        items = [key(v) for v in self._above_mark()]
        self.stack.append(frozenset(items))

    def _set_item(self, _: Any) -> None:
        value, name = self.stack.pop(), self.stack.pop()
        self._target("SETITEM", dict, OrderedDict, Counter)[key(name)] = value

    def _set_items(self, _: Any) -> None:
        items = self._above_mark()
        target = self._target("SETITEMS", dict, OrderedDict, Counter)
        for k in range(0, len(items), 2):
            target[key(items[k])] = items[k + 1]

    def _target(self, what: str, *kinds: type) -> Any:
        if type(self.stack[-1]) not in kinds:
            raise WeightsError(f"the file's pickle has {what} on a {type(self.stack[-1]).__name__}: nothing was run")
        return self.stack[-1]

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._look_up(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise WeightsError("the file's pickle names a global by something that is no text: nothing was run")
        self._look_up(module, name)

    def _look_up(self, module: str, name: str) -> None:
        path = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if path not in self.table:
            raise WeightsError(
                f"Weights only load failed. Unsupported global: GLOBAL {path} was not an allowed global by default: nothing "
                "was run",
                hint="save the state_dict alone, not the model or what else is around it: with PyTorch, "
                "torch.save(torch.load(path, weights_only=False).state_dict(), path), if you trust the file",
            )
        found = self.table[path]
        self.stack.append(Function(path, found) if callable(found) else found)

    def _reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Function or type(arguments) is not tuple:
            raise WeightsError("the file's pickle calls what is no function: nothing was run")
        self.stack.append(function.call(*arguments))

    def _build(self, _: Any) -> None:
        """State of an OrderedDict: what its maker kept beside the entries, as PyTorch does `_metadata`."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is not OrderedDict or type(state) is not dict:
            raise WeightsError(f"the file's pickle sets the state of a {type(target).__name__}: nothing was run")
        for name, value in state.items():
            if type(name) is str and not hasattr(OrderedDict, name):
                target.__dict__[name] = value

    def _persistent(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": Machine._mark, "TUPLE": Machine._tuple, "BINPUT": Machine._put, "LONG_BINPUT": Machine._put,
    "MEMOIZE": Machine._put, "BINGET": Machine._get, "LONG_BINGET": Machine._get, "APPEND": Machine._append,
    "APPENDS": Machine._appends, "ADDITEMS": Machine._add_items, "FROZENSET": Machine._frozenset,
    "SETITEM": Machine._set_item, "SETITEMS": Machine._set_items, "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global, "REDUCE": Machine._reduce, "BUILD": Machine._build,
    "BINPERSID": Machine._persistent,
}
