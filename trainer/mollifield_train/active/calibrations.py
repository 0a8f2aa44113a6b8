"""What the report says of how the models of the rounds were calibrated."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .parts import CALIBRATION_PICTURE

HEAD = (
    *("Arm", "Round", "Frames", "Error / std before", "after", "NLL before (eV/Å)", "after"),
    *("Errors within the 90% interval", "Rank correlation"),
)


def calibrated_rows(metrics: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each round with a calibration, under `HEAD`; of forces."""
    rows = []
    for row in metrics:
        if "calibration" not in row:
            continue
        forces = row["calibration"]["forces"]
        before, after, within = forces["before"], forces["after"], forces["within_interval"]
        rows.append(
            [
                *(row["arm"], str(row["round"]), str(row["calibration"]["frames"])),
                *(f"{before['z_std']:.2f}", f"{after['z_std']:.2f}", f"{before['nll']:.2f}", f"{after['nll']:.2f}"),
                *("" if within is None else f"{100 * within:.0f}%", f"{after['spearman']:.2f}"),
            ]
        )
    return rows


def about_calibrations(n_rows: int, least: int | None) -> str:
    """Under the table, or in its place."""
    if n_rows:
        return (
            "Each round's model was calibrated on the validation frames: half of them judged by what was fitted to the "
            "other half, both ways. Numbers are of forces; the std of errors over their stds is 1 where these are "
            "right. Stds and thresholds of the next round are calibrated ones."
        )
    if least is None:
        return "No model was calibrated: 'training.calibrate_from' is null."
    return f"No model was calibrated: no round had {least} validation frames ('training.calibrate_from')."


def picture(folder: Path, title: str) -> str:
    """Of the training in `folder`, as part of the page; empty where there is none."""
    path = folder / CALIBRATION_PICTURE
    if not path.exists():
        return ""
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure><img style="width: 100%" alt="{html.escape(title)}" src="data:image/png;base64,{content}">'
        f"<figcaption>{html.escape(title)}</figcaption></figure>"
    )
