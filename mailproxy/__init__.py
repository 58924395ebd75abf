"""The mail proxy between applications and SMTP servers."""

__version__ = "0.1.0"
