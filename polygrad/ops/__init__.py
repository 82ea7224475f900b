"""The ops: declarations only.

Those of the modules named here are declared when somebody first asks for an op that is not there yet, or for all ops. They
are half of what there is to load, and a program that only computes needs none of them.
"""

from polygrad.core.backend import declared

_RARE = (
    "activations counting diagonals einsum elementwise_beyond fft fft_planes indexing_beyond layers linalg linalg_beyond "
    "linalg_decompositions linalg_solving pooling recurrent sets shapes_beyond special special_bessel special_erf special_gamma "
    "statistics windows"
)
declared.rest = tuple([f"polygrad.ops.{module}" for module in _RARE.split()])
