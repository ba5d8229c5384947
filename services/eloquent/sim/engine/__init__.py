"""The engine: sessions in virtual time, batches of them on many processors, and the figures and tables made of them."""
