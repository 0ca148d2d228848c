"""What is thrown at the gateway without knowing what will come of it: models, machines, targets."""
