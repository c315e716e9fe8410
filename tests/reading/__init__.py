"""The embedded engine on the repository's own pages, held against their ground truth."""
