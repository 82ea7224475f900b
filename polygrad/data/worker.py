"""Processes that make batches while the model is busy.

They are spawned, never forked (a fork of a process with threads, as every array library has, may hang), and make their batches on the
default host backend, whatever the parent's is. Batch k is made by worker k modulo their number, so that results need no sorting.
"""

from __future__ import annotations

import multiprocessing
import pickle
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from polygrad.core import use_backend
from polygrad.core.backend import DEFAULT
from polygrad.data.dataset import IterableDataset
from polygrad.random import manual_seed

__all__ = ["END", "Failure", "Pool", "WorkerInfo", "batches", "fetch", "get_worker_info"]

END = "no more samples"


class WorkerInfo(NamedTuple):
    """What a worker knows of itself.

    Attributes:
        id: which one it is, from 0.
        num_workers: how many there are.
        seed: of the epoch; batch k draws from the stream of seed + k.
        dataset: its copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class Failure(NamedTuple):
    """An exception in a worker: itself, if it can be pickled, and its traceback as text."""

    error: BaseException | None
    text: str

    def again(self, worker: int) -> BaseException:
        """The exception to raise in the parent, of the same type where that takes a message alone."""
        message = f"Caught {type(self.error).__name__} in DataLoader worker process {worker}.\n{self.text}"
        try:
            return type(self.error)(message) if self.error is not None else RuntimeError(message)
        except Exception:  # a type with other arguments
            return RuntimeError(message)


_info: list[WorkerInfo] = []


def get_worker_info() -> WorkerInfo | None:
    """What this worker knows of itself; None in the main process."""
    return _info[0] if _info else None


def fetch(dataset: Any, indices: Any, collate: Callable[[Any], Any], take: bool) -> Any:
    """The batch of these indices; one look-up of the dataset's `take`, if the batch is to be collated as usual."""
    if take:
        return dataset.take(indices)
    return collate([dataset[i] for i in indices] if isinstance(indices, list) else dataset[indices])


def batches(dataset: Any, size: int | None, drop_last: bool, collate: Callable[[Any], Any]) -> Iterator[Any]:
    """The batches of a dataset that is iterated; its samples, if `size` is None."""
    samples = iter(dataset)
    if size is None:
        yield from map(collate, samples)
        return
    while batch := list(islice(samples, size)):
        if len(batch) == size or not drop_last:
            yield collate(batch)


def work(connection: Any, blob: bytes, worker: int, workers: int) -> None:
    """What a worker does: make the batches it is asked for, until it is told to stop or its parent is gone."""
    tasks: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    try:
        dataset, collate, take, size, drop_last, start = pickle.loads(blob)
        if start is not None:
            start(worker)
        made: Any = None
        with use_backend(DEFAULT):
            while (task := tasks.get()) is not None:
                seed, k, indices = task
                if k is None:
                    made = batches(dataset, size, drop_last, collate)
                    continue
                _info[:] = [WorkerInfo(worker, workers, seed, dataset)]
                manual_seed((seed + k) % 2**63)
                try:
                    if isinstance(dataset, IterableDataset):
                        result = next(made, END)
                    else:
                        result = fetch(dataset, indices, collate, take)
                    connection.send_bytes(pickle.dumps(result, pickle.HIGHEST_PROTOCOL))
                except Exception as error:
                    connection.send_bytes(_failure(error))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        connection.send_bytes(_failure(error))


def _listen(connection: Any, tasks: queue.Queue[Any]) -> None:
    """Take tasks off the pipe at once: if both ends waited for the other to read, both would wait for ever."""
    try:
        while (task := connection.recv()) is not None:
            tasks.put(task)
    except (EOFError, OSError):
        pass
    tasks.put(None)


def _failure(error: Exception) -> bytes:
    text = "".join(traceback.format_exception(error))
    try:
        blob = pickle.dumps(Failure(error, text))
        pickle.loads(blob)
        return blob
    except Exception:  # an exception that cannot be pickled
        return pickle.dumps(Failure(None, text))


class Pool:
    """Workers and the pipes to them.

    Args:
        count: how many.
        job: (dataset, collate, take, size, drop_last, start): what `work` is to do.
        timeout: seconds to wait for a batch; 0 waits as long as the worker lives.
        context: how processes are started, in the words of `multiprocessing`.
    """

    def __init__(self, count: int, job: tuple[Any, ...], timeout: float, context: Any):
        made: Any = multiprocessing.get_context(context or "spawn") if isinstance(context, str | None) else context
        blob = pickle.dumps(job)
        self.timeout, self.processes, self.pipes, self.waiting = timeout, [], [], [0] * count
        for i in range(count):
            mine, theirs = made.Pipe()
            process = made.Process(target=work, args=(theirs, blob, i, count), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.pipes.append(mine)

    def begin(self, seed: int) -> None:
        """Start an epoch: forget what is still on its way, and let datasets that are iterated start again."""
        for i, pipe in enumerate(self.pipes):
            while self.waiting[i]:
                self.receive(i)
            pipe.send((seed, None, None))

    def ask(self, worker: int, seed: int, k: int, indices: Any) -> None:
        """Let a worker make batch k."""
        try:
            self.pipes[worker].send((seed, k, indices))
        except OSError:
            raise self._gone(worker) from None
        self.waiting[worker] += 1

    def receive(self, worker: int) -> Any:
        """The next batch of a worker, END, or a Failure. Raises RuntimeError when it is gone or takes too long."""
        pipe = self.pipes[worker]
        if self.timeout and not pipe.poll(self.timeout):
            raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds")
        try:
            blob = pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._gone(worker) from None
        self.waiting[worker] -= 1
        return pickle.loads(blob)

    def _gone(self, worker: int) -> RuntimeError:
        process = self.processes[worker]
        process.join(1)
        return RuntimeError(
            f"DataLoader worker {worker} (pid {process.pid}) exited unexpectedly with exit code {process.exitcode}. A script that "
            'starts workers needs `if __name__ == "__main__":` around what it runs'
        )

    def close(self) -> None:
        """End the workers."""
        for pipe in self.pipes:
            try:
                pipe.send(None)
            except OSError:
                pass
            pipe.close()
        for process in self.processes:
            process.join(1)
            if process.is_alive():
                process.terminate()
                process.join()
