"""How the gateway's price of a mail grows with what there is of everything else."""
