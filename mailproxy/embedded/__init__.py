"""The whole service inside another asyncio program: no processes, no socket, the same store and loops."""

from mailproxy.embedded.proxy import MailProxy

__all__ = ["MailProxy"]
