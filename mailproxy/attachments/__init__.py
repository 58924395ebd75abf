"""Attachments that are fetched: what they are is in `modes` and `judgement`, how they come in `files` and `remote`."""
