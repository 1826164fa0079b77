"""Callbacks that scripts and configurations name, and what their arguments mean here."""
