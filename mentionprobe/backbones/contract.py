"""What a hooked model really gives: one short sentence run at load, every hook looked at.

TransformerLens gives the same hook names to many models, but not the same tensors: some Bridges
register rotary hooks that never fire, some return the softmaxed pattern under the name of the
scores, some fire no attention hook at all. Probes must not find that out from a bad result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from mentionprobe.errors import BackboneError, SiteError

CHECK_SENTENCE = "Marie Curie was born in Warsaw, and later she moved to Paris to study physics."

HOOKS = ("hook_q", "hook_k", "hook_rot_q", "hook_rot_k", "hook_attn_scores", "hook_pattern")

ScoreSource = Literal["hook", "rebuilt"]
Capture = Callable[[list[str]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class LayerContract:
    """What one block's attention gives.

    `query_key` maps "is rotary applied?" to the names of the hooks that hold queries and keys.
    `scores` says where honest pre-softmax scores come from, None if from nowhere. `problems` maps
    what is refused to the reason.
    """

    query_key: Mapping[bool, tuple[str, str]]
    scores: ScoreSource | None
    pattern: bool
    scale: float
    soft_cap: float
    problems: Mapping[str, str]


@dataclass(frozen=True)
class Contract:
    """What a backbone gives, layer by layer, and how far its residual stream is from HF's.

    `residual`: the hook of each block that holds what the next one reads. `residual_error`: largest
    relative difference between that and Hugging Face's hidden states, None where there is no HF
    model to compare with. `causal`: whether a token ignores those after it.
    """

    layers: tuple[LayerContract, ...]
    residual: str
    residual_error: float | None
    causal: bool

    def residual_hook(self, layer: int) -> str:
        """Name of the hook of the residual stream after block `layer`; -1 is the embedding."""
        return "blocks.0.hook_resid_pre" if layer == -1 else f"blocks.{layer}.{self.residual}"

    def query_key_hooks(self, layer: int, *, rotary: bool) -> tuple[str, str]:
        """Names of the hooks of queries and keys; raises `SiteError` naming the reason."""
        found = self.layers[layer].query_key.get(rotary)
        if found is None:
            when = "after" if rotary else "before"
            self._refuse(layer, f"queries and keys {when} rotary", "query_key")
        return found  # type: ignore[return-value]

    def score_source(self, layer: int) -> ScoreSource:
        """Whether scores are read from their hook or rebuilt from q and k; raises `SiteError`."""
        source = self.layers[layer].scores
        if source is None:
            self._refuse(layer, "attention scores before softmax", "scores")
        return source  # type: ignore[return-value]

    def require_pattern(self, layer: int) -> None:
        """Raises `SiteError` if the layer gives no attention pattern whose rows sum to one."""
        if not self.layers[layer].pattern:
            self._refuse(layer, "the attention pattern", "pattern")

    def _refuse(self, layer: int, what: str, problem: str) -> None:
        reason = self.layers[layer].problems.get(problem, "the hooks do not exist")
        raise SiteError(f"layer {layer} of this backbone does not give {what}: {reason}.")

    def summary(self) -> str:
        """One line for the log."""
        sources = sorted({layer.scores or "refused" for layer in self.layers})
        error = "no HF model" if self.residual_error is None else f"{self.residual_error:.1e}"
        kind = "causal" if self.causal else "bidirectional"
        return f"{kind}, residual vs HF: {error}, attention scores: {'/'.join(sources)}"


def check_ids(tokenizer: PreTrainedTokenizerBase) -> Int[Tensor, "batch pos"]:
    """What the check runs: its sentence, and the first token of it over and over."""
    ids = tokenizer(CHECK_SENTENCE, add_special_tokens=False)["input_ids"]
    return torch.tensor([ids, ids[:1] * len(ids)])


def check_contract(
    capture: Capture,
    hook_names: set[str],
    *,
    n_layers: int,
    hidden_states: tuple[Float[Tensor, "batch pos d_model"], ...] | None,
    soft_cap: float,
    scales: tuple[float, ...],
    tolerance: float,
) -> Contract:
    """Run the check and say what holds.

    `capture` runs the model on `check_ids` and returns the hooks that fired. Raises `BackboneError`
    if the residual stream is missing, breaks off between two blocks or is not Hugging Face's.
    """
    residual = _residual_hook(hook_names)
    attention = [f"blocks.{layer}.attn.{hook}" for layer in range(n_layers) for hook in HOOKS]
    needed = [*_blocks(n_layers, "hook_resid_pre"), *_blocks(n_layers, residual)]
    missing = [name for name in needed if name not in hook_names]
    if missing:
        raise BackboneError(f"the model has no hook {missing[0]}; it cannot serve as a backbone.")
    fired = capture([*needed, *(name for name in attention if name in hook_names)])
    silent = [name for name in needed if name not in fired]
    if silent:
        raise BackboneError(f"hook {silent[0]} exists but never fires on this model.")
    error = _check_residual(fired, n_layers, residual, hidden_states, tolerance)
    layers = [_check_layer(fired, layer, soft_cap, scales, tolerance) for layer in range(n_layers)]
    causal = _is_causal(fired[needed[-1]], tolerance)
    return Contract(tuple(layers), residual, error, causal)


def _blocks(n_layers: int, hook: str) -> list[str]:
    return [f"blocks.{layer}.{hook}" for layer in range(n_layers)]


def _residual_hook(hook_names: set[str]) -> str:
    """What a block hands on: `hook_resid_post`, unless (HookedEncoder) a norm follows it."""
    normalized = "hook_normalized_resid_post"
    return normalized if f"blocks.0.{normalized}" in hook_names else "hook_resid_post"


def _check_residual(
    fired: Mapping[str, Tensor],
    n_layers: int,
    residual: str,
    hidden_states: tuple[Float[Tensor, "batch pos d_model"], ...] | None,
    tolerance: float,
) -> float | None:
    """Largest relative difference to HF; the last state is left out, a final norm may follow it."""
    entering = [fired[name] for name in _blocks(n_layers, "hook_resid_pre")]
    stream = [entering[0], *(fired[name] for name in _blocks(n_layers, residual))]
    if not all(state.isfinite().all() for state in stream):
        raise BackboneError(
            f"the residual stream overflows in {stream[0].dtype}; load the model with "
            "dtype='bfloat16' or 'float32'."
        )
    if _difference(stream[:-1], entering) > tolerance:
        raise BackboneError(f"{residual} of a block is not what the next block reads.")
    if hidden_states is None:
        return None
    if len(hidden_states) != len(stream):
        raise BackboneError(
            f"the model has {n_layers} hooked blocks, Hugging Face's {len(hidden_states) - 1}."
        )
    error = _difference(stream[:-1], hidden_states[:-1])
    if error > tolerance:
        raise BackboneError(
            f"{residual} differs from Hugging Face's hidden states by {error:.1e} "
            f"(tolerance {tolerance:.0e}); probes would read something else than they claim."
        )
    return error


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest relative difference between two runs of states."""
    return max(_relative(*pair) for pair in zip(found, expected, strict=True))


