"""Dropout of whole irreps: masks, passes as models, training with them, and the file. float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from mollifield import load_artefact
from mollifield_train.config import TrainConfig, validated
from mollifield_train.data.batches import Batch, build_graphs, collate
from mollifield_train.data.frames import Frame
from mollifield_train.evaluate import evaluate_file
from mollifield_train.model import ARCHITECTURES
from mollifield_train.model.equivariant.network import EquivariantPotential
from mollifield_train.model.linear import EquivariantLinear
from mollifield_train.model.protocol import Potential
from mollifield_train.model.samples import initialise, member_state, rebuilt
from mollifield_train.predict import predict
from mollifield_train.section import Kind
from mollifield_train.testing import example_architecture
from mollifield_train.training.dropout import Dropout
from mollifield_train.training.members import load_members, warm_start
from mollifield_train.training.run import train
from mollifield_train.uncertainty_config import DropoutConfig

from ..conftest import R_MAX, build_potential, ethanol, sheared_crystal
from ..physics.pair_architecture import PairConfig, PairPotential
from .fitting import history, labelled_water, later_export, no_export, power_cut, tiny_config, with_export  # noqa: F401  (fixtures)

SEEDS = [3, 4]
EVERYWHERE = {"probability": 0.3, "where": "everywhere", "passes": 3}


def model(n_members: int = 2, **settings: object) -> EquivariantPotential:
    return build_potential(
        torch.float64, n_members, **{"zbl": True, "correlation": 3, "messages": "scattered", "n_channels": 4} | settings
    )


def dropout(potential: Potential, seeds: list[int] = SEEDS, **keys: object) -> Dropout:
    return Dropout(DropoutConfig.model_validate(EVERYWHERE | keys), potential, seeds)


def batch(rotation: np.ndarray | None = None) -> Batch:
    frames = [ethanol(), sheared_crystal()]
    for atoms in frames if rotation is not None else []:
        atoms.set_cell(atoms.cell.array @ rotation.T)
        atoms.positions = atoms.positions @ rotation.T
    found = [Frame.unlabelled(atoms, "frame") for atoms in frames]
    return collate(build_graphs(found, ("H", "C", "O"), R_MAX))


def mask_inputs(potential: EquivariantPotential, kept: dict[str, Tensor]) -> None:
    """Have each equivariant map see inputs `[M, N, K, C]` with some irreps left out, in all of their components."""

    def masked(module: EquivariantLinear, mask: Tensor):
        rows, start = [], 0
        for l, fan_in in enumerate(module.fan_ins):
            of_l = mask[:, start : start + fan_in].view(len(mask), module.n_paths[l], -1)
            rows.append(of_l.repeat(1, 2 * l + 1, 1))  # every component has the paths' masks in turn
            start += fan_in
        return lambda _, inputs: (inputs[0] * torch.cat(rows, dim=1)[:, None],)

    for name, module in potential.named_modules():
        if isinstance(module, EquivariantLinear):
            module.register_forward_pre_hook(masked(module, kept[f"{name}.weight"]))


@pytest.mark.parametrize("backend", ["native", "e3nn"])
def test_scaled_weights_leave_out_whole_irreps(backend: str) -> None:
    """Of all atoms; but for the readout, whose inputs are scalars."""
    potential = model(backend=backend)
    inputs = potential.inputs_of_weights(everywhere=True)
    assert {name.split(".")[-2] for name in inputs if name.startswith("layers")} >= {"mix_in", "mix_self", "mix_cube"}
    generator = torch.Generator().manual_seed(0)
    kept = {
        name: 1.0 + (torch.rand(2, int(of.max()) + 1, generator=generator, dtype=torch.float64) < 0.7)
        for name, of in inputs.items()
        if name.startswith("layers")
    }
    state = {name: tensor.clone() for name, tensor in member_state(potential).items()}
    for name, mask in kept.items():
        state[name] *= mask[:, inputs[name]].view_as(state[name])
    scaled = rebuilt(potential, state)
    mask_inputs(potential, kept)
    expected, found = predict(potential, batch()), predict(scaled, batch())
    torch.testing.assert_close(found.energies, expected.energies, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("where", ["readout", "everywhere"])
@pytest.mark.parametrize("improper", [False, True])
def test_every_pass_turns_with_the_frame(where: str, improper: bool) -> None:
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() * (-1 if improper else 1)
    passes = dropout(model(), where=where).passes(model())
    assert passes.n_members == 6
    before, after = predict(passes, batch(), virials=True), predict(passes, batch(rotation), virials=True)
    scale = float(before.forces.abs().max())
    turned = before.forces @ torch.from_numpy(rotation.T)
    torch.testing.assert_close(after.forces, turned, rtol=0, atol=1e-10 * max(1.0, scale))
    torch.testing.assert_close(after.energies, before.energies, rtol=1e-13, atol=1e-10)
    assert float(before.forces.std(dim=0).min()) > 1e-6  # the passes are not alike


def test_passes_are_steps_with_masks_of_their_own() -> None:
    """An input is left out in p P of P passes, to the next whole number, and in a part p of all."""
    potential = model()
    keys = {"probability": 0.25, "passes": 6}
    passes = dropout(potential, **keys).passes(potential)
    whole, dropped = [], []
    for name, inputs in potential.inputs_of_weights(everywhere=True).items():
        factors = (member_state(passes)[name] / member_state(potential)[name].repeat_interleave(6, 0)).flatten(1)
        assert torch.allclose(factors[factors != 0], torch.tensor(4.0 / 3.0, dtype=torch.float64))
        first = torch.tensor([int((inputs == k).nonzero()[0]) for k in range(int(inputs.max()) + 1)])
        assert torch.allclose(factors, factors[:, first][:, inputs])  # an input has one mask
        whole.append((factors[:, first] == 0).view(2, 6, -1).sum(dim=1).flatten())
        dropped.append((factors[:, first] == 0).double().flatten())
    assert set(torch.cat(whole).tolist()) == {1, 2}
    assert float(torch.cat(dropped).mean()) == pytest.approx(0.25, abs=0.02)
    again = dropout(potential, **keys).passes(potential)
    other = dropout(potential, **keys, seed=1).passes(potential)
    same, different = predict(passes, batch()).forces, predict(other, batch()).forces
    assert torch.equal(predict(again, batch()).forces, same) and not torch.allclose(different, same)


def test_masks_follow_from_seed_and_step() -> None:
    """A member's from its own, whoever else is there."""
    potential = model()
    second = rebuilt(potential, {name: tensor[1:] for name, tensor in member_state(potential).items()}, n_members=1)
    together = predict(dropout(potential).masked(potential, 7), batch()).energies
    alone = predict(dropout(second, SEEDS[1:]).masked(second, 7), batch()).energies
    torch.testing.assert_close(alone[0], together[1], rtol=1e-12, atol=0.0)
    assert not torch.allclose(predict(dropout(potential).masked(potential, 8), batch()).energies, together)
    assert not torch.allclose(predict(potential, batch()).energies, together)


