"""The rules of the house, read off the source: arrows point down, no array library is named above the backends."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "polygrad"
ADAPTERS = ROOT / "backends"

# ------------------------------------------------------------------------------------------------------ reading source


@cache
def files(*folders):
    """The Python files below these folders of the repository, in a fixed order."""
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def tree(path):
    """The syntax tree of a file, each node knowing its parent."""
    root = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(root):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    return root


@cache
def nodes(path):
    """All nodes of a file's syntax tree."""
    return tuple(ast.walk(tree(path)))


def name_of(path):
    """A file's path in the repository, as the lists below write it."""
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    """A file's dotted module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place(path, node):
    """Where a finding stands, for the message."""
    return f"{name_of(path)}:{getattr(node, 'lineno', 1)}"


@cache
def is_module(dotted):
    """True for a module or package of polygrad itself."""
    path = ROOT / dotted.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@cache
def imported(path):
    """(node, dotted module) for every import in a file: relative ones made absolute, submodules named in full."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append((node, alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                found.append((node, deeper if is_module(deeper) else base))
    return found


def inside_function(node):
    """True for a node in the body of a function."""
    while (node := getattr(node, "parent", None)) is not None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return True
    return False


def docstrings(path):
    """The constants of a file that are docstrings (a string that stands as a statement)."""
    return {id(n.value) for n in nodes(path) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


def library_words(text):
    """The array libraries that a piece of code text names, as whole words of snake case, camel case or dotted names."""
    words = {word.lower() for word in re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", text)}
    return words & LIBRARIES or "array_api_strict" in text


# ------------------------------------------------------------------------------------------------------ the two tables

# Imports point down only: a module may import from its own height or from below.
HEIGHT = {
    "_version": 0,
    "core": 1,
    "ops": 2,
    "autograd": 3,
    "fft": 3,
    "jit": 3,
    "linalg": 3,
    "random": 3,
    "special": 3,
    "nn": 4,
    "optim": 4,
    "data": 4,
    "models": 4,
    "func": 4,
    "io": 4,
    "utils": 4,
    "viz": 4,
    "config": 4,
    "cuda": 4,
    "__init__": 5,
    "__main__": 6,
}

LIBRARIES = {
    *("numpy", "np", "jax", "jaxlib", "jnp", "torch", "cupy", "cupyx", "cp", "mlx", "dask", "ndonnx", "tensorflow"),
    *("blosc2", "dpnp", "scipy", "onnxruntime"),
}

# What code above the backends may call by a library's name, with the reason.
SPELLINGS = {
    "numpy": "PyTorch's Tensor.numpy()",
    "from_numpy": "PyTorch's constructor",
    "to_numpy": "the slot in which a backend says how its arrays come to the host",
    "_to_numpy": "where Backend keeps that slot",
}
STRINGS = {
    ("polygrad/autograd/verbs.py", "torch"): "the name of a convention of complex gradients",
    ("polygrad/autograd/verbs.py", "jax"): "the name of the other one",
    ("polygrad/core/backend.py", "numpy"): "the default backend's name",
    ("polygrad/__main__.py", "names, such as numpy or jax"): "what the command line's help says",
}
# Files whose strings are the words of a file format that names a library.
FORMATS = {
    "polygrad/io/names.py": "what PyTorch's pickles name",
    "polygrad/io/archive.py": "refuses TorchScript by its name",
    "polygrad/io/files.py": "says which formats it reads",
    "polygrad/io/unpickler.py": "says which formats it reads",
}
# Third-party packages that a file above the core may import, inside a function, as an optional extra.
EXTRAS = {"matplotlib", "tqdm", "sklearn", "safetensors", "huggingface_hub"}
# Functions that import a module late, with the reason.
LATE = {
    ("polygrad/core/nest.py", "dataclasses"): "who has a dataclass has loaded it; polygrad alone need not",
    ("polygrad/ops/random.py", "decimal"): "a fiftieth of polygrad's import, for one table of exponential numbers",
}
# Files that may define `__getattr__`: a Module finds its parameters, buffers and children in three dictionaries; some packages
# and the registry's namespaces fetch what a program that only computes needs not when it is first asked for, which makes of
# the time that an import takes a quarter.
PACKAGES = ("polygrad", "polygrad.autograd", "polygrad.jit")
GETATTR = {"polygrad/nn/module.py", "polygrad/core/backend.py"} | {
    f"{p.replace('.', '/')}/__init__.py" for p in PACKAGES
}
# Files that import by a name that is known at run time only, with the reason.
DYNAMIC = {
    "polygrad/core/backend.py": "any Array API module is a backend",
    "polygrad/core/later.py": "parts of a package that are fetched when first asked for",
    "polygrad/__main__.py": "the conformance suite stands above, and is loaded when the command asks for it",
}
LINES = 750


# ------------------------------------------------------------------------------------------------------------- arrows


def head_of(path):
    """The key of HEIGHT that a file of polygrad stands under."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def arrows_that_point_up(path):
    """The imports of one file of polygrad that break the order."""
    height = HEIGHT[head_of(path)]
    for node, target in imported(path):
        top, _, rest = target.partition(".")
        if top == "polygrad":
            if HEIGHT[rest.partition(".")[0] or "__init__"] > height:
                yield f"{place(path, node)} imports {target}"
        elif top in sys.stdlib_module_names or (
            top == "array_api_compat" and height in (HEIGHT["core"], HEIGHT["ops"])
        ):
            continue
        elif not (top in EXTRAS and inside_function(node)):
            yield f"{place(path, node)} imports {target}"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that the searches below take for the repository, to plant files in; call it before each look."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "polygrad")

    def forget():
        for cached in (tree, nodes, imported, is_module):
            cached.cache_clear()
        return tmp_path

    yield forget
    forget()


def test_every_module_has_a_height():
    assert files("polygrad"), "no source found"
    assert {head_of(path) for path in files("polygrad")} <= set(HEIGHT)


def test_imports_point_down():
    assert [arrow for path in files("polygrad") for arrow in arrows_that_point_up(path)] == []


def test_adapters_import_the_core_and_their_library_only():
    wrong = []
    for path in files("backends"):
        library = path.relative_to(ADAPTERS).parts[0].removeprefix("polygrad_")
        beside = {"jax": ["numpy", "jaxlib"], "cupy": ["cupyx", "cudnn"], "mlx": ["numpy"], "dask": ["numpy"]}
        own = {library, f"polygrad_{library}", *beside.get(library, [])}
        for node, target in imported(path):
            top = target.partition(".")[0]
            fine = (
                top in sys.stdlib_module_names
                or top in own
                or target in ("array_api_compat", f"array_api_compat.{library}", f"array_api_compat.{library}.array")
                or target.startswith("polygrad.core")
            )
            if not fine:
                wrong.append(f"{place(path, node)} imports {target}")
    assert wrong == []


def test_nobody_imports_an_adapter():
    wrong = [
        f"{place(path, node)} imports {target}"
        for path in files("polygrad", "conformance", "examples", "benchmarks", "tests")
        for node, target in imported(path)
        if re.match(r"(backends\.)?polygrad_(?!conformance\b)|backends\b", target)
    ]
    assert wrong == []


def test_examples_and_conformance_import_no_array_library():
    wrong = [
        f"{place(path, node)} imports {target}"
        for path in files("examples", "conformance")
        for node, target in imported(path)
        if target.partition(".")[0] in LIBRARIES | {"array_api_strict"}
    ]
    assert wrong == []


# -------------------------------------------------------------------------------------------------------------- names


def written_names(node):
    """The identifiers that a node itself writes down."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg | ast.keyword):
        return [node.arg or ""]
    if isinstance(node, ast.alias):
        return [node.name, node.asname or ""]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def libraries_named(path):
    """The places where code (not a docstring, not a comment) of one file names an array library."""
    prose = docstrings(path)
    for node in nodes(path):
        for name in written_names(node):
            if library_words(name) and not (name in SPELLINGS and is_ours(node)):
                yield f"{place(path, node)} names {name}"
        if name_of(path) in FORMATS:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            text = re.sub(rf"\b({'|'.join(SPELLINGS)})(?=\()", "", node.value)  # a message may say `.numpy()`
            exported = node.value in SPELLINGS and in_all(node)
            if library_words(text) and not exported and (name_of(path), node.value) not in STRINGS:
                yield f"{place(path, node)} names {node.value!r}"


def is_ours(node):
    """True unless a node imports a name from somebody else's package."""
    if not isinstance(node, ast.alias):
        return True
    return isinstance(node.parent, ast.ImportFrom) and (node.parent.module or "").partition(".")[0] == "polygrad"


def in_all(node):
    """True for a string in an `__all__`."""
    while (node := getattr(node, "parent", None)) is not None:
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets)
    return False


def test_no_array_library_is_named_above_the_backends():
    assert [named for path in files("polygrad") for named in libraries_named(path)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np",
        "from jax import numpy",
        "from elsewhere import numpy",
        "from array_api_compat import is_torch_array",
        "def f(x):\n    return x.device == cupy.cuda.Device(0)",
        "def f(xp):\n    return 'torch' in xp.__name__",
        "name = 'numpy'",
        "name = f'array_api_compat.{x}.numpy'",
        "isTorch = False",
        "strict = 'array_api_strict'",
    ],
)
def test_the_search_for_names_finds_them(source, elsewhere):
    path = elsewhere() / "planted.py"
    path.write_text(source)
    assert list(libraries_named(path))


