"""A mirror of VOC on this machine that fails in the ways that a test sets, and tiny archives for it."""

import hashlib
import io
import socket
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.data.download.fetch import Archive, RetryPolicy

FAST_RETRIES = RetryPolicy(timeout=0.5, retries=3, pause=0.01)
ROOT = "VOCdevkit/VOC2012"
NAME = "VOCtrainval_11-May-2012.tar"


class Mirror:
    """A server on 127.0.0.1 that serves `body` under every path, with the faults that its attributes set."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 200
        self.content_type = "application/x-tar"
        self.knows_ranges = True
        self.wrong_range = False
        self.stop_after: list[int] = []  # bytes after which the first, second, … reply ends too early
        self.stalls = False  # keep the connection open instead of dropping it
        self.requests: list[str | None] = []  # the Range header of each
        self.bytes_sent = 0
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{NAME}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.knows_ranges else 0
        if self.status != 200:
            handler.send_error(self.status)
            return
        if start and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            said = start - 1 if self.wrong_range else start
            handler.send_header("Content-Range", f"bytes {said}-{len(self.body) - 1}/{len(self.body)}")
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        part = self.body[start:]
        if self.stop_after:
            part = part[: self.stop_after.pop(0)]
            stall = self.stalls
        else:
            stall = False
        self.bytes_sent += len(part)
        handler.wfile.write(part)
        handler.wfile.flush()
        if stall:
            time.sleep(1.5)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def refusing_url() -> str:
    with socket.socket() as closed_at_once:
        closed_at_once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed_at_once.getsockname()[1]}/{NAME}"


Entry = tuple[str, bytes] | tarfile.TarInfo


def tar(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                member = tarfile.TarInfo(entry[0])
                member.size = len(entry[1])
                archive.addfile(member, io.BytesIO(entry[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linkname
    return member


def voc_entries(year: str = "2012", split: str = "train", ids: tuple[str, ...] = ("a_1", "a_2")) -> list[Entry]:
    """Images before the lists that name them, and everything else that VOC's archives hold."""
    root = f"VOCdevkit/VOC{year}"
    entries: list[Entry] = [special("VOCdevkit", tarfile.DIRTYPE), special(f"{root}/JPEGImages", tarfile.DIRTYPE)]
    for image_id in (*ids, f"{split}_unlisted"):
        entries.append((f"{root}/JPEGImages/{image_id}.jpg", f"image {image_id}".encode() * 500))
        entries.append((f"{root}/Annotations/{image_id}.xml", b"<annotation/>"))
    entries += [(f"{root}/SegmentationObject/{image_id}.png", b"objects") for image_id in ids]
    entries += [(f"{root}/SegmentationClass/{image_id}.png", f"mask {image_id}".encode()) for image_id in ids]
    entries.append((f"{root}/ImageSets/Main/{split}.txt", f"{split}_unlisted\n".encode()))
    entries.append((f"{root}/ImageSets/Segmentation/{split}.txt", "".join(f"{i}\n" for i in ids).encode()))
    return entries


def voc_tar() -> bytes:
    return tar(*voc_entries())


def archive_at(*urls: str, body: bytes | None = None, name: str = NAME) -> Archive:
    return Archive(name, hashlib.md5(voc_tar() if body is None else body).hexdigest(), urls)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


SEGMENTATION_PART = {
    "ImageSets/Segmentation/train.txt",
    *(f"SegmentationClass/{image_id}.png" for image_id in ("a_1", "a_2")),
    *(f"JPEGImages/{image_id}.jpg" for image_id in ("a_1", "a_2")),
}
