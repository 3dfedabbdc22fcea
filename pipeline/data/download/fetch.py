"""One file from the network, checked: several addresses, continued after a drop, complete or absent."""

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
    """One file to download: its name, the MD5 of its content in hex, and its addresses in the order to try them."""

    name: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Patience:
    """How long one address is waited for.

    `timeout`: seconds of silence after which a connection counts as dropped. `retries`: how often in a row a dropped
    download is continued though it grew by less than `CHUNK`. `pause`: seconds before the first, doubled each time.
    """

    timeout: float = 30.0
    retries: int = 4
    pause: float = 1.0


PATIENT = Patience()


def fetch_archive(archive: Archive, folder: Path, progress: Progress = silent, patience: Patience = PATIENT) -> Path:
    """The path of `archive` in `folder`, its MD5 checked; downloaded first where it is not there.

    The bytes gather in <name>.part, which gets its final name only once its MD5 is right. A left-over .part is
    continued where the server can do so, at whichever address answers. The caller sees to it that no second process
    does the same.

    Raises:
        UserError: a file of that name is there with another MD5 (it is left alone), or no address gave the right one.
        OSError: the disk is full or may not be written.
    """
    final, part = folder / archive.name, folder / f"{archive.name}.part"
    if final.exists():
        if (got := _md5(final, f"checking {archive.name}", progress)) != archive.md5:
            raise UserError(
                f"{final}: its MD5 is {got}, expected {archive.md5}: a damaged copy or another file; "
                "replace it, or remove it to have it downloaded"
            )
        return final

    failures = []
    for url in archive.urls:
        try:
            _download(url, part, archive, progress, patience)
        except _Unavailable as fault:
            failures.append(f"{url}: {fault}")
            continue
        publish(part, final)
        return final

    kept = f"; {_size(part)} bytes are kept in {part.name} and will be continued" if _size(part) else ""
    raise UserError(
        f"{archive.name}: could not be downloaded from any of {len(archive.urls)} addresses{kept}",
        *failures,
        f"Start again later, or get {archive.name} (MD5 {archive.md5}) in another way and put it into "
        f"{folder.absolute()}",
    )


class _Unavailable(Exception):
    """An address gave no archive. `dropped`: it had begun to, so asking again is worth while."""

    def __init__(self, reason: str, dropped: bool = False) -> None:
        super().__init__(reason)
        self.dropped = dropped


def _download(url: str, part: Path, archive: Archive, progress: Progress, patience: Patience) -> None:
    """Make `part` the whole archive with the right MD5, or raise _Unavailable."""
    while True:
        left_over = _size(part) > 0
        _receive_all(url, part, f"downloading {archive.name}", progress, patience)
        if (got := _md5(part, f"checking {archive.name}", progress)) == archive.md5:
            return
        size = _size(part)
        part.unlink()
        if not left_over:  # else the old bytes may be the wrong ones: this address gets a fresh start
            raise _Unavailable(f"sent another file ({size} bytes, MD5 {got}, expected {archive.md5})")


def _receive_all(url: str, part: Path, what: str, progress: Progress, patience: Patience) -> None:
    retries, longest = 0, _size(part)
    while True:
        try:
            return _receive(url, part, what, progress, patience.timeout)
        except _Unavailable as fault:
            # Growth beyond the longest so far, not bytes received: a server that starts over each time must end too.
            if _size(part) >= longest + CHUNK:
                retries, longest = 0, _size(part)
            never_answered = retries == 0 and not fault.dropped
            if never_answered or retries == patience.retries:
                raise
        time.sleep(patience.pause * 2**retries)
        retries += 1


def _receive(url: str, part: Path, what: str, progress: Progress, timeout: float) -> None:
    """One request that appends to `part` what it lacks, or writes it anew where the server knows no ranges."""
    done = _size(part)
    headers = {"User-Agent": "Mozilla/5.0"}  # some mirrors turn Python's own away
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={done}-"} if done else {}))
    try:
        reply = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing lies beyond `part`: it is whole, or wrong, as its MD5 will tell
            return
        raise _Unavailable(f"HTTP {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Unavailable(_reason(error)) from error
    with reply:
        if reply.headers.get_content_type() == "text/html":  # a login or error page must not replace a left-over part
            raise _Unavailable("sent a web page, not an archive")
        if reply.status != 206:
            done = 0
        elif not reply.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink()
            raise _Unavailable("sent another range than it was asked for", dropped=True)
        total = None if reply.length is None else done + reply.length
        with part.open("ab" if done else "wb") as file:
            while True:
                progress(what, done, total)
                try:
                    chunk = reply.read1(CHUNK)  # what has come so far: a drop then loses nothing
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
