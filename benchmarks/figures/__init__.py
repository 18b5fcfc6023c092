"""One file per figure: `measure(bench, quick)` returns its rows."""
