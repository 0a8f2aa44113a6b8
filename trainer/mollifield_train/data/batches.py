"""Frames as graphs, graphs as batches.

Neighbour lists are made once a frame (`mollifield.neighbours`). Letters: B frames, N atoms and
E edges of all frames together.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers, chemical_symbols
from torch import Tensor
from torch.utils.data import Sampler

from ..progress import counted
from .frames import Frame
from .nearby import Nearby, edges_of


@dataclass(frozen=True)
class Graph:
    """One frame with its neighbour list; numpy geometry, tensors for the model."""

    frame: Frame
    types: Tensor
    """[N] int64."""
    edge_index: Tensor
    """[2, E] int64."""
    edge_vectors: Tensor
    """[E, 3] float64, Å."""
    index: int
    """Position in its data set; bootstrap weights are looked up by it."""
    nearby: Nearby | None = None
    """Edges beyond the cutoff as well, for displaced copies."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.frame.numbers)


@dataclass(frozen=True)
class Batch:
    """Frames concatenated; energies and forces in float64."""

    types: Tensor
    """[N] int64."""
    edge_index: Tensor
    """[2, E] int64, atoms counted through all frames."""
    edge_vectors: Tensor
    """[E, 3] float64, Å."""
    frame_of_atom: Tensor
    """[N] int64."""
    n_atoms: Tensor
    """[B] int64."""
    volumes: Tensor
    """[B] float64, Å^3; 1 where the cell has none."""
    energies: Tensor
    """[B] float64, eV; zero where missing, as all labels."""
    has_energy: Tensor
    """[B] bool."""
    forces: Tensor
    """[N, 3] float64, eV/Å."""
    has_forces: Tensor
    """[B] bool."""
    forces_mask: Tensor | None
    """[N] bool: atoms whose forces count; None where all do."""
    stress: Tensor
    """[B, 3, 3] float64, eV/Å^3."""
    has_stress: Tensor
    """[B] bool."""
    index: Tensor
    """[B] int64: positions in the data set."""
    weights: Tensor | None
    """[B] float64: of the frames in the loss; None where all are 1."""
    graphs: tuple[Graph, ...]
    """The frames themselves, on the CPU."""

    @property
    def n_frames(self) -> int:
        """Number of frames B."""
        return len(self.graphs)

    def count(self, label: str) -> int:
        """Number of frames with an 'energy', 'forces' or 'stress'; asks no device."""
        return sum(getattr(graph.frame, label) is not None for graph in self.graphs)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """A copy with its tensors on `device`."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """A copy from which a GPU takes tensors while the CPU goes on; loaders ask for it."""
        return self._with(Tensor.pin_memory)

    def first(self, n_frames: int) -> "Batch":
        """Views of the first frames; asks no device."""
        graphs = self.graphs[:n_frames]
        n_atoms, n_edges = sum(g.n_atoms for g in graphs), sum(g.edge_index.shape[1] for g in graphs)
        of_atoms = {name: getattr(self, name)[:n_atoms] for name in ("types", "frame_of_atom", "forces")}
        edges = {"edge_index": self.edge_index[:, :n_edges], "edge_vectors": self.edge_vectors[:n_edges]}
        return replace(self._with(lambda tensor: tensor[:n_frames]), **of_atoms, **edges, graphs=graphs)

    def _with(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        changed: dict[str, Any] = {
            name: change(value) if isinstance(value, Tensor) else value for name, value in values.items()
        }
        return replace(self, **changed)


def build_graphs(
    frames: Sequence[Frame],
    species: Sequence[str],
    r_max: float,
    skin: float = 0.0,
    progress: bool = False,
    with_nearby: bool = True,
) -> list[Graph]:
    """Graphs of frames; raises ValueError on an unknown species and on atoms on top of each other.

    With a `skin` (Å) neighbours out to `r_max + skin` are found by the same search and kept for displaced copies,
    unless these are not wanted (`with_nearby`).
    """
    columns = type_columns(species)
    shown = counted(frames, "neighbours", total=len(frames), shown=progress)
    found = []
    for k, frame in enumerate(shown):
        edges = edges_of(frame, r_max + skin)
        found.append(make_graph(frame, k, types_of(frame, columns), *edges, r_max, skin, with_nearby))
    return found


def type_columns(species: Sequence[str]) -> np.ndarray:
    """[elements] int64: the type of each atomic number, -1 where the model does not know it."""
    columns = np.full(len(chemical_symbols), -1, dtype=np.int64)
    columns[[atomic_numbers[symbol] for symbol in species]] = np.arange(len(species))
    return columns


def types_of(frame: Frame, columns: np.ndarray) -> np.ndarray:
    """[N] int64, from `type_columns`; raises ValueError on an unknown species."""
    types = columns[frame.numbers]
    if (types < 0).any():
        raise ValueError(
            f"{frame.origin}: contains an element (atomic number {frame.numbers[types < 0][0]}) that the model does "
            f"not know; it knows atomic numbers {', '.join(map(str, np.argsort(columns)[(columns < 0).sum() :]))}"
        )
    return types


def make_graph(
    frame: Frame,
    index: int,
    types: np.ndarray,
    edge_index: np.ndarray,
    edge_vectors: np.ndarray,
    r_max: float,
    skin: float,
    with_nearby: bool,
) -> Graph:
    """A graph from the types [N] of a frame's atoms and its edges [2, E], [E, 3] out to `r_max + skin`."""
    nearby = None
    if skin > 0.0:
        nearby = Nearby(edge_index, edge_vectors, skin)
        edge_index, edge_vectors = nearby.within(r_max)
    return Graph(
        frame,
        torch.from_numpy(types),
        torch.from_numpy(edge_index),
        torch.from_numpy(edge_vectors),
        index,
        nearby if with_nearby else None,
    )


