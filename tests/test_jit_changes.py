"""Compiled functions whose world changes from call to call: other tensors, hooks, modes, states, copies; and what they must not read."""

import copy
import functools
import pickle
import runpy
import sys
import time
import types
import warnings

import numpy as np
import pytest

import polygrad as pg
from jitting import close, network, values
from polygrad.jit import TraceError

# ---------------------------------------------------------------------------------------------- hooks: as in eager code


def compare(function):
    """Assert that a function gives the same when what it compiles is compiled; it takes the compiler."""
    eager, found = function(lambda f: f), function(pg.jit)
    close(map(np.asarray, eager), map(np.asarray, found), 1e-6)


def hooks_of_a_leaf(compile):
    w, scale, found = pg.tensor([1.0, 2.0], requires_grad=True), pg.tensor(3.0), []

    def step(x):
        w.grad = None
        (w * x).sum().backward()
        return w.grad * 1

    run = compile(step)
    handle = w.register_hook(lambda g: g * scale)
    for change in (lambda: None, lambda: scale.fill_(5.0), handle.remove, lambda: w.register_hook(lambda g: g + 1)):
        change()
        found += [run(pg.ones(2)).tolist(), run(pg.ones(2)).tolist()]
    return found


def hooks_after_accumulation(compile):
    parameters = [pg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2)]
    optimizers = {id(p): pg.optim.SGD([p], lr=0.1, momentum=0.9) for p in parameters}
    count = pg.tensor(0.0)

    def update(p):
        optimizers[id(p)].step()
        optimizers[id(p)].zero_grad()

    for p in parameters:
        p.register_post_accumulate_grad_hook(update)
    run = compile(lambda x: (parameters[0] * parameters[1] * x).sum().backward())
    for i in range(3):
        run(pg.ones(2) * i)
    parameters[0].register_post_accumulate_grad_hook(lambda p: count.add_(1))
    run(pg.ones(2))
    run(pg.ones(2))
    assert parameters[0].grad is None
    return [p.tolist() for p in parameters] + [count.item()]


def hooks_of_a_result(compile):
    w, total = pg.tensor([1.0, 2.0], requires_grad=True), pg.zeros(2)

    def step(x):
        w.grad = None
        with w.register_hook(lambda g: g * 2):
            y = w * x
            y.register_hook(lambda g: total.add_(g))
            y.retain_grad()
            (y * y).sum().backward()
        return y.grad

    run = compile(step)
    return [run(pg.ones(2) * i).tolist() for i in range(3)] + [total.tolist(), w.grad.tolist()]


def hooks_of_modules(compile):
    pg.manual_seed(0)
    model = pg.nn.Sequential(pg.nn.Linear(2, 3), pg.nn.Tanh(), pg.nn.Linear(3, 1))
    seen, scale, found = {}, pg.tensor(2.0), []
    model[0].register_forward_pre_hook(lambda m, args: (args[0] * scale,))
    model[1].register_forward_hook(lambda m, args, y: seen.__setitem__("y", y.detach()))
    model[2].register_full_backward_hook(lambda m, inputs, outputs: tuple(g * 3 for g in inputs))

    def step(x):
        model.zero_grad()
        loss = model(x).sum()
        loss.backward()
        return loss

    run = compile(step)
    for i in range(3):
        found += [run(pg.ones((2, 2)) * i).item(), *seen["y"].flatten().tolist()]
        found += model[0].weight.grad.flatten().tolist()
        scale.add_(1)
    with model[0].register_forward_hook(lambda m, args, y: y * 2):
        found.append(run(pg.ones((2, 2))).item())
    return [*found, run(pg.ones((2, 2))).item()]


def hooks_of_an_optimizer(compile):
    w, count = pg.tensor([1.0], requires_grad=True), pg.tensor(0.0)
    optimizer = pg.optim.SGD([w], lr=0.1)

    def step():
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()

    def add(n):
        def hook(*args):
            count.add_(n)

        return hook

    optimizer.register_step_post_hook(add(1))
    run = compile(step)
    run()
    run()
    optimizer.register_step_pre_hook(add(10))
    run()
    return [count.item(), w.item()]


HOOKS = [hooks_of_a_leaf, hooks_after_accumulation, hooks_of_a_result, hooks_of_modules, hooks_of_an_optimizer]


@pytest.mark.parametrize("function", HOOKS)
def test_hooks_do_what_they_do_in_eager_code(function, compiled):
    compare(function)


@pytest.mark.parametrize("strict", [False, True])
def test_a_hook_that_stays_is_refused(strict, compiled, monkeypatch):
    monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
    with pg.use_backend("numpy" if strict else compiled):
        w = pg.tensor([1.0, 2.0], requires_grad=True)
        kept = w.register_hook(lambda g: g + 1)

        def step(x):
            w.register_hook(lambda g: g * 2)
            (w * x).sum().backward()

        with pytest.raises(TraceError, match="a hook on w"):
            pg.jit(step)(pg.ones(2))
        assert w.grad is None
        (w * 3).sum().backward()
        assert w.grad.tolist() == [4, 4]  # the hook from before is still there, the other is not
        kept.remove()
        w.grad = None
        (w * 3).sum().backward()
        assert w.grad.tolist() == [3, 3]


