"""``python -m tests.testbed.world.gitserver ADDRESS PORT FOLDER``: bare repositories over smart HTTP, read only.

git's own ``http-backend`` behind Python's HTTP server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ANSWER_SECONDS = 120
LONGEST_REQUEST = 10 << 20  # bytes: what a client wants and has


class Handler(BaseHTTPRequestHandler):
    """Hands each request to ``git http-backend`` by CGI."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    root: Path

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LONGEST_REQUEST:
            self.send_error(411 if not length else 413)
            return
        self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        path = unquote(path)
        if path == "/":
            self._send(200, {"Content-Type": "text/plain"}, b"The world.\n")
            return
        first, _, rest = path.lstrip("/").partition("/")
        if not first.endswith(".git"):
            path = f"/{first}.git/{rest}"
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GATEWAY_INTERFACE": "CGI/1.1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }
        try:
            done = subprocess.run(
                ["git", "-c", "safe.directory=*", "http-backend"],
                input=body,
                env=environment,
                capture_output=True,
                timeout=ANSWER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self.send_error(504)
            return
        head, found, content = done.stdout.partition(b"\r\n\r\n")
        if not found:
            self.log_error("git http-backend: %s", done.stderr.decode(errors="replace"))
            self.send_error(500)
            return
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, headers, content)

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def server(address: str, port: int, root: Path) -> ThreadingHTTPServer:
    """A server that is bound and not yet serving."""
    handler = type("Bound", (Handler,), {"root": root.resolve()})
    return ThreadingHTTPServer((address, port), handler)


if __name__ == "__main__":
    server(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])).serve_forever()
