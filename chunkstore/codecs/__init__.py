"""Codecs: one small file each, on the contract of ``base``; ``table`` finds them by name."""
