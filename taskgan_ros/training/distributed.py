"""One training run in all processes that torchrun started; in a process of its own, nothing here does anything.

Each step is seeded by its number alone. So every process draws what one process would draw for the joint batch, and
keeps its own rows of it: the mean of the processes' losses is the joint batch's, and so is the mean of their gradients.
"""

from __future__ import annotations

import atexit
import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from taskgan_ros.core.errors import InputError

Config = TypeVar("Config")
Optimiser = TypeVar("Optimiser", bound=torch.optim.Optimizer)
T = TypeVar("T")

_TOLD = (InputError, FloatingPointError, OSError)  # what the command line reports without a traceback
_EXIT_TOLD, _EXIT_INTERRUPTED = 2, 130  # the command line's
_TELLING_S = 0.5  # torchrun ends all processes as soon as one has ended, but the first still has to report
_alone: list[bool] = []


class _Elsewhere(InputError):
    """Another process failed, and every process knows it."""


def as_one(training: Callable[[Config], T]) -> Callable[[Config], T]:
    """Make a training step, started in each of torchrun's processes, one run.

    An error in any of them ends all: the first process reports it, the others exit silently with the same status.
    """

    @functools.wraps(training)
    def run(config: Config) -> T:
        if not _launched():
            return training(config)
        _meet()
        try:
            return training(config)
        except (*_TOLD, KeyboardInterrupt) as error:
            if isinstance(error, _TOLD) and not isinstance(error, _Elsewhere):
                _exchange(error)
            if is_first():
                raise
            time.sleep(_TELLING_S)
            raise SystemExit(_EXIT_TOLD if isinstance(error, _TOLD) else _EXIT_INTERRUPTED) from None

    return run


def _meet() -> None:
    """Connect the processes, once for all runs: meeting again under the same names, they can miss each other."""
    if not dist.is_initialized():
        # Figures and objects go through gloo even where networks are on GPUs, which then need not wait for them.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(dist.destroy_process_group)


def _launched() -> bool:
    """Return whether torchrun started this process and others."""
    return dist.is_available() and dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def world_size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process is the one that writes, shows and reports."""
    return world_size() == 1 or dist.get_rank() == 0


def agree() -> None:
    """Wait until all processes are here.

    Whatever needs all of them begins with this, so that one that failed meets the others at whichever comes next.

    Raises:
        InputError: one of them failed.
    """
    if world_size() > 1:
        faults = _exchange(None)
        failed = [f"process {rank}: {fault}" for rank, fault in enumerate(faults) if fault is not None]
        if failed:
            raise _Elsewhere(failed[0])


def _exchange(error: BaseException | None) -> list[str | None]:
    """Send this process's error to all processes, and return the error of each."""
    faults: list[str | None] = [None] * world_size()
    dist.all_gather_object(faults, None if error is None else str(error))
    return faults


def first(work: Callable[..., T], *arguments: object) -> T:
    """Do `work` in the first process alone and return in all what it returned; errors are everyone's."""
    if world_size() == 1:
        return work(*arguments)
    result = [work(*arguments) if is_first() else None]
    agree()
    dist.broadcast_object_list(result)
    return cast(T, result[0])


def any_of(flag: bool) -> bool:
    """Return whether `flag` is set in any process."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags)
    return bool(flags)


def mean(losses: dict[str, Tensor]) -> dict[str, float]:
    """Return the mean over the processes of each of `losses`."""
    values = torch.tensor([float(value) for value in losses.values()], dtype=torch.float64)
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return dict(zip(losses, values.tolist(), strict=True))


def joint(optimiser: Optimiser) -> Optimiser:
    """Return `optimiser`, each of whose steps first takes the mean of all processes' gradients.

    torch's DistributedDataParallel does so during `backward`, of a wrapped network's one `forward`. But a GAN runs one
    network through another, takes gradients at the images between them, and is small: there is nothing to overlap.
    """
    if world_size() > 1:
        optimiser.register_step_pre_hook(lambda adam, *_: _average_gradients(adam))
    return optimiser


def _average_gradients(optimiser: torch.optim.Optimizer) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    for gradient, mean_of_all in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean_of_all.view_as(gradient))


def gathered(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes, for a loss that is not a mean over them; all must compute the same."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    own = rows.view_as(rows)
    own.register_hook(lambda gradient: gradient * world_size())  # what `joint` will divide by
    parts[dist.get_rank()] = own
    return torch.cat(parts)


def own_device(device: torch.device) -> torch.device:
    """Return this process's own GPU.

    Raises:
        InputError: one GPU is to serve several processes.
    """
    if world_size() == 1:
        return device
    rank, processes, found = int(os.environ["LOCAL_RANK"]), os.environ["LOCAL_WORLD_SIZE"], torch.cuda.device_count()
    if device.index is not None:
        raise InputError(f"expected cuda, of which each of {processes} processes takes its own GPU, got {device}")
    if rank >= found:
        raise InputError(f"expected a GPU for each of the {processes} processes on a machine, got {found}")
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def check_shares(**counts: int) -> None:
    """Refuse images of a joint batch, by what they are called, that the processes cannot share evenly.

    Raises:
        InputError: one of `counts` does not divide by the number of processes.
    """
    for name, count in counts.items():
        if count % world_size():
            raise InputError(f"expected {name} to divide by the number of processes, {world_size()}, got {count}")


def share(count: int) -> int:
    """Return how many of `count` images of a joint batch are this process's."""
    return count // _parts()


def rand(rows: int, *shape: int) -> Tensor:
    """Return `torch.rand(rows, *shape)`: this process's rows of the joint batch's."""
    return _own(torch.rand(rows * _parts(), *shape))


def randn(rows: int, *shape: int) -> Tensor:
    """Return `torch.randn(rows, *shape)`: this process's rows of the joint batch's."""
    return _own(torch.randn(rows * _parts(), *shape))


def randint(high: int, rows: int, *shape: int) -> Tensor:
    """Return `torch.randint(high, (rows, *shape))`: this process's rows of the joint batch's."""
    return _own(torch.randint(high, (rows * _parts(), *shape)))


@contextmanager
def alone() -> Iterator[None]:
    """Draw as a single process would within the block: for what must be equal in all processes."""
    _alone.append(True)
    try:
        yield
    finally:
        _alone.pop()


def _parts() -> int:
    return 1 if _alone else world_size()


def _own(rows: Tensor) -> Tensor:
    return rows if _parts() == 1 else rows.chunk(_parts())[dist.get_rank()]
