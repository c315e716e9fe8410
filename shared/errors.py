"""What can go wrong with a request, in words that every dialect can say its own way.

    OcrError
    ├── InvalidRequest         what was sent cannot be understood or is out of range
    │   ├── ImageTooLarge      too many bytes or pixels
    │   ├── UnsupportedImage   not an image, or one that cannot be read to its end
    │   └── UnknownModel       no model of that name
    ├── NotAllowed             no API key, or one that is not known here
    ├── NoSuchRoute            nothing answers at that path
    ├── WrongMethod            the path answers to other methods
    ├── ModelNotLoaded         known, but not in memory (or not yet)
    ├── Busy                   no room now; `retry_after_s` says when to come back
    │   └── RateLimited        there may be room, but not for one who asks that often
    ├── TimedOut               a deadline passed
    ├── Cancelled              the client went away
    └── EngineFailed           the engine broke; the reason is for the log

`str(error)` is public: it goes to the client. `error.detail` is for the log alone.
"""

from __future__ import annotations


class OcrError(Exception):
    """The root: a public message and a private detail."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class InvalidRequest(OcrError):
    """What was sent cannot be understood or is out of range."""


class ImageTooLarge(InvalidRequest):
    """The page has too many bytes or pixels."""


class UnsupportedImage(InvalidRequest):
    """The page is not an image, or one that cannot be read to its end."""


class UnknownModel(InvalidRequest):
    """No model of that name is served here."""


class NotAllowed(OcrError):
    """The request brings no API key, or one that is not known here."""


class NoSuchRoute(OcrError):
    """Nothing answers at that path."""


class WrongMethod(OcrError):
    """The path answers to other methods; `allow` names them."""

    def __init__(self, message: str, *, allow: str = "", detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.allow = allow


class ModelNotLoaded(OcrError):
    """The model is known, but not in memory, or not yet."""


class Busy(OcrError):
    """No room for the request now."""

    def __init__(self, message: str, *, retry_after_s: int | None = None, detail: str = "") -> None:
        super().__init__(message, detail=detail)
        self.retry_after_s = retry_after_s


class RateLimited(Busy):
    """The caller has asked more often than it may."""


class TimedOut(OcrError):
    """A deadline passed before the answer was there."""


class Cancelled(OcrError):
    """The client went away; nobody reads the answer."""


class EngineFailed(OcrError):
    """The engine broke down over this request."""