# -------------------------------------------------------------------------------------- what is replaced between calls

rebound = None


def test_a_tensor_that_each_call_finds_replaced(compiled):
    global rebound
    run = pg.jit(lambda x: x * rebound)
    for i in range(6):
        rebound = pg.tensor([float(i), 2.0])
        assert run(pg.ones(2)).tolist() == [i, 2]
    assert run.stats() == (2, 2, 4, 0)  # the second program takes the tensor as an argument
    rebound = None


def test_names_that_the_function_makes(compiled):
    space = {}
    exec("def step(x):\n    global made\n    made = x * 2\n    return x", space)
    run = pg.jit(space["step"])

    def cell():
        def step(x):
            nonlocal made
            made = x * 3

        def get():
            return made

        if not step:
            made = None
        return step, get

    step, get = cell()
    other = pg.jit(step)
    for i in range(4):
        run(pg.tensor([float(i)]))
        other(pg.tensor([float(i)]))
        assert (space["made"].item(), get().item()) == (2 * i, 3 * i)
    assert run.stats().compilations == other.stats().compilations == 2  # without the name, and with it


def test_globals_that_are_found_by_a_string(compiled):
    space = {"scale": 1.0}
    exec("def by_key(x):\n    return x * globals()['scale']\ndef by_eval(x):\n    return x * eval('scale + 1')", space)
    runs = pg.jit(space["by_key"]), pg.jit(space["by_eval"])
    for i in range(4):
        space["scale"] = float(i)
        assert [run(pg.ones(1)).item() for run in runs] == [i, i + 1]


def test_what_else_is_replaced(compiled):
    holder = types.SimpleNamespace(f=lambda x: x * 2)
    model, x = pg.nn.Sequential(pg.nn.Linear(2, 2)), pg.ones((1, 2))

    def step(x, k=2.0):
        return holder.f(model(x)) * k + (model.offset if hasattr(model, "offset") else 0)

    run = pg.jit(step)

    def change_defaults():
        step.__defaults__ = (3.0,)

    for change in (
        lambda: None,
        lambda: setattr(holder, "f", lambda x: x * 5),
        change_defaults,
        lambda: setattr(model, "offset", 4.0),
        lambda: setattr(model, "offset", 6.0),
        lambda: setattr(model, "unrelated", 6.0),
        lambda: model.__setitem__(0, pg.nn.Linear(2, 2)),
        lambda: model.append(pg.nn.ReLU()),
        lambda: setattr(model[0].weight, "data", pg.ones((2, 2))),
    ):
        change()
        close(values(step(x)), values(run(x)), 1e-6)
        close(values(step(x)), values(run(x)), 1e-6)


def test_states_that_are_loaded_between_calls(compiled):
    model, optimizer = network()
    optimizer.param_groups[0]["lr"] = 0.01

    @pg.jit
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x = pg.ones((8, 6))
    step(x)
    for _ in range(2):
        saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        pg.manual_seed(1)
        first = [step(x).item() for _ in range(3)]
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        pg.manual_seed(1)
        assert [step(x).item() for _ in range(3)] == first


def test_training_mode_and_gradients_that_come_and_go(compiled):
    model, x = pg.nn.Sequential(pg.nn.Linear(2, 2), pg.nn.Dropout(0.5)), pg.ones((4, 2))

    @pg.jit
    def step(x):
        y = model(x)
        y.sum().backward()
        return y

    def call():
        pg.manual_seed(2)
        return values(step(x), model[0].bias.grad)

    results = []
    for _ in range(2):
        model.train()
        model.zero_grad()
        results.append(call())
        model.eval()
        model[0].bias.grad = pg.ones(2)
        results.append(call())
        model[0].requires_grad_(False)
        model[0].weight.requires_grad_()
        results.append(call())
        model[0].requires_grad_()
    for a, b in zip(results[:3], results[3:], strict=True):
        close(a, b, 0)
    assert (results[0][0] == 0).any() and not (results[1][0] == 0).any()
    assert (results[1][1] == 5).all() and (results[2][1] == 5).all()
    assert step.stats().traces == 3


def test_an_error_and_another_try(compiled):
    model, optimizer = network()
    state = {"bad": True}

    @pg.jit
    def step(x):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()
        if state["bad"]:
            raise ValueError("in the middle")

    x, before = pg.ones((8, 6)), values(*model.parameters())
    for bad in (True, True, False, True, False):
        state["bad"] = bad
        if bad:
            with pytest.raises(ValueError, match="in the middle"):
                step(x)
            close(before, values(*model.parameters()), 0)
        else:
            step(x)
            before = values(*model.parameters())
    assert step.stats().compilations == 1


def test_the_shape_of_an_argument_that_no_result_depends_on(compiled):
    state = {"by": "value"}
    run = pg.jit(lambda x: x * 2 if state["by"] == "value" else pg.zeros(2) + x.shape[0])
    for by in ("value", "shape", "value", "shape"):
        state["by"] = by
        for n in (2, 3, 2):
            found = run(pg.ones(n)).tolist()
            assert found == ([2.0] * n if by == "value" else [n, n])
    assert run.stats().traces == 4


