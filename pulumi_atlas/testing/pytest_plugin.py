"""Pytest plugin for users' own programs."""
