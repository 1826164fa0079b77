"""Fixtures of the store's tests."""

import os

import pytest


@pytest.fixture
def no_flush(monkeypatch):
    """For tests with thousands of appends: a device would take most of their time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
