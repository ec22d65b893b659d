"""The daemon: one warm engine for a whole host, asked over HTTP."""