def test_passes_of_a_readout_share_its_trunk() -> None:
    """And are what the same masks give with a trunk each."""
    potential = model(1)
    shared = dropout(potential, [3], where="readout").passes(potential)
    assert shared.shared_trunk and shared.n_members == 3
    apart = rebuilt(potential, {n: t.repeat_interleave(3, 0) for n, t in member_state(potential).items()}, n_members=3)
    for name in ("readout.weight_1", "readout.weight_2"):
        member_state(apart)[name].copy_(member_state(shared)[name])
    expected, found = predict(apart, batch()), predict(shared, batch())
    torch.testing.assert_close(found.energies, expected.energies, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-10, atol=1e-10)


DROPPED = {"uncertainty": {"kinds": [{"kind": "mc_dropout", "passes": 3, "where": "everywhere"}]}}


def test_members_are_trained_alike_together_and_alone(tmp_path: Path) -> None:
    """And after an interruption, which repeats the masks; the weights of a training without are others."""
    images, results = labelled_water(12), {}
    for way in ("together", "one_by_one"):
        results[way] = train(tiny_config(tmp_path, images, way, committee={"training": way}, **DROPPED), progress=False)
    results["whole"] = train(tiny_config(tmp_path, images, "whole"), progress=False)
    together, alone, whole = (member_state(result.model) for result in results.values())
    for name, tensor in together.items():
        torch.testing.assert_close(alone[name], tensor, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(whole["readout.weight_1"], together["readout.weight_1"], atol=1e-4)


def test_a_continued_run_repeats_the_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = labelled_water(12)
    uninterrupted = train(tiny_config(tmp_path, images, "one", **DROPPED), progress=False)
    with power_cut(monkeypatch):
        train(tiny_config(tmp_path, images, "two", **DROPPED), progress=False)
    train(tiny_config(tmp_path, images, "two", **DROPPED), resume=True, progress=False)
    assert history(tmp_path / "two") == history(uninterrupted.directory)


def test_the_file_has_the_passes(tmp_path: Path, with_export: None) -> None:  # noqa: F811
    """Twice the same, with stds; and another training can begin with the whole members."""
    images, sections = labelled_water(13), DROPPED | {"data": {"valid_fraction": 0.0}}
    files = [train(tiny_config(tmp_path, images, name, **sections), progress=False).directory for name in "ab"]
    first, again = (evaluate_file(folder / "model.pt", tmp_path / "frames.xyz") for folder in files)
    assert len(first[0].energies) == 6
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.forces, other.forces)
        assert one.energy_std == other.energy_std and one.energy_std is not None and one.energy_std > 0.0
    config = tiny_config(tmp_path, images, "next")
    whole, _ = warm_start(config, files[0] / "model.pt")
    kept = member_state(load_members(files[0]))
    for name, tensor in member_state(whole).items():
        assert torch.equal(tensor, kept[name])
    # Every pass has its own shifts, by which its errors on the training frames have a median of zero.
    assert all(abs(np.median([f.energies[m] - f.frame.energy for f in first])) < 1e-3 for m in range(6))
    assert not load_artefact(files[0] / "model.pt").shared_trunk


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"probability": 0.0}, "probability"),
        ({"probability": 1.0}, "probability"),
        ({"passes": 1}, "passes"),
        ({"where": "nowhere"}, "where"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, keys: dict[str, object], words: str) -> None:
    values = {"data": {"train": "x"}, "uncertainty": {"kinds": [{"kind": "mc_dropout"} | keys]}}
    with pytest.raises(ValueError, match=f"uncertainty.kinds.0.{words}"):
        validated(TrainConfig, values, "train.yaml")


def test_what_does_not_go_together_is_refused() -> None:
    values = {"data": {"train": "x"}, "uncertainty": {"kinds": ["mc_dropout"]}}
    with pytest.raises(ValueError, match="mc_dropout, which does not go with loss.mollifier"):
        validated(TrainConfig, values | {"loss": {"mollifier": {}}}, "train.yaml")
    with pytest.raises(ValueError, match="allowed is one of heads and mc_dropout"):
        validated(TrainConfig, values | {"uncertainty": {"kinds": ["mc_dropout", "heads"]}}, "train.yaml")


def test_an_architecture_without_inputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "pair", Kind(PairConfig, PairPotential))
    pair = PairPotential(example_architecture(PairConfig(r_max=R_MAX)))
    initialise(pair, 0)
    with pytest.raises(ValueError, match="architecture 'pair' knows no mc_dropout"):
        dropout(pair)
