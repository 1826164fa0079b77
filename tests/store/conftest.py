"""Fixtures of the store's tests."""

import os

import pytest


@pytest.fixture
def no_flush(monkeypatch):
    """Skip flushes in tests with thousands of appends, which would spend most of their time on the device."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
