"""Analysis of label assignments: which anchors are positive for whom, at which cost, and when."""
