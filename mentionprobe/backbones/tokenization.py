"""Characters to tokens and back.

A token covers the characters of its offsets, outer white space stripped. A token span covers the
characters from its first token's start to its last token's end. Token spans and character spans
correspond one to one once the tokens that cannot begin or end a span are left out: a token that is
nothing but white space, and all but the outermost of several tokens that share one character.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int
from transformers import PreTrainedTokenizerBase

from mentionprobe.corpora import Document
from mentionprobe.errors import BackboneError, CorpusError

DEFAULT_MAX_SPAN = 25
"""Tokens in the longest candidate span (section 2.1)."""


@dataclass(frozen=True)
class TokenizedDocument:
    """The tokens of one text, special tokens left out.

    `ids`: vocabulary ids. `starts`, `ends`: the characters each token covers, half-open, stripped.
    `can_start`, `can_end`: whether a span may begin or end at the token. `truncated`: whether the
    text goes on past the last token.
    """

    id: str
    group: str
    ids: Int[np.ndarray, " pos"]
    starts: Int[np.ndarray, " pos"]
    ends: Int[np.ndarray, " pos"]
    can_start: Bool[np.ndarray, " pos"]
    can_end: Bool[np.ndarray, " pos"]
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def character_span(self, first: int, last: int) -> tuple[int, int]:
        """Characters, half-open, of the token span from `first` to `last`, both inclusive."""
        return int(self.starts[first]), int(self.ends[last])


@dataclass(frozen=True)
class Alignment:
    """The gold mentions of one document as token spans.

    `first`, `last`: first and last token of each mention a candidate span can reach, inclusive.
    `unreachable`: how many it cannot, by reason: "cut by a token", "longer than max_span",
    "past the context".
    """

    first: Int[np.ndarray, " mention"]
    last: Int[np.ndarray, " mention"]
    unreachable: Counter[str] = field(default_factory=Counter)

    @property
    def n_unreachable(self) -> int:
        """Mentions that no candidate span can reach."""
        return self.unreachable.total()

    @property
    def n_gold(self) -> int:
        """All distinct gold mentions, reachable or not: the denominator of recall."""
        return len(self.first) + self.n_unreachable


def require_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises `BackboneError` for a tokenizer that does not say which characters a token covers."""
    if not tokenizer.is_fast:
        raise BackboneError(
            f"{type(tokenizer).__name__} gives no character offsets, so mentions cannot be mapped "
            "to tokens. Load a fast tokenizer (one with a tokenizer.json)."
        )


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    documents: Iterable[Document],
    *,
    max_tokens: int | None = None,
) -> list[TokenizedDocument]:
    """Tokenize texts without special tokens, keeping at most `max_tokens` of each if given.

    A special token spelled out in a text ("</s>") is read as the characters it is made of, except
    by Unigram models, which hold it as a piece.
    Raises `BackboneError` for a tokenizer without offsets, `CorpusError` for a text of no tokens.
    """
    require_offsets(tokenizer)
    documents = list(documents)
    if not documents:
        return []
    encoded = tokenizer(
        [document.text for document in documents],
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        verbose=False,
    )
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    return [_tokenized(*row, max_tokens) for row in zip(documents, ids, offsets, strict=True)]


def _tokenized(
    document: Document,
    ids: list[int],
    offsets: list[tuple[int, int]],
    max_tokens: int | None,
) -> TokenizedDocument:
    if not ids:
        raise CorpusError(
            f"document {document.id!r}: its text {document.text[:40]!r} has no tokens. Remove it."
        )
    starts, ends = _stripped(document.text, offsets)
    can_start, can_end = _boundaries(starts, ends)
    kept = slice(max_tokens)
    return TokenizedDocument(
        id=document.id,
        group=document.group,
        ids=np.asarray(ids[kept], dtype=np.int64),
        starts=starts[kept],
        ends=ends[kept],
        can_start=can_start[kept],
        can_end=can_end[kept],
        truncated=max_tokens is not None and len(ids) > max_tokens,
    )


def _stripped(
    text: str, offsets: Sequence[tuple[int, int]]
) -> tuple[Int[np.ndarray, " pos"], Int[np.ndarray, " pos"]]:
    """Token offsets with outer white space removed (byte-level BPE counts the leading space)."""
    starts, ends = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).T.copy()
    for i, (start, end) in enumerate(offsets):
        surface = text[start:end]
        starts[i] += len(surface) - len(surface.lstrip())
        ends[i] = max(starts[i], end - (len(surface) - len(surface.rstrip())))
    return starts, ends


def _boundaries(
    starts: Int[np.ndarray, " pos"], ends: Int[np.ndarray, " pos"]
) -> tuple[Bool[np.ndarray, " pos"], Bool[np.ndarray, " pos"]]:
    """Which tokens can begin a span, and which can end one."""
    visible = ends > starts
    covered_before = np.maximum.accumulate(np.concatenate([[0], np.where(visible, ends, 0)[:-1]]))
    beyond = np.iinfo(np.int64).max
    later = np.concatenate([np.where(visible, starts, beyond)[1:], [beyond]])
    covered_after = np.minimum.accumulate(later[::-1])[::-1]
    return visible & (starts >= covered_before), visible & (ends <= covered_after)


def align(
    tokens: TokenizedDocument,
    spans: Iterable[tuple[int, int]],
    *,
    max_span: int = DEFAULT_MAX_SPAN,
) -> Alignment:
    """Map character spans to token spans of at most `max_span` tokens.

    `spans` are half-open, distinct, without outer white space (`Document.gold_spans`).
    """
    first_at = {int(tokens.starts[i]): i for i in np.flatnonzero(tokens.can_start).tolist()}
    last_at = {int(tokens.ends[i]): i for i in np.flatnonzero(tokens.can_end).tolist()}
    stop = max(last_at, default=0)
    reached: list[tuple[int, int]] = []
    unreachable: Counter[str] = Counter()
    for start, end in sorted(spans):
        first, last = first_at.get(start), last_at.get(end)
        if tokens.truncated and end > stop:
            unreachable["past the context"] += 1
        elif first is None or last is None:
            unreachable["cut by a token"] += 1
        elif last - first >= max_span:
            unreachable["longer than max_span"] += 1
        else:
            reached.append((first, last))
    first, last = np.asarray(reached, dtype=np.int64).reshape(-1, 2).T
    return Alignment(first, last, unreachable)


def alignment_report(alignments: Iterable[Alignment]) -> str:
    """One sentence: how many gold mentions no token span can reach, and why."""
    alignments = list(alignments)
    reasons = sum((a.unreachable for a in alignments), Counter())
    n_gold = sum(a.n_gold for a in alignments)
    if not reasons:
        return f"all {n_gold} gold mentions are reachable"
    why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total()} of {n_gold} gold mentions are unreachable: {why}"
