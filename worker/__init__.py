"""What runs beside foreign code: confinement, the zygote that forks workers, and what a worker does."""
