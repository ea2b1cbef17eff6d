"""The page: summary, verdicts, figures, tables and runs of a store in one HTML file that needs no network."""
