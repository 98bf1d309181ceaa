"""torch.special by its names: functions of the operation library."""

from gradgen.eager import namespace

globals().update(namespace.functions("special"))
__all__ = sorted(namespace.functions("special"))
