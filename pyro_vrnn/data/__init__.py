"""Data files: the HDF5 schema, its writer and reader, batches, encodings, baselines; sources/ reads raw files."""
