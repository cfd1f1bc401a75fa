import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from mentionprobe.evaluation import document_counts, precision_recall_f1


def test_ratios_are_those_of_scikit_learn():
    predicted, gold = np.random.default_rng(0).random((2, 100)) < 0.4
    tp, fp, fn = (predicted & gold).sum(), (predicted & ~gold).sum(), (~predicted & gold).sum()
    measured = precision_recall_f1(*(np.array([count]) for count in (tp, fp, fn)))
    expected = precision_recall_fscore_support(gold, predicted, average="binary")[:3]
    np.testing.assert_allclose(np.concatenate(measured), expected)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "expected"),
    [(0, 0, 0, (0, 0, 0)), (0, 0, 3, (0, 0, 0)), (0, 2, 0, (0, 0, 0)), (2, 0, 0, (1, 1, 1))],
)
def test_undefined_ratios_are_zero(tp, fp, fn, expected):
    ratios = precision_recall_f1(np.array([[tp]]), np.array([[fp]]), np.array([[fn]]))
    assert tuple(ratio.item() for ratio in ratios) == expected


def test_document_counts_are_those_of_sets_of_spans():
    generator = torch.Generator().manual_seed(0)
    n_documents, n_tokens, window = 6, 40, 4
    # Document 3 has no tokens: an empty text is a document still.
    document = torch.tensor([0, 1, 2, 4, 5]).repeat_interleave(8)
    predicted = torch.rand(2, n_tokens, window, generator=generator) < 0.3
    gold = torch.rand(n_tokens, window, generator=generator) < 0.3

    def spans(mask, of_document):
        return {(j - o, j) for j, o in mask.nonzero().tolist() if document[j] == of_document}

    tp, fp = document_counts(predicted, gold, document, n_documents)
    for system in range(2):
        for d in range(n_documents):
            found, true = spans(predicted[system], d), spans(gold, d)
            assert (tp[system, d], fp[system, d]) == (len(found & true), len(found - true))


def test_document_counts_without_predictions():
    tp, fp = document_counts(
        torch.zeros(2, 5, 3, dtype=torch.bool),
        torch.ones(5, 3, dtype=torch.bool),
        torch.zeros(5, dtype=torch.int64),
        n_documents=2,
    )
    assert tp.tolist() == fp.tolist() == [[0, 0], [0, 0]]