@pytest.mark.parametrize(
    "source",
    [
        "def numpy(self):\n    '''The values as a NumPy array; jax and torch in prose are fine.'''",
        "raise TypeError('use x.detach().numpy()')",
        "__all__ = ['from_numpy', 'Tensor']",
        "from polygrad.ops.creation import from_numpy",
        "x = 1  # torch's convention",
    ],
)
def test_the_search_for_names_lets_prose_pass(source, elsewhere):
    path = elsewhere() / "fine.py"
    path.write_text(source)
    assert list(libraries_named(path)) == []


def test_the_search_for_arrows_finds_them(elsewhere):
    for module in ("ops", "nn", "core"):
        (PACKAGE / module).mkdir(parents=True)
        (PACKAGE / module / "__init__.py").touch()
    path = PACKAGE / "core" / "planted.py"
    for line, wrong in [
        ("from polygrad.ops.elementwise import sin", True),
        ("from polygrad import ops", True),
        ("import polygrad.nn", True),
        ("from .. import nn", True),
        ("from ..ops import sin", True),
        ("import polygrad", True),
        ("import matplotlib", True),
        ("import array_api_extra", True),
        ("from polygrad.core import op", False),
        ("from . import op", False),
        ("import array_api_compat", False),
        ("from collections.abc import Callable", False),
    ]:
        path.write_text(line)
        elsewhere()
        assert bool(list(arrows_that_point_up(path))) is wrong, line


