"""PyTorch's own special functions and solvers, in place of the bodies in the standard's operations.

Left out are those that lose digits in a tail where the body does not: ndtr, polygamma.
"""

import torch

__all__ = ["FAST"]


def solve_triangular(
    x1: torch.Tensor, x2: torch.Tensor, /, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> torch.Tensor:
    """The solution of a triangular system."""
    return torch.linalg.solve_triangular(x1, x2, upper=upper, left=left, unitriangular=unitriangular)


FAST = {
    "erf": torch.erf,
    "erfc": torch.erfc,
    "erfinv": torch.erfinv,
    "lgamma": torch.lgamma,
    "digamma": torch.digamma,
    "sigmoid": torch.sigmoid,
    "xlogy": torch.xlogy,
    "exp2": torch.exp2,
    "gelu_exact": torch.nn.functional.gelu,
    "linalg__matrix_exp": torch.linalg.matrix_exp,
    "linalg__solve_triangular": solve_triangular,
    **{
        f"special__{name}": getattr(torch.special, name)
        for name in "entr erfcx i0 i0e i1 i1e log_ndtr ndtri xlog1py".split()
    },
    "special__log_expit": torch.nn.functional.logsigmoid,
}
