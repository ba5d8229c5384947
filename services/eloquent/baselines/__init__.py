"""What other people stream tokens by, modelled or named, to be compared with: TCP, SSP, KCP, RED, codes, and the exact bound."""
