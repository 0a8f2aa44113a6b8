"""The arrows that never run, by reading the sources: who imports and includes whom."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugin" / "mollifield"
TRAINER = ROOT / "trainer" / "mollifield_train"
LAMMPS = ROOT / "lammps_interface" / "mollifield_lammps"
ARCHITECTURES = [path.parent for path in sorted(TRAINER.glob("model/*/config.py"))]
KINDS = [
    path
    for folder in ("explore", "acquire")
    for path in sorted(TRAINER.glob(f"active/{folder}/*.py"))
    if re.search(r"^    kind: Literal", path.read_text(), re.MULTILINE)
]
MODULES = sorted(path for root in (PLUGIN, TRAINER, LAMMPS) for path in root.rglob("*.py"))
CORE_CPP = sorted((ROOT / "plugin" / "cpp").rglob("*.[ch]pp"))
LAMMPS_CPP = sorted((ROOT / "lammps_interface" / "cpp").glob("*"))


def name_of(path: Path) -> Path:
    return path.relative_to(ROOT)


def package_of(path: Path) -> list[str]:
    """Dotted name of the package that holds `path`, as a list."""
    return list(path.relative_to(ROOT).parent.parts[1:])


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path, source: str | None = None) -> set[str]:
    """Absolute dotted names that a module imports anywhere, relative imports resolved."""
    return imported_by(path, ast.walk(parsed(path) if source is None else ast.parse(source)))


def imported_by(path: Path, nodes: Iterator[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package_of(path)[: len(package_of(path)) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def includes(path: Path) -> set[str]:
    return set(re.findall(r'#\s*include\s*[<"]([^>"]+)[>"]', path.read_text()))


def touches(names: set[str], packages: tuple[str, ...]) -> set[str]:
    return {name for name in names if any(name == p or name.startswith(p + ".") for p in packages)}


def forbidden(path: Path) -> tuple[str, ...]:
    """Packages that the module at `path` may not import."""
    if PLUGIN in path.parents:
        return ("mollifield_train", "mollifield_lammps", "e3nn")
    if LAMMPS in path.parents:
        return ("mollifield_train",)
    inside = path.relative_to(TRAINER)
    banned = () if inside.parts[0] in ("active", "commands") else ("mollifield_lammps",)
    if inside.parts[0] == "model":
        banned += tuple(f"mollifield_train.{name}" for name in ("config", "loss", "data", "training", "export", "cli"))
    if inside.parts[0] != "testing":
        banned += ("mollifield_train.testing",)
    if inside.parts[0] != "model":  # who wants a model asks the table
        banned += tuple(f"mollifield_train.model.{path.name}" for path in ARCHITECTURES)
    for kind in KINDS:  # likewise
        if path.parent != kind.parent:
            banned += (".".join([*package_of(kind), kind.stem]),)
    if inside.parts[0] == "loss":
        banned += tuple(f"mollifield_train.{name}" for name in ("config", "model", "data", "training", "export", "cli"))
    return banned


def test_there_is_something_to_check() -> None:
    assert {path.name for path in CORE_CPP} >= {"potential.hpp", "potential.cpp"}
    assert {path.name for path in LAMMPS_CPP} >= {"pair_mollifield.h", "fix_mollifield_uncertainty.cpp"}
    assert all(root.is_dir() for root in (PLUGIN, TRAINER / "model", TRAINER / "loss", LAMMPS))
    assert "equivariant" in {path.name for path in ARCHITECTURES}
    assert {path.stem for path in KINDS} >= {"lammps", "md", "random", "most_uncertain"}
    assert not any((root.parent / "__init__.py").exists() for root in (PLUGIN, TRAINER, LAMMPS))


def test_imports_are_found() -> None:
    """The reader of imports sees every form, so that the rules below can fail."""
    source = "import e3nn.o3\nfrom .. import loss\nfrom ..config import x\ndef f():\n    from a import b\n"
    found = imports(TRAINER / "model" / "potential.py", source)
    assert {"e3nn.o3", "mollifield_train.loss", "mollifield_train.config", "a.b"} <= found
    assert touches(found, forbidden(TRAINER / "model" / "potential.py"))
    rounds = imports(TRAINER / "active" / "rounds.py", "from mollifield_train.active.acquire.random import Random\n")
    assert touches(rounds, forbidden(TRAINER / "active" / "rounds.py"))
    inside = imports(TRAINER / "export.py", "from .model.equivariant.network import EquivariantPotential\n")
    assert touches(inside, forbidden(TRAINER / "export.py"))


def test_python_arrows() -> None:
    wrong = {name_of(path): sorted(touches(imports(path), forbidden(path))) for path in MODULES}
    assert {path: names for path, names in wrong.items() if names} == {}


def when_run(node: ast.AST) -> Iterator[ast.AST]:
    """What is below a node, but for what only type checkers read."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.If) and "TYPE_CHECKING" in ast.unparse(inner.test):
            continue
        yield inner
        yield from when_run(inner)


def circle_among_neighbours(paths: list[Path]) -> list[str]:
    """A circle of imports among the files and folders of any one folder, each folder with all that is in it."""
    modules = {".".join([*package_of(path), path.stem]): path for path in paths}
    graphs: dict[str, dict[str, set[str]]] = {}
    for name, path in modules.items():
        names = imported_by(path, when_run(parsed(path)))
        for wanted in names:
            # `from a import x` is x where that is a module, else what x is defined in.
            found = next((m for m in (wanted, f"{wanted}.__init__", *_owners(wanted)) if m in modules), name)
            if found == name or any(other.startswith(f"{wanted}.") for other in names):
                continue
            here, there = name.split("."), found.split(".")
            n = next(k for k, (a, b) in enumerate(zip(here, there, strict=False)) if a != b)
            graph = graphs.setdefault(".".join(here[:n]), {})
            graph.setdefault(here[n], set()).add(there[n])
    for folder, graph in graphs.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            return [f"{folder}.{child}" for child in error.args[1]]
    return []


