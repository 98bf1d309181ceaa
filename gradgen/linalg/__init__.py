"""torch.linalg by its names: functions of the operation library."""

from gradgen.frontend import namespace
from gradgen.frontend.ops.singular import LinAlgError  # noqa: F401

globals().update(namespace.functions("linalg"))
__all__ = sorted([*namespace.functions("linalg"), "LinAlgError"])
