"""Engines of `lad table`: where its runs are executed, on this machine or on a cluster's."""
