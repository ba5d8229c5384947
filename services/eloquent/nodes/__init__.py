"""The processes of a run, one folder a process: `python -m eloquent.nodes.NAME --help` tells what each takes."""
