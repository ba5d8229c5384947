"""Run the nursery, which the lab starts with the descriptor of its orders."""

from eloquent.nodes.nursery.nursery import main

main()
