"""Tables of the page about a run."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

from ase.units import GPa

from .store import DISCARDED, FAILED, without_numbers

_COLUMNS: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("Arm", lambda row: row["arm"]),
    ("Round", lambda row: str(row["round"])),
    ("Labelled frames", lambda row: str(row["n_frames"])),
    ("for validation", lambda row: str(row["n_valid"])),
    ("New labels", lambda row: str(row["n_new"])),
    ("Oracle calls", lambda row: str(row["oracle_calls"])),
    ("Failed", lambda row: str(row["n_failed"])),
    ("Force RMSE (meV/Å)", lambda row: f"{1000 * row['force_rmse']:.1f}"),
    ("Energy RMSE (meV/atom)", lambda row: f"{1000 * row['energy_rmse_per_atom']:.2f}"),
    ("its offset", lambda row: f"{1000 * row['energy_offset_per_atom']:.2f}"),
    ("without offset", lambda row: f"{1000 * row['energy_rmse_per_atom_shifted']:.2f}"),
    ("Stress RMSE (GPa)", lambda row: f"{row['stress_rmse'] / GPa:.3f}"),
    ("Pressure error (GPa)", lambda row: f"{row['pressure_error'] / GPa:.3f}"),
    ("Mean std (meV/Å)", lambda row: f"{1000 * row['mean_force_std']:.1f}"),
    ("Largest std (meV/Å)", lambda row: f"{1000 * row['max_force_std']:.0f}"),
]


def rounds_html(metrics: list[dict[str, Any]]) -> str:
    """The table of the rounds; stress where the test frames have one."""
    with_stress = all("stress_rmse" in row for row in metrics)
    columns = [column for column in _COLUMNS if with_stress or "GPa" not in column[0]]
    return table([name for name, _ in columns], [[write(row) for _, write in columns] for row in metrics])


_OF_SYSTEMS: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("Labelled frames", lambda row: str(row["n_frames"])),
    ("New labels", lambda row: str(row["n_new"])),
    ("missing", lambda row: str(row.get("n_missing", "shared"))),
    ("Failed", lambda row: str(row["n_failed"])),
    ("Unphysical", lambda row: str(row["n_discarded"])),
    ("Found before", lambda row: str(row["n_duplicates"])),
    ("Force RMSE (meV/Å)", lambda row: f"{1000 * row['force_rmse']:.1f}" if "force_rmse" in row else "no test frames"),
]


def systems_html(metrics: list[dict[str, Any]]) -> str:
    """What became of each system, arm by arm and round by round; nothing for a run of one."""
    rows = [
        [row["arm"], str(row["round"]), system, *(write(found) for _, write in _OF_SYSTEMS)]
        for row in metrics
        for system, found in row.get("systems", {}).items()
    ]
    if not rows:
        return ""
    note = "Counted from the beginning of the run; frames that are unphysical or were found before cost no label."
    head = ["Arm", "Round", "System", *(name for name, _ in _OF_SYSTEMS)]
    return f'<h2>The systems</h2>{table(head, rows)}<p class="note">{note}</p>'


def table(head: list[str], rows: list[list[str]], text: str = "") -> str:
    """`text`: a class of the table."""
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="{text}"><tr>{cells}</tr>{lines}</table></div>'


def losses(rows_of_store: Sequence[dict[str, Any]]) -> str:
    """What was discarded and what failed, by reason: a table, or a sentence where there is nothing."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for columns in rows_of_store:
        if columns["status"] in (DISCARDED, FAILED):
            key = columns["arm"], columns["status"], without_numbers(columns["reason"])
            groups.setdefault(key, []).append(columns["reason"])
    title = "<h2>Frames that were lost</h2>"
    if not groups:
        return f"{title}<p>No frame was discarded and none failed.</p>"
    rows = [
        [arm, status, str(len(reasons)), reasons[0] if len(set(reasons)) == 1 else f"{reasons[0]} (for example)"]
        for (arm, status, _), reasons in sorted(groups.items(), key=lambda item: (*item[0][:2], -len(item[1])))
    ]
    return (
        f"{title}{table(['Arm', 'Status', 'Frames', 'Reason'], rows, 'text')}"
        '<p class="note">Discarded frames never reached the oracle; failed ones gave no label after all attempts.</p>'
    )
