"""What is to be seen of a running gateway over HTTP: metrics, and whether it is well."""
