"""What the report says and draws."""

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.geometry import find_mic

from mollifield_train.active import structures
from mollifield_train.active.acquire.random import RandomConfig
from mollifield_train.active.acquire.uncertain_then_diverse import UncertainThenDiverseConfig
from mollifield_train.active.figures import gallery
from mollifield_train.active.page_tables import losses, rounds_html
from mollifield_train.active.report import _reliability, summary

ARMS = {"active": UncertainThenDiverseConfig(), "random": RandomConfig()}


def row(arm: str, round_: int, n_new: int, force: float, energy: float, **more: object) -> dict:
    return {
        "arm": arm,
        "round": round_,
        "n_frames": 20 + n_new,
        "n_valid": 2,
        "n_new": n_new,
        "n_missing": 0,
        "oracle_calls": n_new,
        "n_failed": 0,
        "n_discarded": 0,
        "n_shared": 0,
        "force_rmse": force,
        "energy_rmse_per_atom": 0.5,
        "energy_offset_per_atom": -0.499,
        "energy_rmse_per_atom_shifted": energy,
        "mean_force_std": 0.1,
        "max_force_std": 0.2,
    } | more


def two_arms(random_force: float, random_energy: float = 0.004, n_random: int = 10, **more: object) -> list[dict]:
    return [
        row("active", 0, 0, 0.3, 0.009),
        row("active", 1, 10, 0.1, 0.004),
        row("random", 0, 0, 0.3, 0.009),
        row("random", 1, n_random, random_force, random_energy, **more),
    ]


@pytest.mark.parametrize(
    ("force", "energy", "words"),
    [
        (0.08, 0.005, "25% worse for forces and 20% better for energies"),
        (0.2, 0.004, "50% better for forces and no better and no worse for energies"),
    ],
)
def test_summary_says_who_won(force: float, energy: float, words: str) -> None:
    text = summary(two_arms(force, energy), 200, ARMS)
    assert words in text
    assert "As many new frames drawn at random" in text
    assert "in this one run" in text


def test_summary_states_energies_and_their_offset_apart() -> None:
    text = summary(two_arms(0.2), 200, ARMS)
    assert text.startswith("One run, judged on 200 test frames: 10 new labels")
    assert "forces from 300 to 100 meV/Å" in text
    assert "energies, a constant offset apart, from 9 to 4 meV/atom" in text
    assert "offset went from -499 to -499 meV/atom" in text


def test_summary_compares_equal_budgets_only() -> None:
    text = summary(two_arms(0.2, n_random=7, n_missing=3), 200, ARMS)
    assert "7 new frames drawn at random" in text
    assert "with 10 against 7 labels, that compares budgets, not choices" in text
    assert "Labels missing from the budget: 3 (random)" in text
    for word in ("better", "worse", "same number", "As many"):
        assert word not in text


def test_the_rounds_show_stress_where_there_is_one() -> None:
    rows = two_arms(0.2)
    assert "GPa" not in rounds_html(rows)
    for each in rows:
        each |= {"stress_rmse": 0.01, "pressure_error": -0.05}
    # 1 eV/Å^3 is 160.21766 GPa.
    assert "<td>1.602</td><td>-8.011</td>" in rounds_html(rows)


def test_losses_are_listed_by_reason() -> None:
    def lost(arm: str, status: str, reason: str) -> dict[str, Any]:
        return {"arm": arm, "status": status, "reason": reason}

    rows = [
        lost("active", "discarded", "atoms 3 and 7 are 0.412 Å apart, nearer than 0.5 Å"),
        lost("active", "discarded", "atoms 1 and 2 are 0.01 Å apart, nearer than 0.5 Å"),
        lost("active", "failed", "error: SCF did not converge <&>"),
        lost("random", "failed", "error: SCF did not converge <&>"),
        {"arm": "active", "status": "labelled"},
    ]
    cells = re.findall("<td>(.*?)</td>", losses(rows))
    assert cells == [
        "active",
        "discarded",
        "2",
        "atoms 3 and 7 are 0.412 Å apart, nearer than 0.5 Å (for example)",
        "active",
        "failed",
        "1",
        "error: SCF did not converge &lt;&amp;&gt;",
        "random",
        "failed",
        "1",
        "error: SCF did not converge &lt;&amp;&gt;",
    ]
    assert "No frame was discarded and none failed" in losses(rows[-1:])


