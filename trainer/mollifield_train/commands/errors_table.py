"""How commands print errors."""

from .tables import print_table

LABELS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å^3"}


def print_errors(summary: dict[str, float]) -> None:
    """A line for each quantity of an `error_summary`."""
    from ..metrics import key_of

    for quantity, label in LABELS.items():
        keys = {measure: key_of(quantity, measure) for measure in ("rmse", "mae", "rmse_members", "std")}
        found = {measure: f"{summary[key]:9.3f}" for measure, key in keys.items() if key in summary}
        if "rmse" not in found:
            continue
        text = f"RMSE {found['rmse']}  MAE {found['mae']}"
        if "std" in found:
            text += f"  single members RMSE {found['rmse_members']}  committee std {found['std']}"
        print(f"  {quantity:<7}{text}  {label}")


def print_measures(errors: dict[str, dict[str, float]]) -> None:
    """A row for each quantity of `evaluation.tables.errors`."""
    columns = {"n": "values", "rmse": "RMSE", "mae": "MAE", "offset": "offset"}
    columns |= {"rmse_without_offset": "without offset", "largest": "largest"}
    columns |= {"rmse_members": "single members", "std": "committee std"}
    shown = {key: head for key, head in columns.items() if any(key in row for row in errors.values())}
    rows = [[f"{quantity} ({LABELS[quantity]})", *map(row.get, shown)] for quantity, row in errors.items()]
    print_table(["", *shown.values()], rows)
