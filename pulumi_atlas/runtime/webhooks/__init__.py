"""Events to webhooks, by Standard Webhooks: from the store's outbox, signed, again until they arrive or are given up.

::

    outbox ──► _sender (one for each webhook) ──► _delivery: look up, check, connect to what was checked
                  │                                  │
                  ├── rules.sessions.webhooks        └── rules.sessions.addresses
                  └── _message, _secrets: what is sent, and its signatures

A message:

====================== =========================================================================================
``webhook-id``         the same for each attempt of one event, so that a receiver can tell what it has had
``webhook-timestamp``  unix seconds of the attempt
``webhook-signature``  ``v1,…``, one for each secret, with spaces between them
body                   ``{"type": "session.status", "timestamp": "2026-01-01T00:00:00.000Z", "data": {…}}``, below 20 kB
====================== =========================================================================================

`data` is the event's own (for `status` and `warning` the session), with `session_id`, `owner`, and `event`: its `number`,
`actor` and `cause`. One that would be too long holds only the session's `id`, `state`, `status`, and ``"shortened": true``.
"""
