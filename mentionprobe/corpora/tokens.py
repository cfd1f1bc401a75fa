"""From token positions to character positions, for formats that publish tokens only."""

from collections.abc import Iterable, Sequence

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.errors import CorpusError

TokenSpan = tuple[int, int, str | None]
"""First token, token after the last, label."""


def document_from_tokens(
    id: str, tokens: Sequence[str], spans: Iterable[TokenSpan], group: str = ""
) -> Document:
    """A document whose text is the tokens joined by single spaces.

    Raises `CorpusError` where there are no tokens, a token is empty, a span is empty or lies
    outside the tokens, or a span stands twice with the same label.
    """
    if not tokens:
        raise CorpusError("text of zero tokens.")
    if not all(token.strip() for token in tokens):
        raise CorpusError("a token is empty or white space.")
    starts = _token_starts(tokens)
    mentions = tuple(_mention(span, tokens, starts) for span in spans)
    return Document(id=id, text=" ".join(tokens), mentions=mentions, group=group)


def _token_starts(tokens: Sequence[str]) -> list[int]:
    starts = [0]
    for token in tokens[:-1]:
        starts.append(starts[-1] + len(token) + 1)
    return starts


def _mention(span: TokenSpan, tokens: Sequence[str], starts: Sequence[int]) -> Mention:
    start, end, label = span
    if not 0 <= start < end <= len(tokens):
        raise CorpusError(
            f"tokens [{start}, {end}) are no span of {len(tokens)} tokens; "
            "`start` must be smaller than `end`, which is exclusive."
        )
    return Mention(starts[start], starts[end - 1] + len(tokens[end - 1]), label)