def _relative(found: Tensor, expected: Tensor) -> float:
    expected = expected.to(found.device, torch.float32)
    return float((found.float() - expected).norm() / expected.norm().clamp(min=1e-12))


def _is_causal(last: Float[Tensor, "batch pos d_model"], tolerance: float) -> bool:
    """Whether the first token stays the same when all tokens after it change.

    Asked of the model and not of its config: `cfg.attention_dir` is "causal" on some encoders.
    """
    return _relative(last[1, 0], last[0, 0]) <= tolerance


def _check_layer(
    fired: Mapping[str, Tensor],
    layer: int,
    soft_cap: float,
    scales: tuple[float, ...],
    tolerance: float,
) -> LayerContract:
    raw = {hook: fired.get(f"blocks.{layer}.attn.{hook}") for hook in HOOKS}
    problems: dict[str, str] = {}
    pattern = _honest_pattern(raw["hook_pattern"], problems)
    query_key: dict[bool, tuple[str, str]] = {}
    if raw["hook_q"] is not None and raw["hook_k"] is not None:
        query_key[False] = ("hook_q", "hook_k")
    scale = _find_query_key(raw, pattern, query_key, soft_cap, scales, tolerance, problems)
    return LayerContract(
        query_key=query_key,
        scores=_find_scores(raw, pattern, scale, tolerance, problems),
        pattern=pattern is not None,
        scale=scale or 0.0,
        soft_cap=soft_cap,
        problems=problems,
    )


