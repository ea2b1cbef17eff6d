"""A local server, so that no test of fetching needs the network."""

import hashlib
import io
import signal
import tarfile
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, main_thread

import pytest
from torchvision.datasets import CIFAR10


class Handler(SimpleHTTPRequestHandler):
    """Serves files; some addresses make it misbehave.

    With /silent/ in the address it sends nothing, and with /half/ only half the file. With /ctrl-c/ it also sends half
    the file, then interrupts the main thread, which is the client. Such a file needs many MiB, because sockets buffer
    a part that the client has not read.
    """

    def do_GET(self):
        with suppress(ConnectionError):  # torchvision's first request only looks for a redirection
            if "/silent/" in self.path:
                self.wait_for_the_client_to_give_up()
            elif "/half/" in self.path:
                self.send_half()
            elif "/ctrl-c/" in self.path:
                self.send_half(interrupt=True)
            else:
                super().do_GET()

    def send_half(self, interrupt=False):
        content = Path(self.directory, Path(self.path).name).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        if interrupt:
            signal.pthread_kill(main_thread().ident, signal.SIGINT)
        self.wait_for_the_client_to_give_up()

    def wait_for_the_client_to_give_up(self):
        self.connection.settimeout(None)  # without the default timeout that `fetch` sets for the whole process
        self.connection.recv(1)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Return a folder, and the local address that serves it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as serving:
        thread = Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def small_cifar10(server, monkeypatch):
    """Return an archive of small files that replaces CIFAR-10's, on the local server."""
    folder, address = server
    contents = {"data_batch_1": b"training images", "test_batch": b"test images", "batches.meta": b"names"}
    with tarfile.open(folder / CIFAR10.filename, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(CIFAR10, "url", address + CIFAR10.filename)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5((folder / CIFAR10.filename).read_bytes()))
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5(contents["data_batch_1"])]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(contents["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(contents["batches.meta"])})
    return folder / CIFAR10.filename
