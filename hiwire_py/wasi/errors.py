"""How operations on files and streams fail. The codes are the labels of `error-code` in WASI 0.2, of which
each is an errno of POSIX; preview 1 has the same by numbers."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FileError", "StreamClosed", "told"]

_LABELS = {
    "EACCES": "access", "EAGAIN": "would-block", "EWOULDBLOCK": "would-block", "EALREADY": "already",
    "EBADF": "bad-descriptor", "EBUSY": "busy", "EDEADLK": "deadlock", "EDQUOT": "quota", "EEXIST": "exist",
    "EFBIG": "file-too-large", "EILSEQ": "illegal-byte-sequence", "EINPROGRESS": "in-progress",
    "EINTR": "interrupted", "EINVAL": "invalid", "EIO": "io", "EISDIR": "is-directory", "ELOOP": "loop",
    "EMLINK": "too-many-links", "EMSGSIZE": "message-size", "ENAMETOOLONG": "name-too-long",
    "ENODEV": "no-device", "ENOENT": "no-entry", "ENOLCK": "no-lock", "ENOMEM": "insufficient-memory",
    "ENOSPC": "insufficient-space", "ENOTDIR": "not-directory", "ENOTEMPTY": "not-empty",
    "ENOTRECOVERABLE": "not-recoverable", "ENOTSUP": "unsupported", "EOPNOTSUPP": "unsupported",
    "ENOSYS": "unsupported", "ENOTTY": "no-tty", "ENXIO": "no-such-device", "EOVERFLOW": "overflow",
    "EPERM": "not-permitted", "EPIPE": "pipe", "EROFS": "read-only", "ESPIPE": "invalid-seek",
    "ETXTBSY": "text-file-busy", "EXDEV": "cross-device",
    # WASI has no codes for these: the nearest.
    "EMFILE": "quota", "ENFILE": "quota",
}  # fmt: skip
_BY_NUMBER = {getattr(errno, name): label for name, label in _LABELS.items() if hasattr(errno, name)}


class FileError(Exception):
    """An operation that failed; ``code`` is the label of an `error-code` in WASI 0.2."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class StreamClosed(Exception):
    """A stream that has come to its end."""


@contextmanager
def told() -> Iterator[None]:
    """What the system refuses within becomes a `FileError`."""
    try:
        yield
    except OSError as error:
        raise FileError(_BY_NUMBER.get(error.errno or 0, "io")) from error
    except OverflowError as error:  # an offset, a size or a time that the system has no number for
        raise FileError("overflow") from error
    except ValueError as error:  # a zero byte in a name, a file object that is closed
        raise FileError("invalid") from error
