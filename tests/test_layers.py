"""The rooms of the package lie in layers: no file imports from a room above its own."""

import ast
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]

# From the ground up. Rooms that stand together, as the commands do, do not import each other either.
COMMANDS = (
    *("audio_saliency", "avc", "avc_labels", "calibrate", "datasets", "evaluate", "compare", "convert", "predict"),
    *("completion", "main", "pseudo_labels", "scam", "share", "web"),
)
ROOMS = (
    *(
        "errors",
        "batch",
        "testing",
        "common",
        "metrics",
        "losses",
        "nn",
        "handcrafted",
        "models",
        "media",
        "map_files",
        "data",
        "sources",
    ),
    *(
        "datasets_tfds",
        "labelling",
        "config",
        "runs",
        "torch_weights",
        "scoring",
        "evaluation",
        "training",
        "prediction",
    ),
    *("experiment", "sharing", "torch_import", COMMANDS, "__main__", "benchmarks", "configs"),
)
LEVELS = {room: level for level, rooms in enumerate(ROOMS) for room in ((rooms,) if isinstance(rooms, str) else rooms)}


def _files() -> dict[str, pathlib.Path]:
    """Dotted name -> file of every module."""
    found = {}
    for path in sorted(
        p for top in ("avsd_jax", "datasets_tfds", "benchmarks", "configs") for p in ROOT.glob(f"{top}/**/*.py")
    ):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imports(path: pathlib.Path, known: set[str]) -> set[str]:
    """The project's modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return found & known


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "avsd_jax" and len(parts) > 1 else parts[0]


def test_no_file_imports_from_a_room_above():
    files = _files()
    arrows = {(module, other) for module, path in files.items() for other in _imports(path, set(files))}
    rooms = {_room(module) for module in files if module != "avsd_jax"}
    assert rooms == set(LEVELS), "a room is missing from the list, or gone"
    assert len(arrows) > 300  # the reading works
    allowed = {
        (a, b) for a, b in arrows if b != "avsd_jax" and (_room(a) == _room(b) or LEVELS[_room(a)] > LEVELS[_room(b)])
    }
    assert sorted(arrows - allowed) == []


def test_the_contributors_table_has_every_room_in_order():
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| room | contents |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [room for rooms in ROOMS for room in ((rooms,) if isinstance(rooms, str) else rooms)]


def test_no_module_imports_itself_in_a_circle():
    files = _files()
    graph = {module: _imports(path, set(files)) - {module} for module, path in files.items()}
    while leaves := {module for module, others in graph.items() if not others}:
        graph = {module: others - leaves for module, others in graph.items() if module not in leaves}
    assert not graph, f"a circle among {sorted(graph)}"


def test_prediction_needs_no_dataset_library():
    """It works where TFDS, the builders or `fcntl` do not, as on Windows."""
    script = """
import sys
import avsd_jax
assert not [name for name in sys.modules if name.startswith("avsd_jax.")], "the door is lazy"
from avsd_jax import Predictor, load_model, metrics
from avsd_jax.predict import Predictor as same
assert Predictor is same and callable(load_model) and callable(metrics.nss)
from absl import flags
assert not [module for module in flags.FLAGS.flags_by_module_dict() if "avsd_jax" in module], "flags of ours"
ours = [module for name, module in sys.modules.items() if name.startswith("avsd_jax")]
print(*sys.modules, *(f"ours.{name}" for module in ours for name in vars(module)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())  # Python's own subprocess loads fcntl; no file of ours may
    assert not loaded & {
        "tensorflow_datasets",
        "tensorflow",
        "datasets_tfds",
        "ours.fcntl",
        "avsd_jax.sources",
        "grain",
    }
