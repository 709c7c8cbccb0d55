"""The commands, by what they are about; cli.py puts them together. Torch is imported only inside commands."""
