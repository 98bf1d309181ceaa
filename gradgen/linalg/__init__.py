"""torch.linalg by its names: functions of the operation library."""

from gradgen.frontend import namespace

globals().update(namespace.functions("linalg"))
__all__ = sorted(namespace.functions("linalg"))
