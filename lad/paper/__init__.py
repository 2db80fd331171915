"""The paper: its published results, its tables, and the runs that reproduce them."""
