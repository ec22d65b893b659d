"""In front of the runs of a Prefect 3 server: a worker type, and a pull step (extra ``prefect``)."""
