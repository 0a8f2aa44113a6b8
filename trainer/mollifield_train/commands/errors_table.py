"""How commands print errors."""

LABELS = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å^3"}


def print_errors(summary: dict[str, float]) -> None:
    """A line for each quantity of an `error_summary`."""
    from ..metrics import key_of

    for quantity, label in LABELS.items():

        def number(measure: str, quantity: str = quantity) -> str:
            return f"{summary[key_of(quantity, measure)]:9.3f}"

        if key_of(quantity, "rmse") not in summary:
            continue
        text = f"RMSE {number('rmse')}  MAE {number('mae')}"
        if key_of(quantity, "std") in summary:
            text += f"  single members RMSE {number('rmse_members')}  committee std {number('std')}"
        print(f"  {quantity:<7}{text}  {label}")
