"""`lad doctor`: what is likely wrong with a run, from its files, its data and its weights."""
