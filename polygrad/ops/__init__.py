"""The ops: declarations only."""
