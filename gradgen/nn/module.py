"""Module: parameters, buffers and submodules by attribute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

from gradgen.eager.hooks import RemovableHandle
from gradgen.eager.modes import no_grad
from gradgen.eager.modes import state as modes
from gradgen.eager.tensor import Tensor
from gradgen.ir import dtypes
from gradgen.ir.dtypes import DType
from gradgen.nn import module_hooks as hooks
from gradgen.nn.module_hooks import HookTable
from gradgen.nn.parameter import Parameter


class IncompatibleKeys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def _twin(own: Mapping[str, Tensor], name: str, given: Mapping[str, Any]) -> bool:
    """Whether the tensor called `name` is given under another of its names."""
    return any(own[k] is own[name] for k in given if k in own)


_STORES = ("_parameters", "_buffers", "_modules")
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Module:
    """Base of all modules, as torch.nn.Module: assign Parameters, Modules and buffers, define `forward`."""

    training: bool
    _version = 1  # of what state_dict has of the class
    _since: ClassVar[Mapping[str, int]] = {}  # entries that later versions have
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name, value in (("training", True), ("_parameters", {}), ("_buffers", {}), ("_modules", {}),
                            ("_transient", set()), *((name, HookTable()) for name in _HOOKS)):
            object.__setattr__(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks):
            return self.forward(*args, **kwargs)
        return hooks.called(self, args, kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """`hook(module, args)` before every forward; what it returns replaces the arguments.  Returns a handle.

        `with_kwargs`: hook(module, args, kwargs), which returns None or (args, kwargs).
        """
        found: RemovableHandle = self._forward_pre_hooks.register(hook, prepend, with_kwargs)
        return found

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """`hook(module, args, output)` after every forward; what it returns replaces the output.  Returns a handle.

        `with_kwargs`: hook(module, args, kwargs, output).
        """
        found: RemovableHandle = self._forward_hooks.register(hook, prepend, with_kwargs)
        return found

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_input, grad_output)` when the gradients by the module's inputs are known; what it returns
        replaces grad_input."""
        found: RemovableHandle = self._backward_hooks.register(hook, prepend)
        return found

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """`hook(module, grad_output)` before the module's backward; what it returns replaces grad_output."""
        found: RemovableHandle = self._backward_pre_hooks.register(hook, prepend)
        return found

    # --- attributes ---------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if modes.border is not None and "_parameters" in self.__dict__:  # of a function that is being recorded
            modes.border.setting(self, name, value)
        if "_parameters" not in self.__dict__ and isinstance(value, (Parameter, Module)):
            what = "parameters" if isinstance(value, Parameter) else "module"
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            self._modules[name] = value
        elif name in self.__dict__.get("_parameters", ()):
            self._only(value, name, "parameter", "torch.nn.Parameter")
            self._parameters[name] = None
        elif name in self.__dict__.get("_buffers", ()):
            if not isinstance(value, Tensor):
                self._only(value, name, "buffer", "torch.nn.Buffer, torch.Tensor")
            self._buffers[name] = value
        elif name in self.__dict__.get("_modules", ()):
            self._only(value, name, "child module", "torch.nn.Module")
            self._modules[name] = None
        else:
            object.__setattr__(self, name, value)

    @staticmethod
    def _only(value: Any, name: str, what: str, wanted: str) -> None:
        if value is not None:
            kind = value.type() if isinstance(value, Tensor) else type(value).__name__  # type: ignore[attr-defined]
            raise TypeError(f"cannot assign '{kind}' as {what} '{name}' ({wanted} or None expected)")

    def _forget(self, name: str, kept: str) -> None:
        self.__dict__.pop(name, None)
        for store in _STORES:
            if store != kept:
                self.__dict__[store].pop(name, None)

    def __getattr__(self, name: str) -> Any:
        for store in _STORES:
            found = self.__dict__.get(store, {})
            if name in found:
                return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._buffers, self._modules):
            if name in store:
                del store[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._parameters, *self._buffers, *self._modules})

    def _new_name(self, name: Any, what: str, store: dict[str, Any]) -> None:
        """KeyError and TypeError in PyTorch's words for a name that cannot be taken."""
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{what} name can\'t contain "."' + (f", got: {name}" if what == "module" else ""))
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if hasattr(self, name) and name not in store:
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        self._new_name(name, "parameter", self._parameters)
        if param is not None and not isinstance(param, Parameter):
            kind = param.type() if isinstance(param, Tensor) else type(param).__name__
            raise TypeError(
                f"cannot assign '{kind}' object to parameter '{name}' (torch.nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that belongs to the module's state and is not trained; left out of state_dict if not persistent."""
        self._new_name(name, "buffer", self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._new_name(name, "module", self._modules)
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """add_module by its other name."""
        self.add_module(name, module)

    # --- walks --------------------------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(seen, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        return (m for _, m in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        return (m for _, m in self.named_children())

    def _members(self, store: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk: Iterable[tuple[str, Module]] = [(prefix, self)]
        if recurse:
            walk = self.named_modules(prefix=prefix, remove_duplicate=once)
        for path, module in walk:
            for name, value in getattr(module, store).items():
                if value is not None and id(value) not in seen:
                    if once:
                        seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        module: Module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts `module` in the place of the submodule called `target`."""
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        setattr(parent, name, module)

    def _member(self, target: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in getattr(module, kind):
            raise AttributeError(f"`{name}` is not " + ("a buffer" if kind == "_buffers" else "an nn.Parameter"))
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        found: Parameter = self._member(target, "_parameters")
        return found

    def get_buffer(self, target: str) -> Tensor:
        found: Tensor = self._member(target, "_buffers")
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """`fn` of every submodule, then of the module itself."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # --- state --------------------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p in self.parameters():
            if p.grad is not None:
                if set_to_none:
                    p.grad = None
                else:
                    p.grad.detach_().zero_()  # type: ignore[attr-defined]

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Parameters and persistent buffers by their path: an OrderedDict of detached tensors that share storage, whose
        `_metadata` has the version of each module's format, as PyTorch's."""
        for key, value in zip(("destination", "prefix", "keep_vars"), args):
            destination = value if key == "destination" else destination
            prefix = value if key == "prefix" else prefix
            keep_vars = value if key == "keep_vars" else keep_vars
        found: Any = OrderedDict() if destination is None else destination
        if destination is None:
            found._metadata = OrderedDict()
        if hasattr(found, "_metadata"):
            found._metadata[prefix[:-1]] = {"version": self._version}
        for name, value in (*self._parameters.items(), *self._buffers.items()):
            if value is not None and name not in self._transient:
                found[prefix + name] = value if keep_vars else value.detach()
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copies values by name (`assign`: puts the tensors themselves in place); RuntimeError in PyTorch's words where
        names or shapes do not fit.  Of names of one parameter one is enough: files of safetensors have no others."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        own = self.state_dict(keep_vars=True)
        versions = getattr(state_dict, "_metadata", None) or {}
        missing = [k for k in own if k not in state_dict and (assign or not _twin(own, k, state_dict))]
        missing = [k for k in missing if not self._came_later(k, versions)]
        unexpected = [k for k in state_dict if k not in own]
        problems: list[str] = []
        if strict and missing:
            problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{k}"' for k in missing) + ". ")
        if strict and unexpected:
            problems.append("Unexpected key(s) in state_dict: " + ", ".join(f'"{k}"' for k in unexpected) + ". ")
        for name, target in own.items():
            if name in state_dict:
                problems.extend(self._load(name, target, state_dict[name], assign))
        if problems:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(problems))
        return IncompatibleKeys(missing, unexpected)

    def _came_later(self, name: str, versions: Mapping[str, Any]) -> bool:
        """Whether the entry is younger than the state_dict, which without `_metadata` may be of any age."""
        path, _, own = name.rpartition(".")
        since = self.get_submodule(path)._since.get(own, 0)
        return since > (versions.get(path, {}).get("version") or 1)

    def _load(self, name: str, target: Tensor, value: Any, assign: bool) -> list[str]:
        """Takes over one value; what is wrong with it."""
        from gradgen.eager.creation import as_tensor

        if not isinstance(value, Tensor) and not hasattr(value, "__array__"):
            return [f'While copying the parameter named "{name}", expected torch.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"]
        value = as_tensor(value)
        if tuple(value.shape) != tuple(target.shape):
            return [f"size mismatch for {name}: copying a param with shape {value.shape} from checkpoint, the shape in "
                    f"current model is {target.shape}."]
        if not assign:
            with no_grad():
                target.copy_(value)  # type: ignore[attr-defined]
            return []
        path, _, own = name.rpartition(".")
        if isinstance(target, Parameter) and not isinstance(value, Parameter):
            value = Parameter(value, target.requires_grad)
        setattr(self.get_submodule(path), own, value)
        return []

    # --- dtypes -------------------------------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:
        """Every parameter, its gradient, and every buffer through `fn`; parameters stay the objects they are."""
        for module in self.modules() if recurse else (self,):
            for p in module._parameters.values():
                if p is not None:
                    gradient = p.grad
                    p.data = fn(p.data)
                    if gradient is not None:
                        p.grad = fn(gradient.data)
            for name, b in module._buffers.items():
                if b is not None:
                    module._buffers[name] = fn(b)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Floating parameters and buffers in another dtype, in place: `to(dtype)`, `to(device, dtype)`, `to(tensor)`."""
        kind = kwargs.get("dtype")
        for arg in args:
            kind = arg if isinstance(arg, DType) else arg.dtype if isinstance(arg, Tensor) else kind
        if kind is not None and not dtypes.dtype(kind).is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={kind}"
            )
        return self._apply(lambda x: x.to(*args, **kwargs) if x.dtype.is_floating_point else x)

    def type(self, dst_type: Any) -> Self:
        return self._apply(lambda x: x.type(dst_type))

    def double(self) -> Self:
        return self.to(dtypes.float64)

    def float(self) -> Self:
        return self.to(dtypes.float32)

    def half(self) -> Self:
        raise NotImplementedError("half(): gradgen has no float16; use float() or double()")

    def bfloat16(self) -> Self:
        raise NotImplementedError("bfloat16(): gradgen has no bfloat16; use float() or double()")

    def cpu(self) -> Self:
        return self

    def cuda(self, device: Any = None) -> Self:
        raise RuntimeError("gradgen's tensors are on the CPU; there is no device 'cuda'")

    def share_memory(self) -> Self:
        return self

    # --- text ---------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        children = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        if not own and not children:
            return f"{self._get_name()}()"
        if len(own) == 1 and not children:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(own + children) + "\n)"
