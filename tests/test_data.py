"""Datasets, samplers and loaders: order, batches, workers, and going on in the middle of an epoch."""

import collections
import os
import time

import numpy as np
import pytest

import polygrad as pg
from polygrad import data

Point = collections.namedtuple("Point", "x y")


class Squares(data.Dataset):
    """(i, i^2) of plain numbers."""

    def __init__(self, n=10):
        self.n = n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i, float(i * i)

    def __len__(self):
        return self.n


class Noisy(Squares):
    """A sample with noise of the default generator, and who made it."""

    def __getitem__(self, i):
        return pg.rand(2, dtype=pg.float64) + i, os.getpid()


class Broken(Squares):
    """Raises at one index."""

    def __getitem__(self, i):
        if i == 5:
            raise LookupError("sample five is missing")
        return super().__getitem__(i)


class Dying(Squares):
    """Ends the process at one index."""

    def __getitem__(self, i):
        if i == 5:
            os._exit(7)
        return super().__getitem__(i)


class Slow(Squares):
    """Takes its time."""

    def __getitem__(self, i):
        time.sleep(30)


class Stream(data.IterableDataset):
    """0, 1, ... shared out among workers."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = data.get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))

    def __len__(self):
        return self.n


def firsts(loader):
    return [batch[0].tolist() for batch in loader]


def test_batches_in_order(backend):
    loader = data.DataLoader(Squares(), batch_size=4)
    assert len(loader) == 3 and firsts(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] == firsts(loader)
    x, y = next(iter(loader))
    assert x.dtype is pg.int64 and y.dtype is pg.float64 and x.backend == y.backend == backend.name
    assert (
        len(data.DataLoader(Squares(), 4, drop_last=True))
        == 2
        == len(firsts(data.DataLoader(Squares(), 4, drop_last=True)))
    )
    assert [x for x, _ in data.DataLoader(Squares(3), batch_size=None)] == [0, 1, 2]


def test_one_seed_gives_one_order_everywhere(backend):
    loader = data.DataLoader(Squares(), 4, shuffle=True, generator=pg.Generator().manual_seed(3))
    first, second = firsts(loader), firsts(loader)
    assert sorted(sum(first, [])) == list(range(10)) and first != second
    with pg.use_backend("numpy"):
        again = data.DataLoader(Squares(), 4, shuffle=True, generator=pg.Generator().manual_seed(3))
        assert [firsts(again), firsts(again)] == [first, second]
        pg.manual_seed(3)
        default = data.DataLoader(Squares(), 4, shuffle=True)
        assert [firsts(default), firsts(default)] == [first, second]


def test_tensors_are_taken_a_batch_at_a_time(backend):
    x = pg.arange(12.0).reshape(6, 2)
    dataset = data.TensorDataset(x, pg.arange(6))
    assert len(dataset) == 6 and dataset[2][0].tolist() == [4, 5]
    for source in (dataset, data.Subset(dataset, [5, 4, 3])):
        fast = list(data.DataLoader(source, 2))
        slow = list(data.DataLoader(source, 2, collate_fn=lambda batch: data.default_collate(batch)))
        assert [[t.tolist() for t in b] for b in fast] == [[t.tolist() for t in b] for b in slow]
    with pytest.raises(ValueError, match="Size mismatch between tensors"):
        data.TensorDataset(x, pg.arange(5))


def test_an_epoch_goes_on_where_it_was_left():
    def loader():
        return data.DataLoader(Squares(), 3, shuffle=True, generator=pg.Generator().manual_seed(1))

    whole = loader()
    expected = [firsts(whole), firsts(whole)]
    cut = loader()
    batches, seen = iter(cut), []
    for _ in range(2):
        seen.append(next(batches)[0].tolist())
    state, words = cut.state_dict(), cut.generator.get_state().tolist()
    other = data.DataLoader(Squares(), 3, shuffle=True, generator=pg.Generator().manual_seed(99))
    other.load_state_dict(state)
    other.generator.set_state(words)
    assert [seen + firsts(other), firsts(other)] == expected
    assert loader().state_dict() == {"batch": 0, "generator": None} == whole.state_dict()
    fresh = loader()
    fresh.load_state_dict(whole.state_dict())
    assert firsts(fresh) == expected[0]


def test_a_stream_goes_on_where_it_was_left():
    loader = data.DataLoader(Stream(10), 3)
    assert len(loader) == 4
    batches = iter(loader)
    next(batches)
    other = data.DataLoader(Stream(10), 3)
    other.load_state_dict(loader.state_dict())
    assert [b.tolist() for b in other] == [[3, 4, 5], [6, 7, 8], [9]]


# ------------------------------------------------------------------------------------------------------------ workers


@pytest.mark.parametrize("backend", ["array_api_strict"])
def test_workers_make_the_same_batches(backend):
    with pg.use_backend(backend):
        alone = data.DataLoader(Squares(), 3, shuffle=True, generator=pg.Generator().manual_seed(5))
        loader = data.DataLoader(
            Squares(),
            3,
            shuffle=True,
            generator=pg.Generator().manual_seed(5),
            num_workers=2,
            persistent_workers=True,
        )
        assert [firsts(loader), firsts(loader)] == [firsts(alone), firsts(alone)]
        assert next(iter(loader))[0].backend == backend
        assert firsts(loader) != []
        loader.close()


def test_noise_in_workers_has_a_stream_for_each_batch():
    def noise(workers, skip=0):
        loader = data.DataLoader(Noisy(), 2, num_workers=workers, generator=pg.Generator().manual_seed(2))
        if skip:
            loader.load_state_dict({"batch": skip, "generator": pg.Generator().manual_seed(2).get_state().tolist()})
        found = list(loader)
        return [x.tolist() for x, _ in found], {int(p) for _, pids in found for p in pids}

    one, two = noise(1), noise(2)
    assert one[0] == two[0] and len(two[1]) == 2 and os.getpid() not in two[1]
    assert len({x[0] % 1 for batch in one[0] for x in batch}) == 10
    assert noise(1, skip=3)[0] == one[0][3:]


def test_streams_are_shared_out():
    loader = data.DataLoader(Stream(7), 2, num_workers=2)
    assert [b.tolist() for b in loader] == [[0, 2], [1, 3], [4, 6], [5]]


def test_an_error_in_a_worker_comes_out_of_the_loop():
    with pytest.raises(LookupError, match=r"in DataLoader worker process 1(.|\n)*sample five is missing"):
        list(data.DataLoader(Broken(), 3, num_workers=2))
    with pytest.raises(RuntimeError, match="exited unexpectedly with exit code 7"):
        list(data.DataLoader(Dying(), 3, num_workers=1))
    with pytest.raises(RuntimeError, match="timed out after 1 seconds"):
        list(data.DataLoader(Slow(), 3, num_workers=1, timeout=1))


# ----------------------------------------------------------------------------------------------- datasets and samplers


def test_datasets_of_datasets():
    both = Squares(3) + Squares(4)
    assert len(both) == 7 and [both[i][0] for i in range(7)] == [0, 1, 2, 0, 1, 2, 3] and both[-1] == (3, 9.0)
    with pytest.raises(IndexError):
        both[7]
    assert data.StackDataset(Squares(2), Squares(2))[1] == ((1, 1.0), (1, 1.0))
    assert data.StackDataset(a=Squares(2))[1] == {"a": (1, 1.0)}
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2]
    for call in (
        lambda: data.StackDataset(),
        lambda: data.StackDataset(Squares(2), Squares(3)),
        lambda: data.ConcatDataset([]),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize(
    ("lengths", "counts"), [((7, 3), (7, 3)), ((0.5, 0.25, 0.25), (6, 2, 2)), ((0.9, 0.1), (9, 1))]
)
def test_random_split(lengths, counts):
    parts = data.random_split(Squares(), lengths, generator=pg.Generator().manual_seed(0))
    assert tuple(map(len, parts)) == counts and sorted(s[0] for p in parts for s in p) == list(range(10))
    again = data.random_split(Squares(), lengths, generator=pg.Generator().manual_seed(0))
    assert [list(p.indices) for p in again] == [list(p.indices) for p in parts]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(Squares(), (3, 3))


def test_samplers():
    g = pg.Generator().manual_seed(0)
    assert list(data.SequentialSampler(range(3))) == [0, 1, 2]
    assert sorted(data.RandomSampler(range(5), generator=g)) == [0, 1, 2, 3, 4]
    assert len(list(data.RandomSampler(range(5), num_samples=12, generator=g))) == 12
    drawn = list(data.RandomSampler(range(5), replacement=True, num_samples=200, generator=g))
    assert set(drawn) == set(range(5)) and len(drawn) == 200
    assert sorted(data.SubsetRandomSampler([7, 9], generator=g)) == [7, 9]
    assert set(data.WeightedRandomSampler([0.0, 1.0, 3.0], 50, generator=g)) == {1, 2}
    assert sorted(data.WeightedRandomSampler([1, 1, 1], 3, replacement=False, generator=g)) == [0, 1, 2]
    shares = [list(data.DistributedSampler(range(7), 3, r, seed=4)) for r in range(3)]
    assert {len(s) for s in shares} == {3} and set(sum(shares, [])) == set(range(7))
    cut = [list(data.DistributedSampler(range(7), 3, r, shuffle=False, drop_last=True)) for r in range(3)]
    assert cut == [[0, 3], [1, 4], [2, 5]]
    own = data.DataLoader(Squares(), batch_sampler=[[1, 2], [5]])
    assert firsts(own) == [[1, 2], [5]] and len(own) == 2


def test_collate_is_that_of_pytorch(torch):
    from torch.utils.data import default_collate

    batch = [
        {"a": (1, 2.5), "b": [np.ones(2), "x"], "c": Point(1, True), "d": np.float32(3)},
        {"a": (3, 4.5), "b": [np.zeros(2), "y"], "c": Point(2, False), "d": np.float32(4)},
    ]

    def plain(value):
        if hasattr(value, "tolist"):
            return str(value.dtype).rpartition(".")[2], value.tolist()
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, list | tuple) else value

    ours, theirs = data.default_collate(batch), default_collate(batch)
    assert plain(ours) == plain(theirs) and isinstance(ours["c"], Point)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: data.DataLoader(Squares(), 0), ValueError, "batch_size should be a positive integer"),
        (lambda: data.DataLoader(Squares(), num_workers=-1), ValueError, "num_workers option should be non-negative"),
        (lambda: data.DataLoader(Squares(), shuffle=True, sampler=[1]), ValueError, "mutually exclusive with shuffle"),
        (lambda: data.DataLoader(Squares(), 2, batch_sampler=[[1]]), ValueError, "batch_sampler option is mutually"),
        (lambda: data.DataLoader(Squares(), None, drop_last=True), ValueError, "disables auto-batching"),
        (lambda: data.DataLoader(Stream(3), shuffle=True), ValueError, "IterableDataset"),
        (lambda: data.DataLoader(Squares(), persistent_workers=True), ValueError, "needs num_workers > 0"),
        (lambda: data.RandomSampler([1], num_samples=0), ValueError, "num_samples should be a positive"),
        (lambda: data.default_collate([object()]), TypeError, "found object"),
        (lambda: data.default_collate([pg.ones(2), pg.ones(3)]), RuntimeError, "equal size"),
        (lambda: data.default_collate([[1], [1, 2]]), RuntimeError, "equal size"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
