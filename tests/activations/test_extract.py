"""One pass gives what plain Hugging Face gives text by text, whatever else is asked for."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
import torch
import transformer_lens

from mentionprobe import Backbone, Corpus, attention, extract, load_backbone, query_key, residual
from mentionprobe.errors import CorpusError, SiteError

ALL_KINDS = [
    residual(-1),
    residual(1),
    query_key(0),
    attention((0, 2)),
    attention(1, kind="pattern"),
]


def text_rows(backbone: Backbone, n_tokens: int) -> slice:
    return slice(len(backbone.prefix), len(backbone.prefix) + n_tokens)


def test_every_residual_stream_is_that_of_hugging_face(backbone, texts, hugging_face, assert_close):
    layers = [-1, 0, 1, 2]
    activations = extract(backbone, texts, [residual(layer) for layer in layers])
    for i, document in enumerate(activations.documents):
        rows = text_rows(backbone, len(document))
        expected = hugging_face(backbone, document.ids).hidden[:, rows]
        for layer in layers:
            assert_close(activations.read([residual(layer)], [i])[0], expected[layer + 1])


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_real_models_give_the_residual_streams_of_hugging_face(
    name, request, texts, hugging_face, assert_close
):
    backbone = request.getfixturevalue(name)
    four = replace(texts, documents=texts.documents[:4])
    activations = extract(backbone, four, [residual(-1), residual(4)])
    for i, document in enumerate(activations.documents):
        rows = text_rows(backbone, len(document))
        expected = hugging_face(backbone, document.ids).hidden[:, rows]
        assert_close(activations.read([residual(-1)], [i])[0], expected[0])
        assert_close(activations.read([residual(4)], [i])[0], expected[5])


@pytest.mark.parametrize("site", ALL_KINDS, ids=lambda site: site.key)
def test_a_document_gives_the_same_in_any_company(backbone, texts, site, assert_close):
    together = extract(backbone, texts, [site])
    backwards = extract(backbone, replace(texts, documents=texts.documents[::-1]), [site])
    one_by_one = extract(backbone, texts, [site], batch_tokens=1)
    last = len(texts) - 1
    for i, document in enumerate(texts):
        alone = extract(backbone, replace(texts, documents=(document,)), [site]).read([site], [0])
        assert_close(together.read([site], [i]), alone)
        assert_close(backwards.read([site], [last - i]), alone)
        assert_close(one_by_one.read([site], [i]), alone)


def test_batches_hold_no_more_tokens_than_allowed(decoder, texts, passes):
    extract(decoder, texts, [residual(0)], batch_tokens=100)
    lengths = sorted((len(d) for d in decoder.tokenize(texts.documents)), reverse=True)
    n_windows = [p.n_windows for p in passes]
    assert sum(n_windows) == len(texts)
    assert n_windows[0] == 100 // lengths[0]


def test_sites_asked_for_together_or_one_by_one_are_the_same(backbone, texts):
    everything = range(len(texts))
    together = extract(backbone, texts, ALL_KINDS)
    for site in ALL_KINDS:
        alone = extract(backbone, texts, [site])
        assert torch.equal(together.read([site], everything), alone.read([site], everything))


def test_all_sites_come_from_one_pass(decoder, texts, passes):
    extract(decoder, texts, ALL_KINDS, batch_tokens=10_000)
    assert len(passes) == 1


def test_a_site_asked_for_twice_is_extracted_once(decoder, texts):
    assert extract(decoder, texts, [residual(0), residual(0)]).sites == (residual(0),)


def test_the_pass_ends_behind_the_highest_block_asked_for(minilm, texts):
    ran: list[str] = []
    watched = {"block 3": minilm.model.blocks[3], "block 4": minilm.model.blocks[4]}
    watched["unembedding"] = minilm.model.unembed
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in watched.items()
    ]
    minilm.model(torch.tensor([[101, 102]]))
    assert ran == ["block 3", "block 4", "unembedding"]  # the hooks do see a whole pass
    ran.clear()
    extract(minilm, texts, [residual(3), residual(0)], batch_tokens=10_000)
    for handle in handles:
        handle.remove()
    assert ran == ["block 3"]


def test_only_what_was_asked_for_is_kept(decoder, texts, tmp_path, passes):
    activations = extract(decoder, texts, [residual(1)], store=tmp_path)
    assert activations.sites == (residual(1),)
    assert [p.hooks for p in passes] == [("blocks.1.hook_resid_post",)]
    assert {path.parent.name for path in tmp_path.rglob("*.safetensors")} == {"residual.1"}
    with pytest.raises(SiteError, match=r"residual\.0 was not extracted; .* hold residual\.1"):
        activations.read([residual(0)], [0])


def test_no_site_is_refused(decoder, texts):
    with pytest.raises(SiteError, match="no site was asked for"):
        extract(decoder, texts, [])


def test_a_text_without_tokens_is_refused(decoder, texts):
    empty = replace(texts.documents[0], id="empty", text=" \n", mentions=())
    with pytest.raises(CorpusError, match="'empty'"):
        extract(decoder, Corpus("c", None, (*texts, empty)), [residual(0)])


@pytest.mark.skipif(
    version("transformer-lens") >= "4", reason="TransformerLens 4 has no HookedTransformer"
)
def test_a_hooked_transformer_of_our_own_is_read_the_same_way(decoder, texts, assert_close):
    library: Any = transformer_lens
    cfg = library.HookedTransformerConfig(
        n_layers=2, d_model=16, n_heads=4, d_head=4, n_ctx=64, d_vocab=700, act_fn="gelu", seed=0
    )
    model = library.HookedTransformer(cfg, tokenizer=decoder.tokenizer)
    backbone = load_backbone(model)
    activations = extract(backbone, texts, [residual(1)])
    for i, document in enumerate(activations.documents):
        ids = torch.tensor([[*backbone.prefix, *document.ids]])
        _, cache = model.run_with_cache(ids)
        expected = cache["blocks.1.hook_resid_post"][0, text_rows(backbone, len(document))]
        assert_close(activations.read([residual(1)], [i])[0], expected.detach())
