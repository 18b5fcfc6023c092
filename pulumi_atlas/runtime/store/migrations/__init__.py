"""The steps from one revision of the schema to the next. Each runs with live rows, in one transaction with all others.

A released step is never edited: it says what databases of its time look like. `_schema` says what they look like now.
"""

__all__: list[str] = []
