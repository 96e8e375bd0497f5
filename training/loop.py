"""The loop that every recipe runs in: optimiser, schedule, averaged weights, checkpoints, metrics. It knows no Ray.

A folder of a training holds `checkpoint.pt` (to go on from), `metrics.jsonl` (one line per report), `curves.png`, and
at the end NAME.safetensors in half precision and `card.json`, what the recipe says of itself and measured.
"""

import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from muster.errors import InputError, MusterError
from muster.storage.files import read_regular
from muster.tasks.base import inference_dtype
from muster.training.inputs import Inputs
from muster.training.record import CURVES, METRICS, Log, plot, read_metrics, replace_file

Batch = Mapping[str, Any]  # tensors the loss takes, and `names`: of the images, for messages
CHECKPOINT, CARD = "checkpoint.pt", "card.json"
PARTS = ("network", "average", "optimiser", "schedule")  # of a checkpoint


@dataclass(frozen=True)
class Settings:
    """How long and how fast. One `step` is one batch of `batch` images, over all processes together."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.05  # share of the steps in which the rate rises; then it falls as half a cosine to 1 %
    average: float = 0.998  # decay of the averaged weights, which are what is measured and kept
    clip: float = 5.0  # norm of the gradient
    seed: int = 0
    report_every: int = 20  # steps
    measure_every: int = 1000
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            text = f"a training needs at least 1 step and 2 images a batch, not {self.steps} and {self.batch}"
            raise InputError(text)


class Recipe(Protocol):
    """What is trained, on what, towards what. `network` builds a fresh one; the others take it as it is."""

    name: str
    settings: Settings

    def network(self) -> nn.Module: ...

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """This process's part of a step's batch. Depends on nothing but the arguments and the seed, so that a training
        that is resumed sees what it would have seen."""

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars; the one called `loss` is minimised."""

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Figures on data kept out of training, of a network in evaluation mode."""

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        """What of a trained network is kept: the state dict that the zoo entry's `build` takes."""

    def card(self) -> dict[str, Any]:
        """Data, licences, losses, augmentations: what a reader of the model card needs besides the settings."""


@dataclass(frozen=True)
class Report:
    """Sent to `on_report`. `rate`: images per second since this process began."""

    step: int
    steps: int
    rate: float
    values: dict[str, float]


class Share(NamedTuple):
    """Which of how many processes this is, from 0."""

    rank: int
    ranks: int


ALONE = Share(0, 1)
OnReport = Callable[[Report], None]


def train(
    recipe: Recipe,
    out: Path,
    device: torch.device,
    on_report: OnReport,
    *,
    share: Share = ALONE,
    start: Path | None = None,
) -> Path:
    """Train, or go on from `out`/checkpoint.pt, to the last step; the file of weights.

    `start`: the folder of an earlier training of this recipe, whose averaged weights to begin with. `share`: of several
    processes, of which the first one writes; torch.distributed must be initialised then. Raises InputError where `out`
    holds a finished model or another training, or `start` none, MusterError where the loss or its gradient is no longer
    a number.
    """
    check_folder(recipe.name, out)
    state = _State(recipe, device)
    begun = state.load(out / CHECKPOINT)
    if start is not None and not begun:
        state.begin_with(start / CHECKPOINT)
    log, settings = Log(out, begun, writes=share.rank == 0), recipe.settings
    network, dtype = _parallel(state.network, share.ranks), inference_dtype(device)
    started = saved = time.monotonic()
    for step, batch in _batches(recipe, begun, device, share):
        torch.manual_seed((settings.seed << 32) + step * share.ranks + share.rank)  # a resumed dropout drops the same
        values = _step(recipe, state, network, batch, step, dtype)
        done = step + 1
        if done % settings.report_every == 0 or done == settings.steps:
            numbers = {name: float(value) for name, value in values.items()} | _measured(state, done, settings)
            log.write(done, numbers)
            rate = (done - begun) * settings.batch / (time.monotonic() - started)
            on_report(Report(done, settings.steps, rate, numbers))
        if share.rank == 0 and time.monotonic() - saved > settings.checkpoint_seconds:
            state.save(out / CHECKPOINT, done)
            saved = time.monotonic()
    if share.rank == 0:
        state.save(out / CHECKPOINT, recipe.settings.steps)
        _finish(recipe, state, out, time.monotonic() - started)
    return out / f"{recipe.name}.safetensors"


def _measured(state: "_State", done: int, settings: Settings) -> dict[str, float]:
    """What the recipe measures after so many steps; nothing where it is not due, or is measured at the end anyway."""
    return state.measure() if done % settings.measure_every == 0 and done < settings.steps else {}


def _batches(recipe: Recipe, begun: int, device: torch.device, share: Share) -> Iterator[tuple[int, Batch]]:
    """Each step that is to be done, with its batch on the device; the next batch is made meanwhile."""
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(recipe.batch, begun, *share)
        for step in range(begun, recipe.settings.steps):
            batch = _on_device(coming.result(), device)
            if step + 1 < recipe.settings.steps:
                coming = ahead.submit(recipe.batch, step + 1, *share)
            yield step, batch


def check_folder(name: str, out: Path) -> None:
    """Make the folder; raises InputError where it holds a finished model of this name, which is never overwritten."""
    model = out / f"{name}.safetensors"
    if model.exists():
        raise InputError(f"{model} is a finished model and is not overwritten: name another folder with `out`")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"`out` {out}: {error.strerror}") from None


def rate_at(step: int, settings: Settings) -> float:
    """Factor of the learning rate at a step (0 is the first): a linear rise, then half a cosine down to 1 %."""
    rise = max(1, round(settings.steps * settings.warmup))
    if step < rise:
        return (step + 1) / rise
    through = (step - rise) / max(1, settings.steps - rise)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * through)) / 2


