"""One module a figure or table of the paper; each reads experiments.yaml and writes results/."""
