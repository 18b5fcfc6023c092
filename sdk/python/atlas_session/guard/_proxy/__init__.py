"""The guard as a reverse proxy, for programs that are not Python. What imports httpcore, uvicorn or websockets stands here only.

Importing this package imports none of them: ``_options`` and ``_child`` work without the extra.
"""