# --------------------------------------------------------------------------------------------------------- no tricks


def tricks(path):
    """Star imports, hidden attribute look-up, metaclasses, code generation and late imports in one file."""
    where = name_of(path)
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{place(path, node)} star import"
        made = getattr(node, "name" if isinstance(node, ast.FunctionDef) else "id", "")
        if made in ("__getattr__", "__getattribute__") and where not in GETATTR:
            yield f"{place(path, node)} {made}"
        if isinstance(node, ast.ClassDef) and any(keyword.arg == "metaclass" for keyword in node.keywords):
            yield f"{place(path, node)} metaclass"
        if isinstance(node, ast.Name) and node.id in ("exec", "eval", "__import__"):
            yield f"{place(path, node)} {node.id}"
        if isinstance(node, ast.Name | ast.alias) and where not in DYNAMIC:
            if (node.id if isinstance(node, ast.Name) else node.name).rpartition(".")[2] in (
                "import_module",
                "importlib",
            ):
                yield f"{place(path, node)} imports by a name of run time"
    for node, target in imported(path):
        if inside_function(node) and target.partition(".")[0] not in EXTRAS and (where, target) not in LATE:
            yield f"{place(path, node)} imports {target} inside a function"


def test_no_tricks():
    assert [trick for path in files("polygrad") for trick in tricks(path)] == []


def test_adapters_have_no_star_imports_and_no_hidden_attributes():
    found = [trick for path in files("backends") for trick in tricks(path)]
    assert [trick for trick in found if "inside a function" not in trick] == []


# ----------------------------------------------------------------------------------------------------------- the text


def undocumented(path):
    """The public modules, classes, functions and methods of a file that have no docstring.

    A layer's `forward` and `extra_repr` are described by its class.
    """
    root = tree(path)
    if root.body and not ast.get_docstring(root):
        yield f"{name_of(path)} (module)"
    for node in nodes(path):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        owner = node.parent
        if inside_function(node) or (
            isinstance(owner, ast.ClassDef) and (owner.name.startswith("_") or node.name in ("forward", "extra_repr"))
        ):
            continue
        if any(
            getattr(d, "attr", getattr(d, "id", "")) in ("setter", "deleter", "overload") for d in node.decorator_list
        ):
            continue
        made = [n for n in node.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__doc__"]
        if not ast.get_docstring(node) and not made:
            yield f"{place(path, node)} {node.name}"


def test_everything_public_is_documented():
    checked = [path for path in files("polygrad", "conformance") if not path.name.startswith("test_")]
    assert [found for path in checked for found in undocumented(path)] == []


def test_every_file_of_source_says_what_it_is():
    everything = files("polygrad", "backends", "conformance", "examples", "benchmarks", "tests")
    assert [name_of(path) for path in everything if tree(path).body and not ast.get_docstring(tree(path))] == []


def test_no_file_is_too_long_to_read():
    everything = files("polygrad", "backends", "conformance", "examples", "benchmarks", "tests")
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in everything}
    assert {name: n for name, n in lengths.items() if n > LINES} == {}