def collate(graphs: Sequence[Graph]) -> Batch:
    """One batch from graphs, in order."""
    graphs = tuple(graphs)  # each is asked for once
    n_atoms = torch.tensor([graph.n_atoms for graph in graphs])
    edge_index = concatenate_edges([graph.edge_index for graph in graphs], n_atoms.tolist())
    cells = np.array([graph.frame.cell for graph in graphs])
    volumes = torch.from_numpy(np.abs(np.linalg.det(cells)))
    frames = [graph.frame for graph in graphs]
    forces = [np.zeros_like(f.positions) if f.forces is None else f.forces for f in frames]
    stresses = [np.zeros((3, 3)) if f.stress is None else f.stress for f in frames]
    return Batch(
        types=torch.cat([graph.types for graph in graphs]),
        edge_index=edge_index,
        edge_vectors=torch.cat([graph.edge_vectors for graph in graphs]),
        frame_of_atom=torch.repeat_interleave(torch.arange(len(graphs)), n_atoms),
        n_atoms=n_atoms,
        volumes=torch.where(volumes > 0.0, volumes, 1.0),
        energies=torch.tensor([f.energy or 0.0 for f in frames], dtype=torch.float64),
        has_energy=torch.tensor([f.energy is not None for f in frames]),
        forces=torch.from_numpy(np.concatenate(forces)),
        has_forces=torch.tensor([f.forces is not None for f in frames]),
        forces_mask=_forces_mask(frames),
        stress=torch.from_numpy(np.array(stresses)),
        has_stress=torch.tensor([f.stress is not None for f in frames]),
        index=torch.tensor([graph.index for graph in graphs]),
        weights=_weights(frames),
        graphs=graphs,
    )


def _forces_mask(frames: Sequence[Frame]) -> Tensor | None:
    if all(frame.forces_mask is None for frame in frames):
        return None
    masks = [np.ones(f.n_atoms, dtype=bool) if f.forces_mask is None else f.forces_mask for f in frames]
    return torch.from_numpy(np.concatenate(masks))


