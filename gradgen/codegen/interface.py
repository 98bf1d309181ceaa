"""Interface: the one record from which prototype, cdef, Python wrapper, metadata and docs of a module are all made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from gradgen.ir.assumptions import Requirement
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent

DIM, INPUT, OUTPUT, COTANGENT, GRADIENT, SAVED, WORK, FLAGS = (
    "dim", "input", "output", "cotangent", "gradient", "saved", "work", "flags",
)
RANDOM = "random"
SEEDS = ("seed", "step")
"""The parameters of a module that draws random numbers, after the dimensions."""
TANGENT, DERIVATIVE = "tangent", "derivative"
JVP, JACOBIAN, HVP, HESSIAN = "jvp", "jacobian", "hvp", "hessian"
JACOBIAN_VALUES, HESSIAN_VALUES = "jacobian_values", "hessian_values"
DERIVATIVES = (JVP, JACOBIAN, HVP, HESSIAN, JACOBIAN_VALUES, HESSIAN_VALUES)
"""The functions that a module has only where asked to, in their order everywhere."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A tensor the user knows: an input, or an output (requires_grad then says that it has a cotangent)."""

    name: str
    dtype: DType
    shape: tuple[Extent, ...]
    requires_grad: bool = False
    formula: str = ""  # plain text, for an output its own, for an input its gradient's


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one C function, in order.  `of` names the Argument it belongs to (or itself, for a dim)."""

    name: str
    kind: str
    of: str
    dtype: DType | None = None
    shape: tuple[Extent, ...] = ()
    optional: bool = False  # NULL allowed
    aliased: bool = False  # a state or its next value, which may be the same memory

    @property
    def is_const(self) -> bool:
        return self.kind in (INPUT, COTANGENT, TANGENT)


@dataclass(frozen=True, eq=False)
class Pattern:
    """Where a sparse derivative has entries, in compressed rows: those of row k are column[start[k]] to
    column[start[k + 1] - 1], ascending.  `function` is the one that writes the entries' values, in this order; `of` and
    `by` are the arguments, each flattened row-major: d of / d by, or d2 output / d of d by."""

    function: str
    of: str
    by: str
    rows: int
    columns: int
    start: tuple[int, ...]
    column: tuple[int, ...]
    products: int  # how many products of the matrix the values are picked from

    @property
    def name(self) -> str:
        """The block, as the parameter that it is written to is named."""
        return f"{'jac' if self.function == JACOBIAN_VALUES else 'hess'}_{self.of}_{self.by}"


@dataclass(frozen=True)
class Model:
    """Parameters and buffers of a model under its own names: dotted paths, as in a state_dict.

    `names` are pairs of a path and the input that it is, `aliases` of a further path of a tied parameter and its first one,
    `order` the paths of a state_dict; `unused` are those of it that the program does not read, under their paths.
    """

    names: tuple[tuple[str, str], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    order: tuple[str, ...] = ()
    unused: tuple[Argument, ...] = ()

    @cached_property
    def paths(self) -> dict[str, str]:
        """The path of each input that has one."""
        return {name: path for path, name in self.names}


NO_MODEL = Model()


@dataclass(frozen=True, eq=False)
class Interface:
    """Everything about a module that can be seen from outside.  Names are checked C and C++ identifiers."""

    name: str
    dims: tuple[str, ...]
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    digest: str
    version: str
    saved_bytes: Extent  # over dims; SAVED includes its 64-byte header with the state word
    work_bytes: Extent  # the maximum over the module's functions
    differentiable: bool = True  # False: forward only, no backward, value_and_grad, zero_grad
    options: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()  # the user's source locations, for comments
    derivatives: tuple[str, ...] = ()  # which of DERIVATIVES the module has
    patterns: tuple[Pattern, ...] = ()  # of jacobian_values and hessian_values
    derivative_formulas: tuple[tuple[str, str], ...] = ()  # plain text by the name of what is defined
    conditions: tuple[Requirement, ...] = ()  # what the dimensions must satisfy, in the order of the program
    draws: bool = False  # random numbers: the functions take SEEDS
    states: tuple[tuple[str, str], ...] = ()  # an input, and the output that is its value in the next call
    in_place: bool = False  # the one may be the memory of the other
    blocks: tuple[Extent, ...] = ()  # bytes of memory that other functions of the module are given
    index_bits: int = 64  # of counters; where it is less, functions take dimensions over into ptrdiff_t
    model: Model = NO_MODEL

    @cached_property
    def parameters(self) -> tuple[Argument, ...]:
        """The inputs that it can be differentiated by: those that have gradients, where there is a backward."""
        return tuple(a for a in self.inputs if a.requires_grad) if self.differentiable or self.derivatives else ()

    @cached_property
    def differentiable_outputs(self) -> tuple[Argument, ...]:
        return tuple(a for a in self.outputs if a.requires_grad) if self.differentiable or self.derivatives else ()

    def _dims(self) -> list[Parameter]:
        return [Parameter(d, DIM, d) for d in self.dims]

    def _seeds(self) -> list[Parameter]:
        return [Parameter(name, RANDOM, name) for name in SEEDS] if self.draws else []

    @cached_property
    def held(self) -> tuple[Argument, ...]:
        """The inputs that stay from call to call: parameters, then states, then what else belongs to a model."""
        rest = [a for a in self.inputs if a not in self.parameters]
        states, paths = dict(self.states), self.model.paths
        return (*self.parameters, *(a for a in rest if a.name in states),
                *(a for a in rest if a.name in paths and a.name not in states))

    @cached_property
    def data(self) -> tuple[Argument, ...]:
        """The inputs that every call is given anew."""
        held = {a.name for a in self.held}
        return tuple(a for a in self.inputs if a.name not in held)

    @cached_property
    def _aliased(self) -> set[str]:
        return {name for pair in self.states for name in pair} if self.in_place else set()

    def _inputs(self) -> list[Parameter]:
        aliased = self._aliased
        return [Parameter(a.name, INPUT, a.name, a.dtype, a.shape, aliased=a.name in aliased) for a in self.inputs]

    def _outputs(self) -> list[Parameter]:
        aliased = self._aliased
        return [Parameter(a.name, OUTPUT, a.name, a.dtype, a.shape, True, a.name in aliased) for a in self.outputs]

    def _cotangents(self) -> list[Parameter]:
        """NULL means 1 for a scalar output; 0 for another one, where it is not the only output."""
        several = len(self.differentiable_outputs) > 1
        return [
            Parameter(f"grad_{a.name}", COTANGENT, a.name, a.dtype, a.shape, optional=several or not a.shape)
            for a in self.differentiable_outputs
        ]

    def _gradients(self) -> list[Parameter]:
        return [Parameter(f"grad_{a.name}", GRADIENT, a.name, a.dtype, a.shape, True) for a in self.parameters]

    @cached_property
    def functions(self) -> dict[str, tuple[Parameter, ...]]:
        """Function suffix -> its parameters, in the order of C-CONTRACT."""
        saved, work, flags = Parameter("saved", SAVED, "saved"), Parameter("work", WORK, "work"), Parameter(
            "flags", FLAGS, "flags"
        )
        optional_saved = Parameter("saved", SAVED, "saved", optional=True)
        head = [*self._dims(), *self._seeds(), *self._inputs()]
        found = {"forward": (*head, *self._outputs(), *([optional_saved] if self.differentiable else []), work)}
        if self.differentiable:
            found["backward"] = (*head, saved, *self._cotangents(), *self._gradients(), work, flags)
            scalar = len(self.differentiable_outputs) == 1 and not self.differentiable_outputs[0].shape
            seeds = [] if scalar else self._cotangents()
            found["value_and_grad"] = (*head, *seeds, *self._outputs(), *self._gradients(), work, flags)
            found["zero_grad"] = (*self._open_dims(self.parameters), *self._gradients())
        for suffix in DERIVATIVES:
            if suffix in self.derivatives:
                found[suffix] = (*head, *self._derivative(suffix), work)
        return found

    def _derivative(self, suffix: str) -> list[Parameter]:
        """What a derivative function takes and gives beside the inputs."""
        ps, os = self.parameters, self.differentiable_outputs
        if suffix == JVP:
            dots = [Parameter(f"dot_{a.name}", DERIVATIVE, a.name, a.dtype, a.shape, True) for a in os]
            return [*self._tangents("dot"), *self._outputs(), *dots]
        if suffix == HVP:
            made = [Parameter(f"hvp_{a.name}", DERIVATIVE, a.name, a.dtype, a.shape, True) for a in ps]
            return [*self._tangents("dir"), *made]
        if suffix in (JACOBIAN, HESSIAN):
            of, prefix = (os, "jac") if suffix == JACOBIAN else (ps, "hess")
            return [
                Parameter(f"{prefix}_{a.name}_{b.name}", DERIVATIVE, f"{a.name}, {b.name}", a.dtype,
                          (*a.shape, *b.shape), True)
                for a in of for b in ps
            ]
        types = {a.name: a.dtype for a in (*os, *ps)}
        return [
            Parameter(f"{p.name}_values", DERIVATIVE, f"{p.of}, {p.by}", types[p.of], (len(p.column),), True)
            for p in self.patterns if p.function == suffix
        ]

    def _tangents(self, prefix: str) -> list[Parameter]:
        """NULL means zeros."""
        return [Parameter(f"{prefix}_{a.name}", TANGENT, a.name, a.dtype, a.shape, True) for a in self.parameters]

    def _open_dims(self, arguments: tuple[Argument, ...]) -> list[Parameter]:
        """The dims that occur in the shapes of `arguments`: zero_grad needs no others."""
        used = {str(s) for a in arguments for e in a.shape if not isinstance(e, int) for s in e.free_symbols}
        return [p for p in self._dims() if p.name in used]
