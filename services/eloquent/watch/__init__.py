"""What one watches while the testbed runs: panels, the page that shows them, and a view for the terminal."""
