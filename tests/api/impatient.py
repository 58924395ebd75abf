"""A gunicorn worker whose connections have short deadlines."""

from mailproxy.api.connection import BoundedProtocol
from mailproxy.api.worker import Worker


class Connection(BoundedProtocol):
    header_deadline = 0.5


class ImpatientWorker(Worker):
    CONFIG_KWARGS = Worker.CONFIG_KWARGS | {"http": Connection}
    orphan_check = 0.1
