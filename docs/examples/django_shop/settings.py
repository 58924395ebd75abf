"""What Django needs to send its mail through mailproxy, and the least it needs besides."""

import os
import secrets

EMAIL_BACKEND = "mailproxy.contrib.django.EmailBackend"
MAILPROXY_URL = os.environ["GMP_URL"]
MAILPROXY_TOKEN = os.environ["GMP_API_TOKEN"]
MAILPROXY_ACCOUNT = "main"
MAILPROXY_WEBHOOK_SECRETS = os.environ["SHOP_WEBHOOK_SECRETS"].split()

DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"
SECRET_KEY = secrets.token_hex()
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["django_shop"]
ROOT_URLCONF = "django_shop.views"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.db"),
        "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
    }
}
