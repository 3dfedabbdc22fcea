"""Downloads one file and checks it: several addresses, resumed after a dropped connection, complete or absent."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.progress import Progress, silent

CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class Archive:
    """One file to download."""

    name: str
    md5: str  # of its content, in hexadecimal
    urls: tuple[str, ...]  # in the order in which they are tried


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for one address."""

    timeout: float = 30.0  # seconds of silence after which a connection counts as dropped
    retries: int = 4  # how often in a row a dropped download is resumed although it grew by less than `CHUNK`
    pause: float = 1.0  # seconds before the first retry, doubled for each further one


DEFAULT_POLICY = RetryPolicy()


def fetch_archive(
    archive: Archive, folder: Path, progress: Progress = silent, policy: RetryPolicy = DEFAULT_POLICY
) -> Path:
    """The path of the archive in a folder, with its MD5 checked; downloaded first if it is missing.

    It is downloaded to <name>.part, which gets the final name once its MD5 is right. A .part of an earlier download is
    resumed at whichever address answers, if the server supports that. The caller must hold a lock on the folder.

    Raises:
        UserError: a file of that name has another MD5 (it is not changed), or no address sent the right file.
        OSError: the disk is full or may not be written.
    """
    final, part = folder / archive.name, folder / f"{archive.name}.part"
    if final.exists():
        if (got := _md5(final, f"checking {archive.name}", progress)) != archive.md5:
            raise UserError(
                f"{final}: its MD5 is {got}, {archive.md5} expected: it is damaged or another file; "
                "replace it, or remove it and it will be downloaded"
            )
        return final

    failures = []
    for url in archive.urls:
        try:
            _download(url, part, archive, progress, policy)
        except _Unavailable as fault:
            failures.append(f"{url}: {fault}")
            continue
        publish(part, final)
        return final

    received = f"; {part.name} has the first {_size(part)} bytes and will be resumed" if _size(part) else ""
    raise UserError(
        f"{archive.name}: could not be downloaded from any of {len(archive.urls)} addresses{received}",
        *failures,
        f"Try again later, or get {archive.name} (MD5 {archive.md5}) in another way and put it into "
        f"{folder.absolute()}",
    )


class _Unavailable(Exception):
    """An address did not send the archive."""

    def __init__(self, reason: str, dropped: bool = False) -> None:
        super().__init__(reason)
        self.dropped = dropped  # after it had begun to send, so that a retry may help


def _download(url: str, part: Path, archive: Archive, progress: Progress, policy: RetryPolicy) -> None:
    """Complete `part`, with the right MD5; raise _Unavailable if this address cannot."""
    while True:
        resumes = _size(part) > 0
        _receive_all(url, part, f"downloading {archive.name}", progress, policy)
        if (got := _md5(part, f"checking {archive.name}", progress)) == archive.md5:
            return
        size = _size(part)
        part.unlink()
        if not resumes:  # otherwise the old bytes may be the wrong ones: download from this address once more
            raise _Unavailable(f"sent another file ({size} bytes, MD5 {got}, expected {archive.md5})")


def _receive_all(url: str, part: Path, what: str, progress: Progress, policy: RetryPolicy) -> None:
    retries, longest = 0, _size(part)
    while True:
        try:
            return _receive(url, part, what, progress, policy.timeout)
        except _Unavailable as fault:
            # Growth beyond the longest so far, not bytes received: a server that always starts over must be given up.
            if _size(part) >= longest + CHUNK:
                retries, longest = 0, _size(part)
            never_answered = retries == 0 and not fault.dropped
            if never_answered or retries == policy.retries:
                raise
        time.sleep(policy.pause * 2**retries)
        retries += 1


def _receive(url: str, part: Path, what: str, progress: Progress, timeout: float) -> None:
    """One request for the rest of `part`, or for all of it if the server does not support ranges."""
    done = _size(part)
    headers = {"User-Agent": "Mozilla/5.0"}  # some mirrors refuse Python's default
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={done}-"} if done else {}))
    try:
        reply = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing follows `part`: it is complete or wrong, which its MD5 will show
            return
        raise _Unavailable(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Unavailable(_reason(error)) from error
    with reply:
        if reply.headers.get_content_type() == "text/html":  # a login or error page must not replace `part`
            raise _Unavailable("sent a web page instead of an archive")
        if reply.status != 206:
            done = 0
        elif not reply.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink()
            raise _Unavailable("sent another range than requested", dropped=True)
        total = None if reply.length is None else done + reply.length
        with part.open("ab" if done else "wb") as file:
            while True:
                progress(what, done, total)
                try:
                    chunk = reply.read1(CHUNK)  # returns what has arrived, so that a dropped connection loses nothing
                except (OSError, http.client.HTTPException) as error:
                    raise _Unavailable(_reason(error), dropped=True) from error
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
    if total is not None and done < total:
        raise _Unavailable(f"dropped the connection after {done} of {total} bytes", dropped=True)


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__


def _md5(path: Path, what: str, progress: Progress) -> str:
    digest, done, total = hashlib.md5(usedforsecurity=False), 0, _size(path)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(what, done, total)
    return digest.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
