"""Downloading of files: resumed after an interruption, verified by their SHA-256, moved in place in one step."""

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse  # noqa: TID251  the hash is checked below
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener  # noqa: TID251  the hash is checked below

from filelock import FileLock

from lad.utils.atomic_io import UNFINISHED_SUFFIX
from lad.utils.messages import one_line
from lad.utils.progress import byte_progress_bar, log

SCHEMES = ("https", "http")
MIN_DIGITS = 8  # of a SHA-256, as in the file names of OpenMMLab and torchvision
ATTEMPTS = 3  # connections, before a download that is cut off each time is reported
TIMEOUT = 30  # seconds without a byte
CHUNK = 256 * 1024  # bytes
HTML = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)


class _ConnectionLost(Exception):  # noqa: N818  not an error: the download is resumed
    """The connection ended before the file did."""


class _Redirects(HTTPRedirectHandler):
    """Follow redirects between web addresses, but not from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return the request for the new address; raise HTTPError if its scheme is refused."""
        before, after = _scheme(req.full_url), _scheme(newurl)
        if after not in SCHEMES or (before, after) == ("https", "http"):
            raise HTTPError(newurl, code, f"redirection from {before} to {after} is not allowed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = build_opener(_Redirects)


def download(url: str, path: Path, sha256: str, alternative: str = "") -> None:
    """Download a file and verify its content; an existing file is kept.

    The next call resumes an interrupted download. Of several processes, one downloads and the others wait for it.

    Args:
        url: Address of the file, http or https.
        path: Where to put it; the folder is created.
        sha256: SHA-256 of the content, or its first digits, in hexadecimal.
        alternative: What else the user can do, for error messages, such as "pass the path of a copy".

    Raises:
        ValueError: If the address is not http or https, cannot be reached, or has another content; one line with the
            address and where to put the file by hand.
        OSError: If the file cannot be written; names it.
    """
    if _scheme(url) not in SCHEMES:
        raise ValueError(f"{one_line(url)}: not a web address; only https and http addresses can be downloaded")
    check_digits(sha256)
    remedy = f"fetch it elsewhere and put it at {path}" + (f", or {alternative}" if alternative else "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            if not path.is_file():
                log(f"downloading {one_line(url)} to {path}")
                partial = path.with_name(path.name + UNFINISHED_SUFFIX)
                _download_verified(url, partial, sha256.lower(), remedy)
                os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, f"{path}: cannot be written ({error.strerror or error})") from error


def check_digits(sha256: str) -> None:
    """Raise ValueError unless the text is a SHA-256 in hexadecimal, or its first 8 or more digits."""
    if not re.fullmatch(rf"[0-9a-fA-F]{{{MIN_DIGITS},64}}", sha256):
        raise ValueError(
            f"sha256 = '{one_line(sha256, 80)}' is not a SHA-256; give {MIN_DIGITS} to 64 hexadecimal digits"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_html(beginning: bytes) -> bool:
    """Return whether a file that begins with these bytes is an HTML page."""
    return HTML.match(beginning) is not None


def _download_verified(url: str, partial: Path, sha256: str, remedy: str) -> None:
    """Download to `partial`, or complete it, and check its SHA-256; wrong content is deleted."""
    is_resumed = partial.is_file()
    _fetch_all(url, partial, remedy)
    digest = sha256_of(partial)
    if digest.startswith(sha256):
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        return
    partial.unlink()
    if is_resumed:  # the part from an earlier call may be of another file or damaged
        _download_verified(url, partial, sha256, remedy)
        return
    raise ValueError(
        f"{one_line(url)}: its SHA-256 begins with {digest[: len(sha256)]}, not with {sha256}: it is another file, and "
        f"is deleted; {remedy}"
    )


def _fetch_all(url: str, partial: Path, remedy: str) -> None:
    """Download what is missing in `partial`, in several connections if need be."""
    for attempt in range(ATTEMPTS):
        try:
            _fetch(url, partial, remedy)
            return
        except _ConnectionLost as error:
            if attempt == ATTEMPTS - 1:
                size = partial.stat().st_size if partial.is_file() else 0
                raise ValueError(
                    f"{one_line(url)}: the connection was lost {ATTEMPTS} times ({one_line(str(error))}); run the same "
                    f"command again to resume at {size:,} bytes, or {remedy}"
                ) from None


def _fetch(url: str, partial: Path, remedy: str) -> None:
    """Append the rest of the file to `partial`, or all of it if the server cannot resume."""
    start = partial.stat().st_size if partial.is_file() else 0
    response = _open(url, start, remedy)
    if response is None:
        return
    with response:
        if response.headers.get_content_type() == "text/html":
            raise _html_error(url, remedy)
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            partial.unlink(missing_ok=True)
            raise _ConnectionLost("the server sent another range")
        start = start if response.status == 206 else 0
        total = None if response.length is None else start + response.length
        chunks = _chunks(response)
        first = next(chunks, b"")
        if not start and is_html(first):
            raise _html_error(url, remedy)
        with partial.open("ab" if start else "wb") as file, byte_progress_bar(partial.stem, total, start) as bar:
            for chunk in itertools.chain([first], chunks):
                file.write(chunk)
                bar.update(len(chunk))
    size = partial.stat().st_size
    if total is not None and size != total:
        raise _ConnectionLost(f"after {size:,} of {total:,} bytes")


def _open(url: str, start: int, remedy: str) -> HTTPResponse | None:
    """Request the file from byte `start` on; return None if it has no more bytes."""
    headers = {"User-Agent": "lad"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return _opener.open(Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310  the scheme is checked above
    except HTTPError as error:
        if error.code == 416 and start:
            is_complete = error.headers.get("Content-Range") == f"bytes */{start}"
            return None if is_complete else _open(url, 0, remedy)
        reason = f"HTTP {error.code}: {error.msg}"
    except (OSError, HTTPException, ValueError) as error:
        reason = str(error.reason if isinstance(error, URLError) else error) or type(error).__name__
    raise ValueError(
        f"{one_line(url)}: cannot be downloaded ({one_line(' '.join(reason.split()))}); {remedy}"
    ) from None


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the content; raise _ConnectionLost if the connection breaks."""
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _ConnectionLost(str(error) or type(error).__name__) from None


def _html_error(url: str, remedy: str) -> ValueError:
    return ValueError(
        f"{one_line(url)}: is an HTML page, not the file (a login page, or a page that links the file); {remedy}"
    )


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:  # such as an invalid IPv6 address
        return ""