def _owners(wanted: str) -> tuple[str, str]:
    """Modules that a name could be defined in."""
    owner = wanted.rpartition(".")[0]
    return owner, f"{owner}.__init__"


@pytest.mark.parametrize("root", [PLUGIN, TRAINER, LAMMPS], ids=lambda root: root.name)
def test_no_circle(root: Path) -> None:
    assert circle_among_neighbours([path for path in MODULES if root in path.parents]) == []


def test_circles_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two folders, through a function; not under TYPE_CHECKING, nor where an `__init__` knows its kinds."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    sources = {
        "a/one.py": "def f():\n    from ..b import three\n",
        "b/three.py": "from ..shared import x\n",
        "b/four.py": "from . import three\n",
        "b/__init__.py": "from .four import y\n",
        "shared.py": "if TYPE_CHECKING:\n    from .a import one\n",
    }
    paths = [tmp_path / "root" / "package" / name for name in sources]
    for path, source in zip(paths, sources.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    assert circle_among_neighbours(paths) == []
    parsed.cache_clear()
    paths[2].write_text("from package.a.one import f\n")
    assert sorted(set(circle_among_neighbours(paths))) == ["package.a", "package.b"]
    parsed.cache_clear()
    paths[2].write_text("from . import y\n")
    assert sorted(set(circle_among_neighbours(paths))) == ["package.b.__init__", "package.b.four"]


def test_nothing_global_at_import() -> None:
    """No default dtype, seed or logging is set by importing a module."""
    setters = {"set_default_dtype", "manual_seed", "seed", "seed_everything", "basicConfig", "set_num_threads"}
    for path in MODULES:
        body = [
            node
            for node in parsed(path).body
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        ]
        assert not setters & set(_called(body)), name_of(path)


def _called(body: list[ast.stmt]) -> Iterator[str]:
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if isinstance(node, ast.Call):
            function = node.func
            yield function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_torchscript_stays_at_the_export() -> None:
    """TorchScript will be replaced one day: one file writes it, one reads it, one writes old files anew."""
    allowed = {TRAINER / "export.py", PLUGIN / "artefact.py", PLUGIN / "upgrade.py"}
    users = {path for path in MODULES if re.search(r"\bjit\b", path.read_text())}
    assert users <= allowed, sorted(map(str, users - allowed))


SYSTEM = {"dlfcn.h", "fcntl.h", "spawn.h", "sys/wait.h", "unistd.h"}
"""For libraries and compilers that are found at run time."""
GENERATED = {"harmonics_formula_text.hpp"}
"""By CMake: a source of the core as text."""


def test_core_includes_no_lammps_header() -> None:
    """LAMMPS headers have bare names or stand in lammps/; the core's own live beside it or below its folder."""
    for path in CORE_CPP:
        for header in includes(path):
            standard = "." not in header or header in SYSTEM | GENERATED
            known = own_header(path, header) or header.split("/")[0] in ("torch", "ATen", "c10", "caffe2")
            assert standard or known, f"{name_of(path)} includes {header}"
        assert "LAMMPS_NS" not in path.read_text(), name_of(path)


OPERATORS = ROOT / "plugin" / "cpp" / "operators"
DEVICES = {"cpu", "cuda", "reference"}


def own_header(path: Path, header: str) -> Path | None:
    """What `path` includes, if it is one of the core's own: found beside it, or below the core's folder."""
    places = [folder / header for folder in (path.parent, ROOT / "plugin" / "cpp")]
    return next((place.resolve() for place in places if place.is_file()), None)


def test_devices_are_chosen_inside_the_operators() -> None:
    """In one file; schemas and autograd know no device, kernels no other device's, models none at all."""
    assert {path.name for path in OPERATORS.iterdir() if path.is_dir()} == DEVICES
    choice = OPERATORS / "implementation.cpp"
    for path in OPERATORS.rglob("*.*"):
        headers = filter(None, (own_header(path, header) for header in includes(path)))
        known = {header.parent.name for header in headers} & DEVICES
        if path == choice:
            assert known == DEVICES
        elif path.parent == OPERATORS:
            assert not known and not re.search(r"\bis_(cpu|cuda)\b", path.read_text()), path
        else:  # kernels may know less than the reference
            assert known <= {path.parent.name, "reference"}, path
    for path in (TRAINER / "model").rglob("*.py"):
        assert "cuda" not in path.read_text(), name_of(path)


TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")


def test_lammps_styles_include_no_torch_header() -> None:
    for path in LAMMPS_CPP:
        assert not [header for header in includes(path) if TORCH.match(header)], name_of(path)
        if path.suffix == ".h" and not path.stem.endswith("_state"):
            assert "potential.hpp" not in includes(path), name_of(path)


def test_core_header_is_plain_cpp() -> None:
    for header in (path for path in CORE_CPP if path.name in ("potential.hpp", "archive.hpp")):
        assert not [name for name in includes(header) if TORCH.match(name)]


def test_fix_asks_the_pair_style_through_extract() -> None:
    others = [path for path in LAMMPS_CPP if not path.name.startswith(("pair_", "mollifieldplugin"))]
    assert {path.name for path in others} >= {"fix_mollifield_uncertainty.cpp", "committee.cpp", "quantities.cpp"}
    for path in others:
        text = path.read_text()
        assert "pair_mollifield.h" not in includes(path)
        assert not re.search(r"_cast<\s*Pair|\(\s*Pair\w*\s*\*\s*\)", text)
