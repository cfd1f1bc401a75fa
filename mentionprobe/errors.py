"""Exceptions a caller can act on; each message says what was wrong, and what to do."""


class MentionprobeError(Exception):
    """Base of every error this library raises on purpose."""


class UnknownNameError(MentionprobeError):
    """A catalogue name, split, format or recipe that does not exist; near misses are listed."""


class CorpusError(MentionprobeError):
    """A corpus file or document that cannot be read as what it claims to be."""


class BackboneError(MentionprobeError):
    """A model that cannot be fetched, loaded or hooked."""


class SiteError(MentionprobeError):
    """A site that this backbone does not have, or cannot give honestly."""


class StoreError(MentionprobeError):
    """An activation store that cannot be written or does not belong to what it is used with."""


class FingerprintError(MentionprobeError):
    """Two artefacts of different origin were put together; the message names the difference."""


class TrainingError(MentionprobeError):
    """A probe that cannot be trained on what it was given."""


class ConfigError(MentionprobeError):
    """An experiment whose settings are not valid; the message names the key and the line."""
