"""Draws the picture of README.md: what tutorial 4 finds, by running it.

    python docs/picture.py

Half a minute of one core; the picture is docs/_static/heating.png.
"""

import os
import runpy
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

DOCS = Path(__file__).resolve().parent
PICOSECONDS = 0.002
"""Of a step."""
SELECT, STOP = 0.1, 1.0
"""eV/Å, of the tutorial's fix."""


def main() -> None:
    """Run, and draw."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        names = runpy.run_path(str(DOCS / "tutorials" / "4_lammps.py"))
        os.chdir(DOCS)
    plt.close("all")
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.0), layout="constrained")
    for run, label in (
        (names["result"], "model of the cold crystal"),
        (names["again"], "a quarter of its frames learnt"),
    ):
        time = run.thermo["Step"] * PICOSECONDS
        (line,) = axes[0].semilogy(time, run.thermo["f_u"], label=label)
        axes[0].plot(time[-1], run.thermo["f_u"][-1], "s", color=line.get_color())
    for height, word in ((SELECT, "select"), (STOP, "stop")):
        axes[0].axhline(height, color="black", linestyle="--", linewidth=0.8)
        axes[0].text(0.0, 1.06 * height, word, va="bottom", fontsize=8)
    axes[0].set(xlabel="time (ps), heated from 300 to 3000 K", ylabel="largest force std (eV/Å)", ylim=(0.02, 3.0))
    axes[0].legend(loc="lower right", fontsize=8)
    axes[1].loglog(names["std"].ravel(), names["error"].ravel(), ".", markersize=3, alpha=0.4)
    axes[1].plot([0.01, 1.0], [0.01, 1.0], color="black", linewidth=0.8)
    axes[1].set(
        xlabel="force std of an atom (eV/Å)",
        ylabel="its force error (eV/Å)",
        title="frames that were written",
        xlim=(0.009, 2.5),
        ylim=(0.005, 30),
    )
    path = DOCS / "_static" / "heating.png"
    figure.savefig(path, dpi=110)
    with Image.open(path) as picture:
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(path, optimize=True)


if __name__ == "__main__":
    main()
