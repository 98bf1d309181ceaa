"""torch.nn.functional by its names: functions of the operation library."""

from gradgen.eager import namespace

globals().update(namespace.functions("nn.functional"))
__all__ = sorted(namespace.functions("nn.functional"))
