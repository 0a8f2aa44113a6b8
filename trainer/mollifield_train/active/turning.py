"""Frames that turn on the page: 3Dmol.js (Rego and Koes, Bioinformatics 31, 1322 (2015)), which lies in `viewer/`.

Version 2.5.5 as `npm pack 3dmol` has it, BSD-3-Clause, put into the page whole: nothing is fetched. Where a browser has
no WebGL, or no scripts are wanted, the picture that it is given is shown.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from matplotlib.colors import Normalize, to_hex
from numpy.typing import NDArray

VIEWER = Path(__file__).parent / "viewer" / "3Dmol-min.js"
_CORNERS = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
_STYLE = """<style>
.turning { display: none; grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); gap: .75rem; }
.turning > div { min-width: 0; font-size: .85rem; text-align: center; }
.turning .view { position: relative; height: 15rem; overflow: hidden; }
.scale { height: .6rem; max-width: 15rem; margin: .5rem auto 0; background: linear-gradient(to right, COLOURS); }
</style>"""
_SCRIPT = """<script>
(() => {
  const box = document.querySelector(".turning");
  const frames = JSON.parse(box.querySelector("script").textContent);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  try {
    if (!document.createElement("canvas").getContext("webgl2")) return;
    box.style.display = "grid";
    const backgroundColor = getComputedStyle(document.body).backgroundColor;
    box.querySelectorAll(".view").forEach((place, k) => {
      const { xyz, colours, edges } = frames[k];
      const viewer = $3Dmol.createViewer(place, { backgroundColor });
      viewer.addModel(xyz, "xyz");
      const colorfunc = atom => colours[atom.index];
      viewer.setStyle({}, { sphere: { scale: 0.3, colorfunc }, stick: { radius: 0.13, colorfunc } });
      for (const [start, end] of edges) viewer.addCylinder({ start, end, radius: 0.03, color: "gray" });
      viewer.zoomTo();
      viewer.zoom(edges.length ? 1 : 1.5);
      viewer.rotate(20, "x");
      viewer.render();
      new IntersectionObserver(([seen]) => viewer.spin(seen.isIntersecting && !still ? "y" : false, 0.4))
        .observe(place);
    });
    document.querySelector(".picture").style.display = "none";
  } catch (error) {
    box.style.display = "none";
  }
})();
</script>"""


def turning(frames: Sequence[Atoms], stds: Sequence[NDArray[np.float64]], titles: Sequence[str], picture: str) -> str:
    """Part of a page: frames in 3-D, each atom coloured by its force std (`[N]` eV/Å); or `picture`, of the same."""
    largest = max(float(std.max()) for std in stds)
    norm, colours = Normalize(0.0, max(largest, 1e-9)), matplotlib.colormaps["viridis"]
    content = [
        {"xyz": _xyz(atoms), "colours": [to_hex(colours(norm(value))) for value in std], "edges": _edges(atoms)}
        for atoms, std in zip(frames, stds, strict=True)
    ]
    views = "".join(f'<div><div class="view"></div>{html.escape(title)}</div>' for title in titles)
    legend = f'<div style="grid-column: 1 / -1">0 to {1000 * largest:.0f} meV/Å<div class="scale"></div></div>'
    stops = ", ".join(to_hex(colours(x)) for x in np.linspace(0.0, 1.0, 9))
    data = json.dumps(content).replace("<", "\\u003c")
    return (
        f'{_STYLE.replace("COLOURS", stops)}<div class="turning">{views}{legend}'
        f'<script type="application/json">{data}</script></div><div class="picture">{picture}</div>'
        f"<script>{VIEWER.read_text(encoding='utf-8')}</script>{_SCRIPT}"
    )


def _xyz(atoms: Atoms) -> str:
    """Periodic frames wrapped into their cell."""
    places = atoms.get_positions(wrap=bool(atoms.pbc.any()))
    rows = (f"{s} {x:.4f} {y:.4f} {z:.4f}" for s, (x, y, z) in zip(atoms.get_chemical_symbols(), places, strict=True))
    return "\n".join([str(len(atoms)), "", *rows])


def _edges(atoms: Atoms) -> list[list[dict[str, float]]]:
    """Ends of the lines around the cell of a periodic frame."""
    if not atoms.pbc.any():
        return []
    cell = complete_cell(atoms.cell.array)
    pairs = [(a, b) for a in _CORNERS for b in _CORNERS if a < b and sum(map(abs, np.subtract(a, b))) == 1]
    return [[dict(zip("xyz", map(float, np.array(end) @ cell), strict=True)) for end in pair] for pair in pairs]