@cache
def texts():
    """Every text file that belongs to the project: what git tracks, or all files where there is no git."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        paths = [ROOT / name for name in listed.split("\0") if name]
    else:
        paths = [
            p
            for p in ROOT.rglob("*")
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
        ]
    found = {}
    for path in paths:
        data = path.read_bytes() if path.exists() else b""
        if b"\0" not in data[:8000]:
            found[name_of(path)] = data.decode("utf-8")
    assert found
    return found


def test_no_file_names_a_place_on_somebodys_machine():
    somebodys = re.compile(r"(?<![\w.~$}])(?:/(?:home|root|Users|work|workspace|mnt)/\w|[A-Z]:\\\w)")
    found = [f"{name}: {m[0]}" for name, text in texts().items() for m in somebodys.finditer(text)]
    here = {str(ROOT), str(Path.home())} - {"/"}
    found += [f"{name}: {path}" for name, text in texts().items() for path in here if f"{path}/" in text]
    assert found == []


def test_no_document_installs_the_other_project_of_this_name():
    other = re.compile(r"""(?:pip|uv)\s+(?:add|install)\s+(?:-\S+\s+)*["'`]?polygrad(?![-\w])""")
    assert [name for name, text in texts().items() if name != "tests/test_house.py" and other.search(text)] == []


# ------------------------------------------------------------------------------------------------------------- import


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Run code in a fresh interpreter, which keeps compiled modules as an installed one does; gives what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("compiled"))

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_import_loads_no_array_library_but_numpy(python):
    heavy = sorted((LIBRARIES | {"array_api_strict", "matplotlib", "sklearn", "tqdm"}) - {"numpy"})
    assert python(f"import sys, polygrad; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_the_first_tensor_loads_nothing_heavy(python):
    heavy = (
        "numpy.testing numpy.f2py numpy.ma numpy.random numpy.polynomial array_api_compat unittest socket urllib.parse"
    )
    heavy += " ipaddress pathlib logging importlib.metadata hashlib argparse subprocess dataclasses asyncio random"
    code = "import sys, numpy; before = {*sys.modules}; import polygrad; polygrad.zeros(1); print(*{*sys.modules} - before)"
    loaded = set(python(code).split())
    assert "polygrad.ops.elementwise" in loaded and sorted(loaded & set(heavy.split())) == []
    own = {"polygrad.ops.linalg", "polygrad.ops.fft", "polygrad.nn", "polygrad.random", "polygrad.jit.function"}
    assert sorted(loaded & own) == []


@pytest.mark.parametrize(
    "expression",
    [
        "pg.linalg.det(pg.eye(2)).item() == 1",
        "pg.eye(2).det().item() == 1",
        "pg.eye(2).__array_namespace__().linalg.det(pg.eye(2)).item() == 1",
        "pg.get_backend().arrays.linalg.det(pg.eye(2).numpy()) == 1",
        "'linalg.det' in pg.core.backend.declared.ops",
        "pg.core.backend.declared.op('linalg.det').name == 'linalg.det'",
        "pg.zeros(3).uniform_().shape == (3,)",
        "pg.jit(lambda x: pg.erf(x))(pg.zeros(2)).shape == (2,)",
        "not hasattr(pg.get_backend().tensors, 'no_such_op')",
    ],
)
def test_an_op_is_found_where_it_is_looked_for_first(python, expression):
    assert python(f"import polygrad as pg; print({expression})") == "True"


def test_threads_may_ask_for_their_first_op_at_a_time(python):
    code = """
import threading, polygrad as pg
start, found = threading.Barrier(8), []
def ask():
    start.wait()
    found.append(pg.eye(2).det().item())
workers = [threading.Thread(target=ask) for _ in range(8)]
[w.start() for w in workers], [w.join() for w in workers]
print(found == [1.0] * 8)
"""
    assert python(code) == "True"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process's memory in /proc")
def test_import_and_a_tensor_take_at_most_10_mb_over_numpy(python):
    code = """
def memory():
    return int(open("/proc/self/status").read().partition("VmRSS:")[2].split()[0]) / 1024
import numpy; held = memory(); import polygrad; polygrad.zeros(1); print(memory() - held)
"""
    assert min(float(python(code)) for _ in range(2)) < 10


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_fetched_later_is_what_type_checkers_read(package):
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    [block] = [n for n in nodes(path) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    read = {}
    for n in block.body:
        for a in n.names:
            module = n.module.removeprefix(package).lstrip(".") or a.name
            read[a.asname or a.name] = f"{module}:{a.name}" if a.asname else module
    space = import_module(package)
    assert read == space._LATER and {*read} <= {*dir(space)}
    assert all(getattr(space, name) is not None for name in read)
    assert [name for name, module in read.items() if name in read.values() and name != module] == []
