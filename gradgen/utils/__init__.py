"""torch.utils by its names, as far as it has a meaning here: `data`."""

from gradgen.utils import data

__all__ = ["data"]
