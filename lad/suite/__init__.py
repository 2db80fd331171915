"""The notebooks and parameter files as a part of the package: a wheel holds them in this folder."""
