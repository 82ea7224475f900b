"""The namespace as the Array API standard (v2025.12) writes it: names, signatures, constants, and what it says of itself."""

import inspect
import math

import array_api_strict
import pytest

import polygrad as pg

EXTRA = {"dim", "keepdim", "requires_grad", "sizes"}


@pytest.fixture(scope="module")
def strict():
    """The reference namespace at the version that polygrad implements."""
    flags = array_api_strict.get_array_api_strict_flags()
    array_api_strict.set_array_api_strict_flags(api_version="2025.12")
    yield array_api_strict
    array_api_strict.set_array_api_strict_flags(api_version=flags["api_version"])


def functions_of(space):
    """The standard's functions in a namespace of the reference."""
    flags = ("set_array_api_strict_flags", "get_array_api_strict_flags", "reset_array_api_strict_flags")
    for name in space.__all__:
        found = getattr(space, name)
        if inspect.isfunction(found) and not name.startswith("_") and name not in flags:
            yield name, found


def mismatch(name, ours, theirs):
    """How a signature departs from the standard's: a name, a kind, a default, or something of ours in front."""
    mine = [p for p in inspect.signature(ours).parameters.values() if p.name not in EXTRA]
    wanted = list(inspect.signature(theirs).parameters.values())
    problems = []
    for i, p in enumerate(wanted):
        if i >= len(mine):
            return [f"{name}: {p.name} is missing"]
        if p.kind is not p.POSITIONAL_ONLY and mine[i].name != p.name:
            problems.append(f"{name}: {mine[i].name} should be called {p.name}")
        if p.kind is not mine[i].kind:
            problems.append(f"{name}: {p.name} is {mine[i].kind.description}, not {p.kind.description}")
        undefined = "UNDEF" in repr(p.default) or p.default is p.empty
        if not undefined and p.default != mine[i].default and name not in OPTIONAL:
            problems.append(f"{name}: {p.name} is {mine[i].default!r} by default, not {p.default!r}")
    return problems


# Sizes may be left out where PyTorch makes a number then.
OPTIONAL = {"zeros", "ones", "empty"}


@pytest.mark.parametrize("extension", ["", "linalg", "fft"])
def test_every_function_has_the_standards_signature(extension, strict):
    theirs = getattr(strict, extension) if extension else strict
    ours = getattr(pg, extension) if extension else pg
    problems, count = [], 0
    for name, function in functions_of(theirs):
        count += 1
        if not hasattr(ours, name):
            problems.append(f"{name} is missing")
        else:
            problems += mismatch(name, getattr(ours, name), function)
    assert problems == []
    assert count >= {"": 130, "linalg": 22, "fft": 14}[extension]


def test_the_names_that_2025_12_added():
    for name in ("broadcast_shapes", "isin"):
        assert callable(getattr(pg, name))
    for name in ("eig", "eigvals"):
        assert callable(getattr(pg.linalg, name))
    assert pg.__array_api_version__ == "2025.12"


def test_constants():
    assert pg.pi == math.pi and pg.e == math.e and pg.inf == math.inf and math.isnan(pg.nan) and pg.newaxis is None


def test_what_the_namespace_says_of_itself(backend):
    info = pg.__array_namespace_info__()
    capabilities = info.capabilities()
    assert set(capabilities) >= {"boolean indexing", "data-dependent shapes", "max dimensions"}
    library = getattr(backend.xp, "__array_namespace_info__", None)
    if library is not None:
        assert capabilities == {**capabilities, **library().capabilities()}
    assert info.default_dtypes() == {
        "real floating": pg.float32,
        "complex floating": pg.complex64,
        "integral": pg.int64,
        "indexing": pg.int64,
    }
    kinds = info.dtypes(kind=("real floating", "bool"))
    assert kinds == {"bool": pg.bool, "float32": pg.float32, "float64": pg.float64}
    assert set(info.dtypes(kind="numeric")) == set(info.dtypes()) - {"bool"}
    assert isinstance(info.devices(), tuple) and info.devices()
    default = info.default_device()
    assert pg.zeros(2, device=default).shape == (2,)
    with pytest.raises(ValueError):
        info.dtypes(kind="quaternion")


def test_a_device_without_double_precision_says_so(strict):
    with pg.use_backend("array_api_strict"):
        info = pg.__array_namespace_info__()
        short = next((d for d in info.devices() if "no_float64" in str(d)), None)
        assert short is not None, "array_api_strict has such a device since 2.6"
        assert "float64" not in info.dtypes(device=short) and "float32" in info.dtypes(device=short)


def test_shapes_may_be_given_by_name_or_as_sizes():
    assert pg.zeros(shape=(2, 3)).shape == pg.zeros((2, 3)).shape == pg.zeros(2, 3).shape == (2, 3)
    assert pg.ones(4).shape == (4,) and pg.empty(()).shape == pg.zeros().shape == ()


def test_expand_dims_takes_several_axes(backend):
    x = pg.ones((2, 3))
    assert pg.expand_dims(x, 0).shape == (1, 2, 3)
    assert pg.expand_dims(x, axis=(0, -1)).shape == (1, 2, 3, 1)
    with pytest.raises(ValueError):
        pg.expand_dims(x, axis=(0, 0))
    with pytest.raises(IndexError):
        pg.expand_dims(x, axis=(5, 0))
