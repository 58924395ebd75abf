"""Django's mail through mailproxy: `EMAIL_BACKEND = "mailproxy.contrib.django.EmailBackend"`."""

from mailproxy.contrib.django.backend import EmailBackend, Refused

__all__ = ["EmailBackend", "Refused"]
