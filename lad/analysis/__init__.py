"""Analysis of label assignments: positives, candidate costs, and how they change over the epochs of a run."""
