"""The floors of the package: imports go strictly downward, and rooms on one floor do not import each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ckpt_callbacks

PACKAGE = Path(ckpt_callbacks.__file__).parent
FLOORS = [
    ("errors", "units", "events", "record", "settings"),
    ("policy", "memory", "store", "runtime", "remote"),
    ("formats", "config"),
    ("recovery", "mirrors"),
    ("run",),
    ("torch", "testing", "export"),
    ("lightning", "keras", "cli"),
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
ADAPTERS = ("lightning", "keras")
EXCEPTIONS = {
    # The ground floor is built from errors up.
    *((above, below) for n, above in enumerate(FLOORS[0]) for below in FLOORS[0][:n]),
    ("store", "memory"),  # files are written from pages
    # Policy.from_yaml is what people type; it imports the reader only when it is called.
    ("policy", "config"),
    # `ckpt explain` asks the drop-ins what their arguments mean, and imports a framework only then.
    ("cli", "lightning"),
    ("cli", "keras"),
}
PURE_STANDARD_LIBRARY = {"policy", "errors", "events", "record", "settings", "units"}
ALLOWED_LIBRARIES = {
    "store": {"xxhash"},
    "formats": {
        "backports",
        "compression",
        "h5py",
        "isal",
        "keras",
        "ml_dtypes",
        "numpy",
        "torch",
        "typing_extensions",
        "xxhash",
    },
    "remote": {
        "azure",
        "boto3",
        "botocore",
        "fsspec",
        "google",
        "google_crc32c",
        "hf_xet",
        "httpx",
        "huggingface_hub",
        "isal",
        "obstore",
        "paramiko",
        "requests",
        "stamina",
        "webdav4",
    },
    "config": {"annotated_types", "pydantic", "pydantic_core", "ruamel", "typing_extensions"},
    "cli": {"click", "rich"},
    "torch": {"torch", "numpy"},
    "export": {
        "torch",
        "lightning",
        "keras",
        "tensorflow",
        "numpy",
        "safetensors",
        "onnx",
        "onnxruntime",
        "ai_edge_litert",
    },
    "lightning": {"lightning", "torch", "torchmetrics", "numpy"},  # Lightning requires torchmetrics
    "keras": {"keras", "h5py", "numpy", "tensorflow", "torch", "jax"},
}
FUNCTIONS = {
    "decide",
    "fold",
    "load_weights",
    "native_path",
    "plan",
    "open_run",
    "seconds",
    "minutes",
    "hours",
}  # what is public and no class
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(room or None, top-level module or None) of each import in a file, those inside functions included."""
    package = ["ckpt_callbacks", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = [*base, *(node.module.split(".") if node.module else [])]
            names = [[*full, alias.name] for alias in node.names] if full == ["ckpt_callbacks"] else [full]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        for name in names:
            yield (name[1], None) if name[0] == "ckpt_callbacks" else (None, name[0])


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py" or p.parent != PACKAGE], ids=str)
def test_imports_go_downward(path):
    here = room_of(path)
    assert here in FLOOR_OF, f"{here} has no floor: add it to FLOORS"
    for room, _ in imports(path):
        if room and room != here and (here, room) not in EXCEPTIONS:
            assert FLOOR_OF[room] < FLOOR_OF[here], f"{path.name}: {here} must not import {room}"


def test_one_command_imports_an_adapter():
    importers = {
        path.name for path in FILES for room, _ in imports(path) if room_of(path) == "cli" and room in ADAPTERS
    }
    assert importers == {"explanation.py"}


def test_no_training_code_imports_what_exports():
    importers = {room_of(path) for path in FILES for room, _ in imports(path) if room == "export"}
    assert importers == {"export", "cli"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_rooms_use_only_the_libraries_that_they_may(path):
    foreign = {module for _, module in imports(path) if module and module not in sys.stdlib_module_names}
    assert foreign <= ALLOWED_LIBRARIES.get(room_of(path), set())


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in PURE_STANDARD_LIBRARY], ids=str)
def test_the_engine_is_pure(path):
    modules = {module for _, module in imports(path) if module}
    assert not modules & {"time", "random", "io", "socket", "subprocess", "secrets", "logging"}
    calls = {
        n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and hasattr(n.func, "id")
    }
    assert not calls & {"open", "print", "input"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 300


def test_importing_the_package_loads_no_framework():
    heavy = (
        "torch",
        "keras",
        "lightning",
        "tensorflow",
        "jax",
        "numpy",
        "yaml",
        "ruamel",
        "pydantic",
        "fsspec",
        "rich",
    )
    code = f"import ckpt_callbacks, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_all_names_what_is_public():
    assert sorted(ckpt_callbacks.__all__) == sorted(
        name for name in vars(ckpt_callbacks) if name[0].isupper() or name in FUNCTIONS
    )
    for name in ckpt_callbacks.__all__:
        assert getattr(ckpt_callbacks, name).__doc__, f"{name} has no docstring"


def test_few_modules_are_outside_the_rooms():
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 7


def test_the_house_has_seven_floors():
    assert len(FLOORS) == 7
    assert {room_of(path) for path in FILES} - {"__init__"} == set(FLOOR_OF)


def classes():
    """(path, class) of each class of the package."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                yield path, node


def names_of(nodes):
    return {ast.unparse(node).rpartition(".")[2].partition("[")[0].partition("(")[0] for node in nodes}


def set_on_self(cls):
    """The attributes that the methods of a class set on their object."""
    targets = [
        target
        for node in ast.walk(cls)
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    found = [leaf for target in targets for leaf in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return {n.attr for n in found if isinstance(n, ast.Attribute) and getattr(n.value, "id", None) == "self"}


def only_declared(cls):
    """The attributes that a class annotates in its body and never sets."""
    if names_of(cls.decorator_list) & {"dataclass"} or names_of(cls.bases) & {"Protocol", "NamedTuple", "TypedDict"}:
        return set()  # their annotations are fields
    annotated = {node.target.id for node in cls.body if isinstance(node, ast.AnnAssign) and node.value is None}
    return annotated - set_on_self(cls)


def test_no_class_declares_what_only_a_subclass_sets():
    """A class that needs such attributes is a part of another class that was split only for its length."""
    found = {f"{path.name}: {cls.name}": only_declared(cls) for path, cls in classes() if only_declared(cls)}
    assert found == {}


def test_the_check_for_declared_attributes_finds_one():
    mixin = ast.parse("class Mixin:\n    run: Run\n    def ask(self):\n        return self.run").body[0]
    assert only_declared(mixin) == {"run"}
    whole = ast.parse("class Whole:\n    run: Run\n    def __init__(self, run):\n        self.run = run").body[0]
    assert only_declared(whole) == set()
