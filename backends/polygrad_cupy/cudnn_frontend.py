"""Convolution and its transposes by cuDNN's graphs, through NVIDIA's package nvidia-cudnn-frontend (`import cudnn`).

It is the second choice of `convolution`, for what the functions of `cudnn_conv` decline (other padding after than before, 2^31
elements and more, volumes with their channels last, no deterministic algorithm) and for a cuDNN that only the package finds or that
has graphs alone. The package is imported when the first case asks; POLYGRAD_CUDNN_FRONTEND=off forbids it. Without it the ops' bodies
do the work.
"""

import threading
from importlib.util import find_spec
from typing import Any

from polygrad.core.native import Search
from polygrad_cupy import cudnn_conv
from polygrad_cupy.cudnn_descriptors import as_plane, dense
from polygrad_cupy.geometry import Case
from polygrad_cupy.handles import Handles
from polygrad_cupy.plans import Failure, Plans
from polygrad_cupy.runtime import current

__all__ = ["Package", "graph", "loaded", "plan", "search", "state"]

VARIABLE = "POLYGRAD_CUDNN_FRONTEND"
LEAST = 90000
REFUSALS = ("NOT_SUPPORTED", "No valid engine configs")  # in a RuntimeError they mean the package's own refusal
MOST = 512  # plans that are kept; a graph is larger than descriptors
TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
FUNCTIONS = {"conv": "conv_fprop", "conv_input": "conv_dgrad", "conv_weight": "conv_wgrad"}
# What the functions call the operands, in the order in which the ops have them.
OPERANDS = {"conv": ("image", "weight"), "conv_input": ("loss", "filter"), "conv_weight": ("image", "loss")}


class Package:
    """The package with a cuDNN that it found, and `handle()`, this thread's on the current stream.

    Raises:
        OSError: there is no cuDNN, or one before version 9.
        AttributeError: it is another package of this name.
    """

    def __init__(self, module: Any):
        self.module = module
        try:
            number = module.backend_version()
        except RuntimeError as error:
            raise OSError(f"it finds no cuDNN: {error}") from error
        if number < LEAST:
            raise OSError(f"it finds cuDNN {module.backend_version_string()}, and polygrad asks for version 9")
        self.handle = Handles(module.create_handle, self._set_stream)
        self.refusal: type[Exception] = module.cudnnGraphNotSupportedError

    def _set_stream(self, handle: Any, stream: int) -> None:
        self.module.set_stream(handle=handle, stream=stream)

    def text(self) -> str:
        """The versions of both, for people."""
        return f"{self.module.__version__} with cuDNN {self.module.backend_version_string()}"


def _load(_: str) -> Package:
    try:
        import cudnn as module

        return Package(module)
    except (ImportError, RuntimeError, AssertionError) as error:  # it asserts that a folder has one libcudnn
        raise OSError(str(error)) from error


def candidates() -> list[str]:
    """The file of the package, if it is installed."""
    found = find_spec("cudnn")
    return [found.origin] if found is not None and found.origin else []


def search() -> Search:
    """A search for the package that has not begun."""
    advice = 'pip install "polygrad-array-api[cudnn-frontend]"'
    return Search(VARIABLE, _load, candidates, advice, "the ops' bodies do the work")


state = search()


def loaded() -> Package | None:
    """The package, looked for at the first call; None where there is none that can be used."""
    return state.once()


def _notes(package: Any, dtype: str) -> list[Any]:
    """What an engine must not be: random in its sums, or less precise than the arrays."""
    note = package.numerical_note
    unwanted = [note.NONDETERMINISTIC, note.REDUCED_PRECISION_REDUCTION, note.DOWN_CONVERT_INPUTS]
    return [*unwanted, note.TENSOR_CORE] if dtype == "float32" and not cudnn_conv.TF32 else unwanted


def graph(package: Any, case: Case, dtype: str, last: bool, **place: Any) -> Any:
    """The package's graph of a convolution, with its plan built. The operands and the result have the numbers 1, 2 and 3.

    `place` is the `handle` of a device, or a `device_property`: a device that need not be there.
    """
    kind = getattr(package.data_type, TYPES[dtype])
    inner = kind if dtype == "float64" else package.data_type.FLOAT
    made = package.pygraph(io_data_type=kind, intermediate_data_type=inner, compute_data_type=inner, **place)
    layouts = {role: as_plane(dense(shape, dtype, last)) for role, shape in zip("xwy", case[1:4], strict=True)}
    operands = {}
    for number, (name, role) in enumerate(zip(OPERANDS[case.kind], case.roles[:2], strict=True), 1):
        shape, strides, _ = layouts[role]
        operands[name] = made.tensor(dim=list(shape), stride=list(strides), data_type=kind, name=name).set_uid(number)
    flat = [(0, 0)] if len(case.stride) == 1 else []  # one spatial axis is the second of two
    steps = {
        "pre_padding": [before for before, _ in (*flat, *case.padding)],
        "post_padding": [after for _, after in (*flat, *case.padding)],
        "stride": [*(1 for _ in flat), *case.stride],
        "dilation": [*(1 for _ in flat), *case.dilation],
    }
    result = getattr(made, FUNCTIONS[case.kind])(**operands, **steps, compute_data_type=inner)
    shape, strides, _ = layouts[case.roles[2]]
    result.set_output(True).set_data_type(kind).set_dim(list(shape)).set_stride(list(strides)).set_uid(3)
    made.validate()
    made.build_operation_graph()
    made.create_execution_plans([package.heur_mode.A, package.heur_mode.FALLBACK])
    made.deselect_numeric_notes(_notes(package, dtype))
    made.deselect_workspace_greater_than(cudnn_conv.WORKSPACE)
    made.check_support()
    made.build_plans()
    return made


class _Plan:
    """A graph, whose plan one thread at a time starts: the package does not say that several may."""

    def __init__(self, package: Package, case: Case, dtype: str, last: bool):
        self.package = package
        try:
            self.graph = graph(package.module, case, dtype, last, handle=package.handle())
            self.size = self.graph.get_workspace_size()
        except (package.refusal, RuntimeError) as error:
            if isinstance(error, package.refusal) or any(word in str(error) for word in REFUSALS):
                raise Failure(str(error)) from error
            raise
        self.lock = threading.Lock()

    def __call__(self, *arrays: Any) -> bool:
        """Run it on the two operands and the result; False without memory for its workspace."""
        try:
            memory = current().memory(self.size) if self.size else None
        except MemoryError:
            return False
        addresses = {number: array.data.ptr for number, array in enumerate(arrays, 1)}
        with self.lock:
            self.graph.execute(addresses, 0 if memory is None else memory.ptr, handle=self.package.handle())
        return True


_plans = Plans(MOST)


def plan(case: Case, dtype: str, last: bool) -> Any:
    """See `convolution.PROVIDERS`."""
    package = loaded()
    if package is None:
        return None
    return _plans.find((id(package), case, dtype, last), lambda: _Plan(package, case, dtype, last))
