"""The daemon: one warm loader for a whole host."""
