"""The configuration files of the checkout, as modules."""

import importlib.util
import pathlib
from types import ModuleType

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


def load(path: pathlib.Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
