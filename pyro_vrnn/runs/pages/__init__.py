"""Runs as pages to look at in a browser: one run (`pyro-vrnn report`), or several side by side (`compare --html`)."""
