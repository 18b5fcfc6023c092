"""The figures that the README claims, each measured against its counterpart in the same run: `make bench`."""
