"""torch code on traced tensors: a subclass of torch.Tensor that stands for a gradgen tensor, and a mode that redirects.

While a `Session` is open, every function of torch's that Python calls arrives at `Session.__torch_function__`: gradgen's
function of that name is called on the gradgen tensors that the arguments hold, and what it returns is wrapped again.  To the
code that runs these are torch tensors, with torch's dtypes, devices and sizes.  Where gradgen has no function of the name,
torch's own runs as it stands, in Python or C++, and its parts come back here, or at `Traced.__torch_dispatch__`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import sympy
import torch
from torch.overrides import TorchFunctionMode

from gradgen.eager.creation import from_numpy
from gradgen.eager.device import Device, contiguous_format, preserve_format
from gradgen.eager.masks import Selected
from gradgen.eager.modes import set_grad_enabled, state
from gradgen.eager.tensor import Tensor
from gradgen.errors import TraceError, UnsupportedOperationError
from gradgen.importers import aten
from gradgen.importers.torch_lost import unregistered
from gradgen.importers.torch_names import body_of, name_of, operation_of, own_function
from gradgen.importers.torch_sizes import TracedRatio, TracedSize, extent_of, size_of
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.ops.size import Size
from gradgen.record.user_lines import users_line

DTYPES = {torch.float32: dtypes.float32, torch.float64: dtypes.float64, torch.int32: dtypes.int32, torch.int64: dtypes.int64,
          torch.bool: dtypes.bool_}
_THEIRS = {own: theirs for theirs, own in DTYPES.items()}


class Traced(torch.Tensor):
    """A torch tensor of which nothing but `held`, its gradgen tensor, is real."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Traced:
        # torch's Python asks for `shape`, which is redirected: only C++ sees these, and none of a tensor with a named size
        known = not isinstance(held, Selected) and all(isinstance(e, int) for e in held.shape)
        sizes, strides = (held.shape, held.stride()) if known else ([2] * held.ndim, None)  # type: ignore[attr-defined]
        self = torch.Tensor._make_wrapper_subclass(cls, sizes, strides, dtype=_THEIRS[held.dtype])
        self.held = held
        return self

    def __init__(self, held: Tensor) -> None:
        pass

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return opened().redirected(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in C++: the parts of a function that gradgen does not have, of a scripted one."""
        return opened().operation(func, args, kwargs or {})


_sessions: list[Session] = []


def opened() -> Session:
    """The session that runs.  RuntimeError where a traced tensor is used after its trace."""
    if not _sessions:
        raise RuntimeError("a tensor of gg.from_torch's trace is used after its end: the model or loss kept it")
    return _sessions[-1]


class Session(TorchFunctionMode):
    """One run of torch's code on traced tensors."""

    own_ways: ClassVar[dict[Any, Callable[..., Any]]] = {}
    """Functions of torch's that are another thing here: functions of the session and of what torch's take."""

    def __init__(self, kind: DType | None = None) -> None:
        """`kind` is the dtype of all floats, whatever the code says; None: what it says."""
        super().__init__()
        self.kind = kind
        self._wrappers: dict[int, tuple[Tensor, Traced]] = {}
        """By the identity of a gradgen tensor: it, and the torch tensor that stands for it."""
        self._constants: dict[int, tuple[torch.Tensor, Tensor]] = {}

    def begin(self) -> None:
        """Another run."""
        self._wrappers.clear()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The session is open: torch's functions are redirected."""
        _sessions.append(self)
        try:
            with self:
                yield
        finally:
            _sessions.pop()

    # --- values -----------------------------------------------------------------------------------------------------------

    def dtype(self, kind: torch.dtype) -> DType:
        """gradgen's dtype.  TraceError for one that it does not have."""
        if self.kind is not None and kind.is_floating_point:
            return self.kind
        if kind not in DTYPES:
            raise TraceError(f"{kind} is no dtype of gradgen's", where=users_line(),
                             hint=f"there are {', '.join(map(str, DTYPES))}")
        return DTYPES[kind]

    def own_tensor(self, tensor: torch.Tensor) -> Tensor:
        """A gradgen tensor over the same memory, where it needs no copy."""
        with torch._C.DisableTorchFunction():
            value = tensor.detach().to("cpu", _THEIRS[self.dtype(tensor.dtype)]).numpy()
            made: Tensor = from_numpy(value)
            return made.requires_grad_() if tensor.requires_grad else made

    def wrapped(self, value: Any) -> Any:
        """What gradgen gave, as torch's code takes it.  One gradgen tensor is one torch tensor."""
        if isinstance(value, Tensor):
            if id(value) not in self._wrappers:
                with torch._C.DisableTorchFunction():
                    self._wrappers[id(value)] = value, Traced(value)
            return self._wrappers[id(value)][1]
        if isinstance(value, Size):
            return torch.Size(value)
        if isinstance(value, sympy.Expr):
            return size_of(value)
        if type(value) in (tuple, list):
            made = [self.wrapped(v) for v in value]
            is_shape = type(value) is tuple and any(isinstance(v, TracedSize) for v in made)
            return torch.Size(made) if is_shape else type(value)(made)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.wrapped, value))
        if isinstance(value, dict):
            return {k: self.wrapped(v) for k, v in value.items()}
        if isinstance(value, DType):
            return _THEIRS[value]
        return torch.device(str(value)) if isinstance(value, Device) else value

    def replaced(self, tensor: Traced, held: Tensor) -> None:
        """The torch tensor stands for `held` from now on."""
        tensor.held = held
        self._wrappers[id(held)] = held, tensor

    def own(self, value: Any) -> Any:
        """What torch's code gives, as gradgen takes it."""
        if isinstance(value, torch.Tensor):
            return self.held(value)
        if isinstance(value, (TracedSize, TracedRatio)):
            return extent_of(value)
        if isinstance(value, (tuple, list)):
            made = [self.own(v) for v in value]
            return type(value)(*made) if hasattr(value, "_fields") else tuple(made) if isinstance(value, tuple) else made
        if isinstance(value, dict):
            return {k: self.own(v) for k, v in value.items()}
        if isinstance(value, slice):
            return slice(*(self.own(v) for v in (value.start, value.stop, value.step)))
        if isinstance(value, torch.dtype):
            return self.dtype(value)
        if isinstance(value, torch.device):
            return str(value)
        if isinstance(value, torch.memory_format):
            return preserve_format if value is torch.preserve_format else contiguous_format
        if isinstance(value, (torch.layout, torch.Generator)):
            return None  # there is one layout, and one generator in a program
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            return self.callback(value)
        return value

    def held(self, tensor: torch.Tensor) -> Tensor:
        """The gradgen tensor of a traced one, or of a constant."""
        if isinstance(tensor, Traced):
            return tensor.held
        found = self._constants.get(id(tensor))
        if tensor.requires_grad and torch.is_grad_enabled():
            raise unregistered(tensor)
        if found is None:
            found = self._constants[id(tensor)] = (tensor, self.own_tensor(tensor))
        return found[1]

    def callback(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of the user's that takes torch tensors, as gradgen calls it."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.again():
                found = function(*(self.wrapped(a) for a in args), **{k: self.wrapped(v) for k, v in kwargs.items()})
            return self.own(found)

        return call

    @contextmanager
    def again(self) -> Iterator[None]:
        """torch's functions are redirected again, inside of one that is; gradients are on or off as they are in gradgen."""
        with torch._C.DisableTorchFunction():
            mode = torch.set_grad_enabled(state.grad)
        with self, mode:
            yield

    # --- functions --------------------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.redirected(func, args, kwargs or {})

    def redirected(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What gradgen's function of that name gives; of what it lacks, what torch's own Python gives."""
        if func in self.own_ways:
            return self.own_ways[func](self, *args, **kwargs)
        own = own_function(func)
        if own is not None:
            return self.called(own, args, kwargs)
        body = body_of(func)
        if body is not None:
            with self:
                return body(*args, **kwargs)
        op = operation_of(name_of(func), args, kwargs)
        if op is not None and aten.known(op):
            return self.operation(op, args, kwargs)
        if any(isinstance(e, TracedSize) for t in _traced((args, kwargs)) for e in self.wrapped(t.held.shape)):
            raise self.missing(f"{name_of(func)} of tensors with a named size")
        with torch._C.DisableTorchFunction():  # torch's C++ for it, a setting, or what is said of any tensor: its layout
            return func(*args, **kwargs)

    def operation(self, op: Any, args: Any, kwargs: Any) -> Any:
        """What an operation of ATen gives, of those that the table lacks by torch's own rule for them."""
        try:
            return self.called(lambda *a, **k: aten.call(op, a, k), args, kwargs)
        except aten.Missing:
            rule = torch._decomp.decomposition_table.get(op)
        if rule is None:
            raise self.missing(str(op))
        return rule(*args, **kwargs)

    def called(self, own: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The result of a function of gradgen's, for torch's code."""
        if torch.is_autocast_enabled("cpu"):
            raise TraceError("autocast: gradgen has no values of lower precision", where=users_line(),
                             hint="leave torch.autocast out, or give it enabled=False")
        with set_grad_enabled(torch.is_grad_enabled()):
            return self.wrapped(own(*self.own(args), **self.own(kwargs)))

    def missing(self, name: str) -> UnsupportedOperationError:
        return UnsupportedOperationError(f"gradgen has no torch.{name}", where=users_line(),
                                         hint="write it with operations that gradgen has, or as an autograd.Function of them")


def _traced(value: Any) -> Iterator[Traced]:
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from _traced(v)
    elif isinstance(value, dict):
        yield from _traced(tuple(value.values()))
    elif isinstance(value, Traced):
        yield value
