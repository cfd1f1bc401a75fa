"""From span scores to decoded spans, exact-match scores, curves and intervals."""

from mentionprobe.evaluation.decoding import greedy_decode, threshold_decode
from mentionprobe.evaluation.histogram import ScoreHistogram
from mentionprobe.evaluation.intervals import bootstrap_f1, sum_by_group
from mentionprobe.evaluation.scoring import document_counts, precision_recall_f1
from mentionprobe.evaluation.summary import Score, score_systems

__all__ = [
    "Score",
    "ScoreHistogram",
    "bootstrap_f1",
    "document_counts",
    "greedy_decode",
    "precision_recall_f1",
    "score_systems",
    "sum_by_group",
    "threshold_decode",
]
