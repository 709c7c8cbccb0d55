"""What the guide says of given sequences: draws of it, their diagnostics, exports, latents as arrays and as a map."""
