"""How commands print tables."""

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]], most: int | None = None) -> None:
    """Columns as wide as what is in them: the first to the left, the others to the right, at most `most` rows.

    Numbers that are no integers are shown with four digits, None as '-'.
    """
    shown = [[_text(value) for value in row] for row in rows[:most]]
    widths = [max(len(row[k]) for row in [list(head), *shown]) for k in range(len(head))]
    for row in [list(head), *shown]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print(f"  {'  '.join(cells)}".rstrip())
    if most is not None and len(rows) > most:
        print(f"  and {len(rows) - most} more")


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