class _State:
    """Everything that a checkpoint holds."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.settings.seed)
        self.recipe, self.device = recipe, device
        network = recipe.network().to(device)
        self.network = nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
        self.average = AveragedModel(self.network, multi_avg_fn=_averaging(recipe.settings.average), use_buffers=True)
        self.optimiser = _optimiser(self.network, recipe.settings)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: rate_at(step, recipe.settings))

    def measure(self) -> dict[str, float]:
        """Figures of the averaged weights, without those that cannot be measured (landmarks where no face is found)."""
        figures = self.recipe.measure(self.average.module.eval())
        return {name: value for name, value in figures.items() if not math.isnan(value)}

    def save(self, path: Path, step: int) -> None:
        state = {"step": step, "settings": asdict(self.recipe.settings)}
        state |= {name: getattr(self, name).state_dict() for name in PARTS}
        data = io.BytesIO()  # not straight to the file: on a full disk torch's error is unclear
        torch.save(state, data)
        replace_file(path, lambda file: file.write(data.getbuffer()))

    def begin_with(self, path: Path) -> None:
        """Take over the averaged weights of another training's checkpoint."""
        if not path.exists():
            raise InputError(f"`start` {path.parent}: no training is there, which would have a {path.name}")
        state = _read_checkpoint(path, self.device)
        self._check_shapes(path, state, "start")
        self.average.load_state_dict(state["average"])
        self.average.n_averaged.zero_()  # the first update of the average copies the network anew
        self.network.load_state_dict(self.average.module.state_dict())

    def load(self, path: Path) -> int:
        """The step to go on with; 0 where there is no checkpoint."""
        if not path.exists():
            return 0
        state = _read_checkpoint(path, self.device)
        self._check_shapes(path, state, "out")
        for name, value in asdict(self.recipe.settings).items():
            if (old := state["settings"].get(name)) != value:
                raise InputError(
                    f"{path} was begun with {name} {old}, not {value}: go on with that, or name another"
                    " folder with `out`"
                )
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        return int(state["step"])

    def _check_shapes(self, path: Path, state: Mapping[str, Any], parameter: str) -> None:
        if (mine := _shapes(self.network.state_dict())) != (its := _shapes(state["network"])):
            name = next(iter(sorted(mine.items() ^ its.items())))[0]
            raise InputError(
                f"{path} is of another architecture: {name} is {its.get(name, 'absent')} there and"
                f" {mine.get(name, 'absent')} here; name another folder with `{parameter}`"
            )


def _read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    data = io.BytesIO(read_regular(path))
    try:
        state = torch.load(data, map_location=device, weights_only=True)
    except Exception:  # unpickling a damaged file raises anything, and its messages mislead
        state = None
    if not isinstance(state, dict) or not {"step", "settings", *PARTS} <= state.keys():
        raise InputError(f"{path} is damaged or no checkpoint of a training: remove it to begin anew")
    return state


def _optimiser(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Weights decay; biases and the scales of batch norm do not."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.learning_rate)


def _averaging(decay: float) -> Callable[..., None]:
    """Weights averaged with `decay`, and with less at first, so that a short training forgets what it began with."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    return update


def _parallel(network: nn.Module, ranks: int) -> nn.Module:
    return nn.parallel.DistributedDataParallel(network) if ranks > 1 else network


def _step(
    recipe: Recipe, state: _State, network: nn.Module, batch: Batch, step: int, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    network.train()
    state.optimiser.zero_grad(set_to_none=True)
    with _autocast(state.device, dtype):
        values = recipe.loss(network, batch)
    values["loss"].backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.settings.clip)
    if not (torch.isfinite(values["loss"]) and torch.isfinite(norm)):
        names = ", ".join(map(str, batch.get("names", ())[:8]))
        raise MusterError(
            f"the loss is {values['loss'].item():g} and its gradient {norm.item():g} at step {step + 1}, in the batch"
            f" that begins with {names}: the training stopped; its last good checkpoint, if there is one yet, is kept."
            " A lower `rate`, in another folder, may help"
        )
    state.optimiser.step()
    state.schedule.step()
    state.average.update_parameters(state.network)
    return {name: value.detach() for name, value in values.items()}


def _autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _finish(recipe: Recipe, state: _State, out: Path, seconds: float) -> None:
    measured = state.measure()
    lines = read_metrics(out / METRICS)
    card = {
        "name": recipe.name,
        "settings": asdict(recipe.settings),
        "parameters": sum(p.numel() for p in state.network.parameters()),
        "seconds": round(seconds, 1),
        "measured": {name: round(value, 5) for name, value in measured.items()},
        **recipe.card(),
    }
    replace_file(out / CARD, lambda file: file.write((json.dumps(card, indent=2) + "\n").encode()))
    plot(lines, out / CURVES)
    weights = half(recipe.weights(state.average.module))
    model = safetensors.torch.save(weights)  # save_file would let nobody but the owner read it
    replace_file(out / f"{recipe.name}.safetensors", lambda file: file.write(model))


def half(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in half precision, on the CPU; counters of batches, which inference does not need, left out."""
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    return {name: value.detach().cpu().to(torch.float16).contiguous() for name, value in kept.items()}


def seed_of(*parts: int) -> int:
    """One seed from several numbers, such as the training's and the step's."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def adjusted(settings: Settings, inputs: Inputs, images: int) -> Settings:
    """The settings with what a user gave instead of theirs. Fewer `images` than a batch: batches of so many."""
    batch = min(settings.batch, images)
    given: dict[str, Any] = {"steps": inputs.steps, "learning_rate": inputs.rate, "seed": inputs.seed, "batch": batch}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})
