"""Where sessions are kept: one small contract, and what implements it."""
