"""What the embedded engine reads off the repository's own pages, held against their ground truth."""
