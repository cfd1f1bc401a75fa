"""Fitting, choosing a threshold, scoring: recomputed in characters, document by document."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mentionprobe import Corpus, Document, Mention
from mentionprobe.errors import FingerprintError, TrainingError, UnknownNameError
from mentionprobe.evaluation import precision_recall_f1
from mentionprobe.probes import ToM
from mentionprobe.training import evaluate, fit_bank, get_recipe


@pytest.fixture
def trained(made):
    activations, corpus = made(60, layers=(0,))
    probe = ToM(rank=4, layer=0, max_span=5).fit(activations, corpus, dev=made(20, seed=1))
    return probe, *made(30, seed=2)


def predictions(probe, activations, threshold_logit: float) -> set[tuple[int, int, int]]:
    """(document, start, end) in characters of every span at or above the threshold."""
    found = set()
    for i, document in enumerate(activations.documents):
        logits = probe.span_logits(activations, i)
        for end in range(len(document)):
            for offset in range(min(end + 1, probe.max_span)):
                if logits[end, offset] >= threshold_logit:
                    found.add((i, *document.character_span(end - offset, end)))
    return found


@pytest.mark.parametrize("source", ["dev", "fixed"])
def test_counts_are_those_of_sets_of_character_spans(trained, source):
    probe, activations, corpus = trained
    gold = {(i, *span) for i, document in enumerate(corpus) for span in document.gold_spans}
    predicted = predictions(probe, activations, probe.threshold_logit_ if source == "dev" else 0.0)
    (found,) = [
        e
        for e in evaluate([probe], activations, corpus)
        if e.decoding == "threshold" and e.threshold_source == source
    ]
    score = found.score
    assert (score.tp, score.fp, score.fn) == (
        len(gold & predicted),
        len(predicted - gold),
        len(gold - predicted),
    )
    assert score.tp > 0
    assert score.f1_low <= score.f1 <= score.f1_high


def test_average_precision_is_scikit_learns(trained):
    probe, activations, corpus = trained
    scores, labels = [], []
    for i, document in enumerate(corpus):
        logits = probe.span_logits(activations, i).half().float()
        tokens = activations.documents[i]
        for end in range(len(tokens)):
            for offset in range(min(end + 1, probe.max_span)):
                scores.append(logits[end, offset].item())
                labels.append(tokens.character_span(end - offset, end) in document.gold_spans)
    found = evaluate([probe], activations, corpus)[0].average_precision
    assert found == pytest.approx(average_precision_score(labels, scores))


def test_unreachable_mentions_stay_in_the_denominator_of_recall(trained):
    probe, activations, corpus = trained
    longer = [
        replace(d, mentions=(*d.mentions, Mention(0, len(d.text), "whole")))
        if len(d.text.split()) > probe.max_span
        else d
        for d in corpus
    ]
    more = evaluate([probe], activations, Corpus("longer", None, tuple(longer)))[0]
    before = evaluate([probe], activations, corpus)[0]
    n_added = sum(len(a.mentions) > len(b.mentions) for a, b in zip(longer, corpus, strict=True))
    assert n_added > 0
    assert more.unreachable == n_added
    assert more.score.fn == before.score.fn + n_added
    assert more.score.tp == before.score.tp


def test_the_threshold_is_the_best_one_on_dev(made):
    activations, corpus = made(60)
    dev = made(20, seed=1)
    probe = ToM(rank=4, layer=0, max_span=5).fit(activations, corpus, dev=dev)
    gold = {(i, *span) for i, document in enumerate(dev[1]) for span in document.gold_spans}

    def f1(threshold: float) -> float:
        predicted = predictions(probe, dev[0], threshold)
        tp = np.array([len(gold & predicted)])
        _, _, value = precision_recall_f1(tp, len(predicted) - tp, len(gold) - tp)
        return float(value[0])

    assert probe.dev_f1_ == pytest.approx(f1(probe.threshold_logit_))
    assert all(f1(t) <= probe.dev_f1_ + 1e-12 for t in np.linspace(-6, 6, 60))
    assert 0 < probe.threshold_ < 1


def test_without_dev_a_tenth_of_the_groups_is_held_out(made):
    activations, corpus = made(60)
    probe = ToM(rank=4, layer=0).fit(activations, corpus)
    assert 0 < probe.dev_f1_ <= 1


def test_scores_of_a_document_do_not_depend_on_its_neighbours(trained):
    probe, activations, _ = trained
    alone = probe.span_logits(activations, 5)
    z = activations.read([next(iter(probe.sites().values()))], [4, 5, 6])[0]
    lengths = [len(activations.documents[i]) for i in (4, 5, 6)]
    is_last = torch.zeros(sum(lengths), dtype=torch.bool)
    is_last[np.cumsum(lengths) - 1] = True
    with torch.inference_mode():
        together = probe({"residual": z}, is_last)[lengths[0] : lengths[0] + lengths[1]]
    for end in range(lengths[1]):
        n = min(end + 1, probe.max_span)
        torch.testing.assert_close(together[end, :n], alone[end, :n])


def test_nothing_to_learn_from_is_an_error_that_says_so(made):
    activations, corpus = made(20)
    bare = Corpus("bare", None, tuple(Document(d.id, d.text, (), d.group) for d in corpus))
    with pytest.raises(TrainingError, match=r"no mention to train on.*20 documents and 0 mentions"):
        ToM(layer=0).fit(activations, bare, dev=(activations, corpus))
    with pytest.raises(TrainingError, match="no mention to choose a threshold on"):
        ToM(layer=0).fit(activations, corpus, dev=(activations, bare))


def test_activations_of_other_texts_or_another_backbone_are_refused(made):
    activations, corpus = made(20)
    other, other_corpus = made(20, seed=5)
    with pytest.raises(FingerprintError, match="extract that corpus first"):
        ToM(layer=0).fit(activations, other_corpus)
    probe = ToM(layer=0).fit(activations, corpus)
    other.fingerprint = {**other.fingerprint, "weights": "another"}
    with pytest.raises(FingerprintError, match=r"weights noise.*weights another"):
        evaluate([probe], other, other_corpus)


def test_a_probe_takes_the_only_layer_and_asks_when_there_are_several(made):
    activations, corpus = made(20, layers=(4,))
    assert ToM(rank=3).fit(activations, corpus).layer == 4
    several, corpus = made(20, layers=(2, 4))
    with pytest.raises(TrainingError, match=r"layers \[2, 4\].*ToM\(layer=4\)"):
        ToM(rank=3).fit(several, corpus)


def test_an_unknown_recipe_names_the_near_miss():
    with pytest.raises(UnknownNameError, match="Did you mean 'default'"):
        get_recipe("defalt")


def test_a_bank_of_several_seeds_reads_a_layer_once(made):
    activations, corpus = made(20, layers=(0, 1))
    probes = [ToM(rank=3, layer=layer, seed=s) for s in (0, 1) for layer in (0, 1)]
    fit_bank(probes, activations, corpus)
    found = evaluate(probes, activations, corpus)
    alone = evaluate([probes[3]], activations, corpus)[0]
    assert next(e for e in found if e.probe == 3).score == alone.score
