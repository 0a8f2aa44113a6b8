"""Tables of what `mollifier.py` found."""

from typing import Any

import numpy as np

Values = dict[str, Any]
Path = tuple[str, ...]


def print_tables(study: Values, results: Values) -> None:
    """Those of each set and way of being equal: a row a variant, the mean over seeds and its standard error."""
    for data, ways in results.items():
        for equal, by_variant in ways.items():
            print(f"\n{data}, equal {equal}, seeds {study['seeds']}, {study['minutes']:g} CPU minutes at equal time")
            done = {name: [piece for piece in found if "failed" not in piece] for name, found in by_variant.items()}
            done = {name: found for name, found in done.items() if found}
            for columns in columns_of(next(iter(done.values()))[0]) if done else ():
                print_table(done, columns)
            sensitive = sensitivity(done, study)
            if sensitive:
                print("std of ln(force RMSE) over λ_F: " + ", ".join(f"{k} {v:.3f}" for k, v in sensitive.items()))
            for name, found in by_variant.items():
                for piece in found:
                    if "failed" in piece:
                        print(f"{name}, seed {piece['seed']}, failed: {piece['failed']}")


def print_table(by_variant: Values, columns: dict[str, Path]) -> None:
    """One; columns are as wide as what is in them."""
    rows = {
        name: [cell([value_at(piece, path) for piece in found]) for path in columns.values()]
        for name, found in by_variant.items()
    }
    first = 2 + max(len(name) for name in rows)
    widths = [2 + max(map(len, (title, *cells))) for title, *cells in zip(columns, *rows.values(), strict=True)]
    print()
    for name, cells in {"": list(columns), **rows}.items():
        print(f"{name:<{first}}" + "".join(f"{text:>{width}}" for text, width in zip(cells, widths, strict=True)))


def columns_of(piece: Values) -> list[dict[str, Path]]:
    """Titles of the columns of each table, and where their numbers lie in a piece."""
    errors: dict[str, Path] = {"ms/step": ("step_ms",), "epochs": ("epochs",)}
    for test, found in piece["tests"].items():
        errors |= {f"F {test}": ("tests", test, "forces"), f"E {test}": ("tests", test, "energy")}
        errors |= {f"{key} {test}": ("tests", test, key) for key in ("rank", "ratio") if key in found}
    errors |= {name: ("curve", name) for name in piece["curve"]}
    smooth: dict[str, Path] = {name: ("landscape", name) for name in piece["landscape"]}
    smooth |= {name: ("surface", name) for name in piece["surface"]}
    stable = {f"{key} {t}": ("dynamics", t, key) for t, found in piece.get("dynamics", {}).items() for key in found}
    return [columns for columns in (errors, smooth, stable) if columns]


def value_at(piece: Values, path: Path) -> float | None:
    """A number of a piece; None where it was measured without, such as dynamics where there was no `md`."""
    value: Any = piece
    for key in path:
        if key not in value:
            return None
        value = value[key]
    return value


def cell(values: list[float | None]) -> str:
    """'41.2 ± 0.9': mean and standard error over seeds; '41.2' of one."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    error = f" ± {np.std(known, ddof=1) / np.sqrt(len(known)):.2g}" if len(known) > 1 else ""
    return f"{np.mean(known):.3g}{error}"


def sensitivity(by_variant: Values, study: Values) -> dict[str, float]:
    """For variants that differ in λ_F alone ('none', 'none F10', ...): how much the first test's error does."""
    families: dict[str, list[float]] = {}
    for name, found in by_variant.items():
        family, _, scaled = name.partition(" F")
        errors = [next(iter(piece["tests"].values()))["forces"] for piece in found]
        if scaled or f"{family} F" in " ".join(study["take"]):
            families.setdefault(family, []).append(float(np.mean(np.log(errors))))
    return {family: float(np.std(logs, ddof=1)) for family, logs in families.items() if len(logs) > 1}
