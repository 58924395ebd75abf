"""A shop in Django: it mails a receipt for each order and hears what became of it.

    export DJANGO_SETTINGS_MODULE=django_shop.settings
    python -m django migrate --run-syncdb
    python -m django runserver 8080

GMP_URL and GMP_API_TOKEN (the tenant's key) say where mailproxy is, SHOP_WEBHOOK_SECRETS (with spaces between
them) what signs its calls, SHOP_DATABASE where the orders are kept. The tenant's client_base_url is this server.
"""
