"""Several processes that are one gateway: a parent that takes no mail, and workers that do."""
