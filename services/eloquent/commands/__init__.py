"""Commands of the command line, a file a group; cli.py puts them together."""