def test_shared_and_partial(compiled):
    w = pg.tensor([2.0])

    def product(a, b, x, c=pg.tensor([1.0])):  # noqa: B008
        with pg.no_grad():
            c.add_(1)
        return a * b * x * c

    part = functools.partial(product, w, b=w)
    run = pg.jit(part)
    found = [run(x=pg.ones(1)).item(), w.mul_(2) and run(x=pg.ones(1)).item()]
    part.keywords["b"] = pg.tensor([10.0])
    assert [*found, run(x=pg.ones(1)).item()] == [8, 48, 160]


def test_a_generator_of_ones_own(compiled):
    generator = pg.random.Generator().manual_seed(1)
    run = pg.jit(lambda: pg.rand(3, generator=generator))
    first, second = run().tolist(), run().tolist()
    generator.manual_seed(1)
    assert run().tolist() == first != second
    assert run.stats().traces == 1


def test_programs_that_are_not_used_any_more_go(compiled, monkeypatch):
    monkeypatch.setattr(sys.modules["polygrad.jit.function"], "MOST", 4)

    class Settings:
        name = ""

    run = pg.jit(lambda x: x if Settings.name else x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(7):
            Settings.name = str(i)
            run(pg.ones(1))
    assert [len(plans) for plans in run._plans.values()] == [4]


# ----------------------------------------------------------------------------------------------------------- copies


class Compiling(pg.nn.Module):
    """A module with a compiled method in an attribute."""

    def __init__(self):
        super().__init__()
        self.layer = pg.nn.Linear(2, 2)
        self.fast = pg.jit(self.body)

    def body(self, x):
        return self.layer(x)

    def forward(self, x):
        return self.fast(x)


@pg.jit
def doubled(x):
    return x * 2


def test_copies_and_pickles(compiled):
    model, x = Compiling(), pg.ones((1, 2))
    before = values(model(x))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.layer.bias.data = twin.layer.bias.detach() + 1
        close(values(twin(x)), [before[0] + 1], 1e-6)
        close(values(model(x)), before, 1e-6)
    assert pickle.loads(pickle.dumps(doubled)) is doubled
    run = pg.jit(model.body, static_argnames="n", donate=False)
    assert copy.deepcopy(run)._options == run._options
    assert copy.copy(run)(x).tolist() == before[0].tolist()


# -------------------------------------------------------------------------------------- the walk ends where libraries begin


def test_a_dict_of_globals_with_libraries_in_it(compiled, tmp_path):
    (tmp_path / "program.py").write_text(
        "import sys, logging, numpy, pytest, polygrad\nscale = 2.0\nw = polygrad.tensor([1.0])\nclass Net: pass\nlog = logging.getLogger()"
    )
    with pg.use_backend(compiled):
        space = runpy.run_path(str(tmp_path / "program.py"))
    plain = {key: value for key, value in space.items() if not key.startswith("__")}
    plain |= {"libraries": [m for m in sys.modules.values() if "." not in m.__name__][:200], "itself": plain}
    for held in (space, plain):
        held |= {"w": pg.tensor([1.0]), "scale": 2.0}
        run = pg.jit(lambda x, held=held: x * held["w"] * held["scale"])
        start = time.perf_counter()
        assert run(pg.ones(1)).item() == 2
        assert time.perf_counter() - start < 20
        held["scale"] = 3.0
        assert run(pg.ones(1)).item() == 3
        held["w"] = pg.tensor([5.0])
        assert run(pg.ones(1)).item() == 15


def test_the_walk_does_not_enter_torch(compiled, torch):
    class Trainer:
        pass

    trainer = Trainer()
    trainer.torch, trainer.net, trainer.w = torch, torch.nn.Linear(2, 2), pg.tensor([2.0])
    run = pg.jit(lambda x: x * getattr(trainer, "w"))  # noqa: B009
    start = time.perf_counter()
    assert run(pg.ones(1)).item() == 2
    assert time.perf_counter() - start < 20
    trainer.w = pg.tensor([3.0])
    assert run(pg.ones(1)).item() == 3


@pytest.mark.parametrize("strict", [False, True])
def test_large_containers_are_compared_as_a_whole(strict, compiled, monkeypatch):
    monkeypatch.setenv("POLYGRAD_JIT_STRICT", "1")
    with pg.use_backend("numpy" if strict else compiled):
        words, counts = {str(i): i for i in range(20_000)}, [0] * 300
        run = pg.jit(lambda x: x * words["7"] + counts[5])
        assert run(pg.ones(1)).item() == 7
        words["7"] = 8
        assert run(pg.ones(1)).item() == 8
        counts[5] = 1
        assert run(pg.ones(1)).item() == 9

        def count(x):
            counts[3] += 1
            return x

        with pytest.raises(TraceError, match="items of counts"):
            pg.jit(count)(pg.ones(1))
        assert counts[3] == 0
