"""Reports: executed notebooks and folders of runs as HTML pages."""
