"""What explorers may be told; each kind adds its own keys."""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ...section import Section


class TimesTraining(Section):
    """A threshold relative to what the committee says about frames it has learnt."""

    times_training: PositiveFloat
    """Multiple of the committee's force std on its training frames (mean over atoms and frames)."""


class ExplorerConfig(Section):
    """Every explorer. Subclasses in the table make `kind` a `Literal` with the name of their line;
    those that are named by an import path leave it as it is."""

    kind: str
    """Which explorer."""
    n_trajectories: PositiveInt = 2
    """Trajectories in a round. They start from different labelled frames while there are enough, those that the
    run began with and those of earlier rounds by turns."""
    extra_trajectories: NonNegativeInt = 4
    """Further ones at most, in a round where there are too few candidates for `batch` labels."""
    select: PositiveFloat | TimesTraining = TimesTraining(times_training=3.0)
    """Frames whose largest force std is above this are candidates: eV/Å, or times_training."""
    stop: PositiveFloat | TimesTraining | None = None
    """The trajectory ends above this (same units); none: it never ends early."""

    @property
    def first_temperature(self) -> float:
        """K, at which starting frames are shaken where they teach too little; room temperature where none is set."""
        return 300.0

    @property
    def step_length(self) -> float | None:
        """fs from one step of a trajectory to the next; None where a step is no time."""
        return None

    def about(self) -> str:
        """What its trajectories are, as a clause for the report; empty: nothing to say."""
        return ""

    @model_validator(mode="after")
    def _stop_is_above_select(self) -> ExplorerConfig:
        (select, unit), (stop, unit_of_stop) = (_number(value) for value in (self.select, self.stop))
        if unit == unit_of_stop and stop < select:
            raise ValueError(
                f"'stop' ({stop:g}) is below 'select' ({select:g}): no frame could be selected before the "
                "trajectory ends"
            )
        return self


class DynamicsConfig(ExplorerConfig):
    """Molecular dynamics with the newest model, thermostat on a straight temperature ramp."""

    n_steps: PositiveInt = 4000
    """Steps of a trajectory."""
    timestep: PositiveFloat = 0.5
    """fs."""
    temperature: tuple[PositiveFloat, PositiveFloat] = (300.0, 600.0)
    """K, at the start and at the end; the thermostat follows a straight line."""
    damping: PositiveFloat = 100.0
    """fs, relaxation time of the Langevin thermostat."""
    sample_every: PositiveInt = 10
    """Steps between two looks at the uncertainty."""
    regular_every: PositiveInt = 50
    """Steps between frames saved whatever their uncertainty."""

    @property
    def first_temperature(self) -> float:
        return self.temperature[0]

    @property
    def step_length(self) -> float:
        return self.timestep

    def about(self) -> str:
        cold, hot = self.temperature
        return f"the thermostat rises from {cold:g} to {hot:g} K over {self.n_steps * self.timestep / 1000:g} ps"

    @model_validator(mode="after")
    def _looks_are_within_the_run(self) -> DynamicsConfig:
        for key in ("sample_every", "regular_every"):
            if getattr(self, key) > self.n_steps:
                raise ValueError(f"'{key}' ({getattr(self, key)}) is longer than the run ('n_steps': {self.n_steps})")
        return self


def _number(threshold: float | TimesTraining | None) -> tuple[Any, str]:
    """A threshold and its unit."""
    if isinstance(threshold, TimesTraining):
        return threshold.times_training, "times_training"
    return threshold, "none" if threshold is None else "eV/Å"
