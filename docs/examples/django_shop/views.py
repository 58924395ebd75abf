"""The shop's pages, and the one that mailproxy calls."""

import json

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from django_shop.models import Heard, Order
from mailproxy.client import SignatureRefused, reports_in
from mailproxy.contrib.django import Refused


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> JsonResponse:
    given = json.loads(request.body)
    made, _ = Order.objects.get_or_create(number=given["number"], defaults={"email": given["email"]})
    receipt = EmailMessage(f"Your order {made.number}", "Thank you.", to=[made.email])
    receipt.mailproxy = {"id": f"order-{made.number}"}  # sent again, it is still one message
    try:
        receipt.send()
    except Refused as refused:
        return JsonResponse({"error": refused.rejected[0].reason}, status=422)
    return JsonResponse({"number": made.number}, status=202)


@require_GET
def show(request: HttpRequest, number: str) -> JsonResponse:
    found = get_object_or_404(Order, number=number)
    return JsonResponse({"state": found.state, "error": found.error})


@csrf_exempt
@require_POST
def sync(request: HttpRequest) -> JsonResponse:
    """Nothing is believed that is not signed; nothing is acknowledged that is not kept."""
    try:
        reports = reports_in(request.body, request.headers, settings.MAILPROXY_WEBHOOK_SECRETS)
    except SignatureRefused as refused:
        return JsonResponse({"error": refused.detail}, status=401)
    with transaction.atomic():
        for one in reports:
            _, is_new = Heard.objects.get_or_create(event_id=one.event_id)
            if is_new:
                found = Order.objects.filter(number=one.id.removeprefix("order-"))
                found.update(state=one.event_type, error=one.error)
    return JsonResponse({"ok": True})


urlpatterns = [path("orders", order), path("orders/<number>", show), path("mail-proxy/sync", sync)]