def _honest_pattern(pattern: Tensor | None, problems: dict[str, str]) -> Tensor | None:
    """The pattern, if its rows sum to one."""
    if pattern is None:
        problems["pattern"] = "hook_pattern does not fire"
        return None
    error = float((pattern.float().sum(-1) - 1).abs().max())
    if error > 1e-2:
        problems["pattern"] = f"rows of hook_pattern sum to one only within {error:.1e}"
        return None
    return pattern.float()


def _find_query_key(
    raw: Mapping[str, Tensor | None],
    pattern: Tensor | None,
    query_key: dict[bool, tuple[str, str]],
    soft_cap: float,
    scales: tuple[float, ...],
    tolerance: float,
    problems: dict[str, str],
) -> float | None:
    """Which hooks hold the q and k that attention multiplies; the scale, if they rebuild it."""
    rotated = raw["hook_rot_q"] is not None and raw["hook_rot_k"] is not None
    names = ("hook_rot_q", "hook_rot_k") if rotated else ("hook_q", "hook_k")
    query, key = raw[names[0]], raw[names[1]]
    if query is None or key is None:
        problems["query_key"] = "neither rotary nor plain query and key hooks fire"
        return None
    if query.ndim != 4 or key.ndim != 4 or query.shape[2] % key.shape[2]:
        shapes = f"{tuple(query.shape)} and {tuple(key.shape)}"
        problems["query_key"] = f"queries and keys have shapes {shapes}, not [batch pos head d]"
        query_key.clear()
        return None
    if pattern is None:
        problems["query_key"] = "without a pattern they cannot be verified"
        return None
    for scale in scales:
        rebuilt = _softmax_like(rebuild_scores(query, key, scale, soft_cap), pattern)
        if (rebuilt - pattern).abs().max() <= tolerance:
            query_key[True] = names
            return scale
    silent = "" if rotated else "hook_rot_q and hook_rot_k never fire, and "
    problems["query_key"] = (
        f"{silent}{names[0]} and {names[1]} do not rebuild the pattern, so they are not what "
        "attention multiplies"
    )
    return None


def rebuild_scores(
    query: Float[Tensor, "batch pos head d_head"],
    key: Float[Tensor, "batch pos key_head d_head"],
    scale: float,
    soft_cap: float,
) -> Float[Tensor, "batch head pos pos"]:
    """Scaled scores before softmax and mask; query head h reads key head h // heads a key head."""
    grouped = query.float().unflatten(2, (key.shape[2], -1))
    scores = torch.einsum("bqkgd,bskd->bkgqs", grouped, key.float()).flatten(1, 2) * scale
    return soft_cap * torch.tanh(scores / soft_cap) if soft_cap > 0 else scores


def _softmax_like(scores: Tensor, pattern: Tensor) -> Tensor:
    """Softmax over the keys the pattern attends to (its zeros are the model's own mask)."""
    return scores.masked_fill(pattern == 0, -torch.inf).softmax(-1)


def _find_scores(
    raw: Mapping[str, Tensor | None],
    pattern: Tensor | None,
    scale: float | None,
    tolerance: float,
    problems: dict[str, str],
) -> ScoreSource | None:
    """Scores are honest if their softmax is the pattern; else they are rebuilt, else refused."""
    scores = raw["hook_attn_scores"]
    if pattern is None:
        problems["scores"] = f"no honest pattern to check them against ({problems['pattern']})"
        return None
    if scores is not None and (scores.float().softmax(-1) - pattern).abs().max() <= tolerance:
        return "hook"
    if scale is not None:
        return "rebuilt"
    problems["scores"] = (
        "softmax of hook_attn_scores is not hook_pattern, and they cannot be rebuilt: "
        + problems["query_key"]
    )
    return None
