"""Fault campaigns: processes are killed at each step of a creation, and nothing may be leaked, lost or rented twice."""
