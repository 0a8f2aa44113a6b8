"""fix mollifield/uncertainty judges what a run goes through: no trial of a Monte Carlo fix, every frame of a rerun."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mollifield_lammps import LammpsError, read_uncertain

from .committee import ATOL, spread, start
from .conftest import SPECIES

# `nve` moves atoms between trials, of which some are accepted and most are not.
MOVES = {
    "swap": "fix mc all atom/swap 2 4 29494 3000.0 types 2 3\n",
    "gcmc": (
        "group gas type 1\nfix mc gas gcmc 2 5 0 1 29494 3000.0 -3.0 0.1 full_energy overlap_cutoff 0.5\n"
        "compute_modify thermo_temp dynamic/dof yes\n"
    ),
}
MOVING = "velocity all create 900 11\nfix n all nve\ntimestep 0.0002\n"
OUTPUT = (
    "thermo 1\nthermo_style custom step f_u f_u[*]\nthermo_modify format float %.17g lost error\n"
    "dump d all custom 1 all.dump id type x y z f_u[1]\ndump_modify d sort id format float %.17g\n"
)


def crystal() -> Atoms:
    """C and O, and one H between them."""
    atoms = bulk("CO", "rocksalt", a=4.6, cubic=True) + Atoms("H", positions=[[1.15, 1.15, 1.15]])
    atoms.rattle(0.08, seed=1)
    return atoms


def dumped(path) -> dict[int, tuple[np.ndarray, list[str], np.ndarray, np.ndarray]]:
    """(tags, symbols, positions, f_u[1]) of each step."""
    frames = {}
    for text in path.read_text().split("ITEM: TIMESTEP\n")[1:]:
        lines = text.splitlines()
        rows = np.array([line.split() for line in lines[8:]], dtype=float)
        symbols = [SPECIES[int(kind) - 1] for kind in rows[:, 1]]
        frames[int(lines[0])] = (rows[:, 0].astype(int), symbols, rows[:, 2:5], rows[:, 5])
    return frames


@pytest.mark.parametrize("move, n_ranks", [("swap", 1), ("swap", 2), ("gcmc", 2)])
def test_trials_are_not_judged(move, n_ranks, stated_model, tmp_path):
    """Frames, numbers and `stop` are those of the trajectory that the dump shows."""
    mc, highest = MOVES[move], 0.0
    tried, done = (1, 2) if move == "swap" else (3, 4)
    counts = f"variable tried equal f_mc[{tried}]\nvariable done equal f_mc[{done}]\n"
    counts += 'run 8\nprint "moves $(v_tried) $(v_done)"\n'
    commands = MOVING + mc + "fix u all mollifield/uncertainty 1 file u.xyz\n" + OUTPUT + counts
    result, _ = start(tmp_path, crystal(), stated_model, commands, n_ranks)
    (line,) = [line for line in result.log.read_text().splitlines() if line.startswith("moves")]
    tried, done = (float(word) for word in line.split()[1:])
    assert 0 < done < tried
    trajectory, frames = dumped(tmp_path / "all.dump"), read_uncertain(tmp_path / "u.xyz")
    assert [frame.info["step"] for frame in frames] == list(trajectory) == list(range(9))
    for frame, shown in zip(frames, result.thermo["f_u"], strict=True):
        tags, symbols, positions, columns = trajectory[frame.info["step"]]
        assert frame.arrays["tag"].tolist() == tags.tolist()
        assert frame.get_chemical_symbols() == symbols
        np.testing.assert_allclose(frame.positions, positions, atol=1e-12)
        force_std = spread(stated_model, frame)[0]
        np.testing.assert_allclose(columns, force_std, atol=ATOL)
        np.testing.assert_allclose(frame.arrays["force_std"], force_std, atol=ATOL)
        assert abs(shown - force_std.max()) < ATOL
        highest = max(highest, force_std.max())
    stops = MOVING + mc + f"fix u all mollifield/uncertainty 1 stop {1.001 * highest} error hard\nrun 8"
    result, _ = start(tmp_path, crystal(), stated_model, stops, n_ranks)
    with pytest.raises(LammpsError, match="run ended at step"):
        start(tmp_path, crystal(), stated_model, stops.replace(str(1.001 * highest), str(0.999 * highest)), n_ranks)


def test_every_frame_of_a_rerun_is_judged(stated_model, tmp_path):
    """Eleven frames under a fix of every fifth step; `rerun` itself says which to leave out, and nothing but an error
    stops it."""
    commands = MOVING + (
        "fix u all mollifield/uncertainty 1\nthermo 3\nthermo_style custom step f_u\n"
        "thermo_modify format float %.17g lost error\n"
        "dump d all custom 3 all.dump id type x y z f_u[1]\ndump_modify d sort id format float %.17g\nrun 30\n"
    )
    expected, _ = start(tmp_path, crystal(), stated_model, commands, n_ranks=2)
    again = (
        "fix u all mollifield/uncertainty 5 file u.xyz\nfix g all mollifield/uncertainty 5 file gap.xyz min_gap 7\n"
        "fix s all mollifield/uncertainty 5 stop 0.001\n"
        "thermo 3\nthermo_style custom step f_u f_u[5] f_u[6]\nthermo_modify format float %.17g lost error\n"
        "rerun all.dump dump x y z"
    )
    result, _ = start(tmp_path, crystal(), stated_model, again, n_ranks=2)
    steps = list(range(0, 31, 3))
    assert [frame.info["step"] for frame in read_uncertain(tmp_path / "u.xyz")] == steps
    assert [frame.info["step"] for frame in read_uncertain(tmp_path / "gap.xyz")] == steps[::3]
    np.testing.assert_allclose(result.thermo["f_u"][: len(steps)], expected.thermo["f_u"], rtol=1e-6)
    assert result.thermo["f_u[5]"][: len(steps)].tolist() == list(range(1, 12))
    assert "rerun goes on after step 0: force std" in result.log.read_text()
    after_run = MOVING + "fix u all mollifield/uncertainty 5 file some.xyz\nrun 6\nrerun all.dump every 6 dump x y z"
    start(tmp_path, crystal(), stated_model, after_run, n_ranks=2)
    assert [frame.info["step"] for frame in read_uncertain(tmp_path / "some.xyz")] == [0, 5, *steps[::2]]
