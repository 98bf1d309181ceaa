"""torch.linalg by its names: functions of the operation library."""

from gradgen.eager import namespace
from gradgen.ops.singular import LinAlgError  # noqa: F401

globals().update(namespace.functions("linalg"))
__all__ = sorted([*namespace.functions("linalg"), "LinAlgError"])
