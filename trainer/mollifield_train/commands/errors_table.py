"""How commands print errors."""


def print_errors(summary: dict[str, float]) -> None:
    """A line for each quantity of an `error_summary`."""
    for quantity, unit, label in (
        ("energy", "mev_per_atom", "meV/atom"),
        ("forces", "mev_per_A", "meV/Å"),
        ("stress", "mev_per_A3", "meV/Å^3"),
    ):
        if f"{quantity}_rmse_{unit}" not in summary:
            continue
        text = f"RMSE {summary[f'{quantity}_rmse_{unit}']:9.3f}  MAE {summary[f'{quantity}_mae_{unit}']:9.3f}"
        if f"{quantity}_std_{unit}" in summary:
            text += (
                f"  single members RMSE {summary[f'{quantity}_rmse_members_{unit}']:9.3f}"
                f"  committee std {summary[f'{quantity}_std_{unit}']:9.3f}"
            )
        print(f"  {quantity:<7}{text}  {label}")
