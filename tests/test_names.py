"""The public names of PyTorch's nn and optim: each is here, or stands below with the reason why not."""

import pytest

from polygrad import nn, optim
from polygrad.optim import lr_scheduler, swa_utils

SPELLED = "an option of the function without the ending does it"
OLD = "deprecated there"
INNER = "how that library is built"
HARDWARE = "one device or number format of its own"
SPACES = {
    "nn": nn,
    "nn.functional": nn.functional,
    "nn.init": nn.init,
    "nn.utils": nn.utils,
    "nn.utils.rnn": nn.utils.rnn,
    "nn.utils.parametrize": nn.utils.parametrize,
    "nn.utils.parametrizations": nn.utils.parametrizations,
    "nn.Module": nn.Module,
    "optim": optim,
    "optim.Optimizer": optim.Optimizer,
    "optim.lr_scheduler": lr_scheduler,
    "optim.swa_utils": swa_utils,
}
LAZY = [f"Lazy{kind}{n}d" for kind in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm") for n in (1, 2, 3)]
ABSENT = {
    "nn": {
        "sizes are given, not inferred from the first input": f"LazyLinear {' '.join(LAZY)} "
        "UninitializedBuffer UninitializedParameter",
        OLD: "Container NLLLoss2d",
        INNER: "LinearCrossEntropyOptions RNNBase RNNCellBase factory_kwargs",
        "one process": "DataParallel",
    },
    "nn.functional": {
        SPELLED: " ".join(
            f"{kind}{n}d_with_indices"
            for kind in ("max_pool", "adaptive_max_pool", "fractional_max_pool")
            for n in (1, 2, 3)
            if (kind, n) != ("fractional_max_pool", 1)
        ),
        OLD: "upsample_bilinear upsample_nearest",
        INNER: "assert_int_or_pair native_channel_shuffle Tensor has_torch_function has_torch_function_unary "
        "has_torch_function_variadic",
        HARDWARE: "ScalingType SwizzleType conv_tbc grouped_mm scaled_grouped_mm scaled_mm",
    },
    "nn.init": {
        OLD: "constant dirac eye kaiming_normal kaiming_uniform normal orthogonal sparse uniform xavier_normal xavier_uniform"
    },
    "nn.utils": {
        OLD: "clip_grad_norm",
        "memory formats are the library's": "convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format",
    },
    "nn.utils.rnn": {INNER: "PackedSequence_ bind copy_method_params"},
    "nn.utils.parametrize": {
        INNER: "OpaqueBase get_swap_module_params_on_conversion is_opaque_reference_type is_traceable_wrapper_subclass "
        "transfer_parametrizations_and_params type_before_parametrizations"
    },
    "nn.Module": {
        "polygrad.jit(module) does it": "compile",
        "a subclass defines it": "forward",
        OLD: "register_backward_hook",
        HARDWARE: "ipu mtia share_memory xpu",
    },
    "optim": {
        "gradients are dense": "SparseAdam",
        INNER: "swap_in_optimizer_params_and_state",
    },
    "optim.Optimizer": {INNER: "profile_hook_step"},
    "optim.lr_scheduler": {INNER: "Tensor"},
    "optim.swa_utils": {INNER: "Module"},
}


def public(space):
    """The classes and functions of a namespace that are not Python's."""
    foreign = ("torch.overrides", "torch._jit_internal", "torch._C._log")
    found = set()
    for name, value in vars(space).items():
        home = getattr(value, "__module__", None) or ""
        if not name.startswith("_") and callable(value) and home.startswith("torch") and not home.startswith(foreign):
            found.add(name)
    return found


@pytest.mark.parametrize("name", SPACES)
def test_every_name_of_pytorch_is_here_or_has_a_reason(name, torch):
    theirs = torch
    for part in name.split("."):
        theirs = getattr(theirs, part)
    absent = {word for words in ABSENT.get(name, {}).values() for word in words.split()}
    names = public(theirs)
    assert len(names) > 4
    assert {n for n in names if not hasattr(SPACES[name], n)} == absent


def test_what_is_here_is_named_in_all():
    for space in (nn, nn.functional, nn.init, nn.utils, optim, lr_scheduler, swa_utils):
        assert all(hasattr(space, name) for name in space.__all__)
