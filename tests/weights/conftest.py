# SPDX-License-Identifier: Apache-2.0
"""Weights tests never see the user's own folder, settings or network."""

import http.server
import threading

import pytest

from napari_sam.weights import locations


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    """An empty weights folder, with no offline folder, mirror or saved setting."""
    root = tmp_path / "weights"
    monkeypatch.setenv(locations.CACHE_DIR_VARIABLE, str(root))
    monkeypatch.delenv(locations.OFFLINE_DIR_VARIABLE, raising=False)
    monkeypatch.delenv(locations.MIRROR_VARIABLE, raising=False)
    settings = tmp_path / "config" / "weights.json"
    monkeypatch.setattr(locations, "settings_path", lambda: settings)
    return root


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the name at the end of the address."""

    def do_GET(self):
        self.server.requested.append(self.path)
        answer = getattr(self, "serve_" + self.path.split("/")[1], self.serve_missing)
        answer()

    def head(self, length=None, status=200):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def serve_good(self):
        self.head(len(self.server.content))
        self.wfile.write(self.server.content)

    serve_mirror = serve_good

    def serve_unsized(self):
        self.head()
        self.wfile.write(self.server.content)

    def serve_redirect(self):
        self.send_response(302)
        self.send_header("Location", "/good/tiny.pt")
        self.end_headers()

    def serve_wrong(self):
        self.head(len(self.server.content))
        self.wfile.write(self.server.content[::-1])

    def serve_cut(self):
        self.head(len(self.server.content))
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def serve_slow(self):
        self.head(len(self.server.content))
        for start in range(0, len(self.server.content), 1 << 16):
            self.wfile.write(self.server.content[start : start + (1 << 16)])
            self.wfile.flush()
            if self.server.released.wait(0.2):
                return

    def serve_dead(self):
        self.head(len(self.server.content))
        self.wfile.write(self.server.content[:1000])
        self.wfile.flush()
        self.server.released.wait(20)

    def serve_broken(self):
        self.head(0, status=500)

    def serve_missing(self):
        self.head(0, status=404)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Clients of these tests hang up on purpose."""


@pytest.fixture
def server(monkeypatch):
    """A server on this machine; tests set its ``content`` and read ``requested``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.content = b""
    server.requested = []
    server.released = threading.Event()
    server.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()
