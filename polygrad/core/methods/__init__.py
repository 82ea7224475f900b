"""What a tensor answers to: Python's operators and PyTorch's methods, each one line into the function of the same meaning."""

from polygrad.core.methods.elementwise import ElementwiseMethods
from polygrad.core.methods.history import HistoryMethods
from polygrad.core.methods.indexing import IndexingMethods
from polygrad.core.methods.inplace import InPlaceMethods
from polygrad.core.methods.linalg import LinalgMethods
from polygrad.core.methods.operators import OPERANDS, Operators, functions, is_operand
from polygrad.core.methods.place import PlaceMethods
from polygrad.core.methods.reductions import ReductionMethods
from polygrad.core.methods.shape import ShapeMethods

__all__ = ["OPERANDS", "Methods", "functions", "is_operand"]


class Methods(
    Operators,
    ShapeMethods,
    ReductionMethods,
    ElementwiseMethods,
    IndexingMethods,
    LinalgMethods,
    PlaceMethods,
    HistoryMethods,
    InPlaceMethods,
):
    """Operators and methods of Tensor."""

    __slots__ = ()
