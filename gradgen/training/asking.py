"""The options of `gg.emit` and `gg.build` that ask for a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradgen.errors import GradgenError
from gradgen.record.traced import TracedFunction

if TYPE_CHECKING:
    from gradgen.codegen.trainer import Trainer

RULES = ("schedule", "clip_norm", "clip_value", "loss_scale", "accumulate")
TRAINING = ("train", *RULES, "slots", "predict", "values")


def with_trainer(program: TracedFunction, options: Mapping[str, Any]) -> tuple[Trainer | None, dict[str, Any]]:
    """The trainer that the options ask for, and the options that are left."""
    asked = {k: v for k, v in options.items() if k in TRAINING and v is not None}
    rest = {k: v for k, v in options.items() if k not in TRAINING}
    if not asked:
        return None, rest
    from gradgen.training.step import trainer_of, training

    lost = [k for k in (*RULES, "slots") if k in asked and "train" not in asked]
    if lost:
        raise GradgenError(f"{lost[0]}= belongs to a training step", hint="train=gg.optim.SGD(lr=0.1), or another optimizer")
    if "train" not in asked and "values" not in asked:
        raise GradgenError("predict= belongs to a trainer or to parameters in a struct", hint="train= or values=")
    wanted = training(asked["train"], *(asked.get(k) for k in RULES)) if "train" in asked else None
    slots = asked.get("slots", 1)
    if slots not in (1, 2):
        raise GradgenError(f"slots={slots!r}: a store has one slot or two")
    return replace(trainer_of(program, wanted, asked.get("predict"), asked.get("values")), slots=slots), rest


__all__ = ["TRAINING", "with_trainer"]
