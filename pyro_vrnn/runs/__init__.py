"""Run folders: what makes one (train), what opens one (load), and what can be asked of it."""
