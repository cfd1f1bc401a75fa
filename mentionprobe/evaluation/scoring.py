"""Exact-match counts and the ratios made of them."""

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor


def ratio(
    part: Num[np.ndarray, "*cells"], whole: Num[np.ndarray, "*cells"]
) -> Float[np.ndarray, "*cells"]:
    """part / whole, and 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole != 0)


def precision_recall_f1(
    tp: Num[np.ndarray, "*cells"], fp: Num[np.ndarray, "*cells"], fn: Num[np.ndarray, "*cells"]
) -> tuple[Float[np.ndarray, "*cells"], Float[np.ndarray, "*cells"], Float[np.ndarray, "*cells"]]:
    """Precision tp/(tp+fp), recall tp/(tp+fn) and F1 = 2tp/(2tp+fp+fn), cell by cell.

    A ratio whose denominator is 0 is given as 0: precision without predictions, recall without
    gold mentions, F1 without either.
    """
    return ratio(tp, tp + fp), ratio(tp, tp + fn), ratio(2 * tp, 2 * tp + fp + fn)


def document_counts(
    predicted: Bool[Tensor, "system pos offset"],
    gold: Bool[Tensor, "pos offset"],
    document_of_token: Int[Tensor, "pos"],
    n_documents: int,
) -> tuple[Int[np.ndarray, "system document"], Int[np.ndarray, "system document"]]:
    """True and false positives of each system in each document, exact span match.

    `document_of_token` holds indices from 0 to n_documents - 1. False negatives are what is left
    of a document's gold mentions, unreachable ones among them: fn = n_gold_per_document - tp.
    """
    system, pos, offset = predicted.nonzero(as_tuple=True)
    cell = system * n_documents + document_of_token[pos]
    found = gold[pos, offset]
    tp, n_predicted = (
        cells.bincount(minlength=len(predicted) * n_documents).view(-1, n_documents).cpu().numpy()
        for cells in (cell[found], cell)
    )
    return tp, n_predicted - tp
