"""The few answers of the Hub's HTTP interface that heads need, from memory, on a free port of this machine.

huggingface_hub talks to it over real HTTP, told so by HF_ENDPOINT. Every commit holds all files of its repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Hub:
    """Repositories as lists of (commit, files); what may write; and what was asked, as "METHOD path"."""

    token: str = "hf_right"
    repositories: dict[str, list[tuple[str, Files]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # of files that are larger than what is stored
    endpoint: str = ""

    def commit(self, repository: str, files: Files) -> str:
        """A new commit with the files so far and these."""
        history = self.repositories.setdefault(repository, [])
        whole = {**(history[-1][1] if history else {}), **files}
        name = hashlib.sha1(f"{repository} {len(history)}".encode()).hexdigest()
        history.append((name, whole))
        return name

    def at(self, repository: str, revision: str) -> tuple[str, Files] | None:
        """The commit that a branch or commit name means."""
        history = self.repositories.get(repository, [])
        found = [entry for entry in history if entry[0] == revision]
        return found[0] if found else history[-1] if history and revision == "main" else None


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._path()
        if self.headers.get("Authorization") != f"Bearer {self.served.token}":
            return self._json({"error": "Invalid credentials"}, 401)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.served.repositories:
                return self._json({"error": "exists", "url": f"{self.served.endpoint}/{name}"}, 409)
            self.served.repositories[name] = []
            return self._json({"url": f"{self.served.endpoint}/{name}"})
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if re.fullmatch(r"/api/models/.+/preupload/main", path):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            lines = [json.loads(line) for line in body.decode().splitlines() if line]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            name = self.served.commit(found[1], files)
            return self._json(
                {"success": True, "commitOid": name, "commitUrl": f"{self.served.endpoint}/{found[1]}/commit/{name}"}
            )
        return self._json({"error": "Not found"}, 404)

    def _get(self) -> None:
        path = self._path()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            return self._repository(found[1], found[2], found[3])
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            return self._repository(found[1], "revision", "main")
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            entry = self.served.at(found[1], found[2])
            if entry is not None and found[3] in entry[1]:
                content = entry[1][found[3]]
                headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": entry[0]}
                return self._send(content, "application/octet-stream", 200, headers)
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        return self._json({"error": "Not found"}, 404)

    def _repository(self, name: str, what: str, revision: str) -> None:
        if name not in self.served.repositories:
            return self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
        entry = self.served.at(name, revision)
        if entry is None:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = [
            {"path": path, "oid": _oid(content), "size": self.served.sizes.get(path, len(content))}
            for path, content in sorted(entry[1].items())
        ]
        if what == "tree":
            return self._json([{"type": "file", **file} for file in files])
        siblings = [{"rfilename": file["path"], "size": file["size"], "blobId": file["oid"]} for file in files]
        return self._json({"id": name, "modelId": name, "sha": entry[0], "private": False, "siblings": siblings})

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.served.asked.append(f"{self.command} {path}")
        return path

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        message = {"X-Error-Message": content["error"]} if isinstance(content, dict) and "error" in content else {}
        self._send(json.dumps(content).encode(), "application/json", status, {**message, **(headers or {})})

    def _send(self, content: bytes, kind: str, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
