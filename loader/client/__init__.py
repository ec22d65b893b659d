"""Where deployments are created: one interface, an embedded registry, a Prefect server."""
