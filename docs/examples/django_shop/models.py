from django.db import models


class Order(models.Model):
    number = models.CharField(max_length=40, primary_key=True)
    email = models.CharField(max_length=320)
    state = models.CharField(max_length=40, default="mailed")
    error = models.TextField(null=True)


class Heard(models.Model):
    """A report that came: it may come twice."""

    event_id = models.BigIntegerField(primary_key=True)
