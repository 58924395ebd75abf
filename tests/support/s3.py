"""A server with S3's API on loopback, in a thread of this process."""

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer


@contextmanager
def s3_server(*buckets: str) -> Iterator[str]:
    """Its URL; any key and secret are taken."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for bucket in buckets:
            asked = urllib.request.Request(f"http://{host}:{port}/{bucket}", method="PUT")
            with urllib.request.urlopen(asked):
                pass
        yield f"http://{host}:{port}"
    finally:
        server.stop()
