"""Measurement studies (Eloquent §2.2, §4.3): packet captures and token logs to loss rates, loss traces and figure 4."""
