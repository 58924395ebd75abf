"""Bounces, complaints and automatic answers: what mail that came back says of a message of ours. No I/O."""

from mailproxy.bounces.parse import parse
from mailproxy.bounces.report import Action, BounceClass, BounceType, Kind, Recipient, Report

__all__ = ["Action", "BounceClass", "BounceType", "Kind", "Recipient", "Report", "parse"]
