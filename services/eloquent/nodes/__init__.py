"""The processes of a run, one file a process: `python -m eloquent.nodes.NAME --help` tells what each takes."""
