"""Pure decisions about sessions: which state may follow, when a lease ends, what may be swept, when to try again."""
