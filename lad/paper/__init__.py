"""The paper: its published numbers, its tables, and the runs that reproduce them."""
