"""The board: a page that shows the dashboards live, and a chat by several schemes side by side."""
