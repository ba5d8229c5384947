"""The paper, reproduced: its settings, figures and tables, and how far ours agree."""
