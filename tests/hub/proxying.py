"""A forward proxy on 127.0.0.1, as small as one can be, and a certificate for a hub behind TLS."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

NAMES = "IP:127.0.0.1,DNS:huggingface.co"


class _Forwarding(BaseHTTPRequestHandler):
    proxy: Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        """A tunnel; what goes through it is not for the proxy to read."""
        self._note()
        host, _, port = self._really(self.path).rpartition(":")
        with socket.create_connection((host, int(port))) as other:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: other, other: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    ends[end].sendall(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._note()
        goal = urlsplit(self.path)
        onward = http.client.HTTPConnection(self._really(goal.netloc))
        headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
        onward.request(self.command, goal.path, headers=headers)
        answer = onward.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            self.send_header(name, value)
        self.end_headers()
        while data := answer.read(1 << 16):
            self.wfile.write(data)
        onward.close()

    def _really(self, host: str) -> str:
        return self.proxy.elsewhere.get(host, host)

    def _note(self) -> None:
        self.proxy.requests.append((self.command, self.path, dict(self.headers)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """An end that hangs up is no news."""


class Proxy:
    """Forwards until it is closed, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.elsewhere: dict[str, str] = {}
        """Where hosts really are that a test plays."""
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Forwarding,), {"proxy": self}))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.address = f"http://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for NAMES, and the file that makes a client trust it."""
    key, path = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=hub"]
    command += ["-addext", f"subjectAltName={NAMES}", "-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return context, path
