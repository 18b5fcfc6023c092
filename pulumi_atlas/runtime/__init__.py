"""The companion: it keeps sessions, and never forgets a pod that costs money nor ends one that is in use.

::

    http/ ──► companion ──► ledger ──► store/          what is known, in memory and durably
                 │             ▲
                 ├── worker ───┤   brings one session's pod to what its state asks for: rent, stop, start, terminate
                 ├── reaper ───┤   deadlines: warn, pause, end
                 ├── inspector ┤   what providers say is there: prices, pods that ended or vanished, orphans
                 └── outbox        webhooks

`ledger` is the only one that changes a session: each change is one guarded write with its event.
"""