def _weights(frames: Sequence[Frame]) -> Tensor | None:
    if all(frame.weight == 1.0 for frame in frames):
        return None
    return torch.tensor([frame.weight for frame in frames], dtype=torch.float64)


def concatenate_edges(edge_indices: Sequence[Tensor], n_atoms: Sequence[int]) -> Tensor:
    """[2, E] of all frames, atoms renumbered one frame after the other."""
    offsets = np.concatenate([[0], np.cumsum(n_atoms)[:-1]]).tolist()
    return torch.cat([index + k for index, k in zip(edge_indices, offsets, strict=True)], dim=1)


def spread(order: Iterable[int], sizes: Sequence[int] | np.ndarray, n_parts: int) -> list[list[int]]:
    """Frames one after the other, each into the part with the fewest edges so far; `sizes`: edges of every frame."""
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    filled = [(0, k) for k in range(n_parts)]
    for frame in order:
        edges, k = heapq.heappop(filled)
        parts[k].append(frame)
        heapq.heappush(filled, (edges + max(int(sizes[frame]), 1), k))
    return parts


class SeededBatches(Sampler[list[int]]):
    """Batches that depend on seed and epoch alone, so that a resumed run repeats them.

    Without `sizes` a random permutation is cut into batches of `batch_size` frames. With
    `sizes` (edges of each frame) the same number of batches is filled so that each holds about
    the same number of edges: frames in random order, the largest classes first, each into the
    batch with the fewest edges so far. The number of batches never depends on the epoch.
    """

    def __init__(
        self, n_frames: int, batch_size: int, seed: int, sizes: Sequence[int] | None = None, stream: Sequence[int] = ()
    ) -> None:
        """`stream` keeps the order apart from another set's with the same seed."""
        self.n_frames = n_frames
        self.batch_size = batch_size
        self.seed = [seed, *stream]
        self.sizes = None if sizes is None else np.asarray(sizes)
        self.first_epoch = 0
        self.epoch = 0

    @property
    def sampler(self) -> "SeededBatches":
        """Lightning tells the epoch to `batch_sampler.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from the first of this process."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return -(-self.n_frames // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # A generator, because loaders ask for an iterator before they tell the epoch.
        yield from self.of_pass(self.epoch)

    def of_pass(self, number: int) -> list[list[int]]:
        """All batches of one epoch."""
        rng = np.random.default_rng([*self.seed, number])
        order = rng.permutation(self.n_frames)
        if self.sizes is None:
            starts = range(0, self.n_frames, self.batch_size)
            return [order[k : k + self.batch_size].tolist() for k in starts]
        order = order[np.argsort(-self.sizes[order], kind="stable")]
        batches = spread(order.tolist(), self.sizes, len(self))
        return [batches[k] for k in rng.permutation(len(self))]


class SharedBatches(Sampler[list[int]]):
    """Batches of two sets together, those of the second with numbers that follow the first's.

    An epoch has as many batches as the set with more of them; passes of the other follow one another through epochs.
    """

    def __init__(self, first: SeededBatches, second: SeededBatches) -> None:
        self.sets = first, second
        self.first_epoch = 0
        self.epoch = 0

    @property
    def sampler(self) -> "SharedBatches":
        """As `SeededBatches.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """As `SeededBatches.set_epoch`."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return max(map(len, self.sets))

    def __iter__(self) -> Iterator[list[int]]:
        first, second = (self._turns(batches) for batches in self.sets)
        for own, others in zip(first, second, strict=True):
            yield own + [self.sets[0].n_frames + k for k in others]

    def _turns(self, batches: SeededBatches) -> Iterator[list[int]]:
        """Its batches of this epoch, from as many passes as that takes."""
        start = self.epoch * len(self)
        for number, position in (divmod(k, len(batches)) for k in range(start, start + len(self))):
            if position == 0 or number * len(batches) + position == start:
                of_pass = batches.of_pass(number)
            yield of_pass[position]
