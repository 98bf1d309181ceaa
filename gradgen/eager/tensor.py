"""Tensor: a storage cell or a view of one, and what autograd knows about it.

The operations are methods too; they are attached from the operation library by `namespace.py`, as are indexing,
conversion and in-place methods from their own modules.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from gradgen.eager import printing
from gradgen.eager.hooks import HookDict, Hooks, RemovableHandle
from gradgen.eager.modes import refuse_in_transform, state
from gradgen.eager.services import services
from gradgen.eager.storage import Cell, Counter
from gradgen.ir.dtypes import DType
from gradgen.ir.symbols import Extent
from gradgen.ops.promotion import defaults
from gradgen.ops.size import Size
from gradgen.record.records import Record, Spec, is_traced, leaf

if TYPE_CHECKING:
    from gradgen.eager.grad_fn import AccumulateGrad, Edge, Node
    from gradgen.eager.methods import Methods
else:
    Methods = object  # what `namespace.attach_methods` gives to Tensor; methods.pyi says it to type checkers

_new = object.__new__

NON_LEAF_GRAD = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated "
    "during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use "
    ".retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the leaf "
    "Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more information."
)
FLAGS = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph "
    "that doesn't require differentiation use var_no_grad = var.detach()."
)


class TensorMeta(type):
    """`isinstance(x, FloatTensor)` is not supported; `Tensor(...)` builds from sizes or data, as torch.Tensor does."""


class Tensor(Methods):
    """A tensor: shape, dtype, and a value that is computed when someone looks.

    `_cell` is the storage, `_chain` the view operations that lead from it to this tensor (None: the storage itself).
    `_fn`, `_nr` are grad_fn and output number, `_requires` the leaf's flag, `_base` the tensor whose differentiable view
    this is.
    """

    _cell: Cell
    _chain: tuple[Any, ...] | None = None
    _rec: Record | None = None
    _gen = -1
    _counter: Counter | None = None
    _fn: Node | None = None
    _nr = 0
    _requires = False
    _grad: Tensor | None = None
    _base: Tensor | None = None
    _created = ""  # PyTorch's CreationMeta of a view: "" ordinarily, "multi", "custom" (a Function's), "no_grad", "inference"
    _fn_version = 0  # of a view: the version its grad_fn belongs to
    _inference = False
    _accumulator_ref: Callable[[], AccumulateGrad | None] | None = None
    _leaf_hooks: Hooks | None = None
    _post_hooks: HookDict | None = None
    _retains = False
    _still = 0  # 1: made by detach(), forward mode does not see through it; 2: by .data or detach_(), for this transform only
    _selection: Any = None  # of elements that a traced mask selects: see masks.py
    __array_priority__ = 1000

    def _sympy_(self) -> Any:
        """Not a number of SymPy's: `size * tensor` is the tensor's business."""
        raise sympy.SympifyError(self)

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return services.legacy_tensor(cls, *args, **kwargs)

    # --- values -----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _from_record(record: Record) -> Tensor:
        tensor = _new(Tensor)
        tensor._cell = Cell(record)
        if record.op is None and record.requires_grad:  # an input of a trace
            tensor._requires = True
        return tensor

    @staticmethod
    def _of(value: np.ndarray, dtype: DType, requires_grad: bool = False) -> Tensor:
        """A leaf that owns `value`."""
        tensor = _new(Tensor)
        tensor._cell = Cell(leaf(value, dtype))
        if requires_grad:
            tensor.requires_grad_(setter=True)
        return tensor

    @property
    def _record(self) -> Record:
        """The record of the value as it is now."""
        record = self._cell.record if self._chain is None else self._view_record()
        return record if record is not None else self._shared_record()

    def _shared_record(self) -> Record:
        return self._cell.current()

    def _view_record(self) -> Record:
        if self._gen != self._cell.generation or self._cell.owner is not None:
            self._rec = services.read_view(self._cell.current(), self._chain)  # type: ignore[arg-type]
            self._gen = self._cell.generation
        assert self._rec is not None
        return self._rec

    def _value(self) -> np.ndarray:
        """The value, computed now; not to be written to."""
        if state.border is not None:
            state.border.looking(self)
        record = self._record
        if record.value is None:
            services.evaluate_records([record])
        assert record.value is not None
        return record.value

    @property
    def _spec(self) -> Spec:
        return self._cell.spec if self._chain is None else self._chain[-1].spec

    @property
    def shape(self) -> Size:
        """The extents: a `Size`; symbolic ones of a trace stay in a plain tuple."""
        spec = self._cell.spec if self._chain is None else self._chain[-1].spec
        return spec.size  # type: ignore[return-value]

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self._spec.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._spec.shape)

    def dim(self) -> int:
        """The number of axes."""
        return len(self._spec.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Size | int:
        """All extents, or that of axis `dim`.  IndexError where there is no such axis."""
        if dim is None:
            return self.shape
        n = max(self.ndim, 1)
        if not -n <= dim < n or not self.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
                if self.ndim
                else f"Dimension specified as {dim} but tensor has no dimensions"
            )
        return self._spec.shape[dim]  # type: ignore[return-value]

    def numel(self) -> int:
        """The number of elements."""
        total: Extent = 1
        for e in self._spec.shape:
            total = total * e
        return total  # type: ignore[return-value]

    nelement = numel

    # --- autograd ---------------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self._requires or self._fn is not None or (self._base is not None and self._base.requires_grad)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value, setter=True)

    def requires_grad_(self, requires_grad: bool = True, *, setter: bool = False) -> Tensor:
        """Says whether operations on this leaf are recorded.  RuntimeError for non-leaves and non-floating dtypes."""
        if self._inference and requires_grad and not state.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        if not setter:
            refuse_in_transform("requires_grad_")
        leaf = self._fn is None  # as it stands: a view need not have noticed yet that its base was changed
        if not leaf and (setter or not requires_grad):
            if requires_grad:
                return self
            raise RuntimeError(FLAGS)
        if requires_grad and not self.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if leaf:
            self._requires = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> Node | None:
        """The node that runs backward for the operation that made this tensor; None for a leaf."""
        if self._base is not None:
            services.refresh_history(self)
        return self._fn

    @property
    def is_leaf(self) -> bool:
        """Whether backward() stops here: not made by a recorded operation."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this is."""
        return self._nr

    def _edge(self) -> Edge | None:
        """Where this tensor's gradient goes."""
        if self._base is not None:
            services.refresh_history(self)
        if self._fn is not None:
            return (self._fn, self._nr)
        if self._requires:  # a view made under no_grad requires a gradient by its base alone, and leads nowhere
            return (self._accumulator(), 0)
        return None

    def _set_edge(self, edge: Edge) -> None:
        """A tensor rebuilt from what a node saved."""
        node, number = edge
        if isinstance(node, services.accumulator):
            self._requires = True
            self._accumulator_ref = lambda: node
        else:
            self._fn, self._nr = node, number

    def _accumulator(self) -> AccumulateGrad:
        node = self._accumulator_ref() if self._accumulator_ref is not None else None
        if node is None:
            node = services.accumulator(self)
            node.hooks = self._leaf_hooks
            self._accumulator_ref = weakref.ref(node)
        return node

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient; None before the first backward()."""
        if self._grad is None and self._fn is not None and not self._retains and not self._requires:
            warnings.warn(NON_LEAF_GRAD, UserWarning, stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            self._check_gradient(value)
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def _check_gradient(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
            )
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value.dtype is not self.dtype:
            given, own = (
                printing.tensor_type_name(t.dtype).removeprefix("torch.").removesuffix("Tensor") for t in (value, self)
            )
            raise RuntimeError(
                f"attempting to assign a gradient with dtype '{given.lower()}' to a tensor with grad_dtype '{own}'. The "
                "gradient must match the tensor's grad_dtype (defaults to the tensor's dtype). You can set the tensor's "
                "grad_dtype attribute with a specific dtype, or None to allow any dtype. Set grad_dtype with caution. "
                "Diverging the dtypes of a tensor and its gradient may break downstream systems that assume they match."
            )
        if value._spec.shape != self._spec.shape:
            raise RuntimeError(
                f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size "
                f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
            )

    def retain_grad(self) -> None:
        """Keeps the gradient of this non-leaf in `.grad`.  RuntimeError where it requires none."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        refuse_in_transform("retain_grad")
        if self._fn is None:
            return
        self._fn.own_hooks().retain[self._nr] = weakref.ref(self)
        self._retains = True

    @property
    def retains_grad(self) -> bool:
        """Whether this is a non-leaf whose gradient is kept."""
        return self._retains

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """`hook(grad)` runs whenever this tensor's gradient is computed; what it returns replaces the gradient."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        services.refuse_hook(self)
        if self.grad_fn is not None:
            return self.grad_fn.own_hooks().on_tensor(self._nr).add(hook)
        if self._leaf_hooks is None:
            node = self._accumulator_ref() if self._accumulator_ref is not None else None
            self._leaf_hooks = node.own_hooks() if node is not None else Hooks()
        return self._leaf_hooks.on_tensor(0).add(hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """`hook(tensor)` runs after a gradient was added into this leaf's `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if self._post_hooks is None:
            self._post_hooks = HookDict()
        return self._post_hooks.add(hook)

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Adds the gradient of this tensor into `.grad` of the leaves (or of `inputs`).

        `gradient` has this tensor's shape; it may be left out for one element.  The graph's saved tensors are freed
        unless `retain_graph` (default: `create_graph`).
        """
        services.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    # --- versions and identity ----------------------------------------------------------------------------------------------

    def _versions(self) -> Cell | Counter:
        return self._counter if self._counter is not None else self._cell

    @property
    def _version(self) -> int:
        """How often the value was changed in place."""
        if self._inference:
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._versions().version

    def _is_view(self) -> bool:
        return self._base is not None

    def is_inference(self) -> bool:
        """Whether this tensor was made in inference mode."""
        return self._inference

    def _alias(self) -> Tensor:
        """The same storage and view, nothing of autograd."""
        tensor = _new(Tensor)
        tensor._cell, tensor._chain, tensor._counter = self._cell, self._chain, self._counter
        tensor._rec, tensor._gen = self._rec, self._gen
        if self._selection is not None:
            tensor.__class__, tensor._selection = type(self), self._selection
        return tensor

    def _alone(self) -> Tensor:
        """The value as a tensor with storage of its own."""
        return Tensor._from_record(self._record)

    def detach(self) -> Tensor:
        """The same storage without history: changes in place are seen by both."""
        tensor = self._alias()
        tensor._inference, tensor._still = self._inference, 1
        return tensor

    @property
    def data(self) -> Tensor:
        """As `detach()`, but changes in place go unnoticed by autograd."""
        tensor = self._alias()
        tensor._counter, tensor._still = Counter(), 2
        return tensor

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self._cell, self._chain = value._cell, value._chain
        self._rec, self._gen = value._rec, value._gen
        self._accumulator_ref = None

    # --- text -------------------------------------------------------------------------------------------------------------

    def _grad_fn_name(self) -> str | None:
        try:
            node = self.grad_fn
        except RuntimeError:  # a view that cannot follow what was done to its base
            return "Invalid"
        return type(node).__name__ if node is not None else None

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        record = self._record
        if is_traced(record):
            return f"<traced {self._spec}>"
        return printing.tensor_repr(
            self._value(),
            dtype_name=self.dtype.name,
            requires_grad=self.requires_grad,
            grad_fn_name=self._grad_fn_name(),
            default_dtype_name=defaults.dtype.name,
        )

    def __format__(self, format_spec: str) -> str:
        if self.ndim == 0 and type(self) is Tensor and not is_traced(self._record):
            return printing.format_scalar(self._value(), format_spec)
        return object.__format__(self, format_spec)

    def __hash__(self) -> int:
        return id(self)
