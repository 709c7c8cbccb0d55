"""Pages to look at in a browser: one HTML file each that needs nothing beside it, with inline SVG, sound and pixels."""
