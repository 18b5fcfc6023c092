"""The companion over HTTP.

::

    Gate ──► Touch                     the hot path, without a framework
      │
      └────► FastAPI ──► sessions, events, operations, keys, probes

`Gate` stands in front of everything: which host is meant, which page asks, which route it is (`roles.ROUTES`), who asks and
whether they may, and the body's kind and size. What it lets through has its `Caller` in the scope.
"""