@pytest.mark.parametrize("n_certain", [0, 5, 40])
def test_a_std_of_zero_is_explained(n_certain: int) -> None:
    rng = np.random.default_rng(0)
    std = np.concatenate([np.zeros(n_certain), rng.uniform(0.1, 1.0, size=40 - n_certain)])
    forces = 0.1 * rng.normal(size=(40, 3))
    page = _reliability({"forces": forces, "forces_reference": np.zeros((40, 3)), "forces_std": std})
    assert "nan" not in page.replace("nance", "")
    assert "inf" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert (f"{n_certain} of 40 atoms have a std of zero" in page) == (n_certain > 0)
    assert ("<svg" in page) == (n_certain < 40)


def crystal(n: int = 2, cubic: bool = True) -> Atoms:
    atoms = bulk("Cu", cubic=cubic) * (n, n, n)
    atoms.rattle(0.08, seed=1)
    atoms.positions += [0.2, -0.3, 0.05]
    return atoms


def test_a_vacancy_is_a_hole_in_a_layer() -> None:
    atoms = crystal()
    del atoms[13]
    found = structures.panels(atoms, np.ones(len(atoms)))
    assert sorted(len(panel.indices) for panel in found) == [7, 8, 8, 8]
    assert Counter(np.concatenate([panel.indices for panel in found])) == Counter(range(31))
    for panel in found:  # no atom hides another: none is nearer than a third of the nearest neighbours' distance
        distances = np.linalg.norm(panel.places[:, None] - panel.places[None], axis=-1)
        assert distances[~np.eye(len(distances), dtype=bool)].min() > 0.85


@pytest.mark.parametrize("atoms", [crystal(), crystal(3, cubic=False), bulk("Si", cubic=True), fcc111("Cu", (2, 2, 3))])
def test_bonds_of_a_crystal_are_short_and_end_half_way(atoms: Atoms) -> None:
    """Half of each: the mirror image of an end at its bond's far end is an atom, or a periodic image of one."""
    for panel in structures.panels(atoms, np.ones(len(atoms))):
        assert panel.outline.shape == (4, 2)
        lengths = np.linalg.norm(panel.bonds[:, 1] - panel.bonds[:, 0], axis=1)
        assert (lengths < 1.7).all()  # Å, half of 1.25 times two covalent radii
        sides = np.array([panel.outline[1] - panel.outline[0], panel.outline[3] - panel.outline[0]])
        cell = np.zeros((3, 3))
        cell[:2, :2], cell[2, 2] = sides, 1.0
        for start, middle in panel.bonds:
            far = np.append(2 * middle - start, 0.0)
            places = np.column_stack([panel.places, np.zeros(len(panel.places))])
            _, distances = find_mic(places - far, cell, pbc=True)
            assert distances.min() < 1e-6


def test_only_layers_around_the_uncertain_atom_are_drawn() -> None:
    atoms = bulk("Cu", cubic=True) * (5, 5, 4)
    worst = int(np.argmax(atoms.positions[:, 2]))
    std = np.zeros(len(atoms))
    std[worst] = 1.0
    found = structures.panels(atoms, std)
    assert [panel.title for panel in found] == [f"layer {k} of 8 along c" for k in (5, 6, 7, 8)]
    assert worst in found[-1].indices


def test_a_molecule_in_a_periodic_box_stays_whole() -> None:
    atoms = molecule("CH3CH2OH")
    free = structures.panels(atoms, np.ones(9))[0]
    atoms.set_cell([8.0, 8.0, 8.0])
    atoms.pbc = True
    atoms.positions -= atoms.positions.mean(axis=0)
    atoms.wrap()
    (boxed,) = structures.panels(atoms, np.ones(9))
    np.testing.assert_allclose(np.sort(lengths(boxed)), np.sort(lengths(free)), atol=1e-6)
    assert len(boxed.outline) == 0


def lengths(panel: structures.Panel) -> np.ndarray:
    return np.linalg.norm(panel.bonds[:, 1] - panel.bonds[:, 0], axis=1)


def test_liquids_are_cut_into_slices() -> None:
    rng = np.random.default_rng(0)
    atoms = Atoms("Ar60", rng.uniform(0, 12, size=(60, 3)), cell=[12, 12, 12], pbc=True)
    found = structures.panels(atoms, np.ones(60))
    assert len(found) == 3
    assert sum(len(panel.indices) for panel in found) == 60


def test_a_gallery_of_all_kinds_and_without_any_std() -> None:
    frames = [crystal(), molecule("H2O"), fcc111("Cu", (2, 2, 3), vacuum=5.0), bulk("Cu")]
    svg = gallery(frames, [np.zeros(len(atoms)) for atoms in frames], ["one", "two", "three", "four"])
    for word in ("one", "two", "three", "four", "layer 1 of 4 along c", "layer 3 of 3 along c"):
        assert word in svg
