"""Pure decisions over values and a passed-in clock: what is valid, what differs, what to wait for, what is whose."""
