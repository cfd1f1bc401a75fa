"""Training a bank of probes on stored activations."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mentionprobe.activations import Activations
from mentionprobe.corpora import Corpus
from mentionprobe.errors import TrainingError
from mentionprobe.progress import progress
from mentionprobe.training.bank import Bank, Trainable
from mentionprobe.training.loss import balanced_bce
from mentionprobe.training.recipes import Recipe, get_recipe
from mentionprobe.training.scoring import score_histogram
from mentionprobe.training.targets import Data, Targets

ORDER_SEED = 0  # the order of batches is one for all members, whatever their own seeds
HELD_OUT = 10  # without dev, every tenth group is held out
SELECTION_TOKENS = 20_000  # of dev, looked at after each epoch


def fit_bank(
    probes: Sequence[Trainable],
    activations: Activations,
    corpus: Corpus,
    *,
    dev: tuple[Activations, Corpus] | None = None,
    dtype: torch.dtype = torch.float32,
    max_steps: int | None = None,
) -> None:
    """Train probes that differ in layer and seed together, in place.

    All must share recipe, `max_span` and shapes. Each ends with the weights it would have had
    alone. The epoch (if the recipe selects one) and the threshold are chosen on `dev`, or on a
    tenth of the groups of `corpus` held out for that. `max_steps` ends training early, for tests.

    Raises `FingerprintError` for activations of other texts or, for dev, of another backbone, and
    `TrainingError` for a corpus without any reachable mention.
    """
    recipe = _common_recipe(probes)
    for probe in probes:
        probe.bind(activations)
        if dev is not None:
            probe.require_backbone_of(dev[0])
    train, chosen_on = _split(activations, corpus, dev, probes[0].max_span)
    bank = _draw(probes, recipe, activations, dtype)
    bank.parameters = _train(bank, recipe, train, chosen_on, dtype, max_steps)
    bank.write_back()
    histogram = score_histogram(bank, chosen_on)
    best = zip(*histogram.best_threshold(chosen_on.n_gold), strict=True)
    for probe, (threshold, f1) in zip(probes, best, strict=True):
        probe.threshold_logit_, probe.dev_f1_ = float(threshold), float(f1)


def _common_recipe(probes: Sequence[Trainable]) -> Recipe:
    recipes = {get_recipe(probe.recipe) for probe in probes}
    spans = {probe.max_span for probe in probes}
    if len(recipes) != 1 or len(spans) != 1:
        raise TrainingError("the probes of a bank must share one recipe and one max_span.")
    return recipes.pop()


def _split(
    activations: Activations,
    corpus: Corpus,
    dev: tuple[Activations, Corpus] | None,
    max_span: int,
) -> tuple[Data, Data]:
    """What is trained on, and what epoch and threshold are chosen on."""
    targets = Targets(activations, corpus, max_span=max_span)
    everything = np.arange(len(activations))
    if dev is not None:
        train = Data(activations, targets, everything.tolist())
        other = Targets(*dev, max_span=max_span)
        held_out = Data(dev[0], other, list(range(len(dev[0]))))
    else:
        _, group = np.unique(targets.groups, return_inverse=True)
        is_held_out = group % HELD_OUT == HELD_OUT - 1
        train = Data(activations, targets, everything[~is_held_out].tolist())
        held_out = Data(activations, targets, everything[is_held_out].tolist())
    for data, what in ((train, "train on"), (held_out, "choose a threshold on")):
        if not any(len(data.targets.alignments[d].first) for d in data.documents):
            raise TrainingError(
                f"there is no mention to {what}: {corpus if data is train else 'dev'} has "
                f"{len(data.documents)} documents and {data.n_gold} mentions, none reachable. "
                "Check the reader's options (tag column, format) or pass another corpus."
            )
    return train, held_out


def _draw(
    probes: Sequence[Trainable], recipe: Recipe, activations: Activations, dtype: torch.dtype
) -> Bank:
    """Fresh parameters for every probe, each from its own seed."""
    for probe in probes:
        shapes = {
            role: activations.read([site], [0], dtype=dtype)[0]
            for role, site in probe.sites().items()
        }
        probe.initialise(shapes, recipe, torch.Generator().manual_seed(probe.seed))
    return Bank(probes)


def _train(
    bank: Bank,
    recipe: Recipe,
    train: Data,
    dev: Data,
    dtype: torch.dtype,
    max_steps: int | None,
) -> dict[str, Float[Tensor, "probe *shape"]]:
    """The training loop; the parameters of each member's selected epoch."""
    n_batches = -(-len(train.documents) // recipe.batch_documents)
    optimiser = _Optimiser(bank, recipe, total_steps=n_batches * recipe.epochs)
    selection = _Selection(bank, recipe)
    order = torch.Generator().manual_seed(ORDER_SEED)
    steps = 0
    total = len(train.documents) * recipe.epochs
    with progress(f"training {len(bank)} probes", total=total, unit="documents") as advance:
        for _ in range(recipe.epochs):
            shuffled = torch.randperm(len(train.documents), generator=order).tolist()
            for start in range(0, len(shuffled), recipe.batch_documents):
                picked = shuffled[start : start + recipe.batch_documents]
                documents = [train.documents[i] for i in picked]
                optimiser.step(_losses(bank, recipe, train, documents, dtype))
                advance(len(documents))
                steps += 1
                if steps == max_steps:
                    return bank.parameters
            if recipe.select_epoch and selection.update(_dev_f1(bank, dev)):
                break
    return selection.best if recipe.select_epoch else bank.parameters


def _dev_f1(bank: Bank, dev: Data) -> Float[np.ndarray, " probe"]:
    """F1 at the best threshold, on at most `SELECTION_TOKENS` tokens of dev."""
    sample = dev.sample(SELECTION_TOKENS)
    return score_histogram(bank, sample).best_threshold(sample.n_gold)[1]


def _losses(
    bank: Bank, recipe: Recipe, data: Data, documents: Sequence[int], dtype: torch.dtype
) -> Float[Tensor, " probe"]:
    spans = data.targets.spans(documents)
    logits = bank.logits(bank.read(data.activations, documents, dtype), spans.is_last)
    return balanced_bce(logits, spans.gold, spans.valid, positive_weight=recipe.positive_weight)


class _Optimiser:
    """AdamW on stacked parameters, with clipping and plateau kept apart for each probe."""

    def __init__(self, bank: Bank, recipe: Recipe, *, total_steps: int) -> None:
        self._parameters = list(bank.parameters.values())
        self._clip = recipe.gradient_clip
        self._adamw = torch.optim.AdamW(
            self._parameters,
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self._plateau = _Plateau(len(bank), recipe) if recipe.schedule == "plateau" else None
        self._schedule = (
            torch.optim.lr_scheduler.OneCycleLR(
                self._adamw, recipe.learning_rate, total_steps, cycle_momentum=False
            )
            if recipe.schedule == "one_cycle"
            else None
        )

    def step(self, losses: Float[Tensor, " probe"]) -> None:
        """One update; the members' losses share no parameter, so their sum keeps them apart."""
        self._adamw.zero_grad()
        losses.sum().backward()
        self._clip_each()
        if self._plateau is None:
            self._adamw.step()
        else:
            self._plateau.step(self._adamw, self._parameters, losses.detach())
        if self._schedule is not None:
            self._schedule.step()

    def _clip_each(self) -> None:
        """Scale each probe's gradient to a norm of at most `gradient_clip`."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norms = torch.stack([g.reshape(len(g), -1).norm(dim=1) for g in gradients])
        factor = (self._clip / norms.norm(dim=0).clamp(min=1e-12)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class _Plateau:
    """Halves a probe's learning rate when its training loss has stopped falling.

    AdamW's update is proportional to the rate, weight decay included, so a smaller rate for one
    probe is a shorter way from where it stood.
    """

    def __init__(self, n_probes: int, recipe: Recipe) -> None:
        self._rate = torch.ones(n_probes)
        self._best = torch.full((n_probes,), torch.inf)
        self._waited = torch.zeros(n_probes)
        self._patience = recipe.plateau_batches

    def step(
        self,
        adamw: torch.optim.AdamW,
        parameters: Sequence[Tensor],
        losses: Float[Tensor, " probe"],
    ) -> None:
        """One AdamW step with each probe's own rate; then look at the losses."""
        before = [p.detach().clone() for p in parameters] if (self._rate < 1).any() else []
        adamw.step()
        with torch.no_grad():
            for old, new in zip(before, parameters, strict=bool(before)):
                rate = self._rate.to(new).view(-1, *[1] * (new.ndim - 1))
                new.copy_(old + rate * (new - old))
        better = losses.float() < self._best * (1 - 1e-4)
        self._best = torch.where(better, losses.float(), self._best)
        self._waited = torch.where(better, 0.0, self._waited + 1)
        due = self._waited > self._patience
        self._rate = torch.where(due, self._rate * 0.5, self._rate)
        self._waited = torch.where(due, 0.0, self._waited)


class _Selection:
    """Each member's best epoch so far, by F1 on dev."""

    def __init__(self, bank: Bank, recipe: Recipe) -> None:
        self._bank = bank
        self._patience = recipe.early_stopping
        self._best_score = np.full(len(bank), -1.0)
        self._waited = np.zeros(len(bank), dtype=int)
        self.best = {name: p.detach().clone() for name, p in bank.parameters.items()}

    def update(self, scores: Float[np.ndarray, " probe"]) -> bool:
        """Note an epoch; whether every member has stopped."""
        running = np.ones(len(scores), dtype=bool)
        if self._patience is not None:
            running = self._waited < self._patience
        better = running & (scores > self._best_score)
        self._best_score[better] = scores[better]
        self._waited = np.where(better, 0, self._waited + 1)
        mask = torch.from_numpy(better)
        for name, parameter in self._bank.parameters.items():
            self.best[name][mask] = parameter.detach()[mask]
        return self._patience is not None and bool((self._waited >= self._patience).all())
