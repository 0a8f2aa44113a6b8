"""From errors on labelled frames to the calibration tables of a model file; a file for each kind of map.

A map is a function of raw stds and the errors that were found with them; it returns knots (raw, calibrated), rising and
positive, between which engines interpolate (`mollifield.calibration.interpolated`). So engines know no kinds.
"""

from collections.abc import Callable

from mollifield.calibration import Array

from .factor import factor
from .isotonic import isotonic

CalibrationMap = Callable[[Array, Array], Array]
"""`raw [n]` > 0 and `errors [n]` >= 0 in one unit -> `knots [K, 2]`."""

MAPS: dict[str, CalibrationMap] = {"factor": factor, "isotonic": isotonic}
"""By name."""
