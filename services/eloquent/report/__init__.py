"""What a run leaves behind: its logs, the figures made of them, and the tables that show them."""
