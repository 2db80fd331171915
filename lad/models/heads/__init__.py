"""Detection heads: PAA's, and the auxiliary objectness predictions IOP and COP."""
