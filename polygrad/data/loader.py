"""Batches of a dataset, in order or shuffled, made here or in other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from polygrad.core import Tensor, get_backend
from polygrad.data.collate import default_collate, default_convert, map_nest
from polygrad.data.dataset import IterableDataset
from polygrad.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from polygrad.data.worker import END, Failure, Pool, batches, fetch
from polygrad.random import Generator, default_generator, randint

__all__ = ["DataLoader"]


class DataLoader:
    """An iterable over the batches of a dataset; each iteration is an epoch.

    The order is drawn when an epoch begins, from `generator`, so that with one seed it is the same on every backend and with any
    number of workers. `state_dict()` says where in an epoch a loader is; one that has loaded it goes on there, in the same order.

    Args:
        dataset: what has `__getitem__` and `__len__`, or an IterableDataset.
        batch_size: samples a batch; None gives single samples.
        shuffle: in random order.
        sampler: the order, an iterable of indices, instead of `shuffle`.
        batch_sampler: the batches, an iterable of lists of indices, instead of the four options about them.
        num_workers: how many processes make batches; 0 makes them here. Dataset and functions must be picklable then.
        collate_fn: makes a batch of a list of samples; `default_collate` unless given.
        pin_memory: about memory of GPUs in PyTorch; no effect.
        drop_last: leave out a last batch that is shorter.
        timeout: seconds to wait for a batch of a worker; 0 waits as long as it lives.
        worker_init_fn: called with a worker's number when it starts.
        multiprocessing_context: how processes are started; "spawn" unless given.
        generator: of the order and of the workers' seeds; the default one unless given.
        prefetch_factor: batches that each worker makes ahead; 2 unless given.
        persistent_workers: keep the processes between epochs.

    Raises:
        ValueError: options that exclude each other, or out of their range.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
    ):
        _check(batch_size, shuffle, sampler, batch_sampler, drop_last, num_workers, timeout, prefetch_factor)
        if persistent_workers and not num_workers:
            raise ValueError("persistent_workers option needs num_workers > 0")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader with IterableDataset: expected unspecified shuffle, sampler and batch_sampler")
        if sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None and not iterable:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.multiprocessing_context, self.persistent_workers = multiprocessing_context, persistent_workers
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        batched = batch_sampler is not None or batch_size is not None
        self.collate_fn = collate_fn or (default_collate if batched else default_convert)
        self._take = collate_fn is None and batched and hasattr(dataset, "take")
        self._pool: Pool | None = None
        self._start: list[int] | None = None
        self._batch = 0
        self._resumed = False

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n, size = len(self.dataset), self.batch_size or 1  # type: ignore[arg-type]
            return n // size if self.drop_last else -(-n // size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------------------- an epoch

    def __iter__(self) -> Iterator[Any]:
        """The batches of an epoch, or what is left of the one that `load_state_dict` told of."""
        generator = self.generator or default_generator()
        resumed, self._resumed = self._resumed and self._start is not None, False
        now = generator.get_state().tolist()
        if resumed:
            generator.set_state(self._start)
        else:
            self._start, self._batch = now, 0
        order = self._order()
        seed = int(randint(0, 2**61, (), generator=generator))
        if resumed:
            generator.set_state(now)
        return self._epoch(order, seed, self._batch)

    def _order(self) -> list[Any] | None:
        if isinstance(self.dataset, IterableDataset):
            return None
        return list(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    def _epoch(self, order: list[Any] | None, seed: int, first: int) -> Iterator[Any]:
        made = self._in_workers(order, seed, first) if self.num_workers else self._here(order, first)
        for k, batch in enumerate(made, first):
            self._batch = k + 1
            yield batch
        self._start, self._batch = None, 0

    def _here(self, order: list[Any] | None, first: int) -> Iterator[Any]:
        if order is None:
            made = batches(self.dataset, self.batch_size, self.drop_last, self.collate_fn)
            for k, batch in enumerate(made):
                if k >= first:
                    yield batch
            return
        for indices in order[first:]:
            yield fetch(self.dataset, indices, self.collate_fn, self._take)

    def _in_workers(self, order: list[Any] | None, seed: int, first: int) -> Iterator[Any]:
        pool = self._pool or self._started()
        try:
            pool.begin(seed)
            results = _stream(pool, seed, first) if order is None else _listed(pool, order, seed, first, self._ahead())
            backend = get_backend()
            for batch in results:
                yield map_nest(lambda x: x.to(backend) if isinstance(x, Tensor) else x, batch)
        except GeneratorExit:  # the loop was left; what is on its way is dropped when the next epoch begins
            if not self.persistent_workers:
                pool.close()
            raise
        except BaseException:
            self._pool = None
            pool.close()
            raise
        if not self.persistent_workers:
            pool.close()

    def _ahead(self) -> int:
        return self.prefetch_factor * self.num_workers

    def _started(self) -> Pool:
        size = self.batch_size if isinstance(self.dataset, IterableDataset) else None
        job = (self.dataset, self.collate_fn, self._take, size, self.drop_last, self.worker_init_fn)
        pool = Pool(self.num_workers, job, self.timeout, self.multiprocessing_context)
        if self.persistent_workers:
            self._pool = pool
        return pool

    def close(self) -> None:
        """End the workers that are kept between epochs."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __del__(self) -> None:
        if getattr(self, "_pool", None) is not None:
            self.close()

    # ------------------------------------------------------------------------------------------------------- to go on

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: how many batches of the epoch were given, and the generator's state when it began."""
        return {"batch": self._batch, "generator": None if self._start is None else list(self._start)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iteration go on where a `state_dict` says, in the order of that epoch.

        The generator itself is not touched: what it was after the epoch's order had been drawn is restored with it.
        """
        start = state_dict["generator"]
        self._start, self._batch = None if start is None else [int(w) for w in start], int(state_dict["batch"])
        self._resumed = True


def _listed(pool: Pool, order: list[Any], seed: int, first: int, ahead: int) -> Iterator[Any]:
    """The batches of a list of indices, each from the worker whose turn it is."""
    workers, asked = len(pool.pipes), first
    for k in range(first, len(order)):
        while asked < min(k + ahead, len(order)):
            pool.ask(asked % workers, seed, asked, order[asked])
            asked += 1
        yield _checked(pool.receive(k % workers), k % workers)


def _stream(pool: Pool, seed: int, first: int) -> Iterator[Any]:
    """The batches of workers that iterate, in turns, until none has any more."""
    alive, k = list(range(len(pool.pipes))), 0
    for worker in alive:
        pool.ask(worker, seed, worker, None)
    asked, turn = len(alive), 0
    while alive:
        worker = alive[turn % len(alive)]
        batch = _checked(pool.receive(worker), worker)
        if isinstance(batch, str) and batch == END:
            turn %= len(alive)
            alive.remove(worker)
            continue
        pool.ask(worker, seed, asked, None)
        asked += 1
        turn = (turn + 1) % len(alive)
        if k >= first:
            yield batch
        k += 1


def _checked(result: Any, worker: int) -> Any:
    if isinstance(result, Failure):
        raise result.again(worker)
    return result


def _check(batch_size, shuffle, sampler, batch_sampler, drop_last, num_workers, timeout, prefetch_factor) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if prefetch_factor is not None and (num_workers == 0 or prefetch_factor < 1):
        raise ValueError("prefetch_factor needs num_workers > 0, and is at least 1")
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    if batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
