"""Devices by name, on every backend."""

import pytest

import polygrad as pg
from test_methods import run

PLACED = """
pg.zeros(2, device=d); pg.tensor([1.0], device=d); pg.asarray([1.0], device=d); pg.arange(3, device=d); pg.eye(2, device=d)
pg.randn(2, device=d); pg.rand_like(pg.ones(2), device=d); pg.ones_like(pg.ones(2), device=d); pg.ones(2).to(d)
pg.ones(2).to(device=d); pg.ones(2).cpu(); pg.ones(2).new_zeros(2, device=d); pg.ones(2).new_tensor([1.0], device=d)
pg.nn.Linear(2, 2, device=d).weight; pg.nn.Linear(2, 2).to(d).weight; pg.nn.Linear(2, 2).cpu().weight; pg.ones(2).to_device(d)
pg.rand(2, generator=pg.Generator(device=d))
""".replace("\n", ";").split(";")


@pytest.mark.parametrize("call", [call.strip() for call in PLACED if call.strip()])
def test_a_device_may_be_named(call, backend):
    for d in ("cpu", pg.device("cpu")):
        x = run(call, {"pg": pg, "d": d})
        assert x.backend == backend.name and x.device == pg.ones(1).device


def test_the_device_of_a_tensor_places_another(backend):
    x = pg.ones(2)
    assert pg.zeros(2, device=x.device).device == x.device


def test_a_device_has_a_kind_and_an_index():
    d = pg.device("cuda:1")
    assert (d.type, d.index, d) == ("cuda", 1, "cuda:1") and d == pg.device("cuda", 1)
    assert (pg.device("cpu").type, pg.device("cpu").index) == ("cpu", None)
    assert repr(d) == "device(type='cuda', index=1)"
    for wrong in (("cuda:x",), ("",), ("cuda:0", 1)):
        with pytest.raises(ValueError, match="a device is named as in"):
            pg.device(*wrong)


@pytest.mark.parametrize(
    "call",
    [
        "pg.ones(2).cuda()",
        "pg.ones(2).to('cuda')",
        "pg.ones(2, device='cuda:3')",
        "pg.nn.Linear(1, 1).cuda()",
        "pg.cuda.synchronize()",
    ],
)
def test_a_device_that_is_not_there_is_named_with_those_that_are(call, backend):
    if pg.cuda.is_available():
        pytest.skip("the backend has a CUDA device here")
    assert pg.cuda.device_count() == 0
    with pytest.raises(RuntimeError, match="has no device 'cuda.*it has .*(cpu|CPU)"):
        run(call, {"pg": pg})


@pytest.mark.parametrize(
    "name, found", [("cuda", "<CUDA Device 0>"), ("cuda:1", "<CUDA Device 1>"), ("gpu:0", "cuda:0"), ("cpu", "TFRT_CPU_0"),
                    ("tpu:1", "TPU_1"), ("device1", "device1"), ("mps", None), ("cuda:7", None)]
)  # fmt: skip
def test_names_find_the_devices_that_libraries_spell_in_their_ways(name, found):
    from polygrad.core.device import device_named

    devices = ["TFRT_CPU_0", "<CUDA Device 0>", "<CUDA Device 1>", "TPU_1", "device1"]
    if name == "gpu:0":
        devices = ["cpu:0", "cuda:0"]
    assert device_named(name, devices) == found
