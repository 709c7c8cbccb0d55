"""What everything stands on: errors with exit codes, files that are written whole or not at all, devices."""
