"""Configuration: the parameters of experiments and evaluations, their profiles and files."""
